package crypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// BoxKind names a way to seal something small to one reader. Kinds travel; numbers are never used again.
type BoxKind uint32

const (
	// BoxNaCl is libsodium's sealed box: X25519, XSalsa20-Poly1305, keys of 32 bytes, 48 bytes on top. It has no room for
	// an info: what is sealed has to bind itself to its place, as a content key does by its commitment.
	BoxNaCl BoxKind = 1

	// BoxHybrid is HPKE (RFC 9180) with MLKEM768-X25519, HKDF-SHA256 and ChaCha20-Poly1305: safe while either of the two
	// is, against quantum computers too. Keys of 1,216 bytes, 1,136 bytes on top.
	BoxHybrid BoxKind = 2
)

// boxSeedSize is the length of a private half as it is kept, the same for every kind so far.
const boxSeedSize = 32

// sealer is the public half of one kind.
type sealer interface {
	seal(rand io.Reader, info, plain []byte) ([]byte, error)
}

// opener is the private half of one kind.
type opener interface {
	open(info, sealed []byte) ([]byte, error)
	public() []byte
}

// boxMaker is one kind: how its two halves are read.
type boxMaker struct {
	parse  func(key []byte) (sealer, error)
	derive func(seed []byte) (opener, error)
}

// boxes is the registry. A new kind is one file and one line here.
func boxes(kind BoxKind) (boxMaker, bool) {
	switch kind {
	case BoxNaCl:
		return boxMaker{parseNaCl, deriveNaCl}, true
	case BoxHybrid:
		return boxMaker{parseHybrid, deriveHybrid}, true
	default:
		return boxMaker{}, false
	}
}

// Box is the public half of a box key: whoever has it can seal, and only the private half opens. The zero value seals
// nothing.
type Box struct {
	kind BoxKind
	key  []byte
	half sealer
}

// ParseBox reads a public half. It refuses wrong lengths and X25519 points of low order, to which anybody could open; the
// error for a kind that this version does not know is ErrUnknownKind, so that a card with newer boxes still can be read.
func ParseBox(kind uint32, key []byte) (Box, error) {
	maker, known := boxes(BoxKind(kind))
	if !known {
		return Box{}, fmt.Errorf("crypto: read box: kind %d: %w", kind, ErrUnknownKind)
	}
	key = bytes.Clone(key)
	half, err := maker.parse(key)
	if err != nil {
		return Box{}, fmt.Errorf("crypto: read box: %w", err)
	}
	return Box{BoxKind(kind), key, half}, nil
}

// Kind returns the kind of the box.
func (b Box) Kind() BoxKind { return b.kind }

// Bytes returns a copy of the public key, as ParseBox takes it.
func (b Box) Bytes() []byte { return bytes.Clone(b.key) }

// ID returns the name by which a slot says for which box it is: the first 16 bytes of Hash("box", kind as one byte, key).
func (b Box) ID() [16]byte {
	h := Hash("box", []byte{byte(b.kind)}, b.key)
	return [16]byte(h[:16])
}

// Seal seals plain so that only the box's owner can open it. Open must be given the same info (but see BoxNaCl). A hybrid box takes its
// randomness from the system, not from rand, because the standard library offers nothing else.
func (b Box) Seal(rand io.Reader, info, plain []byte) ([]byte, error) {
	if b.half == nil {
		return nil, errors.New("crypto: seal: no box given")
	}
	sealed, err := b.half.seal(rand, info, plain)
	if err != nil {
		return nil, fmt.Errorf("crypto: seal: %w", err)
	}
	return sealed, nil
}

// BoxKey is the private half of a box. The zero value opens nothing.
type BoxKey struct {
	redacted
	secret hidden[boxSecret]
}

// boxSecret is what a BoxKey hides.
type boxSecret struct {
	kind BoxKind
	seed []byte
	half opener
	box  Box
}

// NewBoxKey makes a key of the given kind from the next 32 bytes of rand.
func NewBoxKey(kind BoxKind, rand io.Reader) (BoxKey, error) {
	seed, err := RandomBytes(rand, boxSeedSize)
	if err != nil {
		return BoxKey{}, fmt.Errorf("crypto: make box key: %w", err)
	}
	return BoxKeyFromSeed(kind, seed)
}

// BoxKeyFromSeed returns the key of the given kind that belongs to a seed of 32 bytes.
func BoxKeyFromSeed(kind BoxKind, seed []byte) (BoxKey, error) {
	maker, known := boxes(kind)
	if !known {
		return BoxKey{}, fmt.Errorf("crypto: read box key: kind %d: %w", kind, ErrUnknownKind)
	}
	if len(seed) != boxSeedSize {
		return BoxKey{}, fmt.Errorf("crypto: read box key: %d bytes, want %d", len(seed), boxSeedSize)
	}
	seed = bytes.Clone(seed)
	half, err := maker.derive(seed)
	if err != nil {
		return BoxKey{}, fmt.Errorf("crypto: read box key: %w", err)
	}
	box, err := ParseBox(uint32(kind), half.public())
	if err != nil {
		return BoxKey{}, err
	}
	return BoxKey{secret: hide(boxSecret{kind, seed, half, box})}, nil
}

// Kind returns the kind of the key, 0 for the zero value.
func (k BoxKey) Kind() BoxKind {
	if k.secret == nil {
		return 0
	}
	return k.secret().kind
}

// Seed returns a copy of the 32 bytes from which the key can be made again, or nil for the zero value.
func (k BoxKey) Seed() Secret {
	if k.secret == nil {
		return nil
	}
	return Secret(bytes.Clone(k.secret().seed))
}

// Public returns the half that others may know.
func (k BoxKey) Public() Box {
	if k.secret == nil {
		return Box{}
	}
	return k.secret().box
}

// Open opens what was sealed to the public half under the same info. Whatever is wrong, the error is ErrOpen.
func (k BoxKey) Open(info, sealed []byte) ([]byte, error) {
	if k.secret == nil {
		return nil, ErrOpen
	}
	plain, err := k.secret().half.open(info, sealed)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// checkX25519 refuses public keys of low order: the shared secret with them is known to everybody, and sealed boxes as they
// are usually built do not notice. It compares with the list of them, because an exchange to find out costs more than all else
// about reading a card. The highest bit counts for nothing in X25519, and callers have checked the length.
func checkX25519(key []byte) error {
	u := [32]byte(key)
	u[31] &= 0x7f
	switch hex.EncodeToString(u[:]) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // 0, and as p
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0100000000000000000000000000000000000000000000000000000000000000", // 1, and as p+1
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p-1
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", // the two of order 8
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157":
		return errors.New("x25519 point of low order")
	}
	return nil
}
