package storetest

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func taskTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"tasks/are added once by name":             testTaskNames,
		"tasks/are claimed in order and leased":    testClaim,
		"tasks/are settled":                        testSettle,
		"tasks/an outcome of an older version":     testSettleRace,
		"tasks/a late outcome meets no other task": testSettleLate,
		"tasks/a new version begins anew":          testTaskReplaced,
		"tasks/one claimer gets each":              testClaimRace,
		"tasks/alerts are about messages here":     testAlertTask,
	}
}

// receiptTask is a task that needs no message.
func receiptTask(n byte, due time.Time) store.Task {
	return store.Task{
		Kind: store.TaskReceipt, Ref: message.Ref{From: message.Address{1}, MID: message.MID{n}}, Version: 1, Peer: message.Address{1},
		Receipt: &wirev1.Signed{Body: []byte{n}}, Queued: noon(), Due: due,
	}
}

func claim(t *testing.T, m *store.Mail, kind store.TaskKind, now time.Time) []store.Task {
	t.Helper()
	k, err := m.Tasks.Claim(context.Background(), kind, now, time.Minute, 100)
	done(t, "claim", err)
	return k
}

func testTaskNames(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	one := receiptTask(1, noon())
	other := one
	other.Receipt = &wirev1.Signed{Body: []byte("another")}
	version := one
	version.Version = 2
	pull := store.Task{Kind: store.TaskPrefetch, Ref: one.Ref, Version: 1, Peer: message.Address{2}, Queued: noon(), Due: noon()}
	newer := pull
	newer.Version, newer.Due = 2, noon().Add(-time.Hour)
	again := one
	again.Due, again.Attempts = noon().Add(-time.Hour), 7
	done(t, "add", m.Tasks.AddTasks(ctx, []store.Task{one, other, version, pull, newer, again, one}))
	if k := claim(t, m, store.TaskReceipt, noon().Add(-time.Second)); len(k) != 0 {
		t.Fatalf("due too early: %+v", k)
	}
	k := claim(t, m, store.TaskReceipt, noon())
	if len(k) != 3 || !proto.Equal(k[0].Receipt, one.Receipt) || !proto.Equal(k[1].Receipt, other.Receipt) || k[2].Version != 2 || k[0].Attempts != 0 {
		t.Fatalf("receipts: %+v", k)
	}
	if p := claim(t, m, store.TaskPrefetch, noon()); len(p) != 1 || p[0].Version != 1 || p[0].Receipt != nil || p[0].Peer != pull.Peer || p[0].Ref != pull.Ref {
		t.Fatalf("prefetches: %+v", p)
	}
}

func testClaim(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	_, err := m.Tasks.NextDue(ctx, store.TaskReceipt)
	refused(t, "the next of none", err, message.NotFound)
	for n, minutes := range []int{3, 1, 2, 9} {
		done(t, "add", m.Tasks.AddTasks(ctx, []store.Task{receiptTask(byte(n), noon().Add(time.Duration(minutes)*time.Minute))}))
	}
	next, err := m.Tasks.NextDue(ctx, store.TaskReceipt)
	if err != nil || !next.Equal(noon().Add(time.Minute)) {
		t.Fatalf("next due %v, %v", next, err)
	}
	_, err = m.Tasks.NextDue(ctx, store.TaskPrefetch)
	refused(t, "the next of another kind", err, message.NotFound)
	now := noon().Add(3 * time.Minute)
	first, err := m.Tasks.Claim(ctx, store.TaskReceipt, now, time.Hour, 2)
	done(t, "claim", err)
	if len(first) != 2 || first[0].Ref.MID[0] != 1 || first[1].Ref.MID[0] != 2 || !first[0].Due.Equal(now.Add(time.Hour)) {
		t.Fatalf("the longest due: %+v", first)
	}
	second, err := m.Tasks.Claim(ctx, store.TaskReceipt, now, time.Hour, 2)
	if err != nil || len(second) != 1 || second[0].Ref.MID[0] != 0 {
		t.Fatalf("the rest: %+v, %v", second, err)
	}
	again := claim(t, m, store.TaskReceipt, now.Add(time.Hour))
	if len(again) != 4 {
		t.Fatalf("when the leases are over, %d come back, want 3 and one that is now due", len(again))
	}
}

func testSettle(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	done(t, "add", m.Tasks.AddTasks(ctx, []store.Task{receiptTask(1, noon()), receiptTask(2, noon())}))
	k := claim(t, m, store.TaskReceipt, noon())
	retry := noon().Add(10 * time.Minute)
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{
		{ID: k[0].ID, Version: 1, Done: true}, {ID: k[1].ID, Version: 1, Retry: retry, Noticed: true}, {ID: 999_999, Version: 1, Done: true},
	}))
	if early := claim(t, m, store.TaskReceipt, retry.Add(-time.Millisecond)); len(early) != 0 {
		t.Fatalf("before the retry: %+v", early)
	}
	left := claim(t, m, store.TaskReceipt, retry)
	if len(left) != 1 || left[0].ID != k[1].ID || left[0].Attempts != 1 || !left[0].Noticed || !left[0].Queued.Equal(noon()) {
		t.Fatalf("left: %+v", left)
	}
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{{ID: k[1].ID, Version: 1, Retry: retry}}))
	if left = claim(t, m, store.TaskReceipt, retry); len(left) != 1 || left[0].Attempts != 2 || !left[0].Noticed {
		t.Fatalf("who was told once was told: %+v", left)
	}
}

func testSettleRace(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, to, s := letter(t, m, "bob")
	old := claim(t, m, store.TaskAlert, noon())
	submitted(t, m, ann.write(t, Draft{To: to, Prev: s.Head, Body: "two"}))
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{{ID: old[0].ID, Version: old[0].Version, Done: true}}))
	now := claim(t, m, store.TaskAlert, noon())
	if len(now) != 1 || now[0].Version != 2 {
		t.Fatalf("an outcome of version 1 took %+v", now)
	}
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{{ID: old[0].ID, Version: old[0].Version, Retry: noon().Add(time.Hour)}}))
	if d := deliveries(t, m, s.Head.Ref())[0]; d.Attempts != 0 {
		t.Fatalf("a failure of version 1 counts for version 2: %+v", d)
	}
}

func testSettleLate(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	done(t, "add", m.Tasks.AddTasks(ctx, []store.Task{receiptTask(1, noon())}))
	k := claim(t, m, store.TaskReceipt, noon())
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{{ID: k[0].ID, Version: 1, Done: true}}))
	done(t, "add", m.Tasks.AddTasks(ctx, []store.Task{receiptTask(2, noon())}))
	done(t, "settle again", m.Tasks.Settle(ctx, []store.Outcome{{ID: k[0].ID, Version: 1, Done: true}}))
	if left := claim(t, m, store.TaskReceipt, noon()); len(left) != 1 {
		t.Fatal("a late outcome took another task")
	}
}

func testTaskReplaced(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, to, s := letter(t, m, "bob", "cyd")
	k := claim(t, m, store.TaskAlert, noon())
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{
		{ID: k[0].ID, Version: 1, Done: true}, {ID: k[1].ID, Version: 1, Retry: noon().Add(24 * time.Hour), Noticed: true},
	}))
	later := noon().Add(time.Hour)
	submitted(t, m, ann.write(t, Draft{To: to, Prev: s.Head, Body: "two", At: later}))
	k = claim(t, m, store.TaskAlert, later)
	if len(k) != 2 {
		t.Fatalf("got %+v, want one for each recipient", k)
	}
	for _, x := range k {
		if x.Version != 2 || x.Attempts != 0 || x.Noticed || !x.Queued.Equal(later) {
			t.Fatalf("got %+v", x)
		}
	}
}

func testClaimRace(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	var tasks []store.Task
	for n := range 40 {
		tasks = append(tasks, receiptTask(byte(n), noon()))
	}
	done(t, "add", m.Tasks.AddTasks(ctx, tasks))
	got := make([][]store.Task, 8)
	for _, err := range together(8, func(i int) (err error) {
		got[i], err = m.Tasks.Claim(ctx, store.TaskReceipt, noon(), time.Hour, 10)
		return err
	}) {
		done(t, "claim", err)
	}
	seen := make(map[int64]bool)
	for _, g := range got {
		for _, k := range g {
			if seen[k.ID] {
				t.Fatalf("task %d was claimed twice", k.ID)
			}
			seen[k.ID] = true
		}
	}
	if len(seen) != 40 {
		t.Fatalf("%d of 40 were claimed", len(seen))
	}
}

func testAlertTask(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, to, s := letter(t, m, "bob")
	k := claim(t, m, store.TaskAlert, noon())
	add := store.Task{Kind: store.TaskAlert, Ref: s.Head.Ref(), Version: 1, Peer: to[0].Address(), Queued: noon(), Due: noon()}
	done(t, "add what is there", m.Tasks.AddTasks(ctx, []store.Task{add}))
	if now := claim(t, m, store.TaskAlert, noon()); len(now) != 0 {
		t.Fatalf("one that is there did not stay as it is: %+v", now)
	}
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{{ID: k[0].ID, Version: 1, Done: true}}))
	done(t, "add what was done", m.Tasks.AddTasks(ctx, []store.Task{add}))
	if now := claim(t, m, store.TaskAlert, noon()); len(now) != 1 || now[0].Peer != add.Peer {
		t.Fatalf("got %+v", now)
	}
	add.Peer = ann.Address()
	refused(t, "somebody who is no recipient", m.Tasks.AddTasks(ctx, []store.Task{receiptTask(1, noon()), add}), message.NotFound)
	if now := claim(t, m, store.TaskReceipt, noon()); len(now) != 0 {
		t.Fatal("half of a refused call was kept")
	}
}
