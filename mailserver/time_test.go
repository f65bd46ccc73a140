package mailserver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestDeadHost: a recipient's server is away for six days. The sender is told
// after five, others are not delayed, and the mail arrives when it is back.
func TestDeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		one, two, three := w.host("one"), w.host("two"), w.host("three")
		ann, bob, carl := w.person("ann", one), w.person("bob", two), w.person("carl", three)

		two.halt()
		h := ann.send(ann.letter("are you there?", bob, carl))
		start := time.Now()
		carl.awaits(h)
		if waited := time.Since(start); waited > 5*time.Second {
			t.Fatalf("a dead host delayed another's mail by %s", waited)
		}
		time.Sleep(time.Hour)
		d := ann.status(h.MID, bob)
		if d.GetState() != wirev1.DeliveryState_DELIVERY_STATE_QUEUED || d.GetAttempts() < 6 || d.GetAttempts() > 14 || d.GetOverdue() {
			t.Fatalf("after an hour: %v", d)
		}
		if n := notices(ann); len(n) != 0 {
			t.Fatalf("told too early: %v", n)
		}
		time.Sleep(5*24*time.Hour + 7*time.Hour)
		d = ann.status(h.MID, bob)
		if !d.GetOverdue() || d.GetState() != wirev1.DeliveryState_DELIVERY_STATE_QUEUED {
			t.Fatalf("after five days: %v", d)
		}
		n := notices(ann)
		if len(n) != 1 || string(n[0].GetTo()) != string(bob.address().Bytes()) || n[0].GetReason() != wirev1.Reason_REASON_UNAVAILABLE {
			t.Fatalf("the notices: %v", n)
		}
		attempts := d.GetAttempts()
		time.Sleep(48 * time.Hour)
		if d = ann.status(h.MID, bob); d.GetAttempts() < attempts+1 || d.GetAttempts() > attempts+3 || len(notices(ann)) != 1 {
			t.Fatalf("two days on: %d attempts after %d, %d notices", d.GetAttempts(), attempts, len(notices(ann)))
		}
		two.start()
		time.Sleep(25 * time.Hour)
		if bob.entry(h.Ref()) == nil {
			t.Fatal("the mail never came")
		}
		if got := bob.reads(ann, h.Ref()); got != "are you there?" {
			t.Fatal(got)
		}
		time.Sleep(time.Minute)
		if s := ann.status(h.MID, bob).GetState(); s != wirev1.DeliveryState_DELIVERY_STATE_FETCHED {
			t.Fatalf("state %v", s)
		}
	})
}

// notices are the server's own words in somebody's inbox.
func notices(p *person) []*wirev1.Notice {
	var out []*wirev1.Notice
	for _, e := range p.inbox() {
		if e.GetNotice() != nil {
			out = append(out, e.GetNotice())
		}
	}
	return out
}

// TestMove: a recipient who moves while a letter waits gets it at the new place.
func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		one, two, three := w.host("one"), w.host("two"), w.host("three")
		ann, bob := w.person("ann", one), w.person("bob", two)
		two.halt()
		h := ann.send(ann.letter("where are you?", bob))
		time.Sleep(3 * time.Hour)
		bob.join(three, 2)
		time.Sleep(6 * time.Hour)
		if got := bob.reads(ann, h.Ref()); got != "where are you?" {
			t.Fatal(got)
		}
		if bob.entry(h.Ref()) == nil {
			t.Fatal("no alert at the new server")
		}
	})
}

// TestEphemeral: what expires is gone at the source, in copies, and for alerts
// that come late.
func TestEphemeral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		one, two, three := w.host("one"), w.host("two"), w.host("three")
		ann, bob, carl := w.person("ann", one), w.person("bob", two), w.person("carl", three)
		three.halt()
		draft := message.Draft{Terms: message.Ephemeral, Expires: time.Now().Add(48 * time.Hour)}
		h := ann.send(ann.draft(draft, "for two days", bob, carl))
		bob.awaits(h)
		if got := bob.reads(ann, h.Ref()); got != "for two days" {
			t.Fatal(got)
		}
		time.Sleep(48 * time.Hour)
		for name, p := range map[string]*person{"bob": bob, "ann": ann} {
			if r, err := p.fetch(h.Ref(), 0); err == nil && len(r.GetPayload()) != 0 {
				t.Fatalf("%s still gets it", name)
			}
		}
		three.start()
		time.Sleep(12 * time.Hour)
		if carl.entry(h.Ref()) != nil {
			t.Fatal("an alert came for a message that is over")
		}
		if d := ann.status(h.MID, carl); d.GetState() != wirev1.DeliveryState_DELIVERY_STATE_REFUSED {
			t.Fatalf("carl's delivery: %v", d)
		}
		_, err := ann.trySend(ann.draft(message.Draft{Terms: message.Ephemeral, Expires: time.Now().Add(-time.Second)}, "too late", bob))
		refused(t, err, message.Expired)
	})
}

// TestOverIsNotPulled: what is over is refused at once, also in the minute before
// it is erased.
func TestOverIsNotPulled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		one, two := w.host("one"), w.host("two")
		ann, bob := w.person("ann", one), w.person("bob", two)
		// Between two rounds of the erasing, which come every minute.
		h := ann.send(ann.draft(message.Draft{Terms: message.Ephemeral, Expires: time.Now().Add(30 * time.Second)}, "for a moment", bob))
		req := &wirev1.PullRequest{
			For: bob.address().Bytes(), Items: []*wirev1.FetchItem{{From: h.From.Bytes(), Mid: h.MID.Bytes()}},
			Identities: []*wirev1.Identity{bob.identity.Wire(), two.identity.Wire()},
		}
		if r, err := w.pull(bob.client, one, req); err != nil || bob.open(ann, r) != "for a moment" {
			t.Fatal(err)
		}
		time.Sleep(time.Until(h.Expires))
		r, err := w.pull(bob.client, one, req)
		refused(t, err, message.Expired)
		if len(r.GetPayload()) != 0 {
			t.Error("the payload came with the refusal")
		}
	})
}

// TestPrefetch: what an accepted sender sent is fetched within the jitter, and
// then read while the origin is away; a recall erases what nobody has taken.
func TestPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		one, two := w.host("one"), w.host("two")
		ann, bob := w.person("ann", one), w.person("bob", two)
		bob.allow(ann)
		first := ann.send(ann.letter("first", bob))
		second := ann.send(ann.letter("second", bob))
		bob.awaits(second)
		time.Sleep(11 * time.Minute)
		if s := ann.status(first.MID, bob).GetState(); s != wirev1.DeliveryState_DELIVERY_STATE_FETCHED {
			t.Fatalf("not fetched on arrival: %v", s)
		}
		stone := ann.send(ann.recall(second))
		bob.awaits(stone)
		one.halt()
		r, err := bob.fetch(first.Ref(), 0)
		must(t, err)
		if !r.GetKeptCopy() || bob.open(ann, r) != "first" {
			t.Fatalf("the kept copy: %v", r)
		}
		if r, err = bob.fetch(second.Ref(), 0); err == nil && len(r.GetPayload()) != 0 {
			t.Fatal("a recalled message that nobody had taken is still there")
		}
	})
}

// allow accepts a sender.
func (p *person) allow(sender *person) {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	_, err := p.peer.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: sender.address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW}}})
	must(p.t, err)
}
