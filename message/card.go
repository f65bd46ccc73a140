package message

import (
	"errors"
	"slices"
	"time"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Role says what an identity is used for.
type Role int32

// The roles.
const (
	RoleUser    = Role(wirev1.Role_ROLE_USER)
	RoleServer  = Role(wirev1.Role_ROLE_SERVER)
	RoleTracker = Role(wirev1.Role_ROLE_TRACKER)
)

// String is the role in a word.
func (r Role) String() string {
	switch r {
	case RoleUser:
		return "user"
	case RoleServer:
		return "server"
	case RoleTracker:
		return "tracker"
	}
	return "unknown"
}

// Card is one verified-by-shape state of an identity. Whether it may be
// believed is decided by the Chain that it stands in; cards outside a chain do
// not leave this room.
type Card struct {
	ID       ID
	Seq      uint64
	Prev     ID
	Rotation []crypto.VerifyKey
	Signers  []crypto.VerifyKey
	// Boxes are those of known kinds, in the card's order.
	Boxes  []crypto.Box
	Time   time.Time
	Role   Role
	Closed bool
	// Signed is the statement as received.
	Signed *wirev1.Signed

	signedBy crypto.VerifyKey
	// rank is the index of signedBy in the rotation of the card before. It
	// stands in the body: the id does not cover the signature, so otherwise a
	// thief could sign the owner's recovery card once more with a lower key and
	// pass it on as one of lower rank.
	rank int
}

// Lists reports whether key is a device key of this card.
func (c *Card) Lists(key crypto.VerifyKey) bool { return slices.Contains(c.Signers, key) }

// Box is the box to seal to: the first hybrid one, else the first nacl one.
func (c *Card) Box() (crypto.Box, bool) {
	for _, kind := range []crypto.BoxKind{crypto.BoxHybrid, crypto.BoxNaCl} {
		for _, b := range c.Boxes {
			if b.Kind() == kind {
				return b, true
			}
		}
	}
	return crypto.Box{}, false
}

// parseCard reads the shape of a card; the signature is not checked yet. The
// keys of the card before it, if there is one, were read before.
func parseCard(s *wirev1.Signed, prev *Card) (*Card, parsed, error) {
	var w wirev1.Card
	var known []crypto.VerifyKey
	if prev != nil {
		known = slices.Concat(prev.Rotation, prev.Signers)
	}
	p, err := parse(kindCard, s, MaxCard, &w, known...)
	if err != nil {
		return nil, p, err
	}
	known = append(known, p.key)
	c := &Card{ID: p.id, Seq: w.GetSeq(), Time: fromMillis(w.GetTime()), Role: Role(w.GetRole()), Closed: w.GetClosed(), Signed: s, signedBy: p.key, rank: int(w.GetRank())}
	if err := checkTimes("card", w.GetTime()); err != nil {
		return nil, p, err
	}
	if w.GetRank() >= MaxRotation {
		return nil, p, refuse(Invalid, "card: rank %d", w.GetRank())
	}
	if c.Role != RoleUser && c.Role != RoleServer && c.Role != RoleTracker {
		return nil, p, refuse(Invalid, "card: role %d", w.GetRole())
	}
	if c.Seq == 0 {
		if len(w.GetPrev()) != 0 {
			return nil, p, refuse(Invalid, "card: a genesis card has no prev")
		}
	} else if c.Prev, err = IDFromBytes(w.GetPrev()); err != nil {
		return nil, p, err
	}
	if c.Rotation, err = parseKeys("rotation", w.GetRotation(), MaxRotation, known); err != nil {
		return nil, p, err
	}
	if c.Signers, err = parseKeys("signers", w.GetSigners(), MaxSigners, known); err != nil {
		return nil, p, err
	}
	c.Boxes, err = parseBoxes(w.GetBoxes())
	return c, p, err
}

// parseKeys reads 1 to limit different keys, some of which may be known.
func parseKeys(what string, raw [][]byte, limit int, known []crypto.VerifyKey) ([]crypto.VerifyKey, error) {
	if len(raw) < 1 || len(raw) > limit {
		return nil, refuse(Invalid, "card: %d %s, 1 to %d", len(raw), what, limit)
	}
	keys := make([]crypto.VerifyKey, 0, len(raw))
	for _, b := range raw {
		k, err := parseKey("card: "+what, b, known...)
		if err != nil {
			return nil, err
		}
		if slices.Contains(keys, k) {
			return nil, refuse(Invalid, "card: %s: a key twice", what)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// parseBoxes reads 1 to MaxBoxes boxes. A kind that is not known here is
// passed over, so that a card may list a newer one first.
func parseBoxes(raw []*wirev1.Box) ([]crypto.Box, error) {
	if len(raw) < 1 || len(raw) > MaxBoxes {
		return nil, refuse(Invalid, "card: %d boxes, 1 to %d", len(raw), MaxBoxes)
	}
	var boxes []crypto.Box
	for _, w := range raw {
		b, err := crypto.ParseBox(w.GetKind(), w.GetKey())
		if errors.Is(err, crypto.ErrUnknownKind) {
			continue
		}
		if err != nil {
			return nil, refuse(Invalid, "card: box: %v", err)
		}
		boxes = append(boxes, b)
	}
	return boxes, nil
}
