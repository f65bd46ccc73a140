package sqlite_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"airdispatch/store"
	"airdispatch/store/memory"
	"airdispatch/store/sqlite"
	"airdispatch/store/storetest"
)

// TestMain runs fewer random sequences than rapid does by itself, since each of
// them syncs a file some hundred times; -rapid.checks=1000 runs more. It fails
// when a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := storetest.FewSequences(12); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// TestCompare: the file behaves as the maps do, whatever is asked of it, and
// closing and opening it again changes nothing.
func TestCompare(t *testing.T) {
	storetest.Compare(t, openDir, func() *store.Mail { return memory.NewMail(nil) })
}

// TestQuota: what is counted towards an account is what is kept for it.
func TestQuota(t *testing.T) { storetest.Quota(t, openDir) }

// openDir opens the store that is kept in a directory.
func openDir(dir string) (*store.Mail, func() error, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	db, err := sqlite.File(filepath.Join(dir, "mail.db"))
	if err != nil {
		return nil, nil, err
	}
	m, d, err := sqlite.OpenMail(context.Background(), db, nil)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return m, func() error { return errors.Join(d.Close(), db.Close()) }, nil
}
