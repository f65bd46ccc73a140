package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/sqlite"
	"airdispatch/store/storetest"
)

// opening opens the mail store under a data source name of github.com/mattn/go-sqlite3.
func opening(t *testing.T, dsn string) (*store.Mail, *sqlite.DB, error) {
	t.Helper()
	db, err := sql.Open("sqlite3", dsn)
	if err != nil {
		t.Fatal(err)
	}
	m, d, err := sqlite.OpenMail(context.Background(), db, nil)
	t.Cleanup(func() {
		if d != nil {
			_ = d.Close()
		}
		_ = db.Close()
	})
	return m, d, err
}

func TestDSN(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a strange%20name?#&.db")
	if _, _, err := opening(t, sqlite.DSN(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the file has another name: %v", err)
	}
}

// TestFileSyncsInFull: with less, acknowledged mail is lost when the power goes.
func TestFileSyncsInFull(t *testing.T) {
	db, err := sqlite.File(filepath.Join(t.TempDir(), "mail.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var mode string
	var level int
	if err := db.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal_mode %s, %v", mode, err)
	}
	if err := db.QueryRow("PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
		t.Errorf("synchronous %d, %v, want 2, which is full", level, err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	_, _, end := openFile(t, path)
	defer end()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mail.db%s has the mode %v", suffix, info.Mode())
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct{ change, query, want string }{
		"no WAL":       {"", "?_journal_mode=DELETE&_synchronous=FULL", "journal_mode is delete"},
		"no sync":      {"", "?_journal_mode=WAL&_synchronous=NORMAL", "synchronous is 1"},
		"newer":        {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)", "", "newer program (schema 99"},
		"another sort": {"PRAGMA application_id = 1094996993", "", "belongs to something else"},
		"foreign":      {"PRAGMA application_id = 0", "", "belongs to something else"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mail.db")
			_, _, end := openFile(t, path)
			end()
			dsn := sqlite.DSN(path)
			if c.query != "" {
				dsn = path + c.query
			}
			db, err := sql.Open("sqlite3", sqlite.DSN(path))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(c.change); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if _, _, err = opening(t, dsn); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestNotADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database at all. ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := opening(t, sqlite.DSN(path)); err == nil {
		t.Fatal("a text was opened as a database")
	}
}

func TestDamage(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "mail.db")
	_, d, end := openFile(t, path)
	if err := d.Check(ctx); err != nil {
		t.Fatal(err)
	}
	end()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// The first page, with the schema, stays.
	if _, err := f.WriteAt([]byte(strings.Repeat("x", int(info.Size())-4096)), 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, d, err = opening(t, sqlite.DSN(path))
	if err == nil {
		err = d.Check(ctx)
	}
	if err == nil || !strings.Contains(err.Error(), "restore a backup") {
		t.Fatalf("got %v, want a word about damage and backups", err)
	}
}

func TestReferences(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "mail.db")
	_, d, end := openFile(t, path)
	defer end()
	db, err := sql.Open("sqlite3", path+"?_foreign_keys=off")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO listings (address, listing) VALUES (77, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(ctx); err == nil || !strings.Contains(err.Error(), "a row of listings has no row of addresses") {
		t.Fatalf("got %v", err)
	}
}

func TestBackup(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	m, d, end := openFile(t, filepath.Join(dir, "mail.db"))
	defer end()
	p := people(t, "ann")[0]
	if err := m.Accounts.Join(ctx, store.Account{Address: p.Address()}, nil); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "backup.db")
	if err := d.Backup(ctx, copied); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the backup has the mode %v, %v", info.Mode(), err)
	}
	if err := d.Backup(ctx, copied); err == nil {
		t.Fatal("a backup took the place of another")
	}
	if err := m.Accounts.RemoveAccount(ctx, p.Address()); err != nil {
		t.Fatal(err)
	}
	b, _, end2 := openFile(t, copied)
	defer end2()
	if _, err := b.Accounts.Account(ctx, p.Address()); err != nil {
		t.Fatalf("the backup lacks what was there: %v", err)
	}
	before, err := b.Log.Place(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Log.RaiseEpoch(ctx); err != nil {
		t.Fatal(err)
	}
	if after, err := b.Log.Place(ctx); err != nil || after.Epoch != before.Epoch+1 {
		t.Fatalf("got %v, %v after %v", after, err, before)
	}
}

func TestClosed(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "mail.db")
	db, err := sqlite.File(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	m, d, err := sqlite.OpenMail(ctx, db, nil)
	if err != nil {
		t.Fatal(err)
	}
	// What was taken in before Close is answered, whatever the answer is.
	var wg sync.WaitGroup
	accepted := make([]bool, 50)
	for i := range accepted {
		wg.Go(func() { accepted[i] = m.Listings.SetListing(ctx, message.Address{byte(i + 1)}, store.Allowed) == nil })
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := d.Close(); err != nil {
		t.Fatalf("closed twice: %v", err)
	}
	if err := m.Listings.SetListing(ctx, message.Address{99}, store.Allowed); err == nil {
		t.Fatal("a closed store took a change")
	}
	m, d, err = sqlite.OpenMail(ctx, db, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, ok := range accepted {
		if l, err := m.Listings.Listing(ctx, message.Address{byte(i + 1)}); err != nil || ok != (l == store.Allowed) {
			t.Errorf("change %d: accepted %v, and then %v, %v", i, ok, l, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFull: a disk that is full refuses with its code, and what was accepted
// before is still there; room again, and all goes on.
func TestFull(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "mail.db")
	m, d, end := openFile(t, path)
	defer end()
	p := people(t, "ann", "bob")
	if err := m.Accounts.Join(ctx, store.Account{Address: p[0].Address()}, nil); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.LimitPages(ctx, d, 150); err != nil {
		t.Fatal(err)
	}
	var kept []store.Submission
	body := strings.Repeat("words ", 10_000)
	for range 50 {
		s, err := p[0].Write(storetest.Draft{To: p[1:], Body: body})
		if err != nil {
			t.Fatal(err)
		}
		r := m.Outgoing.Submit(ctx, []store.Submission{s})[0]
		if errors.Is(r.Err, message.StorageFull) {
			if err := sqlite.LimitPages(ctx, d, 100_000); err != nil {
				t.Fatal(err)
			}
			if r = m.Outgoing.Submit(ctx, []store.Submission{s})[0]; r.Err != nil || r.Accepted.Again {
				t.Fatalf("with room again: %+v", r)
			}
			for _, s := range kept {
				if r := m.Outgoing.Submit(ctx, []store.Submission{s})[0]; r.Err != nil || !r.Accepted.Again {
					t.Fatalf("what was accepted before: %+v", r)
				}
			}
			return
		}
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		kept = append(kept, s)
	}
	t.Fatal("the disk never was full")
}
