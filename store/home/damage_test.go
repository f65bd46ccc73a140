package home_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airdispatch/message"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// calls are what asks a home for something, each with what it needs.
func calls(ctx context.Context, h *home.Home) map[string]func() error {
	me, you, ref := addressOf(1), addressOf(2), refOf(2, 1)
	return map[string]func() error{
		"account":   func() error { _, err := h.Account(ctx, me); return err },
		"accounts":  func() error { _, err := h.Accounts(ctx); return err },
		"cursor":    func() error { _, _, err := h.Cursor(ctx, me, "inbox"); return err },
		"contact":   func() error { _, err := h.Contact(ctx, "bob"); return err },
		"contacts":  func() error { _, err := h.Contacts(ctx); return err },
		"pin":       func() error { _, err := h.Pin(ctx, "bob@hill"); return err },
		"pins":      func() error { _, err := h.Pins(ctx); return err },
		"accepted":  func() error { _, err := h.Accepted(ctx, you); return err },
		"follows":   func() error { _, err := h.Follows(ctx, me); return err },
		"draft":     func() error { _, err := h.Draft(ctx, me, 1); return err },
		"drafts":    func() error { _, err := h.Drafts(ctx, me); return err },
		"upload":    func() error { _, err := h.Upload(ctx, me, "/f"); return err },
		"identity":  func() error { _, err := h.Identity(ctx, you); return err },
		"evidence":  func() error { _, err := h.Evidence(ctx, you); return err },
		"message":   func() error { _, err := h.Message(ctx, me, ref); return err },
		"find":      func() error { _, err := h.Find(ctx, me, you, "ab", 3); return err },
		"list":      func() error { _, err := h.List(ctx, me, home.Query{Words: []string{"w"}}); return err },
		"versions":  func() error { _, err := h.Versions(ctx, me, ref); return err },
		"notices":   func() error { _, err := h.Notices(ctx, me); return err },
		"handovers": func() error { _, err := h.Handovers(ctx, me); return err },
		"put":       func() error { return h.PutMessage(ctx, me, home.Message{Ref: ref, Version: 1, Head: statement("h")}) },
		"put draft": func() error { _, err := h.PutDraft(ctx, me, home.Draft{Body: []byte("b")}); return err },
		"resolve":   func() error { _, err := h.Resolve(ctx, "bob@hill", you, noon); return err },
		"add":       func() error { return h.AddContact(ctx, home.Contact{Name: "bob", Address: you}) },
		"mark":      func() error { return h.Mark(ctx, me, ref, home.Marking{}) },
		"forget":    func() error { return h.Forget(ctx, me, ref) },
		"erase":     func() error { return h.Erase(ctx, me, ref) },
		"expire":    func() error { return h.Expire(ctx, noon) },
		"leave":     func() error { return h.RemoveAccount(ctx, me) },
	}
}

// TestHomeThatIsGone: what cannot be asked is not merely empty.
func TestHomeThatIsGone(t *testing.T) {
	h, err := home.Open(t.Context(), t.TempDir())
	ok(t, err)
	ok(t, h.Close())
	for what, call := range calls(t.Context(), h) {
		if err := call(); err == nil || errors.Is(err, message.NotFound) || !strings.HasPrefix(err.Error(), "home: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRowsThatAreNoMore: rows that somebody else has written into the file are
// errors, and take nothing down.
func TestRowsThatAreNoMore(t *testing.T) {
	dir := t.TempDir()
	h, err := home.Open(t.Context(), dir)
	ok(t, err)
	defer h.Close()
	me, you, ref := addressOf(1), addressOf(2), refOf(2, 1)
	content := &message.Content{}
	content.Set(message.TypeMarkdown, []byte("w"))
	_, err = h.Resolve(t.Context(), "bob@hill", you, noon)
	ok(t, errors.Join(err,
		h.AddContact(t.Context(), home.Contact{Name: "bob", Address: you, Added: noon}),
		h.SetFollow(t.Context(), me, you, true, noon),
		h.Accept(t.Context(), you, message.ID{1}, noon),
		h.AddEvidence(t.Context(), you, "head", statement("a"), statement("b")),
		h.PutUpload(t.Context(), me, home.Upload{Path: "/f", Attachment: message.Attachment{Name: "f"}}, noon),
		h.PutNotice(t.Context(), me, home.Notice{MID: ref.MID, To: you, Version: 1, Time: noon}),
		h.PutHandover(t.Context(), me, home.Handover{MID: ref.MID, Version: 1, Submission: &wirev1.Submission{}, Time: noon}),
		h.PutMessage(t.Context(), me, home.Message{Ref: ref, Version: 1, Head: statement("h"), Time: noon}),
		h.PutVersion(t.Context(), me, ref, home.Version{Number: 1, Head: statement("h"), Content: content}),
	))
	db, err := sql.Open("sqlite3", filepath.Join(dir, home.FileName))
	ok(t, err)
	defer db.Close()
	for _, tt := range []struct{ change, call string }{
		{`update contact set address = x'0102'`, "contact"},
		{`update contact set address = x'0102'`, "contacts"},
		{`update pin set offered = x'01'`, "pin"},
		{`update pin set address = x'01'`, "pins"},
		{`update accepted set card = x'01'`, "accepted"},
		{`update follow set address = x'01'`, "follows"},
		{`update evidence set b = x'ff'`, "evidence"},
		{`update evidence set a = x'ff'`, "evidence"},
		{`update upload set attachment = x'ff'`, "upload"},
		{`update notice set peer = x'01'`, "notices"},
		{`update notice set mid = x'01'`, "notices"},
		{`update handover set mid = x'01'`, "handovers"},
		{`update handover set submission = x'ff'`, "handovers"},
		{`update version set content = x'ff'`, "versions"},
		{`update version set head = x'ff'`, "versions"},
		{`update message set slot = x'ff'`, "message"},
		{`update message set head = x'ff'`, "list"},
		{`update message set author = x'01'`, "list"},
	} {
		ok(t, calls(t.Context(), h)[tt.call]())
		tx, err := db.BeginTx(t.Context(), nil)
		ok(t, err)
		_, err = tx.ExecContext(t.Context(), tt.change)
		ok(t, errors.Join(err, tx.Commit()))
		err = calls(t.Context(), h)[tt.call]()
		if err == nil || errors.Is(err, message.NotFound) {
			t.Errorf("%s: %v", tt.change, err)
		}
		// As it was before.
		ok(t, restore(t.Context(), db, tt.change))
	}
}

// restore undoes a change by writing what TestRowsThatAreNoMore had put there.
func restore(ctx context.Context, db *sql.DB, change string) error {
	column, _, _ := strings.Cut(strings.SplitN(change, " set ", 2)[1], " ")
	table := strings.Fields(change)[1]
	you, ref := addressOf(2), refOf(2, 1)
	content := &message.Content{}
	content.Set(message.TypeMarkdown, []byte("w"))
	raw, err := message.MarshalContent(content)
	if err != nil {
		return err
	}
	card := message.ID{1}
	was := map[string][]byte{
		"address": you.Bytes(), "peer": you.Bytes(), "author": you.Bytes(), "mid": ref.MID.Bytes(), "card": card[:], "content": raw,
		"submission": {}, "offered": {}, "head": {}, "slot": {}, "a": {}, "b": {}, "attachment": {},
	}
	_, err = db.ExecContext(ctx, `update `+table+` set `+column+` = ?`, was[column])
	return err
}

// TestDamagedFile: a file that is no database, and one that was one, are told
// apart from every other fault, and nothing is written over them.
func TestDamagedFile(t *testing.T) {
	whole := t.TempDir()
	h, err := home.Open(t.Context(), whole)
	ok(t, err)
	for n := range 200 {
		ok(t, h.PutMessage(t.Context(), addressOf(1), home.Message{Ref: refOf(2, byte(n)), Version: 1, Head: statement(strings.Repeat("h", 500))}))
	}
	ok(t, h.Close())
	good, err := os.ReadFile(filepath.Join(whole, home.FileName))
	ok(t, err)
	middle := append([]byte(nil), good...)
	for n := 100; n < len(middle); n++ {
		middle[n] = byte(n)
	}
	for what, b := range map[string][]byte{"text": []byte("a letter to somebody, and no database"), "overwritten": middle} {
		dir := t.TempDir()
		path := filepath.Join(dir, home.FileName)
		ok(t, os.WriteFile(path, b, 0o600))
		if _, err := home.Open(t.Context(), dir); !errors.Is(err, home.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(b) {
			t.Errorf("%s: it was written over: %v", what, err)
		}
	}
	if _, err := home.Open(t.Context(), filepath.Join(whole, home.FileName)); err == nil || errors.Is(err, home.ErrDamaged) {
		t.Errorf("a home that is a file: %v", err)
	}
}

// TestRowsThatLeftTheirLists: a row that a changed byte moved to where no query
// looks is missed, and so is one that others refer to.
func TestRowsThatLeftTheirLists(t *testing.T) {
	me, you, ref := addressOf(1), addressOf(2), refOf(2, 1)
	for _, tt := range []struct{ change, call string }{
		{`update message set owner = x'07'`, "list"},
		{`update message set hidden = 1`, "list"},
		{`update message set folder = folder + 8`, "list"},
		{`update message set box = box + 8`, "list"},
		{`update message set read = 1 - read`, "list"},
		{`delete from message`, "list"},
		{`update draft set owner = x'07'`, "drafts"},
		{`update follow set owner = x'07'`, "follows"},
		{`update notice set owner = x'07'`, "notices"},
		{`update handover set owner = x'07'`, "handovers"},
		{`delete from contact`, "contacts"},
		{`delete from pin`, "pins"},
		{`update version set message = message + 1`, "versions"},
		{`update version set version = version + 1`, "versions"},
		{`update version set content = null`, "versions"},
		{`update message set mid_hex = 'f' || mid_hex`, ""},
		{`update message set head = x'0a00'`, ""},
		{`update part set message = message + 1`, ""},
	} {
		dir := t.TempDir()
		h, err := home.Open(t.Context(), dir)
		ok(t, err)
		content := &message.Content{}
		content.Set(message.TypeMarkdown, []byte("w"))
		_, pinErr := h.Resolve(t.Context(), "bob@hill", you, noon)
		_, draftErr := h.PutDraft(t.Context(), me, home.Draft{Body: []byte("b")})
		ok(t, errors.Join(pinErr, draftErr,
			h.AddContact(t.Context(), home.Contact{Name: "bob", Address: you, Added: noon}),
			h.SetFollow(t.Context(), me, you, true, noon),
			h.PutNotice(t.Context(), me, home.Notice{MID: ref.MID, To: you, Version: 1, Time: noon}),
			h.PutHandover(t.Context(), me, home.Handover{MID: ref.MID, Version: 1, Submission: &wirev1.Submission{}, Time: noon}),
			h.PutMessage(t.Context(), me, home.Message{Ref: ref, Version: 1, Head: statement("h"), Time: noon}),
			h.PutVersion(t.Context(), me, ref, home.Version{Number: 1, Head: statement("h"), Content: content}),
			h.Check(t.Context()),
		))
		db, err := sql.Open("sqlite3", filepath.Join(dir, home.FileName))
		ok(t, err)
		db.SetMaxOpenConns(1)
		// A disk asks no triggers.
		for _, table := range []string{"message", "draft", "follow", "notice", "contact", "pin", "handover"} {
			for _, event := range []string{"insert", "update", "delete"} {
				_, err = db.ExecContext(t.Context(), `drop trigger if exists `+table+`_`+event)
				ok(t, err)
			}
		}
		_, err = db.ExecContext(t.Context(), `insert into part (message, version, n, data) select n, 1, 0, x'01' from message`)
		ok(t, err)
		ok(t, h.Check(t.Context()))
		_, err = db.ExecContext(t.Context(), tt.change)
		ok(t, errors.Join(err, db.Close()))
		if tt.call != "" {
			if err := calls(t.Context(), h)[tt.call](); !errors.Is(err, home.ErrDamaged) {
				t.Errorf("%s: %s: %v", tt.change, tt.call, err)
			}
		}
		if err := h.Check(t.Context()); !errors.Is(err, home.ErrDamaged) {
			t.Errorf("%s: check: %v", tt.change, err)
		}
		ok(t, h.Close())
	}
}
