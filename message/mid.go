package message

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"airdispatch/crypto"
)

// MID names a message of one sender, whatever its version.
type MID [16]byte

// NewMID makes the id of a new message: 48 bits of milliseconds, so that a
// store's keys rise, then 80 random bits, so that nobody guesses it.
func NewMID(now time.Time, rand io.Reader) (MID, error) {
	var m MID
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		m[i] = byte(ms >> (40 - 8*i))
	}
	random, err := crypto.RandomBytes(rand, len(m)-6)
	if err != nil {
		return MID{}, fmt.Errorf("message: new mid: %w", err)
	}
	copy(m[6:], random)
	return m, nil
}

// NamedMID is the id of the public message of this name: a name is one register.
func NamedMID(name string) MID {
	h := crypto.Hash("name", []byte(name))
	return MID(h[:16])
}

// MIDFromBytes reads the wire form, 16 bytes and not all zero.
func MIDFromBytes(b []byte) (MID, error) {
	var m MID
	if len(b) != len(m) {
		return m, refuse(Invalid, "mid of %d bytes", len(b))
	}
	copy(m[:], b)
	if m.IsZero() {
		return m, refuse(Invalid, "mid of zeros")
	}
	return m, nil
}

// ParseMID reads the text form, 32 hexadecimal digits.
func ParseMID(s string) (MID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(MID{}) {
		return MID{}, refuse(Invalid, "parse mid %q: a message id has 32 hexadecimal digits", clip(s))
	}
	return MIDFromBytes(b)
}

// String is the text form, lower case.
func (m MID) String() string { return hex.EncodeToString(m[:]) }

// Bytes is the wire form.
func (m MID) Bytes() []byte { return bytes.Clone(m[:]) }

// IsZero reports whether m names nothing.
func (m MID) IsZero() bool { return m == MID{} }

// Ref names one message of the network: whose, and which.
type Ref struct {
	From Address
	MID  MID
}

// String is address::mid.
func (r Ref) String() string { return r.From.String() + "::" + r.MID.String() }

// looksLikeMID reports whether s has the form of a mid; names of that form are
// refused, so that address::name and address::mid cannot be confused.
func looksLikeMID(s string) bool {
	return len(s) == 32 && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// clip bounds what of a stranger's text is repeated in an error.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
