package crypto

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"golang.org/x/crypto/chacha20poly1305"
)

// Suite names the way a payload is encrypted. Suites travel; numbers are never used again.
type Suite uint32

const (
	// SuiteNone is a payload that anybody may read, for public messages only. No key seals or opens it.
	SuiteNone Suite = 0

	// SuiteChaCha is ChaCha20-Poly1305 in chunks of 64 KiB.
	SuiteChaCha Suite = 1
)

// KnownSuite reports whether this version can handle s.
func KnownSuite(s Suite) bool { return s == SuiteNone || s == SuiteChaCha }

// ContentKey is the secret of one version of one message: 32 random bytes that travel in the slots. It encrypts nothing
// itself. The zero value derives keys that do nothing.
type ContentKey struct {
	redacted
	secret hidden[[32]byte]
}

// NewContentKey makes a key from the next 32 bytes of rand.
func NewContentKey(rand io.Reader) (ContentKey, error) {
	b, err := RandomBytes(rand, 32)
	if err != nil {
		return ContentKey{}, fmt.Errorf("crypto: make content key: %w", err)
	}
	return ContentKeyFromBytes(b)
}

// ContentKeyFromBytes reads a key out of an opened slot.
func ContentKeyFromBytes(b []byte) (ContentKey, error) {
	if len(b) != 32 {
		return ContentKey{}, fmt.Errorf("crypto: read content key: %d bytes, want 32", len(b))
	}
	return ContentKey{secret: hide([32]byte(b))}, nil
}

// Bytes returns a copy of the 32 bytes, or nil for the zero value.
func (k ContentKey) Bytes() Secret {
	if k.secret == nil {
		return nil
	}
	b := k.secret()
	return b[:]
}

// Derive returns the payload key and the commitment that belong to k in the context ctx: HKDF-SHA256 with ctx as salt,
// expanded under "airdispatch/1 payload" and "airdispatch/1 commit". The commitment stands in the signed head and is compared before
// anything is opened: ChaCha20-Poly1305 alone can be made to open to two texts under two keys. For the zero value both are
// zero.
func (k ContentKey) Derive(ctx [32]byte) (PayloadKey, [32]byte) {
	if k.secret == nil {
		return PayloadKey{}, [32]byte{}
	}
	// None of these can fail: SHA-256 is always there and 32 bytes is its own length.
	prk, _ := hkdf.Extract(sha256.New, k.Bytes(), ctx[:])
	key, _ := hkdf.Expand(sha256.New, prk, protocol+"payload", 32)
	commit, _ := hkdf.Expand(sha256.New, prk, protocol+"commit", 32)
	aead, _ := chacha20poly1305.New(key)
	return PayloadKey{aead: hide(aead)}, [32]byte(commit)
}

// PayloadKey encrypts one payload or one blob, and never a second one: its nonces are counted from zero each time. The zero
// value encrypts nothing.
type PayloadKey struct {
	redacted
	aead hidden[cipher.AEAD]
}

// errNoKey is the answer of a zero PayloadKey.
var errNoKey = errors.New("crypto: payload: no key given")

// Seal encrypts a whole payload. It does not pad; see Pad.
func (k PayloadKey) Seal(suite Suite, plain []byte) ([]byte, error) {
	if err := k.check(suite); err != nil {
		return nil, err
	}
	out := make([]byte, 0, SealedSize(int64(len(plain))))
	for i := uint64(0); ; i++ {
		n := min(len(plain), ChunkSize)
		last := n == len(plain)
		nonce := chunkNonce(i, last)
		out = k.aead().Seal(out, nonce[:], plain[:n], nil)
		if plain = plain[n:]; last {
			return out, nil
		}
	}
}

// Open decrypts a whole payload. The error for bytes that do not open is ErrOpen, and nothing of them is returned.
func (k PayloadKey) Open(suite Suite, sealed []byte) ([]byte, error) {
	if err := k.check(suite); err != nil {
		return nil, err
	}
	size, err := OpenedSize(int64(len(sealed)))
	if err != nil {
		return nil, ErrOpen
	}
	out := make([]byte, 0, size)
	for i := uint64(0); ; i++ {
		n := min(len(sealed), sealedChunk)
		last := n == len(sealed)
		nonce := chunkNonce(i, last)
		if out, err = k.aead().Open(out, nonce[:], sealed[:n], nil); err != nil {
			return nil, ErrOpen
		}
		if sealed = sealed[n:]; last {
			return out, nil
		}
	}
}

// check refuses suites that have no key and keys that hold nothing.
func (k PayloadKey) check(suite Suite) error {
	if suite != SuiteChaCha {
		return fmt.Errorf("crypto: payload: suite %d: %w", suite, ErrUnknownKind)
	}
	if k.aead == nil {
		return errNoKey
	}
	return nil
}

// padHeader is the length of the true length in front of a padded body.
const padHeader = 4

// minPadded is the shortest padded length. Padmé alone keeps nearly the exact length of what is only a few bytes long, and
// among the short messages a length tells the most: "yes" from "no".
const minPadded = 256

// Pad frames b with its length, 4 bytes big-endian, and fills up with zeros to the next Padmé length, at least to 256 bytes.
// Lengths then tell at most as much as a floating-point number of logarithmic precision, for at most 12 % more bytes above
// that. Bodies of 4 GiB and more do not fit and give nil; payloads are bounded far below.
func Pad(b []byte) []byte {
	if uint64(len(b)) > 1<<32-1 {
		return nil
	}
	out := make([]byte, padme(max(minPadded, padHeader+len(b))))
	binary.BigEndian.PutUint32(out, uint32(len(b)))
	copy(out[padHeader:], b)
	return out
}

// Unpad returns the body inside padded bytes, sharing their memory. It insists on the one form that Pad writes: anything
// else would be a place to hide marks in.
func Unpad(b []byte) ([]byte, error) {
	if len(b) < padHeader {
		return nil, fmt.Errorf("crypto: unpad: %d bytes, want at least %d", len(b), padHeader)
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-padHeader) {
		return nil, errors.New("crypto: unpad: longer than what holds it")
	}
	end := padHeader + int(n)
	if padme(max(minPadded, end)) != len(b) {
		return nil, errors.New("crypto: unpad: not the padded length of its body")
	}
	for _, z := range b[end:] {
		if z != 0 {
			return nil, errors.New("crypto: unpad: padding is not zero")
		}
	}
	return b[padHeader:end:end], nil
}

// padme returns the smallest length of at least n, n >= 2, whose mantissa has no more bits than its exponent.
func padme(n int) int {
	exponent := bits.Len(uint(n)) - 1
	free := exponent - bits.Len(uint(exponent))
	mask := 1<<free - 1
	return (n + mask) &^ mask
}
