package mailserver_test

import (
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestReceipts: fetched is the reader's server's word, opened the reader's own;
// nobody else's counts.
func TestReceipts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two, rogue := w.host("one"), w.host("two"), w.host("rogue")
	ann, bob, eve := w.person("ann", one), w.person("bob", two), w.person("eve", rogue)
	h := ann.send(ann.letter("hello", bob))
	bob.awaits(h)
	bundles := []*wirev1.Identity{bob.identity.Wire(), eve.identity.Wire(), rogue.identity.Wire(), two.identity.Wire()}
	sign := func(k *message.Keyring, r message.Receipt) *wirev1.Signed {
		r.Issuer, r.AcceptedAt = k.Address(), time.Now()
		if r.ID.IsZero() {
			r.ID = h.ID
		}
		s, err := message.SignReceipt(r, k.Signer)
		must(t, err)
		return s.Signed
	}
	fetched, opened := message.ReceiptFetched, message.ReceiptOpened
	forged := sign(bob.keyring, message.Receipt{Kind: opened, For: bob.address()})
	forged.Signature[0] ^= 1
	cases := []struct {
		name    string
		version uint64
		receipt *wirev1.Signed
		want    message.Code
	}{
		{"fetched, by a server that is not bob's", 1, sign(rogue.keyring, message.Receipt{Kind: fetched, For: bob.address()}), message.Denied},
		{"opened, by bob's server", 1, sign(two.keyring, message.Receipt{Kind: opened, For: bob.address()}), message.Invalid},
		{"opened by eve, for bob", 1, sign(eve.keyring, message.Receipt{Kind: opened, For: bob.address()}), message.Invalid},
		{"opened by eve", 1, sign(eve.keyring, message.Receipt{Kind: opened, For: eve.address()}), message.NotFound},
		{"of another version", 2, sign(bob.keyring, message.Receipt{Kind: opened, For: bob.address()}), message.NotFound},
		{"of another head", 1, sign(bob.keyring, message.Receipt{Kind: opened, For: bob.address(), ID: message.ID{1}}), message.NotFound},
		{"alerted", 1, sign(two.keyring, message.Receipt{Kind: message.ReceiptAlerted, For: bob.address()}), message.Invalid},
		{"a broken signature", 1, forged, message.BadSignature},
		{"nothing", 1, &wirev1.Signed{}, message.Invalid},
	}
	hand := func(as *rpc.Client, items ...*wirev1.Acknowledgement) []*wirev1.Refusal {
		t.Helper()
		peer, err := as.Peer(one.identity)
		must(t, err)
		ctx, cancel := ann.timeout()
		defer cancel()
		resp, err := peer.Exchange().Receipts(ctx, &wirev1.ReceiptsRequest{Items: items, Identities: bundles})
		must(t, err)
		return resp.GetResults()
	}
	as := w.asHost(rogue, "rogue")
	for _, c := range cases {
		item := &wirev1.Acknowledgement{From: h.From.Bytes(), Mid: h.MID.Bytes(), Version: c.version, Receipt: c.receipt}
		if got := hand(as, item)[0].GetReason(); got != wirev1.Reason(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, wirev1.Reason(c.want))
		}
	}
	w.until("the alert's receipt", func() bool { return ann.status(h.MID, bob).GetState() == wirev1.DeliveryState_DELIVERY_STATE_ALERTED })

	// bob's device says so, and his server brings it.
	ctx, cancel := bob.timeout()
	defer cancel()
	_, err := bob.peer.Mailbox().Acknowledge(ctx, &wirev1.AcknowledgeRequest{Items: []*wirev1.Acknowledgement{{
		From: h.From.Bytes(), Mid: h.MID.Bytes(), Version: 1, Receipt: sign(bob.keyring, message.Receipt{Kind: opened, For: bob.address()}),
	}}})
	must(t, err)
	w.until("opened", func() bool { return ann.status(h.MID, bob).GetState() == wirev1.DeliveryState_DELIVERY_STATE_OPENED })
	if n := len(ann.status(h.MID, bob).GetReceipts()); n != 2 {
		t.Fatalf("%d receipts, not alerted and opened", n)
	}
	// A device cannot have another's receipts brought.
	_, err = bob.peer.Mailbox().Acknowledge(ctx, &wirev1.AcknowledgeRequest{Items: []*wirev1.Acknowledgement{{
		From: h.From.Bytes(), Mid: h.MID.Bytes(), Version: 1, Receipt: sign(bob.keyring, message.Receipt{Kind: fetched, For: bob.address()}),
	}}})
	refused(t, err, message.Invalid)
}

// TestNoReceiptForWhatIsNotKept: what the store does not keep, for whatever
// reason, is refused and nothing is signed for it.
func TestNoReceiptForWhatIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	ann := w.person("ann", w.host("one", func(mc *configs, _ *couriers) { mc.Limits.Messages = 1 }))
	ann.send(ann.letter("to all"))
	r, err := ann.trySend(ann.letter("one too many"))
	refused(t, err, message.Quota)
	if r.GetReceipt() != nil {
		t.Error("a receipt came with the refusal")
	}
}
