package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"airdispatch/store"
	"airdispatch/store/storetest"
)

// TestCrash looks at the files as a process that died would have left them,
// while others write: what had been accepted by then is there, once, and the
// file is sound. The copy is made of what the file system holds, so nothing of
// it comes from this process's memory.
func TestCrash(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	m, _, end := openFile(t, filepath.Join(dir, "mail.db"))
	defer end()
	bob := people(t, "bob")
	var mu sync.Mutex
	var accepted []store.Submission
	var wg sync.WaitGroup
	stop, ticks := make(chan struct{}), make(chan struct{}, 4*200)
	for i := range 4 {
		p := people(t, fmt.Sprint("author ", i))[0]
		if err := m.Accounts.Join(ctx, store.Account{Address: p.Address()}, nil); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 200 {
				select {
				case <-stop:
					return
				default:
				}
				s, err := p.Write(storetest.Draft{To: bob, Body: "x"})
				if err == nil {
					err = m.Outgoing.Submit(ctx, []store.Submission{s})[0].Err
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				accepted = append(accepted, s)
				mu.Unlock()
				ticks <- struct{}{}
			}
		})
	}
	go func() {
		wg.Wait()
		close(ticks)
	}()
	defer wg.Wait()
	defer close(stop)
	for n := range 5 {
		for range 10 {
			<-ticks
		}
		mu.Lock()
		before := accepted[:len(accepted):len(accepted)]
		mu.Unlock()
		crashed(t, dir, filepath.Join(dir, fmt.Sprint(n)), before)
	}
}

// crashed opens a copy of the files in dir and looks for what was accepted.
func crashed(t *testing.T, dir, to string, accepted []store.Submission) {
	t.Helper()
	ctx := context.Background()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	// The file before its log: no checkpoint happens in so short a test, so the
	// log has all that is not in the file.
	for _, name := range []string{"mail.db", "mail.db-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, d, end := openFile(t, filepath.Join(to, "mail.db"))
	defer end()
	if err := d.Check(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range accepted {
		v, err := m.Outgoing.Versions(ctx, s.Head.Ref())
		if err != nil || len(v) != 1 || v[0].ID != s.Head.ID {
			t.Fatalf("an accepted message after the crash: %v, %v", v, err)
		}
		if r := m.Outgoing.Submit(ctx, []store.Submission{s})[0]; r.Err != nil || !r.Accepted.Again {
			t.Fatalf("taken in again: %+v", r)
		}
	}
}
