package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/sqlite"
	"airdispatch/store/storetest"
)

// openFile opens the mail store in a file; end closes it.
func openFile(t testing.TB, path string) (m *store.Mail, d *sqlite.DB, end func()) {
	t.Helper()
	db, err := sqlite.File(path)
	if err != nil {
		t.Fatal(err)
	}
	m, d, err = sqlite.OpenMail(context.Background(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, d, func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func people(t testing.TB, names ...string) []*storetest.Person {
	t.Helper()
	var out []*storetest.Person
	for _, n := range names {
		p, err := storetest.NewPerson(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestReopen(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "mail.db")
	m, d, end := openFile(t, path)
	p := people(t, "ann", "bob")
	for _, who := range p {
		if err := m.Accounts.Join(ctx, store.Account{Address: who.Address(), Joined: time.Now()}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := p[0].Write(storetest.Draft{To: p[1:], Body: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	r := m.Outgoing.Submit(ctx, []store.Submission{s})[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	tasks, err := m.Tasks.Claim(ctx, store.TaskAlert, s.Now, time.Minute, 10)
	if err != nil || len(tasks) != 1 {
		t.Fatal(tasks, err)
	}
	a := m.Incoming.Alert(ctx, []store.Alert{{To: p[1].Address(), Head: s.Head, Slot: s.Slots[0], Folder: store.Inbox, Now: s.Now, PrefetchAt: s.Now}})[0]
	if a.Err != nil {
		t.Fatal(a.Err)
	}
	if err := m.Incoming.Notify(ctx, p[1].Address(), store.Notice{MID: s.Head.MID, To: p[0].Address(), Reason: message.Expired, Time: s.Now}); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(ctx); err != nil {
		t.Fatal(err)
	}
	end()

	m, _, end = openFile(t, path)
	defer end()
	again := m.Outgoing.Submit(ctx, []store.Submission{s})[0]
	if again.Err != nil || !again.Accepted.Again || again.Accepted.Place != r.Accepted.Place {
		t.Fatalf("got %+v, want %+v again", again, r)
	}
	entries, more, err := m.Incoming.Entries(ctx, p[1].Address(), 0, 10)
	if err != nil || more || len(entries) != 2 || entries[1].Notice == nil {
		t.Fatal(entries, more, err)
	}
	items, _, err := m.Outgoing.List(ctx, store.ListQuery{From: p[0].Address(), Limit: 10, To: p[1].Address()})
	if err != nil || len(items) != 1 || len(items[0].Versions) != 1 || len(items[0].Versions[0].Slots) != 2 {
		t.Fatal(items, err)
	}
	v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, p[1].Address(), s.Now)
	if err != nil || len(v) != 1 || len(v[0].Payload) != len(s.Payload) {
		t.Fatal(v, err)
	}
	e, err := m.Incoming.Entry(ctx, p[1].Address(), s.Head.Ref())
	if err != nil || e.Head == nil {
		t.Fatal(e, err)
	}
	if _, err := m.Deliveries.Deliveries(ctx, s.Head.Ref()); err != nil {
		t.Fatal(err)
	}
	if err := m.Accounts.RemoveAccount(ctx, p[0].Address()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Outgoing.Versions(ctx, s.Head.Ref()); message.CodeOf(err) != message.NotFound {
		t.Fatal(err)
	}
}
