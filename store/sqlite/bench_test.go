package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/storetest"
)

// waiting is how many clients wait for an answer at once.
const waiting = 64

// letters are messages of about 1 KiB from as many people as wait, so many
// that each is used once.
func letters(b *testing.B, n int) []store.Submission {
	b.Helper()
	bob := people(b, "bob")
	var authors []*storetest.Person
	for i := range waiting {
		authors = append(authors, people(b, fmt.Sprint("author ", i))...)
	}
	out := make([]store.Submission, n)
	var wg sync.WaitGroup
	for i := range waiting {
		wg.Go(func() {
			for k := i; k < n; k += waiting {
				s, err := authors[i].Write(storetest.Draft{To: bob, Body: string(make([]byte, 900)), At: time.Now()})
				if err != nil {
					b.Error(err)
				}
				out[k] = s
			}
		})
	}
	wg.Wait()
	return out
}

// host gives accounts to all authors and to bob.
func host(b *testing.B, m *store.Mail) message.Address {
	b.Helper()
	bob := people(b, "bob")[0].Address()
	all := []message.Address{bob}
	for i := range waiting {
		all = append(all, people(b, fmt.Sprint("author ", i))[0].Address())
	}
	for _, a := range all {
		if err := m.Accounts.Join(context.Background(), store.Account{Address: a}, nil); err != nil {
			b.Fatal(err)
		}
	}
	return bob
}

// processor is how much processor time this process has used: on a machine that
// others use too it says more than the clock.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// parallel calls do b.N times from as many goroutines as wait, and reports the
// 99th percentile.
func parallel(b *testing.B, do func(i int) error) {
	b.Helper()
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	spent := processor(b)
	b.ResetTimer()
	for range waiting {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				began := time.Now()
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((processor(b)-spent).Microseconds())/float64(b.N), "cpu-us/op")
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

func BenchmarkSubmit(b *testing.B) {
	m, _, end := openFile(b, filepath.Join(b.TempDir(), "mail.db"))
	defer end()
	host(b, m)
	work := letters(b, b.N)
	parallel(b, func(i int) error { return m.Outgoing.Submit(context.Background(), work[i:i+1])[0].Err })
}

func BenchmarkSubmit16(b *testing.B) {
	m, _, end := openFile(b, filepath.Join(b.TempDir(), "mail.db"))
	defer end()
	host(b, m)
	work := letters(b, b.N*16)
	parallel(b, func(i int) error {
		for _, r := range m.Outgoing.Submit(context.Background(), work[i*16:(i+1)*16]) {
			if r.Err != nil {
				return r.Err
			}
		}
		return nil
	})
	b.ReportMetric(16*float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkAlert(b *testing.B) {
	m, _, end := openFile(b, filepath.Join(b.TempDir(), "mail.db"))
	defer end()
	bob := host(b, m)
	work := letters(b, b.N)
	parallel(b, func(i int) error {
		return m.Incoming.Alert(context.Background(), []store.Alert{{To: bob, Head: work[i].Head, Slot: work[i].Slots[0], Folder: store.Inbox, Now: work[i].Now}})[0].Err
	})
}

// BenchmarkLog is what the disk allows: the bytes of a message appended to a
// file, one sync for all that wait.
func BenchmarkLog(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	type record struct{ done chan error }
	queue := make(chan record, waiting)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		data := make([]byte, 4000)
		for r := range queue {
			batch := []record{r}
			// As the writer does: whatever waits by now.
			runtime.Gosched()
			for len(queue) > 0 {
				batch = append(batch, <-queue)
			}
			var err error
			for range batch {
				if _, e := f.Write(data); e != nil {
					err = e
				}
			}
			if e := f.Sync(); e != nil {
				err = e
			}
			for _, r := range batch {
				r.done <- err
			}
		}
	}()
	parallel(b, func(int) error {
		r := record{make(chan error, 1)}
		queue <- r
		return <-r.done
	})
	close(queue)
	<-ended
}

// readers reads pages from as many goroutines as the machine has cores.
func readers(b *testing.B, page func() (int, error)) {
	b.Helper()
	var read atomic.Int64
	b.ReportAllocs()
	spent := processor(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n, err := page()
			if err != nil || n != 50 {
				b.Errorf("%d on a page, %v", n, err)
				return
			}
			read.Add(int64(n))
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((processor(b)-spent).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(read.Load())/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkEntries(b *testing.B) {
	m, _, end := openFile(b, filepath.Join(b.TempDir(), "mail.db"))
	defer end()
	bob := host(b, m)
	for _, s := range letters(b, 2000) {
		r := m.Incoming.Alert(context.Background(), []store.Alert{{To: bob, Head: s.Head, Slot: s.Slots[0], Folder: store.Inbox, Now: s.Now}})[0]
		if r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	var n atomic.Uint64
	readers(b, func() (int, error) {
		page, _, err := m.Incoming.Entries(context.Background(), bob, n.Add(37)%1900, 50)
		return len(page), err
	})
}

func BenchmarkPosts(b *testing.B) {
	m, _, end := openFile(b, filepath.Join(b.TempDir(), "mail.db"))
	defer end()
	ann := people(b, "ann")[0]
	if err := m.Accounts.Join(context.Background(), store.Account{Address: ann.Address()}, nil); err != nil {
		b.Fatal(err)
	}
	for range 1000 {
		s, err := ann.Write(storetest.Draft{Body: string(make([]byte, 900)), At: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		if r := m.Outgoing.Submit(context.Background(), []store.Submission{s})[0]; r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	var n atomic.Uint64
	readers(b, func() (int, error) {
		page, _, err := m.Outgoing.List(context.Background(), store.ListQuery{From: ann.Address(), Public: true, After: n.Add(37) % 900, Limit: 50})
		return len(page), err
	})
}

func BenchmarkServe(b *testing.B) {
	m, _, end := openFile(b, filepath.Join(b.TempDir(), "mail.db"))
	defer end()
	bob := host(b, m)
	work := letters(b, 1000)
	for _, s := range work {
		if r := m.Outgoing.Submit(context.Background(), []store.Submission{s})[0]; r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	parallel(b, func(i int) error {
		_, err := store.ServeOne(context.Background(), m.Outgoing, store.ServeItem{Ref: work[i%len(work)].Head.Ref()}, bob, time.Now())
		return err
	})
}
