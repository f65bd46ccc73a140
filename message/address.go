package message

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"airdispatch/crypto"
)

// addressPrefix is the human-readable part of an address.
const addressPrefix = "ad"

// AddressSize is the length of an address on the wire: a version byte and the
// first 25 bytes of the genesis card's id. 200 bits leave 2^100 against an
// owner who looks for two genesis cards with one address, and 2^200 against
// everybody else (docs/protocol.md §4.1).
const AddressSize = 26

// addressLength is the number of characters of the text form.
const addressLength = 50

// addressVersion is the only version there is.
const addressVersion = 0

// Address names an identity, and is its fingerprint: whoever holds the
// address can check every key that claims to belong to it. Comparable; the
// zero value is no address.
type Address [AddressSize - 1]byte

// AddressOf is the address of the identity that begins with the genesis card
// of this id.
func AddressOf(genesis ID) Address {
	var a Address
	copy(a[:], genesis[:])
	return a
}

// AddressFromBytes reads the wire form.
func AddressFromBytes(b []byte) (Address, error) {
	var a Address
	if len(b) != AddressSize || b[0] != addressVersion {
		return a, refuse(Invalid, "address of %d bytes", len(b))
	}
	copy(a[:], b[1:])
	if a.IsZero() {
		return a, refuse(Invalid, "address of zeros")
	}
	return a, nil
}

// ParseAddress reads the text form: bech32m with the prefix ad, 50
// characters, all lower or all upper case. A mistyped address is refused with
// Invalid; where it can be told which character is wrong, the error says so
// (*crypto.TypingError).
func ParseAddress(s string) (Address, error) {
	if n := utf8.RuneCountInString(s); LooksLikeAddress(s) && n != addressLength {
		return Address{}, because(Invalid, fmt.Errorf("%d characters, an address has %d", n, addressLength), "parse address")
	}
	symbols, err := crypto.DecodeBech32m(s, addressPrefix)
	if err != nil {
		return Address{}, because(Invalid, err, "parse address")
	}
	if len(symbols) != 41 || symbols[0] != addressVersion {
		return Address{}, refuse(Invalid, "parse address: an address has %d characters and begins with ad1q", addressLength)
	}
	b, err := crypto.FromSymbols(symbols[1:])
	if err != nil {
		return Address{}, because(Invalid, err, "parse address")
	}
	return AddressFromBytes(append([]byte{addressVersion}, b...))
}

// LooksLikeAddress reports whether s can only be meant as an address: what
// begins with ad1 is never a name.
func LooksLikeAddress(s string) bool {
	return len(s) >= 3 && strings.EqualFold(s[:3], addressPrefix+"1")
}

// String is the text form, lower case.
func (a Address) String() string {
	s, err := crypto.EncodeBech32m(addressPrefix, append([]byte{addressVersion}, crypto.ToSymbols(a[:])...))
	if err != nil {
		return "ad1(invalid)"
	}
	return s
}

// Short is the beginning of the text form, for logs, which shall not keep
// whole addresses of correspondents.
func (a Address) Short() string { return a.String()[:12] }

// Bytes is the wire form.
func (a Address) Bytes() []byte { return append([]byte{addressVersion}, a[:]...) }

// IsZero reports whether a is no address.
func (a Address) IsZero() bool { return a == Address{} }

// Compare orders addresses by their bytes.
func (a Address) Compare(b Address) int { return bytes.Compare(a[:], b[:]) }

// MarshalText is the text form; the zero address is empty.
func (a Address) MarshalText() ([]byte, error) {
	if a.IsZero() {
		return nil, nil
	}
	return []byte(a.String()), nil
}

// UnmarshalText reads the text form.
func (a *Address) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*a = Address{}
		return nil
	}
	*a, err = ParseAddress(string(b))
	return err
}

// ID is the name of a statement: SHA-256 over its kind and body, never over
// the signature, so that a second signature over the same body makes no
// second statement.
type ID [32]byte

// IDFromBytes reads 32 bytes.
func IDFromBytes(b []byte) (ID, error) {
	var id ID
	if len(b) != len(id) {
		return id, refuse(Invalid, "id of %d bytes", len(b))
	}
	copy(id[:], b)
	return id, nil
}

// String is the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }
