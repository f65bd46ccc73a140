package sqlite_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/mattn/go-sqlite3"

	"airdispatch/message"
	"airdispatch/store/sqlite"
)

// TestNoRoom: every way in which a system says that there is no room is told as
// such, and an error of the disk is not.
func TestNoRoom(t *testing.T) {
	for _, c := range []struct {
		name string
		err  sqlite3.Error
		full bool
	}{
		{"as SQLite says it", sqlite3.Error{Code: sqlite3.ErrFull}, true},
		{"no space", sqlite3.Error{Code: sqlite3.ErrIoErr, SystemErrno: syscall.ENOSPC}, true},
		{"quota", sqlite3.Error{Code: sqlite3.ErrIoErr, SystemErrno: syscall.EDQUOT}, true},
		{"file size", sqlite3.Error{Code: sqlite3.ErrIoErr, SystemErrno: syscall.EFBIG}, true},
		{"the disk is broken", sqlite3.Error{Code: sqlite3.ErrIoErr, SystemErrno: syscall.EIO}, false},
	} {
		if got := errors.Is(sqlite.Told(c.err), message.StorageFull); got != c.full {
			t.Errorf("%s: told as no room: %v, want %v", c.name, got, c.full)
		}
	}
}
