package home

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"

	"airdispatch/message"
)

//go:embed migrations/*.sql
var migrations embed.FS

// FileName is the name of the SQLite file in a home directory.
const FileName = "home.sqlite"

// migrateTries is how often a migration is run again when another process was
// at it at the same time.
const migrateTries = 5

// ErrDamaged says that the file is no database, or one that was damaged. Its
// owner has to move it away; nothing here mends it.
var ErrDamaged = errors.New("home: the file is damaged")

// Home is one person's memory. Safe for concurrent use.
type Home struct {
	db    *sql.DB
	owned bool
}

// Open opens the file in a directory, which is made if need be, and brings it
// to the newest form. Close closes it.
func Open(ctx context.Context, dir string) (*Home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("home: open: %w", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return nil, fmt.Errorf("home: open: %w", err)
	}
	// Made here, because SQLite would make it readable for everybody. Its
	// journal takes over the mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("home: open: %w", err)
	}
	err = errors.Join(f.Chmod(0o600), f.Close())
	if err != nil {
		return nil, fmt.Errorf("home: open: %w", err)
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "_journal_mode=WAL&_busy_timeout=10000&_txlock=immediate&_foreign_keys=on&_synchronous=FULL&_secure_delete=on"}
	db, err := sql.Open("sqlite3", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("home: open: %w", err)
	}
	// One person's commands need no pool, and one connection never waits for
	// itself.
	db.SetMaxOpenConns(1)
	h, err := New(ctx, db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	h.owned = true
	return h, nil
}

// New uses an opened database, which stays the caller's to close, and brings
// it to the newest form.
func New(ctx context.Context, db *sql.DB) (*Home, error) {
	if err := migrate(ctx, db); err != nil {
		return nil, fault("open", err)
	}
	return &Home{db: db}, nil
}

// Close closes the file if Open opened it.
func (h *Home) Close() error {
	if !h.owned {
		return nil
	}
	if err := h.db.Close(); err != nil {
		return fmt.Errorf("home: close: %w", err)
	}
	return nil
}

// migrate brings db to the newest form. A form that is newer than this program
// is refused: an older program would write what the newer one cannot read.
func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return err
	}
	for range migrateTries {
		have, newest, versionErr := p.GetVersions(ctx)
		if versionErr == nil && have > newest {
			return fmt.Errorf("the file is of form %d, written by a newer program; this one knows forms up to %d: %w", have, newest, message.Unsupported)
		}
		if versionErr == nil && have == newest {
			return nil
		}
		if _, err = p.Up(ctx); err == nil {
			return nil
		}
	}
	return err
}

// transact runs f in one transaction.
func (h *Home) transact(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	tx, err := h.db.BeginTx(ctx, nil)
	if err != nil {
		return fault(what, err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return fault(what, err)
	}
	return fault(what, tx.Commit())
}

// fault names what was being done; a missing row is message.NotFound, a full
// disk message.StorageFull, a damaged file ErrDamaged.
func fault(what string, err error) error {
	if err == nil {
		return nil
	}
	code := err
	if said, ok := errors.AsType[sqlite3.Error](err); ok {
		switch said.Code {
		case sqlite3.ErrFull:
			code = fmt.Errorf("%w: %w", err, message.StorageFull)
		case sqlite3.ErrNotADB, sqlite3.ErrCorrupt:
			code = fmt.Errorf("%w: %w", err, ErrDamaged)
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		code = message.NotFound
	}
	return fmt.Errorf("home: %s: %w", what, code)
}

// changed turns a change of no row into message.NotFound.
func changed(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n != 0 {
		return err
	}
	return sql.ErrNoRows
}

// collect reads all rows with scan and closes them.
func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, unreadable(err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// unreadable is the error of a row that is not as it was written.
func unreadable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", err, ErrDamaged)
}

// millis is how a time is kept; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis reads a kept time.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// key is how an address is kept; the zero address is empty.
func key(a message.Address) []byte {
	if a.IsZero() {
		return []byte{}
	}
	return a.Bytes()
}

// address reads a kept address.
func address(b []byte) (message.Address, error) {
	if len(b) == 0 {
		return message.Address{}, nil
	}
	return message.AddressFromBytes(b)
}
