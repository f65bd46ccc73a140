package storetest

import (
	"context"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// RunMail holds a mail server's store to its contracts, all but Blobs.
func RunMail(t *testing.T, open func(t *testing.T) *store.Mail) {
	runDirectory(t, func(t *testing.T) directory {
		m := open(t)
		return directory{m.Identities, m.Listings, m.Log}
	})
	for _, tests := range []map[string]func(*testing.T, *store.Mail){
		accountTests(), outgoingTests(), deliveryTests(), incomingTests(), copyTests(), taskTests(), inquiryTests(), passerTests(), indexTests(), concurrencyTests(),
	} {
		for name, run := range tests {
			t.Run(name, func(t *testing.T) { run(t, open(t)) })
		}
	}
}

func accountTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"accounts/join, change and read":           testAccount,
		"accounts/are listed in pages":             testAccountPages,
		"accounts/an unknown one is not found":     testAccountUnknown,
		"accounts/removal erases what was kept":    testAccountRemoval,
		"accounts/recalls outlive their account":   testRecallOutlives,
		"invites/are used up and expire":           testInvites,
		"invites/one use for many who come":        testInviteRace,
		"verdicts/replace and remove":              testVerdicts,
		"verdicts/allowing moves requests":         testVerdictMoves,
		"verdicts/are bounded":                     testVerdictLimit,
		"quota/bytes count what is kept":           testQuotaBytes,
		"quota/messages":                           testQuotaMessages,
		"quota/a recall is taken beyond the quota": testQuotaRecall,
	}
}

func account(t *testing.T, m *store.Mail, p *Person) store.Account {
	t.Helper()
	a, err := m.Accounts.Account(context.Background(), p.Address())
	done(t, "account", err)
	return a
}

func testAccount(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	p := person(t, "ann")
	want := store.Account{Address: p.Address(), Joined: noon(), BytesLimit: 10, MessagesLimit: 20, Trackers: []string{"https://a", "https://b"}}
	given := want
	given.BytesUsed, given.MessagesUsed = 99, 99
	done(t, "join", m.Accounts.Join(ctx, given, nil))
	done(t, "join again", m.Accounts.Join(ctx, store.Account{Address: p.Address(), Joined: noon().Add(time.Hour)}, nil))
	check := func() {
		t.Helper()
		got := account(t, m, p)
		if got.Address != want.Address || !got.Joined.Equal(want.Joined) || got.Suspended != want.Suspended || got.BytesLimit != want.BytesLimit ||
			got.MessagesLimit != want.MessagesLimit || got.BytesUsed != 0 || got.MessagesUsed != 0 || len(got.Trackers) != len(want.Trackers) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		for i := range want.Trackers {
			if got.Trackers[i] != want.Trackers[i] {
				t.Fatalf("trackers: got %v, want %v", got.Trackers, want.Trackers)
			}
		}
	}
	check()
	done(t, "change nothing", m.Accounts.ChangeAccount(ctx, p.Address(), store.AccountChange{}))
	check()
	yes, bytes, messages := true, int64(0), int64(7)
	done(t, "change", m.Accounts.ChangeAccount(ctx, p.Address(), store.AccountChange{Suspended: &yes, BytesLimit: &bytes, MessagesLimit: &messages, Trackers: []string{"x"}}))
	want.Suspended, want.BytesLimit, want.MessagesLimit, want.Trackers = true, 0, 7, []string{"x"}
	check()
	done(t, "no trackers", m.Accounts.ChangeAccount(ctx, p.Address(), store.AccountChange{Trackers: []string{}}))
	want.Trackers = nil
	check()
}

func testAccountPages(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	var after message.Address
	for _, name := range []string{"ann", "bob", "cyd", "dan", "eve"} {
		join(t, m, person(t, name))
	}
	var got []message.Address
	for {
		page, err := m.Accounts.Accounts(ctx, after, 2)
		done(t, "accounts", err)
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			if a.Address.Compare(after) <= 0 {
				t.Fatal("accounts are not in order")
			}
			after = a.Address
			got = append(got, a.Address)
		}
	}
	if len(got) != 5 {
		t.Fatalf("%d accounts in pages, want 5", len(got))
	}
}

func testAccountUnknown(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	a := person(t, "nobody").Address()
	_, err := m.Accounts.Account(ctx, a)
	refused(t, "account", err, message.NotFound)
	refused(t, "change", m.Accounts.ChangeAccount(ctx, a, store.AccountChange{}), message.NotFound)
	refused(t, "remove", m.Accounts.RemoveAccount(ctx, a), message.NotFound)
	refused(t, "verdict", m.Policies.SetVerdicts(ctx, a, map[message.Address]store.Verdict{a: store.Allow}), message.NotFound)
	refused(t, "notify", m.Incoming.Notify(ctx, a, store.Notice{MID: message.MID{1}, To: a}), message.NotFound)
	refused(t, "reserve", m.BlobIndex.Reserve(ctx, a, store.BlobRef{ID: message.ID{1}, Size: 1}, noon()), message.NotFound)
}

func testAccountRemoval(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann, bob)
	s := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "out"}))
	in := alerted(t, m, ann, bob.write(t, Draft{To: []*Person{ann}, Body: "in"}))
	done(t, "copy", m.Copies.PutCopy(ctx, ann.Address(), store.Copy{Ref: in.Head.Ref(), Version: 1, At: noon(), Payload: []byte("x")}))
	done(t, "notify", m.Incoming.Notify(ctx, ann.Address(), store.Notice{MID: s.Head.MID, To: bob.Address(), Time: noon()}))
	done(t, "verdict", m.Policies.SetVerdicts(ctx, ann.Address(), map[message.Address]store.Verdict{bob.Address(): store.Block}))
	blob := store.BlobRef{ID: message.ID{7}, Size: 5}
	done(t, "reserve", m.BlobIndex.Reserve(ctx, ann.Address(), blob, noon()))
	done(t, "remove", m.Accounts.RemoveAccount(ctx, ann.Address()))

	_, err := m.Accounts.Account(ctx, ann.Address())
	refused(t, "account", err, message.NotFound)
	_, err = m.Outgoing.Versions(ctx, s.Head.Ref())
	refused(t, "versions", err, message.NotFound)
	_, err = m.Deliveries.Deliveries(ctx, s.Head.Ref())
	refused(t, "deliveries", err, message.NotFound)
	_, err = m.Tasks.NextDue(ctx, store.TaskAlert)
	refused(t, "alert task", err, message.NotFound)
	_, err = m.Incoming.Entry(ctx, ann.Address(), in.Head.Ref())
	refused(t, "entry", err, message.NotFound)
	_, err = m.Copies.Copy(ctx, ann.Address(), in.Head.Ref())
	refused(t, "copy", err, message.NotFound)
	gone, err := m.BlobIndex.Unused(ctx, noon(), 10)
	if err != nil || len(gone) != 1 || gone[0] != blob.ID {
		t.Fatalf("unused blobs: got %v, %v", gone, err)
	}
	join(t, m, ann)
	entries, _, err := m.Incoming.Entries(ctx, ann.Address(), 0, 10)
	verdict, verr := m.Policies.Verdict(ctx, ann.Address(), bob.Address())
	if err != nil || verr != nil || len(entries) != 0 || verdict != store.Stranger {
		t.Fatalf("an account that joins anew finds %v, %v", entries, verdict)
	}
	if a := account(t, m, ann); a.BytesUsed != 0 || a.MessagesUsed != 0 {
		t.Fatalf("and uses %d bytes, %d messages", a.BytesUsed, a.MessagesUsed)
	}
	submitted(t, m, s)
}

// testRecallOutlives: what other servers still need to hear was submitted
// before the removal, and is still brought to them.
func testRecallOutlives(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	first := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "one"}))
	recall := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: first.Head, Recall: true}))
	done(t, "remove", m.Accounts.RemoveAccount(ctx, ann.Address()))
	tasks, err := m.Tasks.Claim(ctx, store.TaskAlert, noon(), time.Minute, 10)
	if err != nil || len(tasks) != 1 || tasks[0].Version != 2 {
		t.Fatalf("tasks: got %v, %v", tasks, err)
	}
	v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: recall.Head.Ref()}, message.Address{}, noon())
	if err != nil || len(v) != 2 || !v[1].Tombstone || len(v[0].Payload)+len(v[1].Payload) != 0 {
		t.Fatalf("heads: got %v, %v", v, err)
	}
}

func testInvites(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	token := [32]byte{1}
	done(t, "invite", m.Invites.PutInvite(ctx, token, 2, noon().Add(time.Hour)))
	come := func(name string, token [32]byte, now time.Time) error {
		return m.Accounts.Join(ctx, store.Account{Address: person(t, name).Address(), Joined: now}, &store.InviteUse{Token: token, Now: now})
	}
	refused(t, "unknown", come("ann", [32]byte{2}, noon()), message.Denied)
	refused(t, "expired", come("ann", token, noon().Add(time.Hour)), message.Denied)
	_, err := m.Accounts.Account(ctx, person(t, "ann").Address())
	refused(t, "the account of somebody who was refused", err, message.NotFound)
	done(t, "first use", come("ann", token, noon()))
	done(t, "an account that exists uses nothing", come("ann", token, noon()))
	done(t, "second use", come("bob", token, noon()))
	refused(t, "used up", come("cyd", token, noon()), message.Denied)
	done(t, "an account that exists needs none", come("bob", token, noon()))
}

func testInviteRace(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	done(t, "invite", m.Invites.PutInvite(ctx, [32]byte{1}, 1, noon().Add(time.Hour)))
	var guests []message.Address
	for _, name := range []string{"ann", "bob", "cyd", "dan"} {
		guests = append(guests, person(t, name).Address())
	}
	in := 0
	for _, err := range together(len(guests), func(i int) error {
		return m.Accounts.Join(ctx, store.Account{Address: guests[i], Joined: noon()}, &store.InviteUse{Token: [32]byte{1}, Now: noon()})
	}) {
		if err == nil {
			in++
		} else {
			refused(t, "join", err, message.Denied)
		}
	}
	if in != 1 {
		t.Fatalf("%d came in on one use", in)
	}
}

func testVerdicts(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob").Address(), person(t, "cyd").Address()
	join(t, m, ann)
	set := func(v map[message.Address]store.Verdict) {
		t.Helper()
		done(t, "set", m.Policies.SetVerdicts(ctx, ann.Address(), v))
	}
	set(map[message.Address]store.Verdict{bob: store.Allow, cyd: store.Block})
	set(map[message.Address]store.Verdict{bob: store.Block})
	all, err := m.Policies.Verdicts(ctx, ann.Address())
	if err != nil || len(all) != 2 || all[bob] != store.Block || all[cyd] != store.Block {
		t.Fatalf("got %v, %v", all, err)
	}
	set(map[message.Address]store.Verdict{cyd: store.Stranger})
	all, err = m.Policies.Verdicts(ctx, ann.Address())
	one, err2 := m.Policies.Verdict(ctx, ann.Address(), bob)
	none, err3 := m.Policies.Verdict(ctx, ann.Address(), cyd)
	if err != nil || err2 != nil || err3 != nil || len(all) != 1 || one != store.Block || none != store.Stranger {
		t.Fatalf("got %v, %v, %v", all, one, none)
	}
}

func testVerdictMoves(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, ann)
	var refs []message.Ref
	for _, from := range []*Person{bob, bob, cyd} {
		s := from.write(t, Draft{To: []*Person{ann}, Body: "hi"})
		done(t, "alert", m.Incoming.Alert(ctx, []store.Alert{alertOf(ann, s, store.Requests)})[0].Err)
		refs = append(refs, s.Head.Ref())
	}
	before, err := m.Log.Place(ctx)
	done(t, "place", err)
	done(t, "verdicts", m.Policies.SetVerdicts(ctx, ann.Address(), map[message.Address]store.Verdict{bob.Address(): store.Allow, cyd.Address(): store.Block}))
	for i, want := range []store.Folder{store.Inbox, store.Inbox, store.Requests} {
		e, err := m.Incoming.Entry(ctx, ann.Address(), refs[i])
		if err != nil || e.Folder != want {
			t.Fatalf("entry %d: got %v, %v, want %v", i, e.Folder, err, want)
		}
	}
	changed, _, err := m.Incoming.Entries(ctx, ann.Address(), before.Seq, 10)
	if err != nil || len(changed) != 2 {
		t.Fatalf("changed since: got %v, %v, want the two that moved", changed, err)
	}
}

func testVerdictLimit(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	all := make(map[message.Address]store.Verdict)
	for n := range 10_000 {
		all[message.Address{1, byte(n), byte(n >> 8)}] = store.Block
	}
	done(t, "10,000", m.Policies.SetVerdicts(ctx, ann.Address(), all))
	refused(t, "one more", m.Policies.SetVerdicts(ctx, ann.Address(), map[message.Address]store.Verdict{{2}: store.Allow}), message.Quota)
	got, err := m.Policies.Verdicts(ctx, ann.Address())
	if err != nil || len(got) != 10_000 || got[message.Address{2}] != store.Stranger {
		t.Fatalf("got %d, %v", len(got), err)
	}
}

func testQuotaBytes(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	s := ann.write(t, Draft{To: []*Person{bob}, Body: "some words"})
	least := int64(len(s.Payload) + len(s.Head.Signed.Body) + len(s.Slots[0].Sealed) + len(s.Slots[1].Sealed))
	limit := least - 1
	done(t, "change", m.Accounts.ChangeAccount(ctx, ann.Address(), store.AccountChange{BytesLimit: &limit}))
	refused(t, "submit", m.Outgoing.Submit(ctx, []store.Submission{s})[0].Err, message.Quota)
	if a := account(t, m, ann); a.BytesUsed != 0 {
		t.Fatalf("a refused submission counts %d bytes", a.BytesUsed)
	}
	limit = least * 4
	done(t, "change", m.Accounts.ChangeAccount(ctx, ann.Address(), store.AccountChange{BytesLimit: &limit}))
	submitted(t, m, s)
	used := account(t, m, ann).BytesUsed
	if used < least || used > least+500 {
		t.Fatalf("%d bytes used, want %d and a little", used, least)
	}
	submitted(t, m, s)
	if again := account(t, m, ann).BytesUsed; again != used {
		t.Fatalf("the same head again counts: %d, then %d", used, again)
	}
	in := alerted(t, m, ann, bob.write(t, Draft{To: []*Person{ann}, Body: "in"}))
	with := account(t, m, ann).BytesUsed
	if more := with - used; more < int64(len(in.Head.Signed.Body)+len(in.Slots[0].Sealed)) {
		t.Fatalf("an alert counts %d bytes", more)
	}
	done(t, "copy", m.Copies.PutCopy(ctx, ann.Address(), store.Copy{Ref: in.Head.Ref(), Version: 1, At: noon(), Payload: make([]byte, 100)}))
	if more := account(t, m, ann).BytesUsed - with; more < 100 {
		t.Fatalf("a copy of 100 bytes counts %d", more)
	}
	err := m.Copies.PutCopy(ctx, ann.Address(), store.Copy{Ref: in.Head.Ref(), Version: 1, At: noon(), Payload: make([]byte, limit)})
	refused(t, "a copy beyond the quota", err, message.Quota)
	yes := true
	done(t, "delete", m.Incoming.Mark(ctx, ann.Address(), []store.Marking{{Ref: in.Head.Ref(), Deleted: &yes}}))
	if now := account(t, m, ann); now.BytesUsed != used || now.MessagesUsed != 1 {
		t.Fatalf("after a deletion %d bytes and %d messages are used, want %d and 1", now.BytesUsed, now.MessagesUsed, used)
	}
}

func testQuotaMessages(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	limit := int64(2)
	done(t, "change", m.Accounts.ChangeAccount(ctx, ann.Address(), store.AccountChange{MessagesLimit: &limit}))
	first := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "1"}))
	in := alerted(t, m, ann, bob.write(t, Draft{To: []*Person{ann}, Body: "2"}))
	refused(t, "a third, going out", m.Outgoing.Submit(ctx, []store.Submission{ann.write(t, Draft{To: []*Person{bob}, Body: "3"})})[0].Err, message.Quota)
	other := alertOf(ann, bob.write(t, Draft{To: []*Person{ann}, Body: "3"}), store.Inbox)
	refused(t, "a third, coming in", m.Incoming.Alert(ctx, []store.Alert{other})[0].Err, message.Quota)
	submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: first.Head, Body: "an edit is no new message"}))
	alerted(t, m, ann, bob.write(t, Draft{To: []*Person{ann}, Prev: in.Head, Body: "nor is this one"}))
	if a := account(t, m, ann); a.MessagesUsed != 2 {
		t.Fatalf("%d messages used, want 2", a.MessagesUsed)
	}
}

func testQuotaRecall(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	s := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "too much"}))
	in := alerted(t, m, ann, bob.write(t, Draft{To: []*Person{ann}, Body: "in"}))
	before := account(t, m, ann).BytesUsed
	limit := int64(1)
	done(t, "change", m.Accounts.ChangeAccount(ctx, ann.Address(), store.AccountChange{BytesLimit: &limit}))
	submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: s.Head, Recall: true}))
	if after := account(t, m, ann).BytesUsed; after > before-int64(len(s.Payload)) {
		t.Fatalf("a recall frees %d bytes of %d", before-after, len(s.Payload))
	}
	alerted(t, m, ann, bob.write(t, Draft{To: []*Person{ann}, Prev: in.Head, Recall: true}))
}

// submitted submits and expects success.
func submitted(t testing.TB, m *store.Mail, s store.Submission) store.Submission {
	t.Helper()
	r := m.Outgoing.Submit(context.Background(), []store.Submission{s})[0]
	done(t, "submit", r.Err)
	return s
}

// alertOf is a submission as it arrives at a recipient's server.
func alertOf(to *Person, s store.Submission, f store.Folder) store.Alert {
	a := store.Alert{To: to.Address(), Head: s.Head, Origin: message.Address{9}, Folder: f, Now: s.Now}
	for _, slot := range s.Slots {
		if string(slot.GetAddress()) == string(to.Address().Bytes()) {
			a.Slot = slot
		}
	}
	return a
}

// alerted takes an alert into the inbox and expects success.
func alerted(t testing.TB, m *store.Mail, to *Person, s store.Submission) store.Submission {
	t.Helper()
	r := m.Incoming.Alert(context.Background(), []store.Alert{alertOf(to, s, store.Inbox)})[0]
	done(t, "alert", r.Err)
	return s
}
