package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/storetest"
)

// TestBodiesAreErased: after a recall, and after expiry, no version of a message
// has slots or a payload any more, also in rows that are handed out to nobody.
func TestBodiesAreErased(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "mail.db")
	m, _, end := openFile(t, path)
	defer end()
	look, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = look.Close() }()
	p := people(t, "ann", "bob")
	if err := m.Accounts.Join(ctx, store.Account{Address: p[0].Address()}, nil); err != nil {
		t.Fatal(err)
	}
	submit := func(d storetest.Draft) *message.Head {
		t.Helper()
		d.To = p[1:]
		s, err := p[0].Write(d)
		if err == nil {
			err = m.Outgoing.Submit(ctx, []store.Submission{s})[0].Err
		}
		if err != nil {
			t.Fatal(err)
		}
		return s.Head
	}
	bodies := func() (n int) {
		t.Helper()
		if err := look.QueryRow("SELECT count(*) FROM versions WHERE length(payload) + length(parts) > 0").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	two := submit(storetest.Draft{Prev: submit(storetest.Draft{Body: "one"}), Body: "two"})
	over := time.Now().Add(time.Hour)
	submit(storetest.Draft{Body: "for an hour", Terms: message.Ephemeral, Expires: over})
	if n := bodies(); n != 3 {
		t.Fatalf("%d bodies of 3 versions", n)
	}
	submit(storetest.Draft{Prev: two, Recall: true})
	if n := bodies(); n != 1 {
		t.Errorf("%d bodies after the recall, want only that of the other message", n)
	}
	if _, err := m.Outgoing.Expire(ctx, over, 10); err != nil {
		t.Fatal(err)
	}
	if n := bodies(); n != 0 {
		t.Errorf("%d bodies after expiry", n)
	}
}
