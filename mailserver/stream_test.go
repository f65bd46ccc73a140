package mailserver_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestSubmitStream: results come in order, also for edits of what is still on
// its way, and one bad submission spoils no other.
func TestSubmitStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = inFiles
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	var all []*message.Sealed
	for n := range 40 {
		first := ann.letter(fmt.Sprint("letter ", n), bob)
		all = append(all, first, ann.edit(first.Head, fmt.Sprint("letter ", n, ", edited"), bob))
	}
	bad := 17
	all[bad].Payload = []byte("something else")

	ctx, cancel := ann.timeout()
	defer cancel()
	stream, err := ann.peer.Mailbox().SubmitStream(ctx)
	must(t, err)
	var sending sync.WaitGroup
	sending.Go(func() {
		for _, s := range all {
			if err := stream.Send(submission(s)); err != nil {
				t.Errorf("send: %v", err)
			}
		}
		if err := stream.CloseRequest(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for n, s := range all {
		r, err := stream.Receive()
		must(t, err)
		err = message.OpenRefusal(r.GetRefusal())
		if n == bad {
			refused(t, err, message.Invalid)
			continue
		}
		must(t, err)
		receipt, err := message.OpenReceipt(verifier, one.keyring.Chain, r.GetReceipt())
		must(t, err)
		if receipt.ID != s.Head.ID {
			t.Fatalf("result %d is about something else", n)
		}
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the last: %v", err)
	}
	sending.Wait()
	must(t, stream.CloseResponse())
}

// TestAlertStream: the same for alerts.
func TestAlertStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	bob.allow(ann)
	peer, err := w.asHost(one, "one").Peer(two.identity)
	must(t, err)
	ctx, cancel := ann.timeout()
	defer cancel()
	stream, err := peer.Exchange().AlertStream(ctx)
	must(t, err)
	var heads []*message.Head
	for n := range 20 {
		s := ann.letter(fmt.Sprint("letter ", n), bob)
		heads = append(heads, s.Head)
		must(t, stream.Send(&wirev1.AlertRequest{
			Items: []*wirev1.AlertItem{alertOf(s, bob)}, Identities: []*wirev1.Identity{ann.identity.Wire(), one.identity.Wire()},
		}))
	}
	must(t, stream.CloseRequest())
	for n, h := range heads {
		resp, err := stream.Receive()
		must(t, err)
		receipt, err := message.OpenReceipt(verifier, two.keyring.Chain, resp.GetResults()[0].GetReceipt())
		must(t, err)
		if receipt.ID != h.ID {
			t.Fatalf("result %d is about something else", n)
		}
	}
	must(t, stream.CloseResponse())
	if n := len(bob.inbox()); n != len(heads) {
		t.Fatalf("%d entries of %d", n, len(heads))
	}
}
