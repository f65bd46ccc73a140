package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// DSN is the data source name under which github.com/mattn/go-sqlite3 opens
// the file at path as this package needs it.
func DSN(path string) string {
	q := url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		// An operator's tool may hold the file for a moment.
		"_busy_timeout": {"5000"},
		// A transaction that reads and then writes would fail at once when another has written meanwhile.
		"_txlock":       {"immediate"},
		"_foreign_keys": {"on"},
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// File opens the SQLite file at path with the driver that the commands use,
// and makes it, readable by its owner only, where there is none.
func File(path string) (*sql.DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlite: open: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("sqlite: open: %w", err)
	}
	d := &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		// A schema that somebody tampered with must not call functions behind our back.
		_, err := c.Exec("PRAGMA trusted_schema = OFF", nil)
		return err
	}}
	return sql.OpenDB(connector{DSN(path), d}), nil
}

// connector opens connections of one name without a registered driver.
type connector struct {
	name   string
	driver *sqlite3.SQLiteDriver
}

// Connect opens a connection.
func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.name) }

// Driver is the driver beneath.
func (c connector) Driver() driver.Driver { return c.driver }

// resultCode is SQLite's primary result code in err, or 0 where it has none.
func resultCode(err error) int {
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		switch e.SystemErrno {
		case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
			// SQLite tells only the first of them from an error of the disk, and not
			// always; a quota or a limit on the size of files is no more room either.
			return codeFull
		}
		return int(e.Code)
	}
	// Other drivers have a method.
	if e, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
