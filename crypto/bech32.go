package crypto

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// bech32Alphabet are the 32 characters of bech32, chosen by its authors so that look-alikes differ in one bit.
	bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

	// bech32mConstant is what sets bech32m apart from bech32 (BIP-350).
	bech32mConstant = 0x2bc830a3

	// bech32Limit is the length up to which any four wrong characters are found.
	bech32Limit = 90

	// bech32Checksum is the number of symbols at the end that check the others.
	bech32Checksum = 6

	// reasonCharacter is said of characters that are never part of such a text.
	reasonCharacter = "impossible character"
)

// TypingError says where a text that somebody typed went wrong. It never carries a correction: a wrong guess could be
// somebody else's address.
type TypingError struct {
	// Positions are counted from 1: characters of the whole text, or words of a list of words. Empty if nothing can be said.
	Positions []int
	// Reason is for people, in lower case.
	Reason string
}

// Error returns the reason and the positions.
func (e *TypingError) Error() string {
	if len(e.Positions) == 0 {
		return e.Reason
	}
	where := "position"
	if len(e.Positions) > 1 {
		where = "positions"
	}
	return fmt.Sprintf("%s at %s %s", e.Reason, where, strings.Trim(fmt.Sprint(e.Positions), "[]"))
}

// EncodeBech32m writes 5-bit symbols as bech32m text with the human-readable part hrp, in lower case.
func EncodeBech32m(hrp string, data []byte) (string, error) {
	if err := checkHRP(hrp); err != nil {
		return "", err
	}
	if n := len(hrp) + 1 + len(data) + bech32Checksum; n > bech32Limit {
		return "", fmt.Errorf("crypto: write bech32m: %d characters, at most %d", n, bech32Limit)
	}
	var b strings.Builder
	b.WriteString(hrp)
	b.WriteByte('1')
	sum := polymodHRP(hrp)
	for _, s := range data {
		if s > 31 {
			return "", errors.New("crypto: write bech32m: symbol of more than 5 bits")
		}
		sum = polymod(sum, s)
		b.WriteByte(bech32Alphabet[s])
	}
	for range bech32Checksum {
		sum = polymod(sum, 0)
	}
	sum ^= bech32mConstant
	for i := range bech32Checksum {
		b.WriteByte(bech32Alphabet[sum>>(5*(bech32Checksum-1-i))&31])
	}
	return b.String(), nil
}

// DecodeBech32m reads bech32m text whose human-readable part must be hrp (in lower case) and returns its symbols. Text is
// all lower or all upper case. What was mistyped is a *TypingError.
func DecodeBech32m(s string, hrp string) ([]byte, error) {
	if err := checkHRP(hrp); err != nil {
		return nil, err
	}
	if len(s) > bech32Limit {
		return nil, &TypingError{Reason: fmt.Sprintf("more than %d characters", bech32Limit)}
	}
	if err := checkASCII(s); err != nil {
		return nil, err
	}
	s, err := oneCase(s)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(s, hrp+"1"); err != nil {
		return nil, err
	}
	start := len(hrp) + 1
	symbols := make([]byte, 0, len(s)-start)
	var wrong []int
	for i := start; i < len(s); i++ {
		v := strings.IndexByte(bech32Alphabet, s[i])
		if v < 0 {
			wrong = append(wrong, i+1)
		}
		symbols = append(symbols, byte(v))
	}
	if len(wrong) > 0 {
		return nil, &TypingError{wrong, reasonCharacter}
	}
	if len(symbols) < bech32Checksum {
		return nil, &TypingError{Reason: "too short"}
	}
	sum := polymodHRP(hrp)
	for _, v := range symbols {
		sum = polymod(sum, v)
	}
	if residue := sum ^ bech32mConstant; residue != 0 {
		return nil, wrongSymbols(residue, len(symbols), start)
	}
	return symbols[:len(symbols)-bech32Checksum], nil
}

// checkHRP refuses human-readable parts that the encoding cannot carry.
func checkHRP(hrp string) error {
	if len(hrp) == 0 || len(hrp) > bech32Limit-1-bech32Checksum {
		return fmt.Errorf("crypto: bech32m: prefix of %d characters", len(hrp))
	}
	for i := range len(hrp) {
		if c := hrp[i]; c < 33 || c > 126 || c >= 'A' && c <= 'Z' {
			return errors.New("crypto: bech32m: prefix must be printable and in lower case")
		}
	}
	return nil
}

// checkASCII names the characters beyond ASCII, counting as a reader does; after it, bytes are characters.
func checkASCII(s string) error {
	var wrong []int
	n := 0
	for _, c := range s {
		if n++; c > 126 {
			wrong = append(wrong, n)
		}
	}
	if len(wrong) > 0 {
		return &TypingError{wrong, reasonCharacter}
	}
	return nil
}

// oneCase returns s in lower case and refuses a mixture, naming the characters of the rarer case.
func oneCase(s string) (string, error) {
	var upper, lower []int
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z':
			upper = append(upper, i+1)
		case c >= 'a' && c <= 'z':
			lower = append(lower, i+1)
		}
	}
	if len(upper) == 0 {
		return s, nil
	}
	if len(lower) == 0 {
		b := []byte(s)
		for _, p := range upper {
			b[p-1] += 'a' - 'A'
		}
		return string(b), nil
	}
	rarer := upper
	if len(lower) < len(upper) {
		rarer = lower
	}
	return "", &TypingError{rarer, "upper and lower case are mixed"}
}

// checkPrefix names the characters in which the beginning of s differs from prefix.
func checkPrefix(s, prefix string) error {
	var wrong []int
	for i := range min(len(s), len(prefix)) {
		if s[i] != prefix[i] {
			wrong = append(wrong, i+1)
		}
	}
	if len(wrong) > 0 || len(s) < len(prefix) {
		return &TypingError{wrong, fmt.Sprintf("does not begin with %q", prefix)}
	}
	return nil
}

// wrongSymbols looks for the one or two symbols whose change explains the residue. The code has distance 5, so there is at
// most one such explanation; it is shown as a place to look at, and never applied.
func wrongSymbols(residue uint32, count, start int) error {
	const reason = "mistyped"
	position := make(map[uint32]int, 31*count)
	var shifted [32]uint32 // what a change of each value does to the checksum, from symbol i on
	for v := range shifted {
		shifted[v] = uint32(v)
	}
	for i := count - 1; i >= 0; i-- {
		for v := 1; v < len(shifted); v++ {
			if shifted[v] == residue {
				return &TypingError{[]int{start + i + 1}, reason}
			}
			position[shifted[v]] = i
			shifted[v] = polymod(shifted[v], 0)
		}
	}
	for r, i := range position {
		if j, ok := position[r^residue]; ok && i < j {
			return &TypingError{[]int{start + i + 1, start + j + 1}, reason}
		}
	}
	return &TypingError{Reason: "mistyped in more than two places"}
}

// polymod multiplies a polynomial by x and adds v, modulo the generator of BIP-173.
func polymod(sum uint32, v byte) uint32 {
	top := sum >> 25
	sum = sum&0x1ffffff<<5 ^ uint32(v)
	for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		if top>>i&1 == 1 {
			sum ^= g
		}
	}
	return sum
}

// polymodHRP returns the sum after the human-readable part.
func polymodHRP(hrp string) uint32 {
	sum := uint32(1)
	for i := range len(hrp) {
		sum = polymod(sum, hrp[i]>>5)
	}
	sum = polymod(sum, 0)
	for i := range len(hrp) {
		sum = polymod(sum, hrp[i]&31)
	}
	return sum
}

// ToSymbols cuts bytes into symbols of 5 bits, the last filled up with zeros.
func ToSymbols(b []byte) []byte {
	out := make([]byte, 0, (len(b)*8+4)/5)
	var acc, n uint
	for _, v := range b {
		acc, n = acc<<8|uint(v), n+8
		for n >= 5 {
			n -= 5
			out = append(out, byte(acc>>n&31))
		}
	}
	if n > 0 {
		out = append(out, byte(acc<<(5-n)&31))
	}
	return out
}

// FromSymbols puts symbols of 5 bits together again. It refuses what ToSymbols does not write: a superfluous symbol, or
// bits in the filling.
func FromSymbols(s []byte) ([]byte, error) {
	out := make([]byte, 0, len(s)*5/8)
	var acc, n uint
	for _, v := range s {
		if v > 31 {
			return nil, errors.New("crypto: read symbols: symbol of more than 5 bits")
		}
		acc, n = acc<<5|uint(v), n+5
		if n >= 8 {
			n -= 8
			out = append(out, byte(acc>>n))
		}
	}
	if n >= 5 {
		return nil, errors.New("crypto: read symbols: one symbol too many")
	}
	if acc&(1<<n-1) != 0 {
		return nil, errors.New("crypto: read symbols: filling is not zero")
	}
	return out, nil
}
