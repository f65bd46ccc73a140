package mailserver_test

import (
	"context"
	"testing"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// liar is an origin that hands out what it likes.
type liar struct {
	wirev1connect.UnimplementedExchangeHandler
	answer func(*wirev1.PullRequest) *wirev1.PullResponse
}

func (l *liar) Pull(_ context.Context, req *wirev1.PullRequest) (*wirev1.PullResponse, error) {
	return l.answer(req), nil
}

// TestLyingOrigin: whatever the author's server hands out, the reader gets the
// author's words or none.
func TestLyingOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob, eve := w.person("ann", one), w.person("bob", two), w.person("eve", one)
	h := ann.send(ann.letter("true", bob))
	bob.awaits(h)
	good, err := w.pull(bob.client, one, &wirev1.PullRequest{For: bob.address().Bytes(), Items: []*wirev1.FetchItem{{From: h.From.Bytes(), Mid: h.MID.Bytes()}}, Identities: []*wirev1.Identity{bob.identity.Wire()}})
	must(t, err)
	second := ann.edit(h, "true, edited", bob)
	toEve := ann.letter("for eve", eve)
	byEve := eve.letter("in eve's name", bob)
	fork := ann.edit(ann.letter("another first", bob).Head, "forked", bob)

	// From now on somebody with the server's keys answers in its place.
	one.halt()
	l := &liar{}
	rs := w.listen(one.place, one.cert)
	rs.Mount(wirev1connect.NewExchangeHandler(l, rpc.Options(nil)...))
	w.run(w.ctx, rs.Serve)

	pulled := func(s *message.Sealed, p *person) *wirev1.Pulled {
		return &wirev1.Pulled{Heads: []*wirev1.Signed{s.Head.Signed}, Slot: slotFor(s, p), Payload: s.Payload}
	}
	broken := func(change func(*wirev1.Pulled)) *wirev1.Pulled {
		p := &wirev1.Pulled{Heads: good.GetHeads(), Slot: good.GetSlot(), Payload: append([]byte(nil), good.GetPayload()...), Blobs: good.GetBlobs()}
		change(p)
		return p
	}
	cases := map[string]*wirev1.Pulled{
		"altered payload":        broken(func(p *wirev1.Pulled) { p.Payload[3] ^= 1 }),
		"no payload":             broken(func(p *wirev1.Pulled) { p.Payload = nil }),
		"somebody else's slot":   broken(func(p *wirev1.Pulled) { p.Slot = slotFor(toEve, eve) }),
		"no slot":                broken(func(p *wirev1.Pulled) { p.Slot = nil }),
		"no heads":               broken(func(p *wirev1.Pulled) { p.Heads = nil }),
		"another message":        pulled(toEve, bob),
		"another author":         pulled(byEve, bob),
		"a later version alone":  pulled(second, bob),
		"a forked version":       broken(func(p *wirev1.Pulled) { p.Heads = append([]*wirev1.Signed{h.Signed}, fork.Head.Signed) }),
		"the same version twice": broken(func(p *wirev1.Pulled) { p.Heads = append([]*wirev1.Signed{h.Signed}, h.Signed) }),
		"a blob without an id":   broken(func(p *wirev1.Pulled) { p.Blobs = []*wirev1.BlobRef{{}} }),
		"an altered signature": broken(func(p *wirev1.Pulled) {
			p.Heads = []*wirev1.Signed{{Body: h.Signed.Body, Key: h.Signed.Key, Signature: make([]byte, 64)}}
		}),
		"a head that is no head":    broken(func(p *wirev1.Pulled) { p.Heads = []*wirev1.Signed{{Body: []byte{1}}} }),
		"a refusal of its own kind": {Refusal: &wirev1.Refusal{Reason: 4711}},
	}
	for name, p := range cases {
		l.answer = func(*wirev1.PullRequest) *wirev1.PullResponse {
			return &wirev1.PullResponse{Results: []*wirev1.Pulled{p}}
		}
		if r, err := bob.fetch(h.Ref(), 0); err == nil {
			t.Errorf("%s: bob got %d heads and %d bytes", name, len(r.GetHeads()), len(r.GetPayload()))
		}
	}
	l.answer = func(*wirev1.PullRequest) *wirev1.PullResponse { return &wirev1.PullResponse{} }
	if _, err := bob.fetch(h.Ref(), 0); err == nil {
		t.Error("an answer without results was taken")
	}
	l.answer = func(*wirev1.PullRequest) *wirev1.PullResponse {
		return &wirev1.PullResponse{Results: []*wirev1.Pulled{good}}
	}
	if got := bob.reads(ann, h.Ref()); got != "true" {
		t.Fatalf("the truth reads %q", got)
	}
	// Now there is a copy; an origin that has forgotten does not take it away.
	l.answer = func(*wirev1.PullRequest) *wirev1.PullResponse {
		return &wirev1.PullResponse{Results: []*wirev1.Pulled{{Refusal: &wirev1.Refusal{Reason: wirev1.Reason_REASON_NOT_FOUND}}}}
	}
	r, err := bob.fetch(h.Ref(), 0)
	must(t, err)
	if !r.GetKeptCopy() || bob.open(ann, r) != "true" {
		t.Fatal("the kept copy is not shown")
	}
}
