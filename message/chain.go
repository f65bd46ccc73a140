package message

import (
	"slices"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Chain is an identity's history, verified from the genesis card to its head.
// A Chain is never changed; Extend makes a longer one. Safe for concurrent use.
type Chain struct {
	cards []*Card
}

// OpenChain verifies a chain from its genesis card on: every card names the
// one before it and is signed by a rotation key of that one; the genesis card
// is signed by one of its own (docs/protocol.md §5.2). Errors: Invalid, TooLarge, BadSignature.
func OpenChain(v crypto.Verifier, signed []*wirev1.Signed) (*Chain, error) {
	return proved(v)(extend(nil, nil, signed))
}

// Extend verifies cards that follow this chain's head. Cards that the chain
// already has, at the beginning of the list, are passed over; a card that
// leaves the chain before its head is a fork and refused with Conflict
// (Branch and Compare deal with forks).
func (c *Chain) Extend(v crypto.Verifier, signed []*wirev1.Signed) (*Chain, error) {
	return proved(v)(extend(c.cards, nil, signed))
}

// proved finishes what was read: the chain, if all the checks hold.
func proved(v crypto.Verifier) func(*Chain, []crypto.Check, error) (*Chain, error) {
	return func(c *Chain, checks []crypto.Check, err error) (*Chain, error) {
		if err == nil {
			err = verifyAll(v, checks)
		}
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// Branch verifies a chain given in part: its first card names a card of c, and
// the result is c up to that card followed by the new ones. It may be shorter,
// equal, longer than c, or on another branch. A list that begins with a
// genesis card is a whole chain, and must be of c's address. Cards that c has
// were verified before and are not verified again.
func (c *Chain) Branch(v crypto.Verifier, signed []*wirev1.Signed) (*Chain, error) {
	return proved(v)(c.branch(signed))
}

// branch is Branch without the signatures, which it returns to be checked.
func (c *Chain) branch(signed []*wirev1.Signed) (*Chain, []crypto.Check, error) {
	if len(signed) == 0 {
		return c, nil, nil
	}
	first, _, err := parseCard(signed[0], c.Head())
	if err != nil {
		return nil, nil, err
	}
	if first.Seq == 0 {
		if AddressOf(first.ID) != c.Address() {
			return nil, nil, refuse(Invalid, "chain: of another address")
		}
		return extend(nil, c.cards, signed)
	}
	if first.Seq > uint64(len(c.cards)) || c.cards[first.Seq-1].ID != first.Prev {
		return nil, nil, Need(c.Address())
	}
	return extend(c.cards[:first.Seq], c.cards, signed)
}

// extend puts signed after base and returns the signatures that are still to be
// checked; until then the chain must not leave this room. A card whose id
// stands in trusted, in its place and after the same cards, was verified before.
func extend(base, trusted []*Card, signed []*wirev1.Signed) (*Chain, []crypto.Check, error) {
	if len(signed) > MaxChain {
		return nil, nil, refuse(TooLarge, "chain: more than %d cards", MaxChain)
	}
	cards := slices.Clone(base)
	var checks []crypto.Check
	for _, s := range signed {
		var prev *Card
		if len(cards) != 0 {
			prev = cards[len(cards)-1]
		}
		card, p, err := parseCard(s, prev)
		if err != nil {
			return nil, nil, err
		}
		if card.Seq < uint64(len(base)) && len(cards) == len(base) {
			if cards[card.Seq].ID != card.ID {
				return nil, nil, refuse(Conflict, "chain: another card %d", card.Seq)
			}
			continue
		}
		if card.Seq < uint64(len(trusted)) && card.Seq == uint64(len(cards)) && trusted[card.Seq].ID == card.ID && (prev == nil || prev.ID == card.Prev) {
			cards = append(cards, trusted[card.Seq])
			continue
		}
		if err := follows(cards, card); err != nil {
			return nil, nil, err
		}
		cards = append(cards, card)
		checks = append(checks, p.check)
	}
	if len(cards) == 0 {
		return nil, nil, refuse(Invalid, "chain: no cards")
	}
	if len(cards) > MaxChain {
		return nil, nil, refuse(TooLarge, "chain: more than %d cards", MaxChain)
	}
	return &Chain{cards: cards}, checks, nil
}

// follows checks everything but the signature of card after cards.
func follows(cards []*Card, card *Card) error {
	if card.Seq != uint64(len(cards)) {
		return refuse(Invalid, "chain: card %d where %d is due", card.Seq, len(cards))
	}
	if card.Seq == 0 {
		return card.ranked(card.Rotation)
	}
	prev := cards[card.Seq-1]
	switch {
	case card.Prev != prev.ID:
		return refuse(Conflict, "chain: card %d does not follow", card.Seq)
	case prev.Closed:
		return refuse(Invalid, "chain: a card after the closing one")
	case card.Role != prev.Role:
		return refuse(Invalid, "chain: the role changes")
	}
	return card.ranked(prev.Rotation)
}

// ranked checks that the card was signed by the rotation key that it says.
func (c *Card) ranked(rotation []crypto.VerifyKey) error {
	if c.rank >= len(rotation) || rotation[c.rank] != c.signedBy {
		return refuse(BadSignature, "card: not signed by the rotation key that it names")
	}
	return nil
}

// Address is the address of the identity.
func (c *Chain) Address() Address { return AddressOf(c.cards[0].ID) }

// Head is the newest card.
func (c *Chain) Head() *Card { return c.cards[len(c.cards)-1] }

// Len is the number of cards.
func (c *Chain) Len() int { return len(c.cards) }

// Card finds a card of the chain by its id.
func (c *Chain) Card(id ID) (*Card, bool) {
	// From the head: nearly always it is the newest that is asked for.
	for _, card := range slices.Backward(c.cards) {
		if card.ID == id {
			return card, true
		}
	}
	return nil, false
}

// At is the card with this sequence number.
func (c *Chain) At(seq uint64) (*Card, bool) {
	if seq >= uint64(len(c.cards)) {
		return nil, false
	}
	return c.cards[seq], true
}

// Signed is the cards as received, from sequence number after on.
func (c *Chain) Signed(after int) []*wirev1.Signed {
	var out []*wirev1.Signed
	for _, card := range c.cards[max(0, min(after, len(c.cards))):] {
		out = append(out, card.Signed)
	}
	return out
}

// current checks that key is a device key of the newest card and that the
// identity has not ended: nothing is accepted from a closed one.
func (c *Chain) current(kind string, key crypto.VerifyKey) error {
	if !c.Head().Lists(key) {
		return refuse(BadSignature, "%s: not signed by a current device key", kind)
	}
	if c.Head().Closed {
		return refuse(Denied, "%s: the identity is closed", kind)
	}
	return nil
}

// signer checks that key may sign now for the card that a statement names: the
// named card lists it, and so does the head, because a key that a newer card
// removed belongs to a lost device.
func (c *Chain) signer(kind string, cardID []byte, key crypto.VerifyKey) (*Card, error) {
	id, err := IDFromBytes(cardID)
	if err != nil {
		return nil, err
	}
	card, ok := c.Card(id)
	if !ok {
		return nil, Need(c.Address())
	}
	if !card.Lists(key) {
		return nil, refuse(BadSignature, "%s: not signed by a device key of its card", kind)
	}
	return card, c.current(kind, key)
}
