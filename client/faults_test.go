package client_test

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"airdispatch/client"
	"airdispatch/message"
	"airdispatch/rpc"
)

// ailing is a home in which writing to a table can be made to fail.
type ailing struct {
	t      *testing.T
	db     *sql.DB
	tables []string
}

func newAiling(t *testing.T, db *sql.DB) *ailing {
	t.Helper()
	a := &ailing{t: t, db: db}
	rows, err := db.QueryContext(t.Context(), `select name from sqlite_master where type = 'table' and name not like 'sqlite_%' and name not like 'goose_%'`)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		a.tables = append(a.tables, name)
	}
	must(t, rows.Err())
	return a
}

// breaks makes every change of a table fail for the time of do.
func (a *ailing) breaks(table string, do func()) {
	a.t.Helper()
	for _, change := range []string{"insert", "update", "delete"} {
		_, err := a.db.ExecContext(a.t.Context(), fmt.Sprintf(`create trigger ail_%s before %s on %s begin select raise(abort, 'disk on fire'); end`, change, change, table))
		must(a.t, err)
	}
	do()
	for _, change := range []string{"insert", "update", "delete"} {
		_, err := a.db.ExecContext(a.t.Context(), `drop trigger ail_`+change)
		must(a.t, err)
	}
}

// newAilingClient is somebody with an account and such a home.
func newAilingClient(t *testing.T) (*client.Client, *ailing, *message.Keyring) {
	t.Helper()
	w := newWorld(t, "hill.test")
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "home.sqlite")+"?_journal_mode=WAL&_foreign_keys=on&_txlock=immediate&_secure_delete=on")
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	db.SetMaxOpenConns(1)
	k := keyringOf(t, message.RoleUser)
	ann, err := client.Open(t.Context(), client.Config{DB: db, Keyring: k, Rand: rand.Reader, RPC: rpc.Config{Dial: w.network.Dialer("ann")}, Trackers: w.trackers})
	must(t, err)
	t.Cleanup(func() { must(t, ann.Close()) })
	_, err = ann.Register(t.Context(), client.Registration{Server: w.server, Trackers: w.trackers})
	must(t, err)
	a := newAiling(t, db)
	if len(a.tables) < 10 {
		t.Fatalf("only the tables %q", a.tables)
	}
	return ann, a, k
}

// TestHomeThatLacksAPart: what cannot be read is never said to be not there.
func TestHomeThatLacksAPart(t *testing.T) {
	ann, a, k := newAilingClient(t)
	ctx, to := t.Context(), k.Address().String()
	path, _ := someFile(t, "f.bin", 1000)
	sent, err := ann.Send(ctx, client.Draft{To: []string{to}, Subject: "s", Body: "words", Attach: []client.File{{Path: path}}})
	must(t, err)
	m := sent[0].Head.Ref()
	_, err = ann.Send(ctx, client.Draft{Public: true, Name: "hello", Body: "everybody"})
	must(t, err)
	_, err = ann.SetProfile(ctx, text("Ann"), nil)
	must(t, err)
	_, err = ann.AddContact(ctx, to, "me")
	must(t, errors.Join(err, ann.Follow(ctx, k.Address())))
	eventually(t, "the letter in the inbox", func() bool {
		_, err := ann.Sync(ctx)
		must(t, err)
		items, err := ann.Inbox(ctx, client.InboxQuery{})
		must(t, err)
		return len(items) == 1
	})
	calls := map[string]func() error{
		"account":  func() error { _, err := ann.Account(ctx); return err },
		"inbox":    func() error { _, err := ann.Inbox(ctx, client.InboxQuery{}); return err },
		"sync":     func() error { _, err := ann.Sync(ctx); return err },
		"fetch":    func() error { return errors.Join(ann.FetchNew(ctx), ann.FetchSent(ctx)) },
		"sent":     func() error { _, err := ann.Sent(ctx, 1); return errors.Join(err, ann.SyncSent(ctx)) },
		"notices":  func() error { _, err := ann.Notices(ctx); return err },
		"search":   func() error { _, err := ann.Search(ctx, []string{"words"}); return err },
		"versions": func() error { _, err := ann.Versions(ctx, m); return err },
		"offline":  func() error { _, err := ann.Read(ctx, m, client.ReadOptions{Offline: true}); return err },
		"read":     func() error { _, err := ann.Read(ctx, m, client.ReadOptions{Opened: true}); return err },
		"attached": func() error { _, err := ann.Attachment(ctx, m, "1"); return err },
		"status":   func() error { _, err := ann.Status(ctx, m); return err },
		"find":     func() error { _, err := ann.Find(ctx, m.MID.String()[:20]); return err },
		"reply":    func() error { _, err := ann.ReplyDraft(ctx, m, true); return err },
		"forward":  func() error { _, err := ann.ForwardDraft(ctx, m, []string{to}, "n"); return err },
		"mark":     func() error { return ann.Mark(ctx, []message.Ref{m}, client.Marks{Read: client.Set}) },
		"drafts":   func() error { _, err := ann.Drafts(ctx); return err },
		"contacts": func() error { _, err := ann.Contacts(ctx); return err },
		"resolve":  func() error { _, err := ann.Resolve(ctx, "me"); return err },
		"pins":     func() error { _, err := ann.Pins(ctx); return err },
		"posts":    func() error { _, err := ann.Posts(ctx, k.Address()); return err },
		"feed":     func() error { _, err := ann.Feed(ctx, 0); return err },
		"profile":  func() error { _, err := ann.Profile(ctx, k.Address()); return err },
		"lookup":   func() error { _, err := ann.Lookup(ctx, to); return err },
		"verdicts": func() error { _, err := ann.Policies(ctx); return err },
		"save": func() error {
			at, err := ann.Attachment(ctx, m, "")
			if err == nil {
				_, err = ann.Save(ctx, m, at, t.TempDir(), "")
			}
			return err
		},
	}
	failed := 0
	for _, table := range a.tables {
		_, err := a.db.ExecContext(ctx, `alter table `+table+` rename to lost`)
		must(t, err)
		for what, call := range calls {
			if err := call(); err != nil {
				failed++
				if errors.Is(err, message.NotFound) || errors.Is(err, client.ErrNoAccount) {
					t.Errorf("%s without the table %s: %v", what, table, err)
				}
			}
		}
		_, err = a.db.ExecContext(ctx, `alter table lost rename to `+table)
		must(t, err)
	}
	if failed < 20 {
		t.Errorf("only %d calls failed", failed)
	}
	for what, call := range calls {
		if err := call(); err != nil {
			t.Errorf("%s, when all is there again: %v", what, err)
		}
	}
}

// TestHomeThatCannotBeWritten: whichever part of the home fails at whatever is
// done, nothing is lost and nothing is done twice: done again, it comes out as if
// there had been no fault.
func TestHomeThatCannotBeWritten(t *testing.T) {
	ann, a, k := newAilingClient(t)
	path, _ := someFile(t, "f.bin", 1000)
	failed := 0
	for _, table := range a.tables {
		l := &lifetime{t: t, c: ann, subject: table, to: k.Address().String(), path: path}
		for _, step := range []func() error{l.send, l.arrive, l.read, l.edit, l.recall} {
			var err error
			a.breaks(table, func() { err = step() })
			if err != nil {
				failed++
			}
			l.mend(step)
		}
		l.check()
	}
	if failed < 10 {
		t.Errorf("only %d steps failed", failed)
	}
}

// lifetime is one letter to oneself from beginning to end.
type lifetime struct {
	t                 *testing.T
	c                 *client.Client
	subject, to, path string
}

// letters are those with the subject.
func (l *lifetime) letters() []*client.Item {
	l.t.Helper()
	must(l.t, l.c.SyncSent(l.t.Context()))
	must(l.t, l.c.FetchSent(l.t.Context()))
	all, err := l.c.Sent(l.t.Context(), 0)
	must(l.t, err)
	var out []*client.Item
	for _, i := range all {
		if i.Subject == l.subject {
			out = append(out, i)
		}
	}
	return out
}

func (l *lifetime) ref() message.Ref {
	l.t.Helper()
	all := l.letters()
	if len(all) != 1 {
		l.t.Fatalf("%s: %d letters", l.subject, len(all))
	}
	return all[0].Ref
}

// mend sends what was kept as a draft, and does a step again where it did not
// come through.
func (l *lifetime) mend(step func() error) {
	l.t.Helper()
	drafts, err := l.c.Drafts(l.t.Context())
	must(l.t, err)
	for _, d := range drafts {
		_, err := l.c.SendDraft(l.t.Context(), d.ID)
		must(l.t, err)
	}
	must(l.t, step())
}

func (l *lifetime) send() error {
	if all, err := l.c.Sent(l.t.Context(), 0); err != nil || len(all) > 0 && all[len(all)-1].Subject == l.subject {
		return err
	}
	_, err := l.c.Send(l.t.Context(), client.Draft{To: []string{l.to}, Subject: l.subject, Body: "first", Attach: []client.File{{Path: l.path}}})
	return err
}

func (l *lifetime) arrive() error {
	if _, err := l.c.Sync(l.t.Context()); err != nil {
		return err
	}
	return l.c.FetchNew(l.t.Context())
}

func (l *lifetime) newest() (*client.Item, error) {
	all, err := l.c.Sent(l.t.Context(), 0)
	if err != nil {
		return nil, err
	}
	return all[len(all)-1], nil
}

func (l *lifetime) read() error {
	i, err := l.newest()
	if err != nil {
		return err
	}
	_, err = l.c.Read(l.t.Context(), i.Ref, client.ReadOptions{Opened: true})
	return err
}

func (l *lifetime) edit() error {
	i, err := l.newest()
	if err != nil || i.Head.Version == 2 {
		return err
	}
	body := "second"
	_, err = l.c.Edit(l.t.Context(), i.Ref, client.Revision{Body: &body})
	return err
}

func (l *lifetime) recall() error {
	i, err := l.newest()
	if err != nil || i.Head.Tombstone() {
		return err
	}
	_, err = l.c.Recall(l.t.Context(), i.Ref)
	if _, clash := errors.AsType[*client.ConflictError](err); clash {
		// It came through, and only the own copy was not written.
		return l.c.SyncSent(l.t.Context())
	}
	return err
}

// check compares with a life without faults.
func (l *lifetime) check() {
	l.t.Helper()
	ref := l.ref()
	p, err := l.c.Status(l.t.Context(), ref)
	must(l.t, err)
	if p.Head.Version != 3 || p.State != client.StateRecalled || len(p.Deliveries) != 1 {
		l.t.Errorf("%s: %+v", l.subject, p)
	}
	versions, err := l.c.Versions(l.t.Context(), ref)
	must(l.t, err)
	var bodies []string
	for _, v := range versions {
		body, _ := v.Content.Body()
		bodies = append(bodies, body)
	}
	if fmt.Sprint(bodies) != "[first second]" {
		l.t.Errorf("%s: the own copies say %q", l.subject, bodies)
	}
	if drafts, err := l.c.Drafts(l.t.Context()); err != nil || len(drafts) != 0 {
		l.t.Errorf("%s: %+v, %v", l.subject, drafts, err)
	}
}
