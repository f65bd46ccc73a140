package message

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Identity is what is known and verified of one address: its chain, and its
// route if there is one. Never changed after it was made.
type Identity struct {
	Chain *Chain
	// Route is nil where none is known.
	Route *Route
	// FirstSeen has the times of the cards by the clock of whoever answered or
	// keeps them; empty where nobody said.
	FirstSeen []time.Time
}

// OpenIdentity verifies a bundle. known is the chain that is already held, or
// nil; a bundle that carries only later cards needs it, and is refused with
// NeedBundle without it. The result may be older, newer or on another branch
// than known: Compare decides.
func OpenIdentity(v crypto.Verifier, w *wirev1.Identity, known *Chain) (*Identity, error) {
	i, checks, err := readIdentity(w, known)
	if err != nil {
		return nil, err
	}
	if err := verifyAll(v, checks); err != nil {
		return nil, err
	}
	return i, nil
}

// readIdentity is OpenIdentity without the signatures, which are still to be
// checked, all in one batch; until then the identity must not leave this room.
func readIdentity(w *wirev1.Identity, known *Chain) (*Identity, []crypto.Check, error) {
	if n := len(w.GetFirstSeen()); n != 0 && n != len(w.GetCards()) {
		return nil, nil, refuse(Invalid, "identity: %d first-seen times for %d cards", n, len(w.GetCards()))
	}
	if err := checkTimes("identity", w.GetFirstSeen()...); err != nil {
		return nil, nil, err
	}
	chain, checks, err := readCards(w, known)
	if err != nil {
		return nil, nil, err
	}
	i := &Identity{Chain: chain}
	if n := len(w.GetFirstSeen()); n != 0 {
		if n != chain.Len() {
			return nil, nil, refuse(Invalid, "identity: %d first-seen times for %d cards", n, chain.Len())
		}
		for _, ms := range w.GetFirstSeen() {
			i.FirstSeen = append(i.FirstSeen, fromMillis(ms))
		}
	}
	if w.GetRoute() != nil {
		var p parsed
		if i.Route, p, err = readRoute(chain, w.GetRoute()); err != nil {
			return nil, nil, err
		}
		checks = append(checks, p.check)
	}
	return i, checks, nil
}

// readCards reads the cards of a bundle on top of known, if there is one.
func readCards(w *wirev1.Identity, known *Chain) (*Chain, []crypto.Check, error) {
	if known != nil {
		return known.branch(w.GetCards())
	}
	if cards := w.GetCards(); len(cards) != 0 {
		seq, err := cardSeq(cards[0])
		if err != nil {
			return nil, nil, err
		}
		if seq == 0 {
			return extend(nil, nil, cards)
		}
	}
	a, err := IdentityAddress(w)
	if err != nil {
		return nil, nil, err
	}
	return nil, nil, Need(a)
}

// cardSeq reads the number of a card and nothing else of it, so that a bundle
// can be put where it belongs before anything dear is done.
func cardSeq(s *wirev1.Signed) (uint64, error) {
	b := s.GetBody()
	if len(b) == 0 {
		return 0, refuse(Invalid, "%s: missing", kindCard)
	}
	if len(b) > MaxCard {
		return 0, refuse(TooLarge, "%s: %d bytes, at most %d", kindCard, len(b), MaxCard)
	}
	var seq uint64
	for len(b) > 0 {
		field, typ, tag := protowire.ConsumeTag(b)
		_, _, n := protowire.ConsumeField(b)
		if tag < 0 || n < 0 {
			return 0, refuse(Invalid, "%s: not the expected message", kindCard)
		}
		if field == cardSeqField && typ == protowire.VarintType {
			seq, _ = protowire.ConsumeVarint(b[tag:]) // the last one counts, as in the parser
		}
		b = b[n:]
	}
	return seq, nil
}

// cardSeqField is the field Card.seq.
const cardSeqField = 1

// NotAhead refuses, with Clock, an identity in which a card or the route lies
// more than MaxAhead after now.
func (i *Identity) NotAhead(now time.Time) error {
	for _, c := range i.Chain.cards {
		if err := NotAhead(c.Time, now); err != nil {
			return err
		}
	}
	if i.Route == nil {
		return nil
	}
	return NotAhead(i.Route.Time, now)
}

// Address is the identity's address.
func (i *Identity) Address() Address { return i.Chain.Address() }

// Pair is the order of the route; without a route, that of the head card alone.
func (i *Identity) Pair() Pair {
	if i.Route == nil {
		return Pair{Card: i.Chain.Head().Seq}
	}
	return i.Route.Pair
}

// Sighting is the chain with its times, for Compare.
func (i *Identity) Sighting() Sighting { return Sighting{Chain: i.Chain, FirstSeen: i.FirstSeen} }

// Wire is the bundle to send: the whole chain and the route.
func (i *Identity) Wire() *wirev1.Identity { return i.WireAfter(0) }

// WireAfter is the bundle for a receiver that knows the first n cards.
func (i *Identity) WireAfter(n int) *wirev1.Identity {
	w := &wirev1.Identity{Cards: i.Chain.Signed(n)}
	if i.Route != nil {
		w.Route = i.Route.Signed
	}
	if n == 0 && len(i.FirstSeen) == i.Chain.Len() {
		for _, t := range i.FirstSeen {
			w.FirstSeen = append(w.FirstSeen, millis(t))
		}
	}
	return w
}

// VerifyTickets checks that each server which the route names says so itself.
// servers holds the identities that came along. A user without services has
// left; that is a route too.
func (i *Identity) VerifyTickets(v crypto.Verifier, servers map[Address]*Identity, now time.Time) error {
	if i.Route == nil {
		return nil
	}
	for _, s := range i.Route.Services {
		server, ok := servers[s.Server]
		if !ok {
			return Need(s.Server)
		}
		if err := s.Ticket.Verify(v, server.Chain, now); err != nil {
			return err
		}
	}
	return nil
}

// IdentityAddress reads which address a bundle is about, without believing it:
// from its genesis card, else from its route. Errors: Invalid where it tells
// neither way.
func IdentityAddress(w *wirev1.Identity) (Address, error) {
	if len(w.GetCards()) > 0 {
		// The keys are not looked at: that is dear, and nothing here is believed.
		first := w.GetCards()[0]
		seq, err := cardSeq(first)
		if err != nil {
			return Address{}, err
		}
		if seq == 0 {
			return AddressOf(ID(crypto.ID(kindCard, first.GetBody()))), nil
		}
	}
	var r wirev1.Route
	if _, err := parse(kindRoute, w.GetRoute(), MaxRoute, &r); err != nil {
		return Address{}, err
	}
	return AddressFromBytes(r.GetAddress())
}
