package message

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// keyringType is the PEM type of a key file's plaintext.
const keyringType = "AIRDISPATCH KEYRING"

// maxKeyring bounds a key file: a full chain of full cards, and keys.
const maxKeyring = 6 << 20

// Keyring holds the private keys of one identity on one device, and its chain.
// Never changed after it was made.
type Keyring struct {
	Chain *Chain
	// Rotation keys that this device holds; the paper key is never among them.
	Rotation []crypto.SigningKey
	// Signer is the device key.
	Signer crypto.SigningKey
	Boxes  []crypto.BoxKey
}

// Address is the address of the identity.
func (k *Keyring) Address() Address { return k.Chain.Address() }

// NewKeyring makes an identity. paper is the seed of rotation[0], 32 bytes,
// which the caller shows once and forgets; a second rotation key, the device
// key and one box of each kind are made from rand.
func NewKeyring(role Role, paper crypto.Secret, now time.Time, rand io.Reader) (*Keyring, error) {
	top, err := crypto.SigningKeyFromSeed(paper)
	if err != nil {
		return nil, fmt.Errorf("message: new keyring: %w", err)
	}
	k := &Keyring{}
	rotation, err := crypto.NewSigningKey(rand)
	if err != nil {
		return nil, fmt.Errorf("message: new keyring: %w", err)
	}
	if k.Signer, err = crypto.NewSigningKey(rand); err != nil {
		return nil, fmt.Errorf("message: new keyring: %w", err)
	}
	k.Rotation = []crypto.SigningKey{rotation}
	for _, kind := range []crypto.BoxKind{crypto.BoxHybrid, crypto.BoxNaCl} {
		b, err := crypto.NewBoxKey(kind, rand)
		if err != nil {
			return nil, fmt.Errorf("message: new keyring: %w", err)
		}
		k.Boxes = append(k.Boxes, b)
	}
	s, err := SignCard(CardDraft{
		Rotation: []crypto.VerifyKey{top.Public(), rotation.Public()}, Signers: []crypto.VerifyKey{k.Signer.Public()},
		Boxes: []crypto.Box{k.Boxes[0].Public(), k.Boxes[1].Public()}, Time: now, Role: role,
	}, nil, rotation)
	if err != nil {
		return nil, err
	}
	k.Chain, err = OpenChain(crypto.Single{}, []*wirev1.Signed{s})
	return k, err
}

// CardDraft is a card before it is signed.
type CardDraft struct {
	Rotation, Signers []crypto.VerifyKey
	Boxes             []crypto.Box
	Time              time.Time
	Role              Role
	Closed            bool
}

// SignCard makes the card that follows prev, or with a nil prev a genesis card.
// key is a rotation key of prev, or of the genesis card itself. Errors: Invalid
// where it is neither.
func SignCard(d CardDraft, prev *Card, key crypto.SigningKey) (*wirev1.Signed, error) {
	w := &wirev1.Card{Time: millis(d.Time), Role: wirev1.Role(d.Role), Closed: d.Closed}
	rotation := d.Rotation
	if prev != nil {
		w.Seq, w.Prev, rotation = prev.Seq+1, prev.ID[:], prev.Rotation
	}
	rank := slices.Index(rotation, key.Public())
	if rank < 0 {
		return nil, refuse(Invalid, "sign card: not with a rotation key")
	}
	w.Rank = uint32(rank)
	for _, r := range d.Rotation {
		w.Rotation = append(w.Rotation, r.Bytes())
	}
	for _, s := range d.Signers {
		w.Signers = append(w.Signers, s.Bytes())
	}
	for _, b := range d.Boxes {
		w.Boxes = append(w.Boxes, &wirev1.Box{Kind: uint32(b.Kind()), Key: b.Bytes()})
	}
	return sign(kindCard, w, key)
}

// MarshalKeyring is the plaintext of a key file, PEM. crypto.Lock encrypts it.
func MarshalKeyring(k *Keyring) ([]byte, error) {
	w := &wirev1.Keyring{Cards: k.Chain.Signed(0), Signer: k.Signer.Seed()}
	for _, r := range k.Rotation {
		w.Rotation = append(w.Rotation, r.Seed())
	}
	for _, b := range k.Boxes {
		w.Boxes = append(w.Boxes, &wirev1.BoxSeed{Kind: uint32(b.Kind()), Seed: b.Seed()})
	}
	b, err := proto.Marshal(w)
	if err != nil {
		return nil, refuse(Internal, "marshal keyring: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyringType, Bytes: b, Headers: map[string]string{"Address": k.Address().String()}}), nil
}

// ParseKeyring reads the plaintext of a key file and checks that the device key
// belongs to the chain's newest card and the others to some card of it. Errors: Invalid, TooLarge, BadSignature.
// No error repeats anything of the input.
func ParseKeyring(b []byte) (*Keyring, error) {
	if len(b) > maxKeyring {
		return nil, refuse(TooLarge, "keyring: %d bytes", len(b))
	}
	b = bytes.TrimSpace(b)
	block, rest := pem.Decode(b)
	// The decoder looks for a block anywhere; a key file is nothing but one.
	if block == nil || !bytes.HasPrefix(b, []byte("-----BEGIN ")) || block.Type != keyringType || len(bytes.TrimSpace(rest)) != 0 {
		return nil, refuse(Invalid, "keyring: not an Airdispatch key file")
	}
	var w wirev1.Keyring
	if proto.Unmarshal(block.Bytes, &w) != nil {
		return nil, refuse(Invalid, "keyring: damaged")
	}
	k := &Keyring{}
	var err error
	if k.Chain, err = OpenChain(crypto.Single{}, w.GetCards()); err != nil {
		return nil, err
	}
	if k.Signer, err = crypto.SigningKeyFromSeed(w.GetSigner()); err != nil {
		return nil, refuse(Invalid, "keyring: device key")
	}
	if !k.Chain.Head().Lists(k.Signer.Public()) {
		return nil, refuse(Invalid, "keyring: the device key is not in the newest card")
	}
	if err := k.parseSeeds(&w); err != nil {
		return nil, err
	}
	return k, nil
}

// maxSeeds is how many keys of a sort a key file may hold: old boxes stay in it
// as long as there is mail that was sealed to them.
const maxSeeds = MaxChain * MaxBoxes

// parseSeeds reads the rotation keys and boxes. Every one must stand in some
// card: a key file does not carry what belongs to nobody.
func (k *Keyring) parseSeeds(w *wirev1.Keyring) error {
	if len(w.GetRotation()) > maxSeeds || len(w.GetBoxes()) > maxSeeds {
		return refuse(TooLarge, "keyring: more than %d keys", maxSeeds)
	}
	rotation := make(map[crypto.VerifyKey]bool)
	boxes := make(map[[16]byte]bool)
	for _, c := range k.Chain.cards {
		for _, r := range c.Rotation {
			rotation[r] = true
		}
		for _, b := range c.Boxes {
			boxes[b.ID()] = true
		}
	}
	for _, seed := range w.GetRotation() {
		r, err := crypto.SigningKeyFromSeed(seed)
		if err != nil || !rotation[r.Public()] {
			return refuse(Invalid, "keyring: rotation key")
		}
		k.Rotation = append(k.Rotation, r)
	}
	for _, ws := range w.GetBoxes() {
		key, err := crypto.BoxKeyFromSeed(crypto.BoxKind(ws.GetKind()), ws.GetSeed())
		if err != nil || !boxes[key.Public().ID()] {
			return refuse(Invalid, "keyring: box")
		}
		k.Boxes = append(k.Boxes, key)
	}
	return nil
}
