package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
)

func incomingTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"alert/is kept and read back":                 testAlert,
		"alert/the same id gets the same answer":      testAlertAgain,
		"alert/another id is a conflict and evidence": testAlertConflict,
		"alert/without an account":                    testAlertStranger,
		"alert/a newer version shows and is unread":   testAlertNewer,
		"alert/an older version shows nothing":        testAlertOlder,
		"alert/archived entries return to the inbox":  testAlertArchived,
		"alert/deleted entries stay deleted":          testAlertDeleted,
		"alert/a prefetch task":                       testAlertPrefetch,
		"alert/a tombstone erases prefetch and copy":  testAlertTombstone,
		"alert/results come in order":                 testAlertOrder,
		"caps/of one sender":                          testCapSender,
		"caps/of an origin and a mailbox":             testCapOrigin,
		"caps/what was read does not make room":       testCapRead,
		"entries/pages have no gaps and no repeats":   testEntryPages,
		"entries/marks":                               testMarks,
		"entries/notices":                             testNotices,
	}
}

func entry(t *testing.T, m *store.Mail, owner *Person, ref message.Ref) store.Entry {
	t.Helper()
	e, err := m.Incoming.Entry(context.Background(), owner.Address(), ref)
	done(t, "entry", err)
	return e
}

func mark(t *testing.T, m *store.Mail, owner *Person, k store.Marking) {
	t.Helper()
	done(t, "mark", m.Incoming.Mark(context.Background(), owner.Address(), []store.Marking{k}))
}

func alertErr(m *store.Mail, a store.Alert) error {
	return m.Incoming.Alert(context.Background(), []store.Alert{a})[0].Err
}

func testAlert(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	before, err := m.Log.Place(ctx)
	done(t, "place", err)
	a := alertOf(bob, ann.write(t, Draft{To: []*Person{bob}, Body: "hello"}), store.Requests)
	r := m.Incoming.Alert(ctx, []store.Alert{a})[0]
	done(t, "alert", r.Err)
	if r.Accepted.Again || !r.Accepted.At.Equal(a.Now) || r.Accepted.Seq <= before.Seq {
		t.Fatalf("accepted %+v", r.Accepted)
	}
	e := entry(t, m, bob, a.Head.Ref())
	want := store.Entry{Seq: r.Accepted.Seq, Ref: a.Head.Ref(), Version: 1, Origin: a.Origin, Arrived: a.Now, Folder: store.Requests}
	if !proto.Equal(e.Head, a.Head.Signed) || !proto.Equal(e.Slot, a.Slot) || !e.Arrived.Equal(want.Arrived) {
		t.Fatalf("got %+v", e)
	}
	if e.Seq != want.Seq || e.Ref != want.Ref || e.Version != 1 || e.Origin != want.Origin || e.Folder != want.Folder || e.Read || e.Deleted || e.Notice != nil {
		t.Fatalf("got %+v, want %+v", e, want)
	}
	_, err = m.Incoming.Entry(ctx, bob.Address(), message.Ref{From: ann.Address(), MID: message.MID{1}})
	refused(t, "another entry", err, message.NotFound)
	_, err = m.Incoming.Entry(ctx, ann.Address(), a.Head.Ref())
	refused(t, "another owner's", err, message.NotFound)
}

func testAlertAgain(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	a := alertOf(bob, ann.write(t, Draft{To: []*Person{bob}, Body: "one"}), store.Inbox)
	first := m.Incoming.Alert(ctx, []store.Alert{a})[0]
	done(t, "alert", first.Err)
	yes := true
	mark(t, m, bob, store.Marking{Ref: a.Head.Ref(), Read: &yes})
	seq := entry(t, m, bob, a.Head.Ref()).Seq
	a.Now = a.Now.Add(time.Hour)
	again := m.Incoming.Alert(ctx, []store.Alert{a})[0]
	if again.Err != nil || !again.Accepted.Again || again.Accepted.Place != first.Accepted.Place || !again.Accepted.At.Equal(first.Accepted.At) {
		t.Fatalf("got %+v, want %+v again", again, first)
	}
	if e := entry(t, m, bob, a.Head.Ref()); !e.Read || e.Seq != seq {
		t.Fatal("the same alert again changed the entry")
	}
	mark(t, m, bob, store.Marking{Ref: a.Head.Ref(), Deleted: &yes})
	again = m.Incoming.Alert(ctx, []store.Alert{a})[0]
	if again.Err != nil || !again.Accepted.Again || again.Accepted.Place != first.Accepted.Place {
		t.Fatalf("after a deletion: got %+v, want %+v again", again, first)
	}
}

func testAlertConflict(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	two := ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"})
	twin := ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two, too"})
	alerted(t, m, bob, two)
	for range 2 {
		refused(t, "another head under one version", alertErr(m, alertOf(bob, twin, store.Inbox)), message.Conflict)
	}
	kept, err := m.Identities.Evidence(ctx, ann.Address())
	if err != nil || len(kept) != 1 || !proto.Equal(kept[0][0], two.Head.Signed) || !proto.Equal(kept[0][1], twin.Head.Signed) {
		t.Fatalf("evidence: got %v, %v", kept, err)
	}
	if e := entry(t, m, bob, two.Head.Ref()); !proto.Equal(e.Head, two.Head.Signed) {
		t.Fatal("the second head took the place of the first")
	}
}

func testAlertStranger(t *testing.T, m *store.Mail) {
	ann, bob := person(t, "ann"), person(t, "bob")
	a := alertOf(bob, ann.write(t, Draft{To: []*Person{bob}, Body: "x"}), store.Inbox)
	refused(t, "alert", alertErr(m, a), message.NotFound)
}

func testAlertNewer(t *testing.T, m *store.Mail) {
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	one := alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Body: "one"}))
	yes := true
	mark(t, m, bob, store.Marking{Ref: one.Head.Ref(), Read: &yes})
	a := alertOf(bob, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two", At: noon().Add(time.Minute)}), store.Requests)
	a.Origin = message.Address{7}
	before := entry(t, m, bob, one.Head.Ref())
	done(t, "alert", alertErr(m, a))
	e := entry(t, m, bob, one.Head.Ref())
	if e.Version != 2 || e.Read || !proto.Equal(e.Head, a.Head.Signed) || !proto.Equal(e.Slot, a.Slot) || e.Origin != a.Origin || !e.Arrived.Equal(a.Now) || e.Seq <= before.Seq {
		t.Fatalf("got %+v", e)
	}
	if e.Folder != store.Inbox {
		t.Fatal("what was in the inbox has left it")
	}
}

func testAlertOlder(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	two := alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"}))
	before := entry(t, m, bob, one.Head.Ref())
	a := alertOf(bob, one, store.Requests)
	a.PrefetchAt = noon()
	r := m.Incoming.Alert(ctx, []store.Alert{a, a})
	if r[0].Err != nil || r[0].Accepted.Again || r[1].Err != nil || !r[1].Accepted.Again || r[1].Accepted.Place != r[0].Accepted.Place {
		t.Fatalf("got %+v", r)
	}
	after := entry(t, m, bob, one.Head.Ref())
	if after.Seq != before.Seq || after.Version != 2 || !proto.Equal(after.Head, two.Head.Signed) {
		t.Fatalf("got %+v", after)
	}
	_, err := m.Tasks.NextDue(ctx, store.TaskPrefetch)
	refused(t, "a prefetch of what shows nothing", err, message.NotFound)
}

func testAlertArchived(t *testing.T, m *store.Mail) {
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	yes := true
	for _, recall := range []bool{false, true} {
		one := alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Body: "one"}))
		mark(t, m, bob, store.Marking{Ref: one.Head.Ref(), Archived: &yes})
		alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two", Recall: recall}))
		want := store.Inbox
		if recall {
			want = store.Archive
		}
		if e := entry(t, m, bob, one.Head.Ref()); e.Folder != want || e.Version != 2 || e.Read {
			t.Fatalf("recall %v: got %+v, want folder %v", recall, e, want)
		}
	}
	one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	done(t, "alert", alertErr(m, alertOf(bob, one, store.Requests)))
	alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"}))
	if e := entry(t, m, bob, one.Head.Ref()); e.Folder != store.Inbox {
		t.Fatal("a request of somebody who is accepted by now stays in the requests")
	}
}

func testAlertDeleted(t *testing.T, m *store.Mail) {
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	yes, no := true, false
	one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	two := alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"}))
	ref := one.Head.Ref()
	mark(t, m, bob, store.Marking{Ref: ref, Deleted: &yes})
	e := entry(t, m, bob, ref)
	if !e.Deleted || e.Head != nil || e.Slot != nil || e.Version != 0 || e.Folder != 0 || !e.Arrived.IsZero() || !e.Origin.IsZero() {
		t.Fatalf("a deleted entry shows %+v", e)
	}
	for _, s := range []store.Submission{two, one} {
		alerted(t, m, bob, s)
		mark(t, m, bob, store.Marking{Ref: ref, Deleted: &no, Read: &yes, Archived: &yes})
		if now := entry(t, m, bob, ref); !now.Deleted || now.Seq != e.Seq {
			t.Fatalf("version %d brings it back: %+v", s.Head.Version, now)
		}
	}
	done(t, "alert", alertErr(m, alertOf(bob, ann.write(t, Draft{To: []*Person{bob}, Prev: two.Head, Body: "three"}), store.Requests)))
	if now := entry(t, m, bob, ref); now.Deleted || now.Version != 3 || now.Folder != store.Requests || now.Head == nil || now.Read {
		t.Fatalf("a newer version does not bring it back: %+v", now)
	}
	if a := account(t, m, bob); a.MessagesUsed != 1 {
		t.Fatalf("%d messages used, want 1", a.MessagesUsed)
	}
}

func testAlertPrefetch(t *testing.T, m *store.Mail) {
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	a := alertOf(bob, one, store.Inbox)
	a.PrefetchAt = noon().Add(time.Minute)
	done(t, "alert", alertErr(m, a))
	if k := claim(t, m, store.TaskPrefetch, noon()); len(k) != 0 {
		t.Fatalf("due too early: %+v", k)
	}
	k := claim(t, m, store.TaskPrefetch, a.PrefetchAt)
	if len(k) != 1 || k[0].Ref != one.Head.Ref() || k[0].Peer != bob.Address() || k[0].Version != 1 || !k[0].Queued.Equal(a.Now) {
		t.Fatalf("got %+v", k)
	}
	two := alertOf(bob, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"}), store.Inbox)
	two.PrefetchAt = noon().Add(2 * time.Minute)
	done(t, "alert", alertErr(m, two))
	done(t, "settle", m.Tasks.Settle(context.Background(), []store.Outcome{{ID: k[0].ID, Version: 1, Done: true}}))
	if k = claim(t, m, store.TaskPrefetch, two.PrefetchAt); len(k) != 1 || k[0].Version != 2 {
		t.Fatalf("the task of the newer version: %+v", k)
	}
}

func testAlertTombstone(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	for _, taken := range []bool{false, true} {
		one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
		a := alertOf(bob, one, store.Inbox)
		a.PrefetchAt = noon()
		done(t, "alert", alertErr(m, a))
		done(t, "copy", m.Copies.PutCopy(ctx, bob.Address(), store.Copy{Ref: one.Head.Ref(), Version: 1, Payload: []byte("x"), At: noon()}))
		if taken {
			done(t, "take", m.Copies.TakeCopy(ctx, bob.Address(), one.Head.Ref(), 1))
		}
		end := alertOf(bob, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Recall: true}), store.Inbox)
		end.PrefetchAt = noon()
		done(t, "alert", alertErr(m, end))
		_, err := m.Tasks.NextDue(ctx, store.TaskPrefetch)
		refused(t, "a prefetch of what was recalled", err, message.NotFound)
		if _, err = m.Copies.Copy(ctx, bob.Address(), one.Head.Ref()); taken {
			done(t, "a copy that was taken", err)
		} else {
			refused(t, "a copy that was not taken", err, message.NotFound)
		}
		done(t, "a copy that comes late", m.Copies.PutCopy(ctx, bob.Address(), store.Copy{Ref: one.Head.Ref(), Version: 3, Payload: []byte("late"), At: noon()}))
		if c, err := m.Copies.Copy(ctx, bob.Address(), one.Head.Ref()); err == nil && c.Version == 3 {
			t.Fatal("a copy of what was recalled was kept")
		}
		if e := entry(t, m, bob, one.Head.Ref()); e.Version != 2 || !proto.Equal(e.Head, end.Head.Signed) {
			t.Fatalf("got %+v", e)
		}
	}
}

func testAlertOrder(t *testing.T, m *store.Mail) {
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, bob, cyd)
	s := ann.write(t, Draft{To: []*Person{bob, cyd}, Body: "x"})
	nobody := alertOf(bob, s, store.Inbox)
	nobody.To = message.Address{9}
	r := m.Incoming.Alert(context.Background(), []store.Alert{alertOf(bob, s, store.Inbox), nobody, alertOf(cyd, s, store.Inbox), alertOf(bob, s, store.Inbox)})
	if len(r) != 4 || r[0].Err != nil || r[2].Err != nil || r[0].Accepted.Seq >= r[2].Accepted.Seq || r[3].Accepted.Place != r[0].Accepted.Place {
		t.Fatalf("got %+v", r)
	}
	refused(t, "the second", r[1].Err, message.NotFound)
}

func capped(to *Person, s store.Submission, origin byte, c store.Caps) store.Alert {
	a := alertOf(to, s, store.Requests)
	a.Origin, a.Caps = message.Address{origin}, c
	return a
}

func testCapSender(t *testing.T, m *store.Mail) {
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, bob)
	caps := store.Caps{PerSender: 2}
	var last store.Submission
	for range 2 {
		last = ann.write(t, Draft{To: []*Person{bob}, Body: "x"})
		done(t, "alert", alertErr(m, capped(bob, last, 1, caps)))
	}
	refused(t, "a third", alertErr(m, capped(bob, ann.write(t, Draft{To: []*Person{bob}, Body: "x"}), 1, caps)), message.Quota)
	done(t, "an edit", alertErr(m, capped(bob, ann.write(t, Draft{To: []*Person{bob}, Prev: last.Head, Body: "x"}), 1, caps)))
	done(t, "another sender", alertErr(m, capped(bob, cyd.write(t, Draft{To: []*Person{bob}, Body: "x"}), 1, caps)))
	inbox := capped(bob, ann.write(t, Draft{To: []*Person{bob}, Body: "x"}), 1, caps)
	inbox.Folder = store.Inbox
	done(t, "to the inbox", alertErr(m, inbox))
}

func testCapOrigin(t *testing.T, m *store.Mail) {
	for i, caps := range []store.Caps{{PerOrigin: 2}, {PerMailbox: 3}} {
		bob := person(t, fmt.Sprint("bob", i))
		join(t, m, bob)
		other := person(t, "other").write(t, Draft{To: []*Person{bob}, Body: "x"})
		done(t, "another origin", alertErr(m, capped(bob, other, 2, caps)))
		var refs []message.Ref
		for n := range 3 {
			s := person(t, fmt.Sprint("sender", n)).write(t, Draft{To: []*Person{bob}, Body: "x", At: noon().Add(time.Duration(n) * time.Minute)})
			refs = append(refs, s.Head.Ref())
			done(t, "alert", alertErr(m, capped(bob, s, 1, caps)))
		}
		for n, ref := range append(refs, other.Head.Ref()) {
			if e := entry(t, m, bob, ref); e.Deleted != (n == 0) {
				t.Fatalf("caps %+v: entry %d deleted is %v: the oldest of the same origin makes room", caps, n, e.Deleted)
			}
		}
		if a := account(t, m, bob); a.MessagesUsed != 3 {
			t.Fatalf("%d messages used, want 3", a.MessagesUsed)
		}
		stranger := person(t, "stranger").write(t, Draft{To: []*Person{bob}, Body: "x"})
		err := alertErr(m, capped(bob, stranger, 3, caps))
		if caps.PerMailbox > 0 {
			refused(t, "an origin that has nothing to make room with", err, message.Quota)
		} else {
			done(t, "a third origin", err)
		}
	}
}

func testCapRead(t *testing.T, m *store.Mail) {
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	caps := store.Caps{PerOrigin: 1}
	s := ann.write(t, Draft{To: []*Person{bob}, Body: "x"})
	done(t, "alert", alertErr(m, capped(bob, s, 1, caps)))
	yes := true
	mark(t, m, bob, store.Marking{Ref: s.Head.Ref(), Read: &yes})
	refused(t, "where all was read", alertErr(m, capped(bob, ann.write(t, Draft{To: []*Person{bob}, Body: "x"}), 1, caps)), message.Quota)
	if e := entry(t, m, bob, s.Head.Ref()); e.Deleted {
		t.Fatal("what was read made room")
	}
}

func testEntryPages(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, bob, cyd)
	want := make(map[string]bool)
	var first store.Submission
	for n := range 5 {
		s := alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Body: "x"}))
		alerted(t, m, cyd, ann.write(t, Draft{To: []*Person{cyd}, Body: "another owner's"}))
		note := store.Notice{MID: message.MID{byte(n + 1)}, To: ann.Address(), Time: noon()}
		done(t, "notify", m.Incoming.Notify(ctx, bob.Address(), note))
		want[s.Head.Ref().String()], want[message.Ref{From: bob.Address(), MID: note.MID}.String()] = true, true
		if n == 0 {
			first = s
		}
	}
	yes := true
	mark(t, m, bob, store.Marking{Ref: first.Head.Ref(), Read: &yes})
	after, last := uint64(0), message.Ref{}
	for more := true; more; {
		var page []store.Entry
		var err error
		page, more, err = m.Incoming.Entries(ctx, bob.Address(), after, 3)
		done(t, "entries", err)
		if more != (len(page) == 3 && len(want) > 3) {
			t.Fatalf("more is %v with %d on the page and %d left", more, len(page), len(want))
		}
		for _, e := range page {
			if !want[e.Ref.String()] || e.Seq <= after {
				t.Fatalf("%v at %d: twice, or out of order", e.Ref, e.Seq)
			}
			delete(want, e.Ref.String())
			after, last = e.Seq, e.Ref
		}
	}
	if len(want) != 0 || last != first.Head.Ref() {
		t.Fatalf("%d are missing; the last is %v", len(want), last)
	}
}

func testMarks(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	s := alerted(t, m, bob, ann.write(t, Draft{To: []*Person{bob}, Body: "x"}))
	ref := s.Head.Ref()
	yes, no := true, false
	for i, c := range []struct {
		k       store.Marking
		read    bool
		folder  store.Folder
		changed bool
	}{
		{store.Marking{}, false, store.Inbox, false},
		{store.Marking{Read: &yes}, true, store.Inbox, true},
		{store.Marking{Read: &yes}, true, store.Inbox, false},
		{store.Marking{Archived: &yes}, true, store.Archive, true},
		{store.Marking{Read: &no, Archived: &yes}, false, store.Archive, true},
		{store.Marking{Archived: &no, Deleted: &no}, false, store.Inbox, true},
		{store.Marking{Archived: &no}, false, store.Inbox, false},
	} {
		before := entry(t, m, bob, ref)
		c.k.Ref = ref
		unknown := store.Marking{Ref: message.Ref{From: ann.Address(), MID: message.MID{1}}, Read: &yes, Deleted: &yes}
		done(t, "mark", m.Incoming.Mark(ctx, bob.Address(), []store.Marking{unknown, c.k}))
		e := entry(t, m, bob, ref)
		if e.Read != c.read || e.Folder != c.folder || (e.Seq > before.Seq) != c.changed {
			t.Fatalf("marking %d: got %+v", i, e)
		}
	}
}

func testNotices(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	n := store.Notice{MID: message.MID{1}, Version: 2, To: bob.Address(), Reason: message.Unavailable, Time: noon()}
	other := n
	other.To = message.Address{5}
	second := n
	second.Reason = message.NotAccepted
	for _, x := range []store.Notice{n, second, other} {
		done(t, "notify", m.Incoming.Notify(ctx, ann.Address(), x))
	}
	entries, _, err := m.Incoming.Entries(ctx, ann.Address(), 0, 10)
	if err != nil || len(entries) != 2 {
		t.Fatalf("got %+v, %v, want two", entries, err)
	}
	for i, want := range []store.Notice{n, other} {
		e := entries[i]
		if e.Notice == nil || *e.Notice != want || e.Ref != (message.Ref{From: ann.Address(), MID: n.MID}) || e.Head != nil || e.Read {
			t.Fatalf("got %+v, %+v, want %+v", e, e.Notice, want)
		}
	}
	yes := true
	mark(t, m, ann, store.Marking{Ref: entries[0].Ref, Read: &yes})
	entries, _, err = m.Incoming.Entries(ctx, ann.Address(), entries[1].Seq, 10)
	if err != nil || len(entries) != 2 || !entries[0].Read || !entries[1].Read {
		t.Fatalf("after a mark: got %+v, %v", entries, err)
	}
	mark(t, m, ann, store.Marking{Ref: entries[0].Ref, Deleted: &yes})
	entries, _, err = m.Incoming.Entries(ctx, ann.Address(), entries[1].Seq, 10)
	if err != nil || len(entries) != 2 || !entries[0].Deleted || entries[0].Notice != nil {
		t.Fatalf("after a deletion: got %+v, %v", entries, err)
	}
	done(t, "notify", m.Incoming.Notify(ctx, ann.Address(), n))
	again, _, err := m.Incoming.Entries(ctx, ann.Address(), entries[1].Seq, 10)
	if err != nil || len(again) != 0 {
		t.Fatalf("a second notice: got %+v, %v", again, err)
	}
}
