package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"airdispatch/store"
	"airdispatch/store/sqlite"
	"airdispatch/store/storetest"
)

func TestTracker(t *testing.T) { storetest.RunTracker(t, openTracker) }

func TestMail(t *testing.T) { storetest.RunMail(t, openMail) }

func openTracker(t *testing.T) *store.Tracker {
	t.Helper()
	db, err := sqlite.File(filepath.Join(t.TempDir(), "tracker.db"))
	if err != nil {
		t.Fatal(err)
	}
	s, d, err := sqlite.OpenTracker(context.Background(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Check(context.Background()); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openMail(t *testing.T) *store.Mail {
	t.Helper()
	m, d, end := openFile(t, filepath.Join(t.TempDir(), "mail.db"))
	t.Cleanup(func() {
		if err := d.Check(context.Background()); err != nil {
			t.Error(err)
		}
		end()
	})
	return m
}
