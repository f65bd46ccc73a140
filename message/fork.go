package message

import (
	"bytes"
	"time"
)

// Sighting is a chain together with the times at which a verifier first saw
// each of its cards, one for each card.
type Sighting struct {
	Chain     *Chain
	FirstSeen []time.Time
}

// Standing says how an offered chain stands to the one that is held.
type Standing int

// The standings.
const (
	// Same: the two have the same head.
	Same Standing = iota
	// Older: the offered chain is an earlier state of the held one.
	Older
	// Newer: the offered chain continues the held one.
	Newer
	// Wins: the offered chain is another branch, and replaces the held one;
	// routes of the held branch are void.
	Wins
	// Loses: the offered chain is another branch, and is not taken.
	Loses
)

// Compare decides between two chains of one address. At a fork the two cards
// on one prev are compared by the rank of their signers in prev.rotation: the
// strictly higher rank (the lower index) wins if the lower-ranked card was
// first seen less than ForkWindow before the higher-ranked one; otherwise, and
// at equal rank, the one that was seen first stays; of two cards of equal rank
// seen in the same millisecond, that with the lower id (docs/protocol.md §5.3).
//
// The verdict depends on the chains and the times alone, not on which of them
// is held, but for one case: a time that nobody gave decides nothing, and what
// is held stays. Chains of two addresses are refused with Invalid.
func Compare(held, offered Sighting) (Standing, error) {
	a, b := held.Chain, offered.Chain
	if a.Address() != b.Address() {
		return Loses, refuse(Invalid, "compare chains: two addresses")
	}
	at := forkPoint(a, b)
	switch {
	case at == a.Len() && at == b.Len():
		return Same, nil
	case at == b.Len():
		return Older, nil
	case at == a.Len():
		return Newer, nil
	}
	if at == 0 {
		return Loses, refuse(Invalid, "compare chains: two genesis cards for one address")
	}
	seenA, knownA := seen(held, at)
	seenB, knownB := seen(offered, at)
	if knownA && knownB && beats(b.cards[at], a.cards[at], seenB-seenA) {
		return Wins, nil
	}
	return Loses, nil
}

// beats reports whether card x, first seen later milliseconds after y on the
// same prev, stands before y. For two cards and their times it is true in
// exactly one direction.
func beats(x, y *Card, later int64) bool {
	const window = int64(ForkWindow / time.Millisecond)
	switch {
	case x.rank < y.rank:
		return later < window
	case x.rank > y.rank:
		return -later >= window
	case later != 0:
		return later < 0
	}
	return bytes.Compare(x.ID[:], y.ID[:]) < 0
}

// Disagree reports whether two trackers stand on different branches of one
// address. A client then refuses to encrypt to the address until a person
// accepts (docs/protocol.md §5.4). An earlier state of the same branch is merely
// stale.
func Disagree(a, b Sighting) bool {
	at := forkPoint(a.Chain, b.Chain)
	return at < a.Chain.Len() && at < b.Chain.Len()
}

// DisagreeOn reports whether two trackers disagree, or would have a holder of
// another branch decide differently: the first-seen times that they give lie
// on both sides of ForkWindow.
func DisagreeOn(held, a, b Sighting) bool {
	if Disagree(a, b) {
		return true
	}
	onA, errA := Compare(held, a)
	onB, errB := Compare(held, b)
	return errA != nil || errB != nil || (onA == Wins) != (onB == Wins)
}

// forkPoint is the number of cards that a and b have in common.
func forkPoint(a, b *Chain) int {
	n := min(a.Len(), b.Len())
	for i := range n {
		if a.cards[i].ID != b.cards[i].ID {
			return i
		}
	}
	return n
}

// seen is when card at of s was first seen, in milliseconds as it travels, and
// whether anybody said so.
func seen(s Sighting, at int) (int64, bool) {
	if at >= len(s.FirstSeen) || s.FirstSeen[at].IsZero() {
		return 0, false
	}
	return millis(s.FirstSeen[at]), true
}
