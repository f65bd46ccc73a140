package message

import (
	"slices"
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
// at equal rank, the one that was seen first stays (docs/protocol.md, "Forks").
// Compare panics nowhere and refuses chains of two addresses with Invalid.
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
	rotation := a.cards[at-1].Rotation
	rankA := slices.Index(rotation, a.cards[at].signedBy)
	rankB := slices.Index(rotation, b.cards[at].signedBy)
	seenA, seenB := seen(held, at), seen(offered, at)
	switch {
	case rankB < rankA && seenB.Sub(seenA) < ForkWindow:
		return Wins, nil
	case rankA < rankB && seenA.Sub(seenB) >= ForkWindow:
		return Wins, nil
	case rankA == rankB && seenB.Before(seenA):
		return Wins, nil
	}
	return Loses, nil
}

// Disagree reports whether two trackers stand on different branches of one
// address: they saw the cards at the fork in another order, or on both sides
// of ForkWindow. A client then refuses to encrypt to the address until a
// person accepts. An earlier state of the same branch is merely stale.
func Disagree(a, b Sighting) bool {
	at := forkPoint(a.Chain, b.Chain)
	return at < a.Chain.Len() && at < b.Chain.Len()
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

// seen is when card at of s was first seen; a time that is missing counts as
// the zero time, long ago.
func seen(s Sighting, at int) time.Time {
	if at < len(s.FirstSeen) {
		return s.FirstSeen[at]
	}
	return time.Time{}
}
