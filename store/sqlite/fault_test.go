package sqlite_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/sqlite"
	"airdispatch/store/storetest"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// flaky opens connections of which one statement fails: the one at which left
// comes down to zero.
type flaky struct {
	dsn  string
	left *atomic.Int64
}

func (f flaky) Connect(context.Context) (driver.Conn, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open(f.dsn)
	if err != nil {
		return nil, err
	}
	return flakyConn{c.(*sqlite3.SQLiteConn), f.left}, nil
}

func (f flaky) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

type flakyConn struct {
	*sqlite3.SQLiteConn
	left *atomic.Int64
}

func (c flakyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.SQLiteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return flakyStmt{s.(*sqlite3.SQLiteStmt), c.left, query}, nil
}

type flakyStmt struct {
	*sqlite3.SQLiteStmt
	left  *atomic.Int64
	query string
}

// fails counts a statement. Undoing is let through: SQLite does that by itself
// when it cannot be asked to.
func (s flakyStmt) fails() error {
	if !strings.HasPrefix(s.query, "ROLLBACK") && s.left.Add(-1) == 0 {
		return sqlite3.Error{Code: sqlite3.ErrIoErr}
	}
	return nil
}

func (s flakyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.SQLiteStmt.ExecContext(ctx, args)
}

func (s flakyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.SQLiteStmt.QueryContext(ctx, args)
}

// dump is every row of every table.
func dump(t *testing.T, db *sql.DB) string {
	t.Helper()
	var tables []string
	read(t, db, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name", func(r *sql.Rows) error {
		var name string
		err := r.Scan(&name)
		tables = append(tables, name)
		return err
	})
	var out strings.Builder
	for _, table := range tables {
		read(t, db, "SELECT * FROM "+table, func(r *sql.Rows) error {
			columns, err := r.Columns()
			if err != nil {
				return err
			}
			row := make([]any, len(columns))
			for i := range row {
				row[i] = new(any)
			}
			if err := r.Scan(row...); err != nil {
				return err
			}
			fmt.Fprint(&out, table)
			for _, v := range row {
				fmt.Fprintf(&out, " %v", *v.(*any))
			}
			fmt.Fprintln(&out)
			return nil
		})
	}
	return out.String()
}

func read(t *testing.T, db *sql.DB, query string, each func(r *sql.Rows) error) {
	t.Helper()
	r, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for r.Next() {
		if err := each(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFault makes every statement of every method fail in turn. The
// method must say so and leave nothing behind, and then succeed.
func TestEveryFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	var left atomic.Int64
	db := sql.OpenDB(flaky{sqlite.DSN(path), &left})
	defer func() { _ = db.Close() }()
	look, err := sql.Open("sqlite3", sqlite.DSN(path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = look.Close() }()
	m, d, err := sqlite.OpenMail(context.Background(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	for _, c := range story(t, m) {
		for n := int64(1); ; n++ {
			before := dump(t, look)
			left.Store(n)
			err := c.call()
			met := left.Load() <= 0
			left.Store(0)
			if !met {
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				break
			}
			if err == nil || message.CodeOf(err) != message.Internal {
				t.Fatalf("%s: statement %d failed, and the method says %v", c.name, n, err)
			}
			if after := dump(t, look); after != before {
				t.Fatalf("%s: statement %d failed, and yet something changed:\n%s\n%s", c.name, n, before, after)
			}
		}
	}
}

// call is a method with its arguments.
type call struct {
	name string
	call func() error
}

// story is one call after the other, each of which needs those before it.
func story(t *testing.T, m *store.Mail) []call {
	p := people(t, "ann", "bob")
	ann, bob := p[0].Address(), p[1].Address()
	write := func(from *storetest.Person, d storetest.Draft) store.Submission {
		t.Helper()
		s, err := from.Write(d)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := write(p[0], storetest.Draft{To: p[1:], Body: "one"})
	one.Blobs = []store.BlobRef{{ID: message.ID{1}, Size: 10}}
	two := write(p[0], storetest.Draft{To: p[1:], Prev: one.Head, Body: "two"})
	recall := write(p[0], storetest.Draft{To: p[1:], Prev: two.Head, Recall: true})
	over := write(p[0], storetest.Draft{To: p[1:], Body: "x", Terms: message.Ephemeral, Expires: one.Now.Add(time.Minute)})
	in := write(p[1], storetest.Draft{To: p[:1], Body: "in"})
	in2 := write(p[1], storetest.Draft{To: p[:1], Prev: in.Head, Body: "in, again"})
	in3 := write(p[1], storetest.Draft{To: p[:1], Prev: in2.Head, Recall: true})
	twin := write(p[1], storetest.Draft{To: p[:1], Prev: in.Head, Body: "another"})
	other := write(p[1], storetest.Draft{To: p[:1], Body: "a request"})
	return append(storyOut(m, ann, bob, []store.Submission{one, two, over, recall}), storyIn(m, ann, bob, []store.Submission{in, in2, in3, twin, other})...)
}

func submitting(m *store.Mail, s store.Submission) func() error {
	return func() error {
		r := m.Outgoing.Submit(context.Background(), []store.Submission{s})[0]
		// What is refused in the end is no error here.
		if errors.Is(r.Err, message.AlreadyFetched) || errors.Is(r.Err, message.Conflict) && r.Current != nil {
			return nil
		}
		return r.Err
	}
}

func storyOut(m *store.Mail, ann, bob message.Address, s []store.Submission) []call {
	ctx := context.Background()
	ref, now := s[0].Head.Ref(), s[0].Now
	late := s[2]
	late.Head = s[1].Head
	var claimed []store.Task
	final := s[3]
	final.UnlessFetched = true
	return []call{
		{"invite", func() error { return m.Invites.PutInvite(ctx, [32]byte{1}, 1, now.Add(time.Hour)) }},
		{"join", func() error {
			return m.Accounts.Join(ctx, store.Account{Address: ann}, &store.InviteUse{Token: [32]byte{1}, Now: now})
		}},
		{"change", func() error { return m.Accounts.ChangeAccount(ctx, ann, store.AccountChange{Trackers: []string{"x"}}) }},
		{"reserve", func() error { return m.BlobIndex.Reserve(ctx, ann, s[0].Blobs[0], now) }},
		{"complete", func() error { return m.BlobIndex.Complete(ctx, ann, s[0].Blobs[0].ID) }},
		{"release", func() error { return m.BlobIndex.Release(ctx, ann, s[0].Blobs[0].ID) }},
		{"submit", submitting(m, s[0])},
		{"submit again", submitting(m, s[0])},
		{"edit", submitting(m, s[1])},
		{"conflict", submitting(m, func() store.Submission { x := s[1]; h := *x.Head; h.ID = message.ID{1}; x.Head = &h; return x }())},
		{"submit what is over", submitting(m, s[2])},
		{"used", func() error { _, err := m.BlobIndex.Used(ctx, ref, s[0].Blobs[0].ID); return err }},
		{"versions", func() error { _, err := m.Outgoing.Versions(ctx, ref); return err }},
		{"list", func() error {
			_, _, err := m.Outgoing.List(ctx, store.ListQuery{From: ann, Limit: 5, To: bob})
			return err
		}},
		{"serve", func() error {
			_, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: ref}, bob, now)
			return err
		}},
		{"final", submitting(m, final)},
		{"claim", func() (err error) { claimed, err = m.Tasks.Claim(ctx, store.TaskAlert, now, 0, 1); return err }},
		{"report", func() error {
			return m.Deliveries.Report(ctx, []store.Report{{Ref: ref, To: bob, Version: 2, State: store.Alerted, Receipt: &wirev1.Signed{Body: []byte("r")}}})
		}},
		{"retry", func() error { return m.Tasks.Settle(ctx, []store.Outcome{{ID: claimed[0].ID, Version: 2, Retry: now}}) }},
		{"settle", func() error {
			return m.Tasks.Settle(ctx, []store.Outcome{{ID: claimed[0].ID, Version: 2, Done: true}})
		}},
		{"add alert task", func() error {
			return m.Tasks.AddTasks(ctx, []store.Task{{Kind: store.TaskAlert, Ref: ref, Peer: bob, Version: 2}})
		}},
		{"deliveries", func() error { _, err := m.Deliveries.Deliveries(ctx, ref); return err }},
		{"recall", submitting(m, s[3])},
		{"expire", func() error { _, err := m.Outgoing.Expire(ctx, now.Add(time.Hour), 5); return err }},
		{"unused", func() error { _, err := m.BlobIndex.Unused(ctx, now.Add(time.Hour), 5); return err }},
	}
}

func storyIn(m *store.Mail, ann, bob message.Address, s []store.Submission) []call {
	ctx := context.Background()
	ref, now := s[0].Head.Ref(), s[0].Now
	yes := true
	alert := func(s store.Submission, a store.Alert) func() error {
		a.To, a.Head, a.Now, a.PrefetchAt = ann, s.Head, now, now
		if len(s.Slots) > 0 {
			a.Slot = s.Slots[0]
		}
		return func() error {
			err := m.Incoming.Alert(ctx, []store.Alert{a})[0].Err
			if errors.Is(err, message.Conflict) {
				return nil
			}
			return err
		}
	}
	inbox, requests := store.Alert{Folder: store.Inbox}, store.Alert{Folder: store.Requests, Caps: store.Caps{PerOrigin: 1}}
	mark := func(k store.Marking) func() error {
		return func() error { return m.Incoming.Mark(ctx, ann, []store.Marking{k}) }
	}
	var task []store.Task
	return []call{
		{"alert", alert(s[0], requests)},
		{"alert again", alert(s[0], requests)},
		{"alert in its place", alert(s[4], requests)},
		{"alert of a newer one", alert(s[1], inbox)},
		{"alert that contradicts", alert(s[3], inbox)},
		{"verdicts", func() error {
			return m.Policies.SetVerdicts(ctx, ann, map[message.Address]store.Verdict{bob: store.Allow})
		}},
		{"copy", func() error {
			return m.Copies.PutCopy(ctx, ann, store.Copy{Ref: ref, Version: 2, Payload: []byte("x"), Blobs: []store.BlobRef{{ID: message.ID{2}}}, At: now})
		}},
		{"read copy", func() error { _, err := m.Copies.Copy(ctx, ann, ref); return err }},
		{"claim prefetch", func() (err error) { task, err = m.Tasks.Claim(ctx, store.TaskPrefetch, now, 0, 9); return err }},
		{"retry", func() error {
			return m.Tasks.Settle(ctx, []store.Outcome{{ID: task[0].ID, Version: task[0].Version, Retry: now}})
		}},
		{"notify", func() error {
			return m.Incoming.Notify(ctx, ann, store.Notice{MID: message.MID{1}, To: bob, Time: now})
		}},
		{"entries", func() error { _, _, err := m.Incoming.Entries(ctx, ann, 0, 10); return err }},
		{"entry", func() error { _, err := m.Incoming.Entry(ctx, ann, ref); return err }},
		{"mark", mark(store.Marking{Ref: ref, Read: &yes})},
		{"mark a notice", mark(store.Marking{Ref: message.Ref{From: ann, MID: message.MID{1}}, Read: &yes})},
		{"recall", alert(s[2], inbox)},
		{"delete", mark(store.Marking{Ref: s[4].Head.Ref(), Deleted: &yes})},
		{"add task", func() error {
			return m.Tasks.AddTasks(ctx, []store.Task{{Kind: store.TaskReceipt, Ref: ref, Peer: bob, Version: 2, Receipt: &wirev1.Signed{}}})
		}},
		{"next due", func() error { _, err := m.Tasks.NextDue(ctx, store.TaskReceipt); return err }},
		{"evidence", func() error { _, err := m.Identities.Evidence(ctx, bob); return err }},
		{"put identity", func() error {
			_, err := m.Identities.Identity(ctx, ann)
			if !errors.Is(err, message.NotFound) {
				return err
			}
			return m.Identities.PutIdentity(ctx, &store.IdentityRecord{Address: ann})
		}},
		{"listing", func() error { return m.Listings.SetListing(ctx, ann, store.Allowed) }},
		{"listed", func() error { _, err := m.Listings.Listed(ctx); return err }},
		{"verdict", func() error { _, err := m.Policies.Verdict(ctx, ann, bob); return err }},
		{"all verdicts", func() error { _, err := m.Policies.Verdicts(ctx, ann); return err }},
		{"accounts", func() error { _, err := m.Accounts.Accounts(ctx, message.Address{}, 5); return err }},
		{"advance", func() error { _, err := m.Log.Advance(ctx); return err }},
		{"raise", func() error { return m.Log.RaiseEpoch(ctx) }},
		{"remove", func() error { return m.Accounts.RemoveAccount(ctx, ann) }},
	}
}
