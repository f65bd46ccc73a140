package store

import (
	"bytes"
	"errors"
	"testing"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// counting is a verifier that says how much it was asked.
type counting struct {
	crypto.Single
	asked int
}

func (c *counting) VerifyAll(cs []crypto.Check) []bool {
	c.asked += len(cs)
	return c.Single.VerifyAll(cs)
}

// TestVerifiedOnce: between Open and Keep nothing is verified again, nor is what
// is known byte for byte; what differs in a signature only is no known thing.
func TestVerifiedOnce(t *testing.T) {
	t.Parallel()
	o, v := newOwner(t, "a"), &counting{}
	known := NewKnown(newShelf(), v)
	w := bundle(o.chain, o.route(o.chain, 1, "one.example", o.ring.Signer))
	for round, want := range []int{2, 2} {
		offer, err := known.Open(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if (round == 0) == offer.Known() || (round == 0) != (offer.Held() == nil) {
			t.Errorf("round %d: known %v, held %v", round, offer.Known(), offer.Held())
		}
		if _, err := known.Keep(t.Context(), offer, monday()); err != nil {
			t.Fatal(err)
		}
		if v.asked != want {
			t.Errorf("round %d: %d signatures were checked so far, want %d", round, v.asked, want)
		}
	}
	forged := &wirev1.Identity{Cards: w.GetCards(), Route: &wirev1.Signed{
		Body: w.GetRoute().GetBody(), Key: w.GetRoute().GetKey(), Signature: bytes.Repeat([]byte{1}, 64),
	}}
	if _, err := known.Open(t.Context(), forged); !errors.Is(err, message.BadSignature) {
		t.Errorf("the known route under another signature: %v", err)
	}
}

// TestOffersOvertake: of two offers that were opened while neither was known,
// the higher one stays, whichever is kept first.
func TestOffersOvertake(t *testing.T) {
	t.Parallel()
	o := newOwner(t, "a")
	low, high := o.route(o.chain, 1, "low.example", o.ring.Signer), o.route(o.chain, 2, "high.example", o.ring.Signer)
	newer := o.next(o.chain, o.paper, o.second)
	newest := o.route(newer, 1, "new.example", o.second)
	for _, c := range []struct {
		name   string
		first  *wirev1.Identity
		then   *wirev1.Identity
		want   error
		chain  *message.Chain
		stands *message.Route
	}{
		{"lower first", bundle(o.chain, low), bundle(o.chain, high), nil, o.chain, high},
		{"higher first", bundle(o.chain, high), bundle(o.chain, low), message.Stale, o.chain, high},
		{"a card first", bundle(newer, newest), bundle(o.chain, high), message.Stale, newer, newest},
		{"a card last", bundle(o.chain, high), bundle(newer, newest), nil, newer, newest},
		{"the same", bundle(o.chain, low), bundle(o.chain, low), nil, o.chain, low},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(t)
			var offers []*Offer
			for _, w := range []*wirev1.Identity{c.first, c.then} {
				offer, err := m.known.Open(t.Context(), w)
				if err != nil {
					t.Fatal(err)
				}
				offers = append(offers, offer)
			}
			if _, err := m.known.Keep(t.Context(), offers[0], m.now); err != nil {
				t.Fatal(err)
			}
			if _, err := m.known.Keep(t.Context(), offers[1], m.now); !errors.Is(err, c.want) {
				t.Errorf("the second: %v, want %v", err, c.want)
			}
			m.holds(c.chain, c.stands)
			m.reopen()
			m.holds(c.chain, c.stands)
		})
	}
}
