package mailserver_test

import (
	"fmt"
	"testing"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// mark changes one entry.
func (p *person) mark(ref message.Ref, m *wirev1.MarkItem) {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	m.From, m.Mid = ref.From.Bytes(), ref.MID.Bytes()
	_, err := p.peer.Mailbox().Mark(ctx, &wirev1.MarkRequest{Items: []*wirev1.MarkItem{m}})
	must(p.t, err)
}

// TestMark: an owner's copy is read, archived and deleted; a newer version
// brings it back.
func TestMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	bob.allow(ann)
	h := ann.send(ann.letter("v1", bob))
	bob.awaits(h)
	set, unset := wirev1.Change_CHANGE_SET, wirev1.Change_CHANGE_CLEAR
	bob.mark(h.Ref(), &wirev1.MarkItem{Read: set, Archived: set})
	if e := bob.entry(h.Ref()); !e.GetRead() || e.GetFolder() != wirev1.Folder_FOLDER_ARCHIVE {
		t.Fatalf("archived: %v", e)
	}
	bob.mark(h.Ref(), &wirev1.MarkItem{Read: unset, Archived: unset})
	if e := bob.entry(h.Ref()); e.GetRead() || e.GetFolder() != wirev1.Folder_FOLDER_INBOX {
		t.Fatalf("back: %v", e)
	}
	bob.mark(h.Ref(), &wirev1.MarkItem{Deleted: set})
	if e := bob.entry(h.Ref()); !e.GetDeleted() || e.GetHead() != nil || e.GetSlot() != nil {
		t.Fatalf("deleted: %v", e)
	}
	second := ann.send(ann.edit(h, "v2", bob))
	if e := bob.awaits(second); e.GetDeleted() || e.GetRead() {
		t.Fatalf("after an edit: %v", e)
	}
	ctx, cancel := bob.timeout()
	defer cancel()
	_, err := bob.peer.Mailbox().Mark(ctx, &wirev1.MarkRequest{Items: make([]*wirev1.MarkItem, 1001)})
	refused(t, err, message.TooLarge)
	_, err = bob.peer.Mailbox().Mark(ctx, &wirev1.MarkRequest{Items: []*wirev1.MarkItem{{}}})
	refused(t, err, message.Invalid)
}

// TestSent: an author's own messages, public and private, page by page, with
// how far each has come.
func TestSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	var sent []*message.Head
	for n := range 5 {
		sent = append(sent, ann.send(ann.letter(fmt.Sprint("letter ", n), bob)))
	}
	sent = append(sent, ann.send(ann.letter("to all")))
	ctx, cancel := ann.timeout()
	defer cancel()
	got := map[message.MID]int{}
	var after *wirev1.Cursor
	for more := true; more; {
		resp, err := ann.peer.Mailbox().Sent(ctx, &wirev1.SentRequest{After: after, Limit: 2})
		must(t, err)
		for _, item := range resp.GetItems() {
			c, err := message.ParseHead(item.GetHeads()[0])
			must(t, err)
			got[c.MID()] = len(item.GetDeliveries())
		}
		after, more = resp.GetNext(), resp.GetMore()
	}
	for n, h := range sent {
		want := 1
		if n == 5 {
			want = 0
		}
		if d, ok := got[h.MID]; !ok || d != want {
			t.Errorf("message %d: %v, %d deliveries", n, ok, d)
		}
	}
	_, err := ann.peer.Mailbox().Sent(ctx, &wirev1.SentRequest{Limit: 1001})
	refused(t, err, message.Invalid)
	_, err = ann.peer.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: []byte("0123456789abcdef")})
	refused(t, err, message.NotFound)
	_, err = ann.peer.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: []byte("short")})
	refused(t, err, message.Invalid)

	acc, err := ann.peer.Mailbox().Account(ctx, &wirev1.AccountRequest{})
	must(t, err)
	if acc.GetMessagesUsed() != 6 || acc.GetBytesUsed() == 0 || acc.GetBytesLimit() != 10<<30 || acc.GetMessagesLimit() != 100_000 || acc.GetSuspended() || acc.GetServerTime() == 0 {
		t.Fatalf("account: %v", acc)
	}
}

// TestRestoredCursor: a cursor from before a restore means nothing any more.
func TestRestoredCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	bob.awaits(ann.send(ann.letter("hello", bob)))
	ctx, cancel := bob.timeout()
	defer cancel()
	resp, err := bob.peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{})
	must(t, err)
	cursor := resp.GetNext()
	resp, err = bob.peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{After: cursor})
	must(t, err)
	if len(resp.GetEntries()) != 0 || resp.GetMore() {
		t.Fatalf("%d entries after the last", len(resp.GetEntries()))
	}
	if len(resp.GetIdentities()) != 0 {
		t.Fatal("bundles of nobody")
	}
	must(t, two.mail.Log.RaiseEpoch(w.ctx))
	resp, err = bob.peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{After: cursor})
	must(t, err)
	if len(resp.GetEntries()) != 1 || resp.GetNext().GetEpoch() == cursor.GetEpoch() {
		t.Fatalf("after a restore: %d entries, epoch %d after %d", len(resp.GetEntries()), resp.GetNext().GetEpoch(), cursor.GetEpoch())
	}
}

// TestAlerts: after an outage a recipient, or the recipient's server, asks an
// origin for everything that it holds; nobody else learns anything.
func TestAlerts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two, rogue := w.host("one"), w.host("two"), w.host("rogue")
	ann, carl, bob, eve := w.person("ann", one), w.person("carl", one), w.person("bob", two), w.person("eve", rogue)
	want := map[message.ID]bool{}
	for n := range 3 {
		want[ann.send(ann.letter(fmt.Sprint("from ann ", n), bob)).ID] = true
		want[carl.send(carl.letter(fmt.Sprint("from carl ", n), bob, ann)).ID] = true
	}
	ann.send(ann.letter("for carl", carl))
	ann.send(ann.letter("for all"))
	peer, err := w.asHost(two, "two").Peer(one.identity)
	must(t, err)
	ctx, cancel := bob.timeout()
	defer cancel()
	bundles := []*wirev1.Identity{bob.identity.Wire(), two.identity.Wire(), eve.identity.Wire(), rogue.identity.Wire()}
	var after *wirev1.Cursor
	got := map[message.ID]bool{}
	for more := true; more; {
		resp, err := peer.Exchange().Alerts(ctx, &wirev1.AlertsRequest{For: bob.address().Bytes(), After: after, Limit: 2, Identities: bundles})
		must(t, err)
		for _, item := range resp.GetItems() {
			c, err := message.ParseHead(item.GetHead())
			must(t, err)
			if got[c.ID()] || string(item.GetSlot().GetAddress()) != string(bob.address().Bytes()) {
				t.Fatalf("twice, or another's slot: %v", item)
			}
			got[c.ID()] = true
		}
		if len(resp.GetIdentities()) == 0 {
			t.Fatal("no bundles of the authors")
		}
		after, more = resp.GetNext(), resp.GetMore()
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %d of %d", len(got), len(want))
	}
	bad, err := w.asHost(rogue, "rogue").Peer(one.identity)
	must(t, err)
	_, err = bad.Exchange().Alerts(ctx, &wirev1.AlertsRequest{For: bob.address().Bytes(), Identities: bundles})
	refused(t, err, message.NotFound)
	_, err = bad.Exchange().Alerts(ctx, &wirev1.AlertsRequest{Identities: bundles})
	if code := message.CodeOf(err); code != message.Invalid && code != message.NotFound {
		t.Fatalf("for nobody: %v", err)
	}
}

// TestBounds: calls that are too large or empty are refused as a whole.
func TestBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one := w.host("one", func(c *configs, _ *couriers) {
		c.Limits.SubmitBurst, c.Limits.SubmitsPerSecond = 3, 1
	})
	ann := w.person("ann", one)
	ctx, cancel := ann.timeout()
	defer cancel()
	box := ann.peer.Mailbox()
	at, err := ann.client.Peer(one.identity)
	must(t, err)
	item := &wirev1.FetchItem{From: ann.address().Bytes(), Mid: []byte("0123456789abcdef")}
	many := func(n int) []*wirev1.FetchItem {
		out := make([]*wirev1.FetchItem, n)
		for i := range out {
			out[i] = item
		}
		return out
	}
	calls := map[string]func() error{
		"submit nothing": func() error { _, err := box.Submit(ctx, &wirev1.SubmitRequest{}); return err },
		"submit 257": func() error {
			_, err := box.Submit(ctx, &wirev1.SubmitRequest{Submissions: make([]*wirev1.Submission, 257)})
			return err
		},
		"fetch nothing":         func() error { _, err := box.Fetch(ctx, &wirev1.FetchRequest{}); return err },
		"fetch 65":              func() error { _, err := box.Fetch(ctx, &wirev1.FetchRequest{Items: many(65)}); return err },
		"pull nothing":          func() error { _, err := at.Exchange().Pull(ctx, &wirev1.PullRequest{}); return err },
		"pull 65":               func() error { _, err := at.Exchange().Pull(ctx, &wirev1.PullRequest{Items: many(65)}); return err },
		"alert nothing":         func() error { _, err := at.Exchange().Alert(ctx, &wirev1.AlertRequest{}); return err },
		"receipts of nothing":   func() error { _, err := at.Exchange().Receipts(ctx, &wirev1.ReceiptsRequest{}); return err },
		"look nothing up":       func() error { _, err := at.Directory().Lookup(ctx, &wirev1.LookupRequest{}); return err },
		"an inbox page of 1001": func() error { _, err := box.Inbox(ctx, &wirev1.InboxRequest{Limit: 1001}); return err },
		"a verdict of 9": func() error {
			_, err := box.Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: ann.address().Bytes(), Verdict: 9}}})
			return err
		},
	}
	for name, call := range calls {
		if err := call(); message.CodeOf(err) != message.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := map[string]func() error{
		"257 receipts": func() error {
			_, err := box.Acknowledge(ctx, &wirev1.AcknowledgeRequest{Items: make([]*wirev1.Acknowledgement, 257)})
			return err
		},
		"1001 rules": func() error {
			_, err := box.Policy(ctx, &wirev1.PolicyRequest{Rules: make([]*wirev1.Rule, 1001)})
			return err
		},
		"9 trackers": func() error {
			_, err := box.Announce(ctx, &wirev1.AnnounceRequest{Identity: ann.identity.Wire(), Trackers: make([]string, 9)})
			return err
		},
		"513 identities": func() error {
			_, err := at.Exchange().Pull(ctx, &wirev1.PullRequest{For: ann.address().Bytes(), Items: many(1), Identities: make([]*wirev1.Identity, 513)})
			return err
		},
	}
	for name, call := range large {
		if err := call(); message.CodeOf(err) != message.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 3 {
		ann.send(ann.letter("within the burst", ann))
	}
	_, err = ann.trySend(ann.letter("beyond it", ann))
	refused(t, err, message.RateLimited)
}

// TestRefusedSubmissions: what does not fit together is refused, each by itself.
func TestRefusedSubmissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one := w.host("one")
	ann, eve := w.person("ann", one), w.person("eve", one)
	s := ann.letter("hello", eve)
	first := ann.send(ann.letter("first", eve))
	stone := ann.recall(first)
	id := crypto.Sum([]byte("x"))
	many := make([]*wirev1.BlobRef, message.MaxBlobs+1)
	cases := []struct {
		name string
		sub  *wirev1.Submission
		want message.Code
	}{
		{"nothing", &wirev1.Submission{}, message.Invalid},
		{"eve's", submission(eve.letter("hello", ann)), message.Denied},
		{"without slots", &wirev1.Submission{Head: s.Head.Signed, Payload: s.Payload}, message.Invalid},
		{"without a payload", &wirev1.Submission{Head: s.Head.Signed, Slots: s.Slots}, message.Invalid},
		{"a slot twice", &wirev1.Submission{Head: s.Head.Signed, Slots: append(s.Slots[:1:1], s.Slots[0]), Payload: s.Payload}, message.Invalid},
		{"a blob that is not there", submission(s, &wirev1.BlobRef{Hash: id[:], Size: 1}), message.NotFound},
		{"a blob twice", submission(s, &wirev1.BlobRef{Hash: id[:], Size: 1}, &wirev1.BlobRef{Hash: id[:], Size: 1}), message.Invalid},
		{"too many blobs", submission(s, many...), message.TooLarge},
		{"a tombstone with a blob", submission(stone, &wirev1.BlobRef{Hash: id[:], Size: 1}), message.Invalid},
		{"a second version of nothing", submission(ann.edit(s.Head, "edited", eve)), message.Conflict},
	}
	ctx, cancel := ann.timeout()
	defer cancel()
	req := &wirev1.SubmitRequest{}
	for _, c := range cases {
		req.Submissions = append(req.Submissions, c.sub)
	}
	req.Submissions = append(req.Submissions, submission(s))
	resp, err := ann.peer.Mailbox().Submit(ctx, req)
	must(t, err)
	for n, c := range cases {
		if got := message.CodeOf(message.OpenRefusal(resp.GetResults()[n].GetRefusal())); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	must(t, message.OpenRefusal(resp.GetResults()[len(cases)].GetRefusal()))
}
