package storetest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Quota runs random calls for one account, and holds what the store counts, and
// whom it refuses for want of quota, against a ledger: a map from each thing that
// is kept to its bytes. Now and then it closes the store and opens it again.
func Quota(t *testing.T, open Opener) {
	w := newQuotaWorld(t)
	runs := 0
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		q := &quota{quotaWorld: w, open: open, dir: filepath.Join(dir, fmt.Sprint(runs)), blobs: make(map[message.ID]*ledgerBlob)}
		q.reopen(rt)
		defer func() { _ = q.end() }()
		q.join(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"": q.balance, "limits": q.limits, "submit": q.submit, "submit more": q.submit, "again": q.again, "expire": q.expire,
			"reserve": q.reserve, "complete": q.complete, "release": q.release, "unused": q.unused, "alert": q.alert, "alert more": q.alert,
			"delete": q.remove, "copy": q.copy, "take": q.take, "leave": q.leave, "reopen": q.reopen,
		})
	})
}

// quotaWorld is what the calls are about: messages of the account and messages
// to it, each with all its versions in order.
type quotaWorld struct {
	owner    *Person
	sent     [][]store.Submission
	received [][]store.Submission
	over     time.Time
}

func newQuotaWorld(t *testing.T) *quotaWorld {
	w := &quotaWorld{owner: person(t, "ann"), over: noon().Add(time.Hour)}
	bob := person(t, "bob")
	life := func(p *Person, d Draft) []store.Submission {
		var out []store.Submission
		for _, body := range []string{"one", strings.Repeat("two ", 500), ""} {
			d.Body, d.Recall = body, body == ""
			out = append(out, p.write(t, d))
			d.Prev = out[len(out)-1].Head
		}
		return out
	}
	for _, d := range []Draft{{To: []*Person{bob}}, {To: []*Person{bob, w.owner}}, {}, {To: []*Person{bob}, Terms: message.Ephemeral, Expires: w.over}} {
		w.sent = append(w.sent, life(w.owner, d))
	}
	for range 3 {
		w.received = append(w.received, life(bob, Draft{To: []*Person{w.owner}}))
	}
	return w
}

// ledgerBlob is a blob that the account has reserved, or that somebody had.
type ledgerBlob struct{ reserved, complete bool }

// ledgerEntry is a message in the inbox.
type ledgerEntry struct {
	newest           int
	taken            [3]bool
	deleted          bool
	copied           int
	copyTaken, ended bool
}

// quota is one run.
type quota struct {
	*quotaWorld
	open  Opener
	dir   string
	store *store.Mail
	end   func() error
	// bytes and messages are the limits; 0 is none.
	bytes, messages int64
	// ledger is what is kept, by name; counted is which messages count.
	ledger  map[string]int64
	counted map[string]bool
	// next is the next version of each sent message; beyond the last for one that
	// is over and has still to be told of.
	next  []int
	using []map[message.ID]bool
	inbox []ledgerEntry
	blobs map[message.ID]*ledgerBlob
}

func (q *quota) reopen(t *rapid.T) {
	if q.end != nil {
		if err := q.end(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if q.store, q.end, err = q.open(q.dir); err != nil {
		t.Fatal(err)
	}
}

// join opens the account, of which nothing is kept.
func (q *quota) join(t *rapid.T) {
	q.want(t, "join", q.store.Accounts.Join(context.Background(), store.Account{Address: q.owner.Address(), Joined: noon()}, nil), nil)
	q.bytes, q.messages, q.ledger, q.counted = 0, 0, make(map[string]int64), make(map[string]bool)
	if q.next == nil {
		q.next = make([]int, len(q.sent))
	}
	q.using = make([]map[message.ID]bool, len(q.sent))
	q.inbox = make([]ledgerEntry, len(q.received))
}

// want demands an error, or none.
func (q *quota) want(t *rapid.T, what string, got, want error) {
	t.Helper()
	t.Logf("%s: %s", what, said(want))
	if said(got) != said(want) {
		t.Fatalf("%s: %v, want %s", what, got, said(want))
	}
}

func (q *quota) used() (n int64) {
	for _, b := range q.ledger {
		n += b
	}
	return n
}

// judge is whether so much more may be kept.
func (q *quota) judge(bytes int64, fresh, forced bool) error {
	full := q.bytes != 0 && q.used()+bytes > q.bytes || fresh && q.messages != 0 && int64(len(q.counted))+1 > q.messages
	if full && !forced {
		return message.Quota
	}
	return nil
}

// balance compares what the store counts with the ledger.
func (q *quota) balance(t *rapid.T) {
	a, err := q.store.Accounts.Account(context.Background(), q.owner.Address())
	if err != nil {
		t.Fatal(err)
	}
	if a.BytesUsed != q.used() || a.MessagesUsed != int64(len(q.counted)) {
		t.Fatalf("the store counts %d bytes and %d messages, the ledger %d and %d:\n%v", a.BytesUsed, a.MessagesUsed, q.used(), len(q.counted), q.ledger)
	}
}

func (q *quota) limits(t *rapid.T) {
	q.bytes, q.messages = int64(rapid.IntRange(0, 30_000).Draw(t, "bytes")), int64(rapid.IntRange(0, 6).Draw(t, "messages"))
	if rapid.IntRange(0, 3).Draw(t, "free") == 0 {
		q.bytes, q.messages = 0, 0
	}
	err := q.store.Accounts.ChangeAccount(context.Background(), q.owner.Address(), store.AccountChange{BytesLimit: &q.bytes, MessagesLimit: &q.messages})
	q.want(t, "limits", err, nil)
}

// body is the bytes of slots and payload.
func body(s store.Submission) int64 {
	n := int64(len(s.Payload))
	for _, slot := range s.Slots {
		n += int64(proto.Size(slot))
	}
	return n
}

func (q *quota) submit(t *rapid.T) {
	m := rapid.IntRange(0, len(q.sent)-1).Draw(t, "message")
	n := q.next[m]
	if n >= len(q.sent[m]) {
		t.Skip("it is over")
	}
	s := q.sent[m][n]
	s.Now = noon()
	stone := s.Head.Tombstone()
	if id := someBlob(t); !stone && rapid.IntRange(0, 2).Draw(t, "attach") == 0 && q.held(id) && q.blobs[id].complete {
		s.Blobs = []store.BlobRef{{ID: id, Size: blobSize(id)}}
	}
	want := q.judge(int64(proto.Size(s.Head.Signed))+body(s), n == 0, stone)
	q.want(t, fmt.Sprint("submit ", m, " version ", n+1), q.store.Outgoing.Submit(context.Background(), []store.Submission{s})[0].Err, want)
	if want != nil {
		return
	}
	if stone {
		q.forget(m)
	}
	q.ledger[fmt.Sprint("head of ", m, " ", n)] = int64(proto.Size(s.Head.Signed))
	q.ledger[fmt.Sprint("body of ", m, " ", n)] = body(s)
	q.counted[fmt.Sprint("sent ", m)] = true
	for _, b := range s.Blobs {
		if q.using[m] == nil {
			q.using[m] = make(map[message.ID]bool)
		}
		q.using[m][b.ID] = true
	}
	q.next[m]++
}

// forget takes the bodies of a message out of the ledger.
func (q *quota) forget(m int) {
	for n := range q.sent[m] {
		delete(q.ledger, fmt.Sprint("body of ", m, " ", n))
	}
	q.using[m] = nil
}

// again hands in what is there: it costs nothing, whatever the limits.
func (q *quota) again(t *rapid.T) {
	m := rapid.IntRange(0, len(q.sent)-1).Draw(t, "message")
	if !q.counted[fmt.Sprint("sent ", m)] {
		t.Skip("it was not handed in")
	}
	s := q.sent[m][rapid.IntRange(0, q.next[m]-1).Draw(t, "version")]
	r := q.store.Outgoing.Submit(context.Background(), []store.Submission{s})[0]
	if q.want(t, "again", r.Err, nil); !r.Accepted.Again {
		t.Fatal("taken in a second time")
	}
}

func (q *quota) expire(t *rapid.T) {
	if _, err := q.store.Outgoing.Expire(context.Background(), q.over, 100); err != nil {
		t.Fatal(err)
	}
	for m := range q.sent {
		if n := q.next[m]; q.counted[fmt.Sprint("sent ", m)] && n > 0 && !q.sent[m][n-1].Head.Expires.IsZero() && !q.sent[m][n-1].Head.Tombstone() {
			q.forget(m)
		}
	}
}

// someBlob is one of a few ids.
func someBlob(t *rapid.T) message.ID {
	return message.ID{byte(rapid.IntRange(1, 3).Draw(t, "blob"))}
}

// blobSize is the size of a blob, fixed by its id.
func blobSize(id message.ID) int64 { return int64(id[0]) * int64(id[0]) * 1500 }

// held reports whether the account has reserved a blob.
func (q *quota) held(id message.ID) bool { return q.blobs[id] != nil && q.blobs[id].reserved }

func (q *quota) reserve(t *rapid.T) {
	id := someBlob(t)
	var want error
	if !q.held(id) {
		want = q.judge(blobSize(id), false, false)
	}
	q.want(t, fmt.Sprint("reserve ", id[0]), q.store.BlobIndex.Reserve(context.Background(), q.owner.Address(), store.BlobRef{ID: id, Size: blobSize(id)}, noon()), want)
	if want != nil {
		return
	}
	if q.blobs[id] == nil {
		q.blobs[id] = &ledgerBlob{}
	}
	q.blobs[id].reserved = true
	q.ledger[fmt.Sprint("blob ", id[0])] = blobSize(id)
}

func (q *quota) complete(t *rapid.T) {
	id := someBlob(t)
	var want error
	if !q.held(id) {
		want = message.NotFound
	}
	if q.want(t, fmt.Sprint("complete ", id[0]), q.store.BlobIndex.Complete(context.Background(), q.owner.Address(), id), want); want == nil {
		q.blobs[id].complete = true
	}
}

func (q *quota) release(t *rapid.T) {
	id := someBlob(t)
	q.want(t, fmt.Sprint("release ", id[0]), q.store.BlobIndex.Release(context.Background(), q.owner.Address(), id), nil)
	if q.held(id) && !q.blobs[id].complete {
		q.blobs[id].reserved = false
		delete(q.ledger, fmt.Sprint("blob ", id[0]))
	}
}

// unused gives back what no message uses.
func (q *quota) unused(t *rapid.T) {
	if _, err := q.store.BlobIndex.Unused(context.Background(), noon().Add(time.Second), 10); err != nil {
		t.Fatal(err)
	}
	for id := range q.blobs {
		used := false
		for _, u := range q.using {
			used = used || u[id]
		}
		if !used {
			delete(q.blobs, id)
			delete(q.ledger, fmt.Sprint("blob ", id[0]))
		}
	}
}

// alert takes any version of a message in, in any order.
func (q *quota) alert(t *rapid.T) {
	m := rapid.IntRange(0, len(q.received)-1).Draw(t, "message")
	n := rapid.IntRange(0, len(q.received[m])-1).Draw(t, "version")
	e, a := &q.inbox[m], alertOf(q.owner, q.received[m][n], store.Inbox)
	name := fmt.Sprint("alert of ", m, " ", n)
	bytes := int64(proto.Size(a.Head.Signed))
	if a.Slot != nil {
		bytes += int64(proto.Size(a.Slot))
	}
	news := n+1 > e.newest
	fresh := news && (e.newest == 0 || e.deleted)
	if e.deleted && !news {
		bytes = 0
	}
	var want error
	if !e.taken[n] {
		want = q.judge(bytes, fresh, a.Head.Tombstone())
	}
	q.want(t, name, alertErr(q.store, a), want)
	if want != nil || e.taken[n] {
		return
	}
	e.taken[n] = true
	q.ledger[name] = bytes
	if !news {
		return
	}
	e.newest, e.deleted, e.ended = n+1, false, a.Head.Tombstone()
	q.counted[fmt.Sprint("received ", m)] = true
	if e.ended && !e.copyTaken {
		e.copied = 0
		delete(q.ledger, fmt.Sprint("copy of ", m))
	}
}

// remove deletes an entry.
func (q *quota) remove(t *rapid.T) {
	m, yes := rapid.IntRange(0, len(q.received)-1).Draw(t, "message"), true
	err := q.store.Incoming.Mark(context.Background(), q.owner.Address(), []store.Marking{{Ref: q.received[m][0].Head.Ref(), Deleted: &yes}})
	q.want(t, fmt.Sprint("delete ", m), err, nil)
	e := &q.inbox[m]
	if e.newest == 0 || e.deleted {
		return
	}
	e.deleted, e.copied, e.copyTaken = true, 0, false
	for n := range q.received[m] {
		delete(q.ledger, fmt.Sprint("alert of ", m, " ", n))
	}
	delete(q.ledger, fmt.Sprint("copy of ", m))
	delete(q.counted, fmt.Sprint("received ", m))
}

// copy keeps a copy of a version.
func (q *quota) copy(t *rapid.T) {
	m := rapid.IntRange(0, len(q.received)-1).Draw(t, "message")
	n := rapid.IntRange(0, 1).Draw(t, "version")
	s, e, name := q.received[m][n], &q.inbox[m], fmt.Sprint("copy of ", m)
	c := store.Copy{Ref: s.Head.Ref(), Version: s.Head.Version, Heads: []*wirev1.Signed{s.Head.Signed}, Payload: s.Payload, At: noon()}
	bytes := int64(proto.Size(&wirev1.Pulled{Heads: c.Heads, Payload: c.Payload}))
	var want error
	older := e.ended || e.copied > n+1
	switch {
	case e.newest == 0 || e.deleted:
		want = message.NotFound
	case !older:
		want = q.judge(bytes-q.ledger[name], false, false)
	}
	q.want(t, fmt.Sprint(name, " ", n), q.store.Copies.PutCopy(context.Background(), q.owner.Address(), c), want)
	if want != nil || older {
		return
	}
	e.copyTaken = e.copyTaken && e.copied == n+1
	e.copied = n + 1
	q.ledger[name] = bytes
}

// take marks that a device has a copy, which a recall then leaves.
func (q *quota) take(t *rapid.T) {
	m := rapid.IntRange(0, len(q.received)-1).Draw(t, "message")
	e := &q.inbox[m]
	if e.copied == 0 {
		t.Skip("there is no copy")
	}
	q.want(t, fmt.Sprint("take ", m), q.store.Copies.TakeCopy(context.Background(), q.owner.Address(), q.received[m][0].Head.Ref(), uint64(e.copied)), nil)
	e.copyTaken = true
}

// leave closes the account, and opens it anew. Recalled messages of which a
// recipient has still to hear stay, and count for nobody.
func (q *quota) leave(t *rapid.T) {
	q.want(t, "leave", q.store.Accounts.RemoveAccount(context.Background(), q.owner.Address()), nil)
	for m := range q.sent {
		if q.next[m] < len(q.sent[m]) || len(q.sent[m][0].Head.To) == 0 {
			q.next[m] = 0
		}
	}
	for _, b := range q.blobs {
		b.reserved = false
	}
	q.join(t)
}
