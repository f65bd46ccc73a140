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

func deliveryTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"deliveries/are queued in the order of recipients": testDeliveriesQueued,
		"deliveries/move on and never back":                testReportOrder,
		"deliveries/keep each receipt once":                testReceipts,
		"deliveries/pass over what is unknown":             testReportUnknown,
		"deliveries/begin anew with a version":             testDeliveryVersions,
		"deliveries/show the pending alert":                testDeliveryAttempts,
	}
}

// letter submits one message to some people.
func letter(t *testing.T, m *store.Mail, to ...string) (*Person, []*Person, store.Submission) {
	t.Helper()
	ann := person(t, "ann")
	join(t, m, ann)
	var readers []*Person
	for _, name := range to {
		readers = append(readers, person(t, name))
	}
	return ann, readers, submitted(t, m, ann.write(t, Draft{To: readers, Body: "hello"}))
}

func deliveries(t *testing.T, m *store.Mail, ref message.Ref) []store.Delivery {
	t.Helper()
	d, err := m.Deliveries.Deliveries(context.Background(), ref)
	done(t, "deliveries", err)
	return d
}

func testDeliveriesQueued(t *testing.T, m *store.Mail) {
	ann, to, s := letter(t, m, "dan", "bob", "cyd")
	d := deliveries(t, m, s.Head.Ref())
	if len(d) != 3 {
		t.Fatalf("%d deliveries", len(d))
	}
	for i := range to {
		if d[i].To != to[i].Address() || d[i].State != store.Queued || d[i].Version != 1 || !d[i].Time.Equal(s.Now) || !d[i].NextAttempt.Equal(s.Now) {
			t.Fatalf("delivery %d: %+v", i, d[i])
		}
	}
	post := submitted(t, m, ann.write(t, Draft{Body: "to nobody"}))
	if d := deliveries(t, m, post.Head.Ref()); len(d) != 0 {
		t.Fatalf("a public message has %+v", d)
	}
	_, err := m.Deliveries.Deliveries(context.Background(), message.Ref{From: ann.Address(), MID: message.MID{1}})
	refused(t, "deliveries of nothing", err, message.NotFound)
}

func testReportOrder(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	_, to, s := letter(t, m, "bob")
	for i, c := range []struct {
		report, want store.DeliveryState
		reason       message.Code
	}{
		{store.NotTaken, store.NotTaken, message.NotAccepted},
		{store.Queued, store.NotTaken, message.NotAccepted},
		{store.Alerted, store.Alerted, 0},
		{store.NotTaken, store.Alerted, 0},
		{store.Fetched, store.Fetched, 0},
		{store.Served, store.Fetched, 0},
		{store.Fetched, store.Fetched, 0},
		{store.OpenedFor, store.OpenedFor, 0},
		{store.Alerted, store.OpenedFor, 0},
	} {
		now := noon().Add(time.Duration(i+1) * time.Minute)
		r := store.Report{Ref: s.Head.Ref(), To: to[0].Address(), Version: 1, State: c.report, Time: now}
		if c.report == store.NotTaken {
			r.Reason = message.NotAccepted
		}
		before := deliveries(t, m, s.Head.Ref())[0]
		done(t, "report", m.Deliveries.Report(ctx, []store.Report{r}))
		d := deliveries(t, m, s.Head.Ref())[0]
		if d.State != c.want || d.Reason != c.reason {
			t.Fatalf("report %d of %v: got %v, %v, want %v, %v", i, c.report, d.State, d.Reason, c.want, c.reason)
		}
		if moved := d.State != before.State; d.Time.Equal(now) != moved {
			t.Fatalf("report %d: moved %v, and the time is %v", i, moved, d.Time)
		}
	}
}

func testReceipts(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	_, to, s := letter(t, m, "bob")
	word := func(n int) *wirev1.Signed {
		return &wirev1.Signed{Body: []byte{byte(n)}, Key: []byte("key"), Signature: []byte("s")}
	}
	for n := range 3 {
		r := store.Report{Ref: s.Head.Ref(), To: to[0].Address(), Version: 1, State: store.Alerted, Time: noon(), Receipt: word(n)}
		done(t, "report", m.Deliveries.Report(ctx, []store.Report{r, r}))
	}
	d := deliveries(t, m, s.Head.Ref())[0]
	if len(d.Receipts) != 3 {
		t.Fatalf("%d receipts, want 3", len(d.Receipts))
	}
	for n, r := range d.Receipts {
		if !proto.Equal(r, word(n)) {
			t.Fatalf("receipt %d is %v", n, r)
		}
	}
}

func testReportUnknown(t *testing.T, m *store.Mail) {
	ann, to, s := letter(t, m, "bob")
	before := deliveries(t, m, s.Head.Ref())[0]
	done(t, "report", m.Deliveries.Report(context.Background(), []store.Report{
		{Ref: message.Ref{From: ann.Address(), MID: message.MID{1}}, To: to[0].Address(), Version: 1, State: store.Fetched},
		{Ref: message.Ref{From: message.Address{1}, MID: s.Head.MID}, To: to[0].Address(), Version: 1, State: store.Fetched},
		{Ref: s.Head.Ref(), To: ann.Address(), Version: 1, State: store.Fetched},
		{Ref: s.Head.Ref(), To: message.Address{2}, Version: 1, State: store.Fetched},
		{Ref: s.Head.Ref(), To: to[0].Address(), Version: 2, State: store.Fetched},
		{Ref: s.Head.Ref(), To: to[0].Address(), Version: 0, State: store.Fetched},
	}))
	if after := deliveries(t, m, s.Head.Ref())[0]; after.State != before.State || after.Version != 1 {
		t.Fatalf("got %+v", after)
	}
}

func testDeliveryVersions(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, to, s := letter(t, m, "bob")
	receipt := &wirev1.Signed{Body: []byte("opened 1")}
	report := func(version uint64, state store.DeliveryState, receipt *wirev1.Signed) store.Delivery {
		t.Helper()
		done(t, "report", m.Deliveries.Report(ctx, []store.Report{
			{Ref: s.Head.Ref(), To: to[0].Address(), Version: version, State: state, Time: noon(), Receipt: receipt},
		}))
		return deliveries(t, m, s.Head.Ref())[0]
	}
	report(1, store.Fetched, nil)
	submitted(t, m, ann.write(t, Draft{To: to, Prev: s.Head, Body: "two", At: noon().Add(time.Hour)}))
	if d := deliveries(t, m, s.Head.Ref())[0]; d.State != store.Queued || d.Version != 2 || !d.Time.Equal(noon().Add(time.Hour)) {
		t.Fatalf("with a new version: %+v", d)
	}
	if d := report(1, store.OpenedFor, receipt); d.State != store.Queued || d.Version != 2 || len(d.Receipts) != 1 {
		t.Fatalf("a report about an older version: %+v", d)
	}
	if d := report(2, store.Alerted, nil); d.State != store.Alerted || len(d.Receipts) != 1 {
		t.Fatalf("a report about the newest: %+v", d)
	}
}

func testDeliveryAttempts(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	_, _, s := letter(t, m, "bob")
	k, err := m.Tasks.Claim(ctx, store.TaskAlert, noon(), time.Minute, 1)
	done(t, "claim", err)
	retry := noon().Add(time.Hour)
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{{ID: k[0].ID, Version: 1, Retry: retry, Noticed: true}}))
	if d := deliveries(t, m, s.Head.Ref())[0]; d.Attempts != 1 || !d.NextAttempt.Equal(retry) || !d.Overdue {
		t.Fatalf("after an attempt: %+v", d)
	}
	done(t, "settle", m.Tasks.Settle(ctx, []store.Outcome{{ID: k[0].ID, Version: 1, Done: true}}))
	if d := deliveries(t, m, s.Head.Ref())[0]; d.Attempts != 0 || !d.NextAttempt.IsZero() || d.Overdue {
		t.Fatalf("without a pending alert: %+v", d)
	}
}
