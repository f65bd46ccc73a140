package storetest

import (
	"context"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

func inquiryTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"inquiries/are claimed, leased and settled": testInquiries,
		"inquiries/begin anew when put again":       testInquiryAnew,
		"inquiries/are bounded and end with owners": testInquiryBounds,
		"inquiries/follow a restore":                testInquiriesAfterRestore,
		"inquiries/what is held for a recipient":    testHeld,
	}
}

// put puts one question that is due at noon.
func put(t *testing.T, m *store.Mail, owner, peer message.Address) store.Inquiry {
	t.Helper()
	q := store.Inquiry{Owner: owner, Peer: peer, Queued: noon(), Due: noon()}
	done(t, "add inquiry", m.Inquiries.AddInquiries(context.Background(), []store.Inquiry{q}))
	return q
}

// asked claims what is due at a time.
func asked(t *testing.T, m *store.Mail, now time.Time) []store.Inquiry {
	t.Helper()
	q, err := m.Inquiries.ClaimInquiries(context.Background(), now, time.Minute, 100)
	done(t, "claim inquiries", err)
	return q
}

func testInquiries(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	_, err := m.Inquiries.NextInquiry(ctx)
	refused(t, "next of none", err, message.NotFound)
	put(t, m, ann.Address(), message.Address{7})
	put(t, m, person(t, "nobody here").Address(), message.Address{7})
	if q := asked(t, m, noon().Add(-time.Second)); len(q) != 0 {
		t.Fatalf("claimed too early: %+v", q)
	}
	q := asked(t, m, noon())
	if len(q) != 1 || q[0].Owner != ann.Address() || q[0].Peer != (message.Address{7}) || !q[0].Queued.Equal(noon()) || q[0].After != (store.Place{}) {
		t.Fatalf("claimed %+v", q)
	}
	if again := asked(t, m, noon()); len(again) != 0 {
		t.Fatalf("claimed twice: %+v", again)
	}
	next, err := m.Inquiries.NextInquiry(ctx)
	done(t, "next", err)
	if !next.Equal(noon().Add(time.Minute)) {
		t.Fatalf("next at %s", next)
	}
	q[0].After, q[0].Pages, q[0].Attempts, q[0].Due = store.Place{Epoch: 3, Seq: 44}, 2, 1, noon()
	done(t, "settle", m.Inquiries.SettleInquiries(ctx, q))
	got := asked(t, m, noon())
	if len(got) != 1 || got[0].After != q[0].After || got[0].Pages != 2 || got[0].Attempts != 1 {
		t.Fatalf("went on with %+v", got)
	}
	got[0].Done = true
	done(t, "end", m.Inquiries.SettleInquiries(ctx, got))
	_, err = m.Inquiries.NextInquiry(ctx)
	refused(t, "next of none left", err, message.NotFound)
}

func testInquiryAnew(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	q := put(t, m, ann.Address(), message.Address{7})
	old := asked(t, m, noon())
	done(t, "the same again", m.Inquiries.AddInquiries(ctx, []store.Inquiry{q}))
	if again := asked(t, m, noon()); len(again) != 0 {
		t.Fatalf("the same question is due again: %+v", again)
	}
	q.Queued, q.Due = noon().Add(time.Second), noon().Add(time.Second)
	done(t, "again", m.Inquiries.AddInquiries(ctx, []store.Inquiry{q}))
	old[0].Done = true
	done(t, "a late outcome", m.Inquiries.SettleInquiries(ctx, old))
	got := asked(t, m, noon().Add(time.Second))
	if len(got) != 1 || !got[0].Queued.Equal(q.Queued) {
		t.Fatalf("the new question is %+v", got)
	}
}

func testInquiryBounds(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	var qs []store.Inquiry
	for n := range store.MaxInquiries {
		qs = append(qs, store.Inquiry{Owner: ann.Address(), Peer: message.Address{1, byte(n >> 8), byte(n)}, Queued: noon(), Due: noon()})
	}
	done(t, "as many as there may be", m.Inquiries.AddInquiries(ctx, qs))
	done(t, "one of them again", m.Inquiries.AddInquiries(ctx, qs[:1]))
	one := qs[0]
	one.Peer = message.Address{2}
	refused(t, "one more", m.Inquiries.AddInquiries(ctx, []store.Inquiry{one}), message.Quota)
	done(t, "remove the account", m.Accounts.RemoveAccount(ctx, ann.Address()))
	if got := asked(t, m, noon()); len(got) != 0 {
		t.Fatalf("%d questions outlive their owner", len(got))
	}
}

func testInquiriesAfterRestore(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, bob)
	friend, foe, origin := message.Address{1}, message.Address{2}, message.Address{3}
	done(t, "verdicts", m.Policies.SetVerdicts(ctx, bob.Address(), map[message.Address]store.Verdict{friend: store.Allow, foe: store.Block}))
	a := ann.write(t, Draft{To: []*Person{bob, cyd}, Body: "hello"})
	r := m.Incoming.Alert(ctx, []store.Alert{{To: bob.Address(), Head: a.Head, Slot: a.Slots[0], Origin: origin, Folder: store.Inbox, Now: noon()}})
	done(t, "alert", r[0].Err)
	done(t, "raise the epoch", m.Log.RaiseEpoch(ctx))
	peers := make(map[message.Address]bool)
	for _, q := range asked(t, m, time.Now().Add(time.Minute)) {
		if q.Owner != bob.Address() {
			t.Fatalf("a question for %s", q.Owner.Short())
		}
		peers[q.Peer] = true
	}
	if len(peers) != 2 || !peers[friend] || !peers[origin] {
		t.Fatalf("asked are %v", peers)
	}
}

func testHeld(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, ann)
	join(t, m, cyd)
	first := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "one"}))
	submitted(t, m, ann.write(t, Draft{To: []*Person{cyd}, Body: "not for bob"}))
	submitted(t, m, ann.write(t, Draft{Body: "to nobody"}))
	second := submitted(t, m, cyd.write(t, Draft{To: []*Person{ann, bob}, Body: "two"}))
	held := func(after uint64, limit int) ([]store.ListItem, bool) {
		t.Helper()
		items, more, err := m.Inquiries.Held(ctx, store.HeldQuery{To: bob.Address(), After: after, Limit: limit})
		done(t, "held", err)
		return items, more
	}
	page, more := held(0, 1)
	if len(page) != 1 || !more || page[0].Ref != first.Head.Ref() {
		t.Fatalf("first page: %+v, more %v", page, more)
	}
	v := page[0].Versions
	if len(v) != 1 || v[0].ID != first.Head.ID || len(v[0].Slots) != len(first.Slots) || len(v[0].Payload) != 0 {
		t.Fatalf("first: %+v", v)
	}
	page, more = held(page[0].Seq, 1)
	if len(page) != 1 || more || page[0].Ref != second.Head.Ref() {
		t.Fatalf("second page: %+v, more %v", page, more)
	}
	last := page[0].Seq
	edit := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: first.Head, Body: "one, better"}))
	page, more = held(last, 10)
	if len(page) != 1 || more || page[0].Versions[0].ID != edit.Head.ID || page[0].Versions[0].Number != 2 {
		t.Fatalf("after an edit: %+v, more %v", page, more)
	}
}
