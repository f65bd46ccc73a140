package crypto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/oasisprotocol/curve25519-voi/curve"
)

// protocol begins everything that is signed or hashed here, so that nothing made for another protocol can be taken for
// ours, nor the other way round.
const protocol = "airdispatch/1 "

// algorithmEd25519 is the first byte of a verify key's wire form.
const algorithmEd25519 = 1

// SignatureSize is the length of a signature in bytes.
const SignatureSize = ed25519.SignatureSize

// SigningKey is an Ed25519 private key. It signs bodies under a kind and nothing else: a device that signs what it is given
// without a label can be made to sign anything. The zero value signs nothing.
type SigningKey struct {
	redacted
	secret hidden[ed25519.PrivateKey]
}

// NewSigningKey makes a key from the next 32 bytes of rand.
func NewSigningKey(rand io.Reader) (SigningKey, error) {
	seed, err := RandomBytes(rand, ed25519.SeedSize)
	if err != nil {
		return SigningKey{}, fmt.Errorf("crypto: make signing key: %w", err)
	}
	return SigningKeyFromSeed(seed)
}

// SigningKeyFromSeed returns the key that belongs to a seed of 32 bytes.
func SigningKeyFromSeed(seed []byte) (SigningKey, error) {
	if len(seed) != ed25519.SeedSize {
		return SigningKey{}, fmt.Errorf("crypto: read signing key: %d bytes, want %d", len(seed), ed25519.SeedSize)
	}
	return SigningKey{secret: hide(ed25519.NewKeyFromSeed(seed))}, nil
}

// IsZero reports whether k holds no key.
func (k SigningKey) IsZero() bool { return k.secret == nil }

// Public returns the half that others may know; for the zero value, the zero VerifyKey, which ParseVerifyKey refuses.
func (k SigningKey) Public() VerifyKey {
	var v VerifyKey
	if k.secret != nil {
		copy(v[:], k.secret()[ed25519.SeedSize:])
	}
	return v
}

// Seed returns a copy of the 32 bytes from which the key can be made again, or nil for the zero value.
func (k SigningKey) Seed() Secret {
	if k.secret == nil {
		return nil
	}
	return Secret(k.secret().Seed())
}

// Sign returns the 64 bytes of the signature over "airdispatch/1 ", kind, line feed and body. The kind is a constant of the
// caller; one that is empty or holds a line feed could be shifted into the body, so nothing is signed under it and the
// result is nil, as it is for the zero key.
func (k SigningKey) Sign(kind string, body []byte) []byte {
	if k.secret == nil || !validKind(kind) {
		return nil
	}
	return ed25519.Sign(k.secret(), appendSigned(nil, kind, body))
}

// validKind reports whether the line feed after kind is the first one in the signed bytes.
func validKind(kind string) bool { return kind != "" && !strings.Contains(kind, "\n") }

// appendSigned appends the bytes that a signature covers.
func appendSigned(b []byte, kind string, body []byte) []byte {
	if b == nil {
		b = make([]byte, 0, len(protocol)+len(kind)+1+len(body))
	}
	b = append(b, protocol...)
	b = append(b, kind...)
	b = append(b, '\n')
	return append(b, body...)
}

// VerifyKey is an Ed25519 public key. Values come from SigningKey.Public or ParseVerifyKey; the latter is what keeps out the
// points under which anybody can sign.
type VerifyKey [32]byte

// ParseVerifyKey reads the wire form: one byte for the algorithm, 1 for Ed25519, and the 32 bytes of the point. It refuses
// what is not a point, a second spelling of a point (one key must have one name), and points of small order, under which
// one signature fits every message. Keys that were read before may be given as known: one of them is not looked at again,
// because finding the point is half the price of a signature check.
func ParseVerifyKey(b []byte, known ...VerifyKey) (VerifyKey, error) {
	k, err := ClaimedVerifyKey(b)
	if err != nil || slices.Contains(known, k) {
		return k, err
	}
	compressed := curve.CompressedEdwardsY(k)
	var point curve.EdwardsPoint
	if _, err := point.SetCompressedY(&compressed); err != nil {
		return VerifyKey{}, errors.New("crypto: read verify key: not a point of the curve")
	}
	if !compressed.IsCanonicalVartime() {
		return VerifyKey{}, errors.New("crypto: read verify key: not the one spelling of its point")
	}
	if point.IsSmallOrder() {
		return VerifyKey{}, errors.New("crypto: read verify key: point of small order")
	}
	return k, nil
}

// ClaimedVerifyKey reads the wire form without a look at the point. What it returns may only be compared with keys that
// ParseVerifyKey has let through, never used to check a signature.
func ClaimedVerifyKey(b []byte) (VerifyKey, error) {
	if len(b) != 33 {
		return VerifyKey{}, fmt.Errorf("crypto: read verify key: %d bytes, want 33", len(b))
	}
	if b[0] != algorithmEd25519 {
		return VerifyKey{}, fmt.Errorf("crypto: read verify key: algorithm %d: %w", b[0], ErrUnknownKind)
	}
	return VerifyKey(b[1:]), nil
}

// Bytes returns the wire form, 33 bytes.
func (k VerifyKey) Bytes() []byte { return append([]byte{algorithmEd25519}, k[:]...) }

// String returns the first 8 bytes in hexadecimal, enough for a person to tell keys apart and too little to rely on.
func (k VerifyKey) String() string { return hex.EncodeToString(k[:8]) }

// ID returns the name of a statement: SHA-256 over "airdispatch/1 id ", kind, line feed and body. It does not cover the signature,
// so that a second signature over one body does not make a second statement.
func ID(kind string, body []byte) [32]byte { return Hash("id "+kind, body) }

// Hash returns SHA-256 over "airdispatch/1 ", label, line feed and the parts, one after the other. The parts are not told apart:
// all but the last need a fixed length. The label is a constant without a line feed.
func Hash(label string, parts ...[]byte) [32]byte {
	h := sha256.New()
	_, _ = io.WriteString(h, protocol)
	_, _ = io.WriteString(h, label)
	_, _ = h.Write([]byte{'\n'})
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

// Sum returns the plain SHA-256 of b.
func Sum(b []byte) [32]byte { return sha256.Sum256(b) }
