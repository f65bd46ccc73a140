package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"airdispatch/message"
	"airdispatch/store"
)

func concurrencyTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"concurrency/submits and alerts":           testConcurrentSubmits,
		"concurrency/one edit of many wins":        testConcurrentEdits,
		"concurrency/quota holds":                  testConcurrentQuota,
		"concurrency/pages have no gaps meanwhile": testConcurrentPages,
		"concurrency/final is fetched or recalled": testConcurrentRecall,
	}
}

// writers is how many write at once.
const writers = 8

func testConcurrentSubmits(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	bob := person(t, "bob")
	join(t, m, bob)
	work := make([][]store.Submission, writers)
	for i := range writers {
		p := person(t, fmt.Sprint("writer", i))
		join(t, m, p)
		for n := range 5 {
			work[i] = append(work[i], p.write(t, Draft{To: []*Person{bob}, Body: fmt.Sprint(n)}))
		}
	}
	places := make([][]uint64, writers)
	errs := together(writers, func(i int) error {
		for _, r := range m.Outgoing.Submit(ctx, work[i][:3]) {
			if r.Err != nil {
				return r.Err
			}
			places[i] = append(places[i], r.Accepted.Seq)
		}
		for _, s := range work[i][3:] {
			r := m.Outgoing.Submit(ctx, []store.Submission{s})[0]
			a := m.Incoming.Alert(ctx, []store.Alert{alertOf(bob, s, store.Inbox)})[0]
			if err := errors.Join(r.Err, a.Err); err != nil {
				return err
			}
			places[i] = append(places[i], r.Accepted.Seq, a.Accepted.Seq)
		}
		return nil
	})
	done(t, "write", errors.Join(errs...))
	seen := make(map[uint64]bool)
	for i, p := range places {
		last := uint64(0)
		for _, seq := range p {
			if seen[seq] || seq <= last {
				t.Fatalf("writer %d: place %d after %d, or given twice", i, seq, last)
			}
			seen[seq], last = true, seq
		}
	}
	entries, more, err := m.Incoming.Entries(ctx, bob.Address(), 0, 1000)
	if err != nil || more || len(entries) != 2*writers {
		t.Fatalf("%d entries, %v, %v", len(entries), more, err)
	}
}

func testConcurrentEdits(t *testing.T, m *store.Mail) {
	ann, to, one := letter(t, m, "bob")
	edits := make([]store.Submission, writers)
	for i := range edits {
		edits[i] = ann.write(t, Draft{To: to, Prev: one.Head, Body: fmt.Sprint("edit ", i)})
	}
	var won []message.ID
	for i, err := range together(writers, func(i int) error { return m.Outgoing.Submit(context.Background(), edits[i:i+1])[0].Err }) {
		if err == nil {
			won = append(won, edits[i].Head.ID)
		} else {
			refused(t, "edit", err, message.Conflict)
		}
	}
	v, err := m.Outgoing.Versions(context.Background(), one.Head.Ref())
	if err != nil || len(won) != 1 || len(v) != 2 || v[1].ID != won[0] {
		t.Fatalf("%d edits won; versions %v, %v", len(won), v, err)
	}
}

func testConcurrentQuota(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	limit := int64(3)
	done(t, "change", m.Accounts.ChangeAccount(ctx, ann.Address(), store.AccountChange{MessagesLimit: &limit}))
	posts := make([]store.Submission, writers)
	for i := range posts {
		posts[i] = ann.write(t, Draft{Body: "x"})
	}
	in := 0
	for _, err := range together(writers, func(i int) error { return m.Outgoing.Submit(ctx, posts[i:i+1])[0].Err }) {
		if err == nil {
			in++
		} else {
			refused(t, "submit", err, message.Quota)
		}
	}
	if a := account(t, m, ann); in != 3 || a.MessagesUsed != 3 {
		t.Fatalf("%d were taken, %d are counted, want 3", in, a.MessagesUsed)
	}
}

// testConcurrentPages follows an inbox by its cursor while others write to it:
// what the follower has not seen when they are done would never be seen.
func testConcurrentPages(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	bob := person(t, "bob")
	join(t, m, bob)
	const each = 10
	work := make([][]store.Alert, writers)
	for i := range writers {
		p := person(t, fmt.Sprint("writer", i))
		for range each {
			work[i] = append(work[i], alertOf(bob, p.write(t, Draft{To: []*Person{bob}, Body: "x"}), store.Inbox))
		}
	}
	seen := make(map[message.Ref]bool)
	after := uint64(0)
	follow := func() error {
		page, _, err := m.Incoming.Entries(ctx, bob.Address(), after, 7)
		for _, e := range page {
			seen[e.Ref], after = true, e.Seq
		}
		return err
	}
	finished := make(chan struct{})
	var errs []error
	go func() {
		defer close(finished)
		errs = together(writers, func(i int) error {
			for n, a := range work[i] {
				note := store.Notice{MID: message.MID{byte(i), byte(n), 1}, To: bob.Address(), Time: noon()}
				if err := errors.Join(alertErr(m, a), m.Incoming.Notify(ctx, bob.Address(), note)); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	for running := true; running; {
		select {
		case <-finished:
			running = false
		default:
			done(t, "entries", follow())
		}
	}
	done(t, "write", errors.Join(errs...))
	for range 2*writers*each/7 + 1 {
		done(t, "entries", follow())
	}
	if len(seen) != 2*writers*each {
		t.Fatalf("the follower saw %d of %d", len(seen), 2*writers*each)
	}
}

// testConcurrentRecall: either the reader has the message and the recall is
// refused, or the recall stands and the reader gets no payload.
func testConcurrentRecall(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	for range 20 {
		s := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "final", Terms: message.Final}))
		recall := ann.write(t, Draft{To: []*Person{bob}, Prev: s.Head, Recall: true})
		recall.UnlessFetched = true
		got := false
		errs := together(2, func(i int) error {
			if i == 0 {
				return m.Outgoing.Submit(ctx, []store.Submission{recall})[0].Err
			}
			v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, bob.Address(), noon())
			got = err == nil && len(v) > 0 && len(v[len(v)-1].Payload) > 0
			return err
		})
		done(t, "serve", errs[1])
		if got {
			refused(t, "recall of what was handed out", errs[0], message.AlreadyFetched)
		} else {
			done(t, "recall of what nobody got", errs[0])
		}
	}
}
