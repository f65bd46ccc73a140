package home_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func openHome(t *testing.T) *home.Home {
	t.Helper()
	h, err := home.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func newKeyring(t testing.TB) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	k, err := message.NewKeyring(message.RoleUser, paper, noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func addressOf(n byte) message.Address { return message.Address{0: n, 24: n} }

func refOf(from, n byte) message.Ref {
	return message.Ref{From: addressOf(from), MID: message.MID{0: 0xab, 14: from, 15: n}}
}

func statement(s string) *wirev1.Signed { return &wirev1.Signed{Body: []byte(s)} }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	h, err := home.Open(t.Context(), dir)
	ok(t, err)
	ok(t, h.PutAccount(t.Context(), home.Account{Owner: addressOf(1), Server: message.Reference{URL: "https://a.example"}}))
	entries, err := os.ReadDir(dir)
	ok(t, err)
	for _, e := range append(entries, mustStat(t, dir)) {
		info, err := e.Info()
		ok(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	ok(t, h.Close())
}

func mustStat(t *testing.T, path string) os.DirEntry {
	t.Helper()
	parent, err := os.ReadDir(filepath.Dir(path))
	ok(t, err)
	for _, e := range parent {
		if e.Name() == filepath.Base(path) {
			return e
		}
	}
	t.Fatal("no ", path)
	return nil
}

func TestNewerFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	h, err := home.Open(t.Context(), dir)
	ok(t, err)
	ok(t, h.Close())
	db, err := sql.Open("sqlite3", filepath.Join(dir, home.FileName))
	ok(t, err)
	_, err = db.Exec(`insert into goose_db_version (version_id, is_applied) values (9999, 1)`)
	ok(t, err)
	ok(t, db.Close())
	if _, err := home.Open(t.Context(), dir); !errors.Is(err, message.Unsupported) {
		t.Fatal("opened a newer file: ", err)
	}
}

func TestOneFileForManyProcesses(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			h, err := home.Open(t.Context(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			for i := range 10 {
				if err := h.AddContact(t.Context(), home.Contact{Name: fmt.Sprintf("c%d-%d", n, i), Address: addressOf(1)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	h, err := home.Open(t.Context(), dir)
	ok(t, err)
	defer h.Close()
	all, err := h.Contacts(t.Context())
	ok(t, err)
	if len(all) != 40 {
		t.Fatalf("%d contacts, not 40", len(all))
	}
}

func TestKnownRemembersInAHome(t *testing.T) {
	h := openHome(t)
	k := newKeyring(t)
	known := store.NewKnown(h, crypto.Single{})
	_, err := known.Learn(t.Context(), &wirev1.Identity{Cards: k.Chain.Signed(0)}, noon)
	ok(t, err)
	// Another memory over the same file reads it back.
	i, err := store.NewKnown(h, crypto.Single{}).Identity(t.Context(), k.Address())
	ok(t, err)
	if i.Address() != k.Address() || !i.FirstSeen[0].Equal(noon) {
		t.Fatalf("read back %v, first seen %v", i.Address(), i.FirstSeen)
	}
	if _, err := known.Identity(t.Context(), addressOf(9)); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
}

func TestIdentityIsReplacedByRevision(t *testing.T) {
	h := openHome(t)
	r := &store.IdentityRecord{Address: addressOf(1), Pair: message.Pair{Card: math.MaxUint64, Route: math.MaxUint64 - 1}, Updated: noon}
	ok(t, h.PutIdentity(t.Context(), r))
	if err := h.PutIdentity(t.Context(), r); !errors.Is(err, message.Conflict) {
		t.Fatal("put twice as new: ", err)
	}
	got, err := h.Identity(t.Context(), r.Address)
	ok(t, err)
	if got.Pair != r.Pair || got.Revision != 1 || !got.Updated.Equal(noon) || !got.Expires.IsZero() {
		t.Fatalf("%+v", got)
	}
	r.Revision = 1
	ok(t, h.PutIdentity(t.Context(), r))
	if err := h.PutIdentity(t.Context(), r); !errors.Is(err, message.Conflict) {
		t.Fatal("put over a newer revision: ", err)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	h := openHome(t)
	for range 2 {
		for n := range 20 {
			ok(t, h.AddEvidence(t.Context(), addressOf(1), "head", statement("a"), statement(fmt.Sprint(n))))
		}
	}
	got, err := h.Evidence(t.Context(), addressOf(1))
	ok(t, err)
	if len(got) != 16 || string(got[0][1].Body) != "0" || string(got[15][1].Body) != "15" {
		t.Fatalf("%d pairs of evidence", len(got))
	}
}

func TestAccounts(t *testing.T) {
	h := openHome(t)
	a := home.Account{
		Owner: addressOf(1), Server: message.Reference{URL: "https://m.example", Address: addressOf(7)}, Name: "ann@t.example",
		Trackers: []message.Reference{{URL: "https://t.example:8443"}, {URL: "https://[::1]:9", Address: addressOf(8)}},
		Joined:   noon, Renewed: noon, Expires: noon.Add(time.Hour),
	}
	ok(t, h.PutAccount(t.Context(), a))
	got, err := h.Account(t.Context(), a.Owner)
	ok(t, err)
	if fmt.Sprint(got) != fmt.Sprint(a) {
		t.Fatalf("%+v", got)
	}
	ok(t, h.SetCursor(t.Context(), a.Owner, "inbox", 3, 4))
	epoch, seq, err := h.Cursor(t.Context(), a.Owner, "inbox")
	if epoch != 3 || seq != 4 || err != nil {
		t.Fatal(epoch, seq, err)
	}
	ok(t, h.RemoveAccount(t.Context(), a.Owner))
	if epoch, seq, err = h.Cursor(t.Context(), a.Owner, "inbox"); epoch != 0 || seq != 0 || err != nil {
		t.Fatal("a cursor outlived its account: ", epoch, seq, err)
	}
	if _, err := h.Account(t.Context(), a.Owner); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
	if err := h.RemoveAccount(t.Context(), a.Owner); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
}

func TestContactsAndPins(t *testing.T) {
	h := openHome(t)
	ok(t, h.AddContact(t.Context(), home.Contact{Name: "Bob", Address: addressOf(1), Added: noon}))
	ok(t, h.AddContact(t.Context(), home.Contact{Name: "bob", Address: addressOf(1), Added: noon}))
	if err := h.AddContact(t.Context(), home.Contact{Name: "BOB", Address: addressOf(2)}); !errors.Is(err, message.Conflict) {
		t.Fatal("a name silently stands for somebody else: ", err)
	}
	c, err := h.Contact(t.Context(), "bOb")
	ok(t, err)
	if c.Address != addressOf(1) {
		t.Fatal(c)
	}
	ok(t, h.RemoveContact(t.Context(), "bob"))
	if err := h.RemoveContact(t.Context(), "bob"); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}

	p, err := h.Resolve(t.Context(), "ann@t.example", addressOf(1), noon)
	ok(t, err)
	if p.Address != addressOf(1) || !p.Offered.IsZero() {
		t.Fatal(p)
	}
	if p, err = h.Resolve(t.Context(), "ann@t.example", addressOf(2), noon); err != nil || p.Address != addressOf(1) || p.Offered != addressOf(2) {
		t.Fatal("a changed name: ", p, err)
	}
	ok(t, h.AcceptPin(t.Context(), "ann@t.example", noon))
	if p, err = h.Pin(t.Context(), "ann@t.example"); err != nil || p.Address != addressOf(2) || !p.Offered.IsZero() {
		t.Fatal("after accepting: ", p, err)
	}
	if err := h.AcceptPin(t.Context(), "ann@t.example", noon); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
	if _, err := h.Accepted(t.Context(), addressOf(1)); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
	ok(t, h.Accept(t.Context(), addressOf(1), message.ID{1}, noon))
	if id, err := h.Accepted(t.Context(), addressOf(1)); err != nil || id != (message.ID{1}) {
		t.Fatal(id, err)
	}
}

func TestFollows(t *testing.T) {
	h := openHome(t)
	me := addressOf(1)
	ok(t, h.SetFollow(t.Context(), me, addressOf(3), true, noon))
	ok(t, h.SetFollow(t.Context(), me, addressOf(2), true, noon.Add(time.Second)))
	ok(t, h.SetFollow(t.Context(), me, addressOf(3), true, noon.Add(time.Hour)))
	got, err := h.Follows(t.Context(), me)
	ok(t, err)
	if len(got) != 2 || got[0].Address != addressOf(3) || !got[0].Since.Equal(noon) {
		t.Fatal(got)
	}
	ok(t, h.SetFollow(t.Context(), me, addressOf(3), false, noon))
	if err := h.SetFollow(t.Context(), me, addressOf(3), false, noon); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
}

func TestDraftsAndUploads(t *testing.T) {
	h := openHome(t)
	me, you := addressOf(1), addressOf(2)
	id, err := h.PutDraft(t.Context(), me, home.Draft{Body: []byte("a"), Time: noon})
	ok(t, err)
	if _, err := h.Draft(t.Context(), you, id); !errors.Is(err, message.NotFound) {
		t.Fatal("somebody else's draft: ", err)
	}
	_, err = h.PutDraft(t.Context(), me, home.Draft{ID: id, Body: []byte("b"), Trouble: "no", Time: noon})
	ok(t, err)
	d, err := h.Draft(t.Context(), me, id)
	ok(t, err)
	if string(d.Body) != "b" || d.Trouble != "no" || !d.Time.Equal(noon) {
		t.Fatal(d)
	}
	ok(t, h.RemoveDraft(t.Context(), me, id))
	if again, err := h.PutDraft(t.Context(), me, home.Draft{Body: []byte("c")}); err != nil || again == id {
		t.Fatal("the number of a draft was used again: ", again, err)
	}

	a, err := message.NewAttachment("f.txt", "text/plain", rand.Reader)
	ok(t, err)
	a.Size = 5
	u := home.Upload{Path: "/f.txt", Size: 5, Modified: noon, Attachment: a}
	ok(t, h.PutUpload(t.Context(), me, u, noon))
	got, err := h.Upload(t.Context(), me, "/f.txt")
	ok(t, err)
	if string(got.Attachment.Key) != string(a.Key) || got.Attachment.Name != "f.txt" || !got.Modified.Equal(noon) || got.Size != 5 {
		t.Fatal(got)
	}
	ok(t, h.DropUploads(t.Context(), noon.Add(time.Second)))
	if _, err := h.Upload(t.Context(), me, "/f.txt"); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
}

func TestMessagesKeepTheNewest(t *testing.T) {
	h := openHome(t)
	me, ref := addressOf(1), refOf(2, 1)
	put := func(version uint64, box home.Box, seq uint64) {
		t.Helper()
		ok(t, h.PutMessage(t.Context(), me, home.Message{
			Ref: ref, Box: box, Version: version, Head: statement(fmt.Sprint(version)), Slot: &wirev1.Slot{Box: []byte{byte(version)}},
			Seq: seq, Folder: store.Inbox, Time: noon.Add(time.Duration(version) * time.Second),
		}))
	}
	put(2, home.Received, 10)
	put(1, home.Sent, 0)
	m, err := h.Message(t.Context(), me, ref)
	ok(t, err)
	if m.Version != 2 || string(m.Head.Body) != "2" || m.Slot.Box[0] != 2 || m.Box != home.Received|home.Sent || m.Seq != 10 || !m.Time.Equal(noon.Add(2*time.Second)) {
		t.Fatalf("%+v", m)
	}
	put(3, home.Received, 11)
	if m, _ = h.Message(t.Context(), me, ref); m.Version != 3 || string(m.Head.Body) != "3" || m.Seq != 11 {
		t.Fatalf("%+v", m)
	}
	// An entry without a head changes the marks alone.
	ok(t, h.PutMessage(t.Context(), me, home.Message{Ref: ref, Seq: 12, Hidden: true}))
	if m, _ = h.Message(t.Context(), me, ref); m.Version != 3 || !m.Hidden || m.Seq != 12 || m.Folder != store.Inbox {
		t.Fatalf("%+v", m)
	}
	if all, _ := h.List(t.Context(), me, home.Query{}); len(all) != 0 {
		t.Fatal("a deleted message is listed")
	}
	if _, err := h.Message(t.Context(), addressOf(9), ref); !errors.Is(err, message.NotFound) {
		t.Fatal("somebody else's message: ", err)
	}
}

func letter(subject, body string) *message.Content {
	c := &message.Content{}
	c.Set(message.TypeSubject, []byte(subject))
	c.Set(message.TypeMarkdown, []byte(body))
	return c
}

func TestVersionsAndErasure(t *testing.T) {
	h := openHome(t)
	me, ref := addressOf(1), refOf(2, 1)
	if err := h.PutVersion(t.Context(), me, ref, home.Version{Number: 1, Head: statement("1")}); !errors.Is(err, message.NotFound) {
		t.Fatal("a version of nothing: ", err)
	}
	ok(t, h.PutMessage(t.Context(), me, home.Message{Ref: ref, Box: home.Received, Version: 2, Head: statement("2"), Time: noon, Expires: noon.Add(time.Hour)}))
	blobs := []store.BlobRef{{ID: message.ID{1}, Size: 99}}
	content := letter("two", "b")
	content.Components = append(content.Components, message.Component{Type: "x/big", Data: []byte("large"), Blob: &message.Attachment{Name: "x", Key: make([]byte, 32)}})
	ok(t, h.PutVersion(t.Context(), me, ref, home.Version{Number: 2, Head: statement("2"), Content: content, Blobs: blobs, Fetched: noon},
		home.Version{Number: 1, Head: statement("1")}))
	// A head alone takes nothing away.
	ok(t, h.PutVersion(t.Context(), me, ref, home.Version{Number: 2, Head: statement("2")}))
	vs, err := h.Versions(t.Context(), me, ref)
	ok(t, err)
	if len(vs) != 2 || vs[0].Content != nil || vs[1].Content.Subject() != "two" || !slices.Equal(vs[1].Blobs, blobs) || !vs[1].Fetched.Equal(noon) {
		t.Fatalf("%+v", vs)
	}
	if got := vs[1].Content.Components[2]; got.Blob == nil || string(got.Data) != "large" {
		t.Fatalf("the data of a blob component: %+v", got)
	}
	m, _ := h.Message(t.Context(), me, ref)
	if m.Kept != 2 || m.Subject != "two" {
		t.Fatalf("%+v", m)
	}
	ok(t, h.Expire(t.Context(), noon.Add(time.Hour-time.Millisecond)))
	if m, _ = h.Message(t.Context(), me, ref); m.Kept != 2 {
		t.Fatal("erased too early")
	}
	ok(t, h.Expire(t.Context(), noon.Add(time.Hour)))
	vs, err = h.Versions(t.Context(), me, ref)
	ok(t, err)
	m, _ = h.Message(t.Context(), me, ref)
	if m.Kept != 0 || m.Subject != "" || len(vs) != 2 || vs[1].Content != nil || len(vs[1].Blobs) != 0 {
		t.Fatalf("after expiry: %+v %+v", m, vs)
	}
	if found, _ := h.List(t.Context(), me, home.Query{Words: []string{"two"}}); len(found) != 0 {
		t.Fatal("what was erased can still be searched")
	}
	ok(t, h.Forget(t.Context(), me, ref))
	if _, err := h.Versions(t.Context(), me, ref); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
}

func TestListAndSearch(t *testing.T) {
	h := openHome(t)
	me := addressOf(1)
	bodies := []string{"Grüße aus KÖLN", "100% sure_thing", `back\slash`, "plain"}
	for n, body := range bodies {
		ref := refOf(byte(n%2+2), byte(n))
		ok(t, h.PutMessage(t.Context(), me, home.Message{Ref: ref, Box: home.Received, Version: 1, Head: statement("h"), Seq: uint64(n) + 1,
			Folder: store.Inbox, Read: n == 0, Time: noon.Add(time.Duration(n) * time.Second)}))
		ok(t, h.PutVersion(t.Context(), me, ref, home.Version{Number: 1, Head: statement("h"), Content: letter("", body)}))
	}
	tests := []struct {
		name string
		q    home.Query
		want []byte
	}{
		{"all", home.Query{}, []byte{0, 1, 2, 3}},
		{"newest two", home.Query{Limit: 2}, []byte{2, 3}},
		{"unread", home.Query{Unread: true}, []byte{1, 2, 3}},
		{"author", home.Query{Authors: []message.Address{addressOf(2)}}, []byte{0, 2}},
		{"authors", home.Query{Authors: []message.Address{addressOf(2), addressOf(3)}}, []byte{0, 1, 2, 3}},
		{"folder", home.Query{Folders: []store.Folder{store.Requests, store.Archive}}, nil},
		{"box", home.Query{Box: home.Sent | home.Public}, nil},
		{"case beyond ASCII", home.Query{Words: []string{"grÜßE", "köln"}}, []byte{0}},
		{"both words", home.Query{Words: []string{"köln", "plain"}}, nil},
		{"percent is itself", home.Query{Words: []string{"%"}}, []byte{1}},
		{"underscore is itself", home.Query{Words: []string{"e_t"}}, []byte{1}},
		{"backslash is itself", home.Query{Words: []string{`k\s`}}, []byte{2}},
		{"quote", home.Query{Words: []string{`'; drop table message; --`}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := h.List(t.Context(), me, tt.q)
			ok(t, err)
			var ns []byte
			for _, m := range got {
				ns = append(ns, m.Ref.MID[15])
			}
			if !slices.Equal(ns, tt.want) {
				t.Errorf("%v, not %v", ns, tt.want)
			}
		})
	}
}

// TestOthersClocksDecideNoOrder: what arrived stands where it arrived, whatever
// time its author claims; what one sent oneself, at its own.
func TestOthersClocksDecideNoOrder(t *testing.T) {
	h := openHome(t)
	me := addressOf(1)
	for n, claimed := range []time.Duration{0, -365 * 24 * time.Hour, 9 * time.Minute, 0} {
		m := home.Message{Ref: refOf(2, byte(n)), Box: home.Received, Version: 1, Head: statement("h"), Seq: uint64(n) + 1, Folder: store.Inbox,
			Time: noon.Add(claimed), Arrived: noon.Add(time.Duration(n) * time.Second)}
		if n == 3 {
			m.Box, m.Seq, m.Time, m.Arrived = home.Sent, 0, noon.Add(1500*time.Millisecond), time.Time{}
		}
		ok(t, h.PutMessage(t.Context(), me, m))
	}
	for limit, want := range map[int][]byte{0: {0, 1, 3, 2}, 2: {3, 2}} {
		all, err := h.List(t.Context(), me, home.Query{Limit: limit})
		ok(t, err)
		var got []byte
		for _, m := range all {
			got = append(got, m.Ref.MID[15])
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, not %v", limit, got, want)
		}
	}
}

func TestFindByPrefix(t *testing.T) {
	h := openHome(t)
	me := addressOf(1)
	for _, ref := range []message.Ref{refOf(2, 0x1f), refOf(3, 0x20), refOf(3, 0x2f)} {
		ok(t, h.PutMessage(t.Context(), me, home.Message{Ref: ref, Box: home.Received, Version: 1, Head: statement("h"), Time: noon}))
	}
	whole := refOf(3, 0x2f).MID.String()
	tests := []struct {
		author message.Address
		prefix string
		want   int
	}{
		{message.Address{}, "ab", 3}, {message.Address{}, "AB00", 3}, {addressOf(3), "ab", 2}, {addressOf(4), "ab", 0},
		{message.Address{}, whole, 1}, {message.Address{}, whole[:31], 2}, {message.Address{}, "ac", 0}, {message.Address{}, "%", 0},
	}
	for _, tt := range tests {
		got, err := h.Find(t.Context(), me, tt.author, tt.prefix, 10)
		ok(t, err)
		if len(got) != tt.want {
			t.Errorf("find %q: %d, not %d", tt.prefix, len(got), tt.want)
		}
	}
}

// TestHandovers: what waits for the own server is there until it is handed over, and not longer than it may be.
func TestHandovers(t *testing.T) {
	h, me := openHome(t), addressOf(1)
	v := home.Handover{MID: refOf(1, 2).MID, Version: 1, Submission: &wirev1.Submission{Head: statement("h"), Payload: []byte("p")}, Time: noon.Add(time.Second)}
	old := home.Handover{MID: refOf(1, 9).MID, Version: 3, Submission: &wirev1.Submission{}, Time: noon, Expires: noon.Add(time.Hour)}
	ok(t, h.PutHandover(t.Context(), me, v))
	ok(t, h.PutHandover(t.Context(), me, old))
	ok(t, h.PutHandover(t.Context(), addressOf(2), v))
	v.Tries, v.Trouble = 2, "away"
	ok(t, h.PutHandover(t.Context(), me, v))
	all, err := h.Handovers(t.Context(), me)
	ok(t, err)
	if len(all) != 2 || all[0].MID != old.MID || all[0].Version != 3 || !all[0].Expires.Equal(old.Expires) ||
		all[1].Tries != 2 || all[1].Trouble != "away" || string(all[1].Submission.GetPayload()) != "p" || !all[1].Time.Equal(v.Time) {
		t.Errorf("%+v", all)
	}
	ok(t, h.Expire(t.Context(), noon.Add(time.Hour)))
	if all, err := h.Handovers(t.Context(), me); err != nil || len(all) != 1 || all[0].MID != v.MID {
		t.Errorf("after it is over: %+v, %v", all, err)
	}
	ok(t, h.RemoveHandover(t.Context(), me, v.MID, v.Version))
	if err := h.RemoveHandover(t.Context(), me, v.MID, v.Version); !errors.Is(err, message.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if all, err := h.Handovers(t.Context(), me); err != nil || len(all) != 0 {
		t.Errorf("after it was handed over: %+v, %v", all, err)
	}
	ok(t, h.Check(t.Context()))
}

func TestMarksAndNotices(t *testing.T) {
	h := openHome(t)
	me, ref := addressOf(1), refOf(2, 1)
	yes, archive := true, store.Archive
	if err := h.Mark(t.Context(), me, ref, home.Marking{Read: &yes}); !errors.Is(err, message.NotFound) {
		t.Fatal(err)
	}
	ok(t, h.PutMessages(t.Context(), me, []home.Message{{Ref: ref, Box: home.Received, Version: 1, Head: statement("h"), Seq: 1, Folder: store.Inbox, Time: noon}},
		home.Reading{Log: "inbox", Epoch: math.MaxUint64, Seq: 1}))
	if epoch, _, err := h.Cursor(t.Context(), me, "inbox"); epoch != math.MaxUint64 || err != nil {
		t.Fatal(epoch, err)
	}
	ok(t, h.Mark(t.Context(), me, ref, home.Marking{Read: &yes, Folder: &archive}))
	if m, _ := h.Message(t.Context(), me, ref); !m.Read || m.Folder != store.Archive || m.Hidden {
		t.Fatalf("%+v", m)
	}
	n := home.Notice{MID: ref.MID, To: addressOf(5), Version: 1, Reason: message.Unavailable, Time: noon}
	ok(t, h.PutNotice(t.Context(), me, n))
	ok(t, h.PutNotice(t.Context(), me, n))
	got, err := h.Notices(t.Context(), me)
	if err != nil || len(got) != 1 || got[0] != n {
		t.Fatal(got, err)
	}
	ok(t, h.RemoveNotices(t.Context(), me, ref.MID))
	if got, _ = h.Notices(t.Context(), me); len(got) != 0 {
		t.Fatal(got)
	}
}

// TestSearchFindsWhatIsThere compares the search with strings.Contains.
func TestSearchFindsWhatIsThere(t *testing.T) {
	h := openHome(t)
	me := addressOf(1)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		ref := message.Ref{From: addressOf(2), MID: message.MID{0: 1, 14: byte(n >> 8), 15: byte(n)}}
		text := rapid.StringOfN(rapid.RuneFrom([]rune(`aB%_\'"é `)), 1, 12, -1).Draw(rt, "text")
		ctx := context.Background()
		if err := h.PutMessage(ctx, me, home.Message{Ref: ref, Box: home.Received, Version: 1, Head: statement("h"), Time: noon}); err != nil {
			rt.Fatal(err)
		}
		if err := h.PutVersion(ctx, me, ref, home.Version{Number: 1, Head: statement("h"), Content: letter("", text)}); err != nil {
			rt.Fatal(err)
		}
		runes := []rune(text)
		i := rapid.IntRange(0, len(runes)-1).Draw(rt, "from")
		j := rapid.IntRange(i+1, len(runes)).Draw(rt, "to")
		found, err := h.List(ctx, me, home.Query{Words: []string{string(runes[i:j])}})
		if err != nil {
			rt.Fatal(err)
		}
		if !slices.ContainsFunc(found, func(m home.Message) bool { return m.Ref == ref }) {
			rt.Fatalf("%q not found in %q", string(runes[i:j]), text)
		}
		if err := h.Forget(ctx, me, ref); err != nil {
			rt.Fatal(err)
		}
	})
}
