package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"

	"airdispatch/message"
	"airdispatch/store"
)

//go:embed migrations
var migrations embed.FS

// The sorts of files, by SQLite's application_id: "ADT" and "ADM" and a format.
const (
	trackerFile = 0x41445401
	mailFile    = 0x41444d01
)

// checkpointPages is the length of the WAL at which its pages go into the
// file: 16 MiB, four times the default, since a checkpoint stops the writer.
const checkpointPages = 4000

// DB is an open store: what the contracts do not speak of.
type DB struct {
	db *sql.DB
	w  *writer

	// mu guards what readers share: prepared statements, and addresses by number.
	mu        sync.RWMutex
	stmts     map[string]*sql.Stmt
	addresses map[int64]message.Address
}

// OpenTracker makes or opens a tracker's store in db, which stays the caller's
// to close, after the DB. It sets how many connections db may open.
func OpenTracker(ctx context.Context, db *sql.DB) (*store.Tracker, *DB, error) {
	d, err := open(ctx, db, "migrations/tracker", trackerFile)
	if err != nil {
		return nil, nil, wrap("open tracker", err)
	}
	return &store.Tracker{Identities: d.tables(), Names: d.tables(), Listings: d.tables(), Log: d.tables()}, d, nil
}

// OpenMail makes or opens a mail server's store in db, as OpenTracker does;
// blobs are kept beside it.
func OpenMail(ctx context.Context, db *sql.DB, blobs store.Blobs) (*store.Mail, *DB, error) {
	d, err := open(ctx, db, "migrations/mail", mailFile)
	if err != nil {
		return nil, nil, wrap("open mail", err)
	}
	t := d.tables()
	return &store.Mail{
		Identities: t, Listings: t, Log: t, Accounts: t, Invites: t, Passers: t, Policies: t, Outgoing: t, Deliveries: t,
		Incoming: t, Copies: t, Tasks: t, Inquiries: t, BlobIndex: t, Blobs: blobs,
	}, d, nil
}

// tables has the methods of all contracts over one DB.
type tables struct{ *DB }

func (d *DB) tables() tables { return tables{d} }

func open(ctx context.Context, db *sql.DB, dir string, sort int64) (*DB, error) {
	// One for the writer, one for a backup, and readers as many as can run at
	// once. They stay open: to open one reads the schema again.
	n := runtime.GOMAXPROCS(0) + 2
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, faulty(err)
	}
	d, err := prepare(ctx, db, conn, dir, sort)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return d, nil
}

// prepare checks and migrates the file and starts the writer on conn.
func prepare(ctx context.Context, db *sql.DB, conn *sql.Conn, dir string, sort int64) (*DB, error) {
	if err := checkPragmas(ctx, conn); err != nil {
		return nil, err
	}
	if err := checkSort(ctx, conn, sort); err != nil {
		return nil, err
	}
	for _, pragma := range []string{
		fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", checkpointPages),
		"PRAGMA trusted_schema = OFF",
		"PRAGMA temp_store = MEMORY",
	} {
		if _, err := conn.ExecContext(ctx, pragma); err != nil {
			return nil, faulty(err)
		}
	}
	if err := migrate(ctx, db, dir); err != nil {
		return nil, err
	}
	var p store.Place
	if err := conn.QueryRowContext(ctx, "SELECT epoch, seq FROM log").Scan(&p.Epoch, &p.Seq); err != nil {
		return nil, faulty(err)
	}
	return &DB{db: db, w: startWriter(conn, p), stmts: make(map[string]*sql.Stmt), addresses: make(map[int64]message.Address)}, nil
}

// checkPragmas refuses a database that would lose acknowledged changes at a
// loss of power. One that cannot say how it syncs is taken: a simulated one.
func checkPragmas(ctx context.Context, conn *sql.Conn) error {
	var mode string
	if conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode) == nil && !strings.EqualFold(mode, "wal") {
		return fmt.Errorf("journal_mode is %s; it must be wal", mode)
	}
	var level int
	if conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level) == nil && level < 2 {
		return fmt.Errorf("synchronous is %d; it must be 2 (full) or more", level)
	}
	return nil
}

// checkSort refuses a file that belongs to something else. In a new one the
// sort is written before the tables are, so that a crash between leaves a file
// that can be opened again.
func checkSort(ctx context.Context, conn *sql.Conn, sort int64) error {
	var id int64
	if err := conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return faulty(err)
	}
	if id == sort {
		return nil
	}
	var tables int
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name <> 'goose_db_version' AND name NOT LIKE 'sqlite_%'").Scan(&tables); err != nil {
		return faulty(err)
	}
	if id != 0 || tables > 0 {
		return fmt.Errorf("the file belongs to something else (application id %#x, not %#x)", id, sort)
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", sort))
	return faulty(err)
}

// migrate brings the schema to this program's version.
func migrate(ctx context.Context, db *sql.DB, dir string) error {
	sub, err := fs.Sub(migrations, dir)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return faulty(err)
	case current > target:
		return fmt.Errorf("the file was written by a newer program (schema %d; this one knows %d)", current, target)
	case current == target:
		return nil
	}
	_, err = p.Up(ctx)
	return faulty(err)
}

// Close ends the writer after what it has taken in, and waits for it. Calls
// that come later fail. The *sql.DB stays open.
func (d *DB) Close() error {
	err := d.w.close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.stmts {
		err = errors.Join(err, s.Close())
	}
	clear(d.stmts)
	return wrap("close", faulty(err))
}

// Backup writes a consistent copy of the database to a new file, readable by
// its owner only, while others go on reading and writing. A file that is there
// stays as it is and is an error.
func (d *DB) Backup(ctx context.Context, path string) error {
	// SQLite takes an empty file as a new one, and would make it for all to read.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return wrap("backup", err)
	}
	_, err = d.db.ExecContext(ctx, "VACUUM INTO ?1", path)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return wrap("backup", faulty(err))
}

// Check looks for damage: of the file's structure, and of references between
// tables.
func (d *DB) Check(ctx context.Context) error {
	var found []string
	rows, err := d.db.QueryContext(ctx, "PRAGMA quick_check(10)")
	if err != nil {
		return wrap("check", faulty(err))
	}
	err = drain(rows, func(r *sql.Rows) error {
		var line string
		err := r.Scan(&line)
		if line != "ok" {
			found = append(found, line)
		}
		return err
	})
	if err != nil {
		return wrap("check", err)
	}
	if rows, err = d.db.QueryContext(ctx, `SELECT "table", parent FROM pragma_foreign_key_check LIMIT 10`); err != nil {
		return wrap("check", faulty(err))
	}
	err = drain(rows, func(r *sql.Rows) error {
		var table, parent string
		err := r.Scan(&table, &parent)
		found = append(found, fmt.Sprintf("a row of %s has no row of %s", table, parent))
		return err
	})
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("the file is damaged; restore a backup: %s", strings.Join(found, "; "))
	}
	return wrap("check", err)
}
