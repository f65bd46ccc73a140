package message

import (
	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Letter is a verified and decrypted version of a message: the only thing that
// may be shown to a person.
type Letter struct {
	Head    *Head
	Content *Content
	// Classical: this reader's slot is sealed to a nacl box, so the message is
	// not post-quantum.
	Classical bool
}

// Open decrypts and reads one version, in the order of docs/protocol.md §7.9. The head was verified before (only then
// does a Head exist); the slot is proved by the head's commitment, which is
// checked before anything is decrypted, so that one ciphertext cannot show two
// readers two texts. slot and boxes are not looked at for a public message. A
// tombstone opens to a Letter without content. Errors: Invalid, TooLarge,
// BadSignature (the payload or slot is not what was signed), NotFound (no
// private key here fits the slot).
func Open(h *Head, slot *wirev1.Slot, boxes []crypto.BoxKey, payload []byte) (*Letter, error) {
	if h.Tombstone() {
		return &Letter{Head: h}, nil
	}
	if h.Suite != crypto.SuiteNone {
		if err := h.checkReader(slot); err != nil {
			return nil, err
		}
	}
	if err := h.CheckPayload(payload); err != nil {
		return nil, err
	}
	if h.Suite == crypto.SuiteNone {
		c, err := ParseContent(payload)
		if err != nil {
			return nil, err
		}
		return &Letter{Head: h, Content: c}, nil
	}
	pk, kind, err := h.unseal(slot, boxes)
	if err != nil {
		return nil, err
	}
	padded, err := pk.Open(h.Suite, payload)
	if err != nil {
		return nil, refuse(BadSignature, "open: payload: %v", err)
	}
	plain, err := crypto.Unpad(padded)
	if err != nil {
		return nil, refuse(Invalid, "open: padding: %v", err)
	}
	c, err := ParseContent(plain)
	if err != nil {
		return nil, err
	}
	return &Letter{Head: h, Content: c, Classical: kind == crypto.BoxNaCl}, nil
}

// checkReader refuses what cannot be a slot of this head. Whoever can open a
// message could seal its key to somebody else and send it on, as if the author
// had meant that reader.
func (h *Head) checkReader(slot *wirev1.Slot) error {
	if slot == nil {
		return refuse(Invalid, "open: no slot")
	}
	if err := CheckSlot(slot); err != nil {
		return err
	}
	if a, err := AddressFromBytes(slot.GetAddress()); err != nil || !h.Reader(a) {
		return refuse(Invalid, "open: a slot for somebody who is no reader")
	}
	return nil
}

// unseal finds the private key for the slot and checks the commitment.
func (h *Head) unseal(slot *wirev1.Slot, boxes []crypto.BoxKey) (crypto.PayloadKey, crypto.BoxKind, error) {
	ctx := h.context()
	for _, b := range boxes {
		if id := b.Public().ID(); string(id[:]) != string(slot.GetBox()) {
			continue
		}
		raw, err := b.Open(ctx[:], slot.GetSealed())
		if err != nil {
			return crypto.PayloadKey{}, 0, refuse(BadSignature, "open: the slot does not open")
		}
		cek, err := crypto.ContentKeyFromBytes(raw)
		if err != nil {
			return crypto.PayloadKey{}, 0, refuse(Invalid, "open: content key: %v", err)
		}
		pk, commit := cek.Derive(ctx)
		if commit != h.Commit {
			return crypto.PayloadKey{}, 0, refuse(BadSignature, "open: the content key is not the one that the head commits to")
		}
		return pk, b.Kind(), nil
	}
	return crypto.PayloadKey{}, 0, refuse(NotFound, "open: no key here fits the slot")
}

// Open decrypts and reads one version for the owner of the keyring. Unlike the
// function Open it also refuses, with Invalid, a private message that is not
// for the owner or whose slot is another reader's.
func (k *Keyring) Open(h *Head, slot *wirev1.Slot, payload []byte) (*Letter, error) {
	if h.Audience == Private && !h.Reader(k.Address()) {
		return nil, refuse(Invalid, "open: the message is not for %s", k.Address())
	}
	if h.Audience == Private && !h.Tombstone() && string(slot.GetAddress()) != string(k.Address().Bytes()) {
		return nil, refuse(Invalid, "open: the slot of another reader")
	}
	return Open(h, slot, k.Boxes, payload)
}
