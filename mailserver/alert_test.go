package mailserver_test

import (
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// asHost is a client that asks with a host's keys from somewhere.
func (w *world) asHost(h *host, place string) *rpc.Client {
	c := rpc.NewClient(rpc.Config{Dial: w.network.Dialer(place), Verifier: crypto.Single{}, Keyring: h.keyring})
	w.group.Go(func() { <-w.ctx.Done(); c.Close() })
	return c
}

// alert brings items to a host in the name of another.
func (w *world) alert(from, to *host, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
	w.t.Helper()
	peer, err := w.asHost(from, from.place).Peer(to.identity)
	must(w.t, err)
	ctx, cancel := (&person{w: w}).timeout()
	defer cancel()
	return peer.Exchange().Alert(ctx, req)
}

// slotFor is the slot of one reader.
func slotFor(s *message.Sealed, p *person) *wirev1.Slot {
	for _, slot := range s.Slots {
		if string(slot.GetAddress()) == string(p.address().Bytes()) {
			return slot
		}
	}
	return nil
}

// alertOf is a message as an alert for somebody.
func alertOf(s *message.Sealed, to *person) *wirev1.AlertItem {
	return &wirev1.AlertItem{To: to.address().Bytes(), Head: s.Head.Signed, Slot: slotFor(s, to)}
}

// TestAlertEnemies: what is not taken answers alike, and leaves nothing behind.
func TestAlertEnemies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two, rogue := w.host("one"), w.host("two"), w.host("rogue")
	ann, bob, eve := w.person("ann", one), w.person("bob", two), w.person("eve", rogue)
	carl := w.person("carl", one)
	letter := ann.letter("hello", bob)
	bundles := []*wirev1.Identity{ann.identity.Wire(), rogue.identity.Wire(), eve.identity.Wire(), one.identity.Wire(), carl.identity.Wire()}

	toCarl := ann.letter("not for bob", carl)
	resigned := ann.letter("hello", bob).Head.Signed
	resigned.Key, resigned.Signature = eve.keyring.Signer.Public().Bytes(), eve.keyring.Signer.Sign("head", resigned.GetBody())
	forged := ann.letter("hello", bob).Head.Signed
	forged.Signature[5] ^= 1
	swapped := alertOf(letter, bob)
	swapped.Slot = slotFor(letter, ann)
	bare := alertOf(letter, bob)
	bare.Slot = nil
	stone := ann.recall(letter.Head)
	withSlot := &wirev1.AlertItem{To: bob.address().Bytes(), Head: stone.Head.Signed, Slot: slotFor(letter, bob)}
	public := ann.letter("to all")
	ahead := ann.draft(message.Draft{Terms: message.Revisable}, "from the future", bob)

	cases := []struct {
		name string
		from *host
		item *wirev1.AlertItem
		want message.Code
	}{
		{"a server that is not in the sender's route", rogue, alertOf(letter, bob), message.NotAccepted},
		{"signed anew by somebody else", one, &wirev1.AlertItem{To: bob.address().Bytes(), Head: resigned, Slot: slotFor(letter, bob)}, message.NotAccepted},
		{"a broken signature", one, &wirev1.AlertItem{To: bob.address().Bytes(), Head: forged, Slot: slotFor(letter, bob)}, message.NotAccepted},
		{"not addressed to bob", one, &wirev1.AlertItem{To: bob.address().Bytes(), Head: toCarl.Head.Signed, Slot: slotFor(toCarl, carl)}, message.NotAccepted},
		{"to somebody who is not hosted here", one, alertOf(toCarl, carl), message.NotAccepted},
		{"somebody else's slot", one, swapped, message.NotAccepted},
		{"no slot", one, bare, message.NotAccepted},
		{"a tombstone with a slot", one, withSlot, message.NotAccepted},
		{"a public message", one, &wirev1.AlertItem{To: bob.address().Bytes(), Head: public.Head.Signed}, message.NotAccepted},
		{"no address", one, &wirev1.AlertItem{To: []byte("bob"), Head: letter.Head.Signed}, message.NotAccepted},
		{"no head", one, &wirev1.AlertItem{To: bob.address().Bytes()}, message.NotAccepted},
	}
	for _, c := range cases {
		resp, err := w.alert(c.from, two, &wirev1.AlertRequest{Items: []*wirev1.AlertItem{c.item}, Identities: bundles})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := resp.GetResults()[0].GetRefusal().GetReason(); got != wirev1.Reason(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, wirev1.Reason(c.want))
		}
	}
	if got := bob.inbox(); len(got) != 0 {
		t.Fatalf("%d entries came in", len(got))
	}
	_ = ahead

	// Without bundles the receiver asks for them: first the caller's, then the author's.
	_, err := w.alert(rogue, two, &wirev1.AlertRequest{Items: []*wirev1.AlertItem{alertOf(letter, bob)}})
	refused(t, err, message.NeedBundle)

	// The real one is taken, and taken again it gives the same receipt.
	var first []byte
	for n := range 3 {
		resp, err := w.alert(one, two, &wirev1.AlertRequest{Items: []*wirev1.AlertItem{alertOf(letter, bob)}, Identities: bundles})
		must(t, err)
		r, err := message.OpenReceipt(crypto.Single{}, two.keyring.Chain, resp.GetResults()[0].GetReceipt())
		must(t, err)
		if r.ID != letter.Head.ID || r.For != bob.address() || r.Kind != message.ReceiptAlerted {
			t.Fatalf("receipt %+v", r)
		}
		if n == 0 {
			first = resp.GetResults()[0].GetReceipt().GetBody()
		} else if string(first) != string(resp.GetResults()[0].GetReceipt().GetBody()) {
			t.Fatal("a replayed alert gets another receipt")
		}
	}
	if got := bob.inbox(); len(got) != 1 {
		t.Fatalf("%d entries", len(got))
	}
}

// TestAlertTellsNothing: whether an address is hosted here, and whether its
// owner blocks the sender, shows in no answer, whatever is wrong with the alert.
func TestAlertTellsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob, guarded, nobody := w.person("ann", one), w.person("bob", two), w.person("guarded", two), w.person("nobody", one)
	_, err := guarded.peer.Mailbox().Policy(w.ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: ann.address().Bytes(), Verdict: wirev1.Verdict_VERDICT_BLOCK}}})
	must(t, err)
	content := &message.Content{}
	content.Set(message.TypeText, []byte("hello"))
	author := []*wirev1.Identity{ann.identity.Wire(), one.identity.Wire()}
	for _, c := range []struct {
		name  string
		time  time.Time
		known []*wirev1.Identity
		want  message.Code
	}{
		{"of an author nobody knows", time.Now(), author[1:], message.NeedBundle},
		{"from the future", time.Now().Add(message.MaxAhead + time.Minute), author, message.Clock},
	} {
		for _, to := range []*person{bob, guarded, nobody} {
			mid, err := message.NewMID(time.Now(), rnd{})
			must(t, err)
			s, err := message.Seal(message.Draft{
				Author: ann.keyring.Chain, Readers: []*message.Chain{to.keyring.Chain}, MID: mid, Time: c.time,
				Audience: message.Private, Terms: message.Revisable, Content: content,
			}, ann.keyring.Signer, rnd{})
			must(t, err)
			resp, err := w.alert(one, two, &wirev1.AlertRequest{Items: []*wirev1.AlertItem{alertOf(s, to)}, Identities: c.known})
			must(t, err)
			if got := resp.GetResults()[0].GetRefusal().GetReason(); got != wirev1.Reason(c.want) {
				t.Errorf("%s, to %s: %v, want %v", c.name, to.address().Short(), got, wirev1.Reason(c.want))
			}
		}
	}
}

// TestAlertClock: a head from the future is refused with a reason that the
// sender can mend.
func TestAlertClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	mid, err := message.NewMID(time.Now(), zeros{})
	must(t, err)
	content := &message.Content{}
	content.Set(message.TypeText, []byte("later"))
	s, err := message.Seal(message.Draft{
		Author: ann.keyring.Chain, Readers: []*message.Chain{bob.keyring.Chain}, MID: mid, Time: time.Now().Add(message.MaxAhead + time.Minute),
		Audience: message.Private, Terms: message.Revisable, Content: content,
	}, ann.keyring.Signer, rnd{})
	must(t, err)
	resp, err := w.alert(one, two, &wirev1.AlertRequest{Items: []*wirev1.AlertItem{alertOf(s, bob)}, Identities: []*wirev1.Identity{ann.identity.Wire(), one.identity.Wire()}})
	must(t, err)
	refusal := resp.GetResults()[0].GetRefusal()
	if refusal.GetReason() != wirev1.Reason_REASON_CLOCK || refusal.GetServerTime() == 0 {
		t.Fatalf("refusal %v", refusal)
	}
	_, err = ann.trySend(s)
	refused(t, err, message.Clock)
}

// TestRequests: strangers share their caps, blocked ones get nowhere, and who
// was written to is no stranger.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob, carl := w.person("ann", one), w.person("bob", two), w.person("carl", one)

	states := map[wirev1.DeliveryState]int{}
	var sent []*message.Head
	for range 7 {
		sent = append(sent, ann.send(ann.letter("buy", bob)))
	}
	for _, h := range sent {
		w.until("an answer", func() bool { return ann.status(h.MID, bob).GetState() != wirev1.DeliveryState_DELIVERY_STATE_QUEUED })
		states[ann.status(h.MID, bob).GetState()]++
	}
	if states[wirev1.DeliveryState_DELIVERY_STATE_ALERTED] != 5 || states[wirev1.DeliveryState_DELIVERY_STATE_REFUSED] != 2 || len(bob.inbox()) != 5 {
		t.Fatalf("of seven: %v, %d in the requests", states, len(bob.inbox()))
	}

	// bob writes to carl: carl's answer is in the inbox, and is fetched on arrival.
	asked := bob.send(bob.letter("how are you?", carl))
	carl.awaits(asked)
	answer := carl.send(carl.letter("well", bob))
	if e := bob.awaits(answer); e.GetFolder() != wirev1.Folder_FOLDER_INBOX {
		t.Fatalf("the answer is in %v", e.GetFolder())
	}

	// bob blocks ann: nothing comes any more, and ann only hears that it was not taken.
	ctx, cancel := bob.timeout()
	defer cancel()
	_, err := bob.peer.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: ann.address().Bytes(), Verdict: wirev1.Verdict_VERDICT_BLOCK}}})
	must(t, err)
	blocked := ann.send(ann.letter("buy!", bob))
	w.until("the refusal", func() bool {
		return ann.status(blocked.MID, bob).GetState() == wirev1.DeliveryState_DELIVERY_STATE_REFUSED
	})
	if d := ann.status(blocked.MID, bob); d.GetReason() != wirev1.Reason_REASON_NOT_ACCEPTED {
		t.Fatalf("reason %v", d.GetReason())
	}
	if bob.entry(blocked.Ref()) != nil {
		t.Fatal("a blocked sender's alert came in")
	}
}
