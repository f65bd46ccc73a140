package simdisk

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"

	store "airdispatch/store/sqlite"
)

// database is the name of the one database on a disk.
const database = "data.db"

// Setting is what differs from the settings of the commands.
type Setting struct {
	// Checkpoint, where not 0, is after how many pages the WAL goes into the
	// file, so that losses meet that more often than once in 16 MiB.
	Checkpoint int
	// Planned plans each statement once, whatever is bound to it. Where SQLite may
	// look at what is bound, it plans anew for every call that an index with a
	// condition could serve.
	Planned bool
	// Careless syncs less than a store demands, and does not tell it.
	Careless bool
}

// Plugged is a disk with a database open on it.
type Plugged struct {
	// DB is for store/sqlite to open.
	DB *sql.DB

	machine *Machine
	place   string
}

// Plug opens the database on a disk, and makes it where there is none.
//
// The driver is one of its own: that of go-sqlite3 registers a name that the
// commands' driver has registered already.
func (m *Machine) Plug(d *Disk, s Setting) (*Plugged, error) {
	place := m.plug(d)
	c := &connector{name: "file:" + place + "/" + database + "?vfs=" + m.name, setting: s}
	u, err := url.Parse(store.DSN(database))
	if err != nil {
		return nil, err
	}
	// What the commands' driver is told, in words that SQLite knows; patience first.
	q := u.Query()
	for _, key := range slices.Sorted(maps.Keys(q)) {
		if key != "_txlock" {
			c.pragmas = append(c.pragmas, fmt.Sprintf("PRAGMA %s = %s", strings.TrimPrefix(key, "_"), q.Get(key)))
		}
	}
	return &Plugged{DB: sql.OpenDB(c), machine: m, place: place}, nil
}

// Unplug closes the database and forgets the disk. A dead disk lets go without
// a word; of another one, what SQLite says while it tidies up is returned.
func (p *Plugged) Unplug() error {
	return errors.Join(p.DB.Close(), p.machine.unplug(p.place))
}

// connector opens connections.
type connector struct {
	name    string
	pragmas []string
	setting Setting
}

// Connect opens one and makes its settings.
func (c *connector) Connect(context.Context) (driver.Conn, error) {
	raw, err := sqlite3.Open(c.name)
	if err != nil {
		return nil, coded(err)
	}
	if c.setting.Planned {
		if _, err := raw.Config(sqlite3.DBCONFIG_ENABLE_QPSG, true); err != nil {
			return nil, errors.Join(coded(err), raw.Close())
		}
	}
	for _, p := range c.pragmas {
		if err := raw.Exec(p); err != nil {
			return nil, errors.Join(coded(err), raw.Close())
		}
	}
	if c.setting.Careless {
		if err := raw.Exec("PRAGMA synchronous = NORMAL"); err != nil {
			return nil, errors.Join(coded(err), raw.Close())
		}
	}
	return &conn{raw, c.setting, map[string]*sqlite3.Stmt{}}, nil
}

// Driver is none: connections are opened here alone.
func (c *connector) Driver() driver.Driver { return nil }

// fault is an error with the code that store/sqlite looks for.
type fault struct {
	error
	code int
}

// Code is SQLite's.
func (f fault) Code() int { return f.code }

// Unwrap is the error.
func (f fault) Unwrap() error { return f.error }

func coded(err error) error {
	if e, ok := errors.AsType[*sqlite3.Error](err); ok {
		return fault{err, int(e.ExtendedCode())}
	}
	return err
}

// errSilent answers who asks a careless connection how it syncs.
var errSilent = errors.New("does not say")

// conn is a connection.
type conn struct {
	raw     *sqlite3.Conn
	setting Setting
	// idle are statements that nobody uses now, by their text: the commands'
	// driver keeps them too, and to prepare one costs more than to run it.
	idle map[string]*sqlite3.Stmt
}

// keptIdle bounds them.
const keptIdle = 128

// Prepare prepares one statement.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	if c.setting.Careless && query == "PRAGMA synchronous" {
		return nil, errSilent
	}
	if c.setting.Checkpoint > 0 && strings.HasPrefix(query, "PRAGMA wal_autocheckpoint") {
		query = fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", c.setting.Checkpoint)
	}
	if s := c.idle[query]; s != nil {
		delete(c.idle, query)
		return &stmt{c, s, query}, nil
	}
	s, tail, err := c.raw.Prepare(query)
	if err != nil {
		return nil, coded(err)
	}
	if s == nil || strings.Trim(tail, " \t\r\n;") != "" {
		if s != nil {
			_ = s.Close() // never stepped
		}
		return nil, fmt.Errorf("not one statement: %s", query)
	}
	return &stmt{c, s, query}, nil
}

// Close closes it.
func (c *conn) Close() error {
	for _, s := range c.idle {
		_ = s.Close() // the error is that of the last step, which was told
	}
	clear(c.idle)
	return coded(c.raw.Close())
}

// Begin begins a transaction that writes.
func (c *conn) Begin() (driver.Tx, error) {
	return c, coded(c.raw.Exec("BEGIN IMMEDIATE"))
}

// Commit ends it.
func (c *conn) Commit() error { return coded(c.raw.Exec("COMMIT")) }

// Rollback undoes it.
func (c *conn) Rollback() error { return coded(c.raw.Exec("ROLLBACK")) }

// stmt is a prepared statement.
type stmt struct {
	conn *conn
	raw  *sqlite3.Stmt
	text string
}

// Close puts it aside; the error is that of the last step, which was told.
func (s *stmt) Close() error {
	if s.raw == nil {
		return nil
	}
	raw := s.raw
	s.raw = nil
	clean := errors.Join(raw.Reset(), raw.ClearBindings()) == nil
	if clean && len(s.conn.idle) < keptIdle && s.conn.idle[s.text] == nil && !strings.HasPrefix(s.text, "PRAGMA") {
		s.conn.idle[s.text] = raw
		return nil
	}
	_ = raw.Close() // as above
	return nil
}

// NumInput is how many arguments it takes.
func (s *stmt) NumInput() int { return s.raw.BindCount() }

// bind binds arguments.
func (s *stmt) bind(args []driver.Value) error {
	for i, a := range args {
		var err error
		switch a := a.(type) {
		case nil:
			err = s.raw.BindNull(i + 1)
		case int64:
			err = s.raw.BindInt64(i+1, a)
		case bool:
			err = s.raw.BindBool(i+1, a)
		case string:
			err = s.raw.BindText(i+1, a)
		case []byte:
			if a == nil {
				err = s.raw.BindNull(i + 1)
			} else {
				err = s.raw.BindBlob(i+1, a)
			}
		default:
			err = fmt.Errorf("an argument is a %T", a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Exec runs it to its end.
func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	if err := s.bind(args); err != nil {
		return nil, err
	}
	if err := s.raw.Exec(); err != nil {
		return nil, coded(err)
	}
	return result{s.conn.raw.LastInsertRowID(), s.conn.raw.Changes()}, nil
}

// Query runs it row by row.
func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	if err := s.bind(args); err != nil {
		return nil, err
	}
	return &rows{s.raw}, nil
}

// result is what a statement changed.
type result struct{ id, rows int64 }

// LastInsertId is the id of the row that was inserted last.
func (r result) LastInsertId() (int64, error) { return r.id, nil }

// RowsAffected is how many rows changed.
func (r result) RowsAffected() (int64, error) { return r.rows, nil }

// rows are what a statement finds.
type rows struct{ raw *sqlite3.Stmt }

// Columns are their names.
func (r *rows) Columns() []string {
	names := make([]string, r.raw.ColumnCount())
	for i := range names {
		names[i] = r.raw.ColumnName(i)
	}
	return names
}

// Next steps to the next row.
func (r *rows) Next(into []driver.Value) error {
	if !r.raw.Step() {
		if err := r.raw.Err(); err != nil {
			return coded(err)
		}
		return io.EOF
	}
	for i := range into {
		switch r.raw.ColumnType(i) {
		case sqlite3.INTEGER:
			into[i] = r.raw.ColumnInt64(i)
		case sqlite3.FLOAT:
			into[i] = r.raw.ColumnFloat(i)
		case sqlite3.TEXT:
			into[i] = r.raw.ColumnText(i)
			// The tool that keeps the schema's version wants a time.
			if r.raw.ColumnDeclType(i) == "TIMESTAMP" {
				into[i] = r.raw.ColumnTime(i, sqlite3.TimeFormatAuto)
			}
		case sqlite3.BLOB:
			into[i] = r.raw.ColumnBlob(i, []byte{})
		default:
			into[i] = nil
		}
	}
	return nil
}

// Close makes the statement ready to run again; the error is that of the last
// step, which was told.
func (r *rows) Close() error {
	_ = r.raw.Reset()
	return nil
}
