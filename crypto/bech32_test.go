package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestBIP350 reads the valid and the invalid strings of BIP-350.
func TestBIP350(t *testing.T) {
	t.Parallel()
	prefix := func(s string) string { return strings.ToLower(s[:max(0, strings.LastIndexByte(s, '1'))]) }
	for _, s := range []string{
		"A1LQFN3A",
		"a1lqfn3a",
		"an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
		"abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
		"11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
		"split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
		"?1v759aa",
	} {
		symbols, err := DecodeBech32m(s, prefix(s))
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if again, err := EncodeBech32m(prefix(s), symbols); err != nil || again != strings.ToLower(s) {
			t.Errorf("%q comes back as %q, %v", s, again, err)
		}
	}
	for _, s := range []string{
		"\x201xj0phk", "\x7f1g6xzxy", "\x801vctc34",
		"an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
		"qyrz8wqd2c9m", "1qyrz8wqd2c9m", "y1b0jsk6g", "lt1igcx5c0", "in1muywd", "mm1crxm3i", "au1s5cgom",
		"M1VUXWEZ", "16plkw9", "1p2gdwpf",
		"A12UEL5L", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", // bech32, not bech32m
	} {
		if _, err := DecodeBech32m(s, prefix(s)); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// address is a text like an address, and its symbols.
func address(t testing.TB, name string) (string, []byte) {
	t.Helper()
	b, err := RandomBytes(source(name), 25)
	if err != nil {
		t.Fatal(err)
	}
	symbols := append([]byte{0}, ToSymbols(b)...)
	s, err := EncodeBech32m("ad", symbols)
	if err != nil || len(s) != 50 {
		t.Fatalf("%q, %v", s, err)
	}
	return s, symbols
}

// mistype changes n characters after the prefix and returns their positions, counted from 1.
func mistype(random *rand.Rand, s string, n int) (string, []int) {
	b := []byte(s)
	positions := random.Perm(len(s) - 3)[:n]
	for i := range positions {
		p := positions[i] + 3
		for b[p] == s[p] {
			b[p] = bech32Alphabet[random.IntN(32)]
		}
		positions[i] = p + 1
	}
	slices.Sort(positions)
	return string(b), positions
}

// TestMistyped changes one to four characters: all are found, one and two are named.
func TestMistyped(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8))
	for round := range 500 {
		s, _ := address(t, fmt.Sprint(round))
		n := 1 + round%4
		wrong, positions := mistype(random, s, n)
		if round%2 == 0 {
			wrong = strings.ToUpper(wrong)
		}
		_, err := DecodeBech32m(wrong, "ad")
		var typing *TypingError
		if !errors.As(err, &typing) {
			t.Fatalf("%d wrong characters: %v", n, err)
		}
		if n <= 2 && !slices.Equal(typing.Positions, positions) {
			t.Errorf("wrong at %v, named %v", positions, typing.Positions)
		}
		if strings.Contains(err.Error(), s[3:]) {
			t.Errorf("the error tells the correction: %v", err)
		}
	}
}

// TestMistypedEverywhere changes each single character to each other one.
func TestMistypedEverywhere(t *testing.T) {
	t.Parallel()
	s, _ := address(t, "x")
	for i := 3; i < len(s); i++ {
		for v := range 32 {
			b := []byte(s)
			if b[i] = bech32Alphabet[v]; string(b) == s {
				continue
			}
			var typing *TypingError
			if _, err := DecodeBech32m(string(b), "ad"); !errors.As(err, &typing) || !slices.Equal(typing.Positions, []int{i + 1}) {
				t.Fatalf("position %d: %v", i+1, err)
			}
		}
	}
}

func TestDecodeBech32mNames(t *testing.T) {
	t.Parallel()
	s, _ := address(t, "x")
	change := func(at int, to string) string { return s[:at] + to + s[at+1:] }
	for name, c := range map[string]struct {
		text      string
		positions []int
	}{
		"b is never used":  {change(10, "b"), []int{11}},
		"several":          {"ad1" + strings.Repeat("q", 5) + "i" + s[9:20] + "o" + s[21:], []int{9, 21}},
		"a space":          {change(4, " "), []int{5}},
		"one upper case":   {change(2, "1")[:20] + strings.ToUpper(s[20:20]) + "Q" + s[21:], []int{21}},
		"beyond ascii":     {"ädé" + s[3:], []int{1, 3}},
		"after beyond":     {s[:5] + "é" + s[6:9] + "ö" + s[10:], []int{6, 10}},
		"another prefix":   {"ax1" + s[3:], []int{2}},
		"no separator":     {"adq" + s[3:], []int{3}},
		"empty":            {"", nil},
		"half a prefix":    {"a", nil},
		"only a prefix":    {"ad1", nil},
		"too short":        {"ad1qqqqq", nil},
		"far too long":     {s + strings.Repeat("q", 50), nil},
		"delete character": {change(9, "\x7f"), []int{10}},
	} {
		_, err := DecodeBech32m(c.text, "ad")
		var typing *TypingError
		if !errors.As(err, &typing) || !slices.Equal(typing.Positions, c.positions) || typing.Reason == "" {
			t.Errorf("%s: %v, want positions %v", name, err, c.positions)
		}
	}
	mixed := strings.ToUpper(s[:49]) + "q"
	var typing *TypingError
	if _, err := DecodeBech32m(mixed, "ad"); !errors.As(err, &typing) || !slices.Equal(typing.Positions, []int{50}) {
		t.Errorf("mixed case: %v", err)
	}
	if got := (&TypingError{[]int{3, 7}, "mistyped"}).Error(); got != "mistyped at positions 3 7" {
		t.Errorf("Error = %q", got)
	}
}

func TestEncodeBech32mRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hrp  string
		data []byte
	}{
		"no prefix": {"", nil}, "upper case": {"Ad", nil}, "space": {"a d", nil}, "delete": {"a\x7f", nil},
		"long prefix": {strings.Repeat("a", 84), nil}, "six bits": {"ad", []byte{32}}, "too long": {"ad", make([]byte, 82)},
	} {
		if s, err := EncodeBech32m(c.hrp, c.data); err == nil {
			t.Errorf("%s gives %q", name, s)
		}
	}
	if _, err := DecodeBech32m("AD1QQQQQQ", "AD"); err == nil {
		t.Error("a prefix in upper case is taken")
	}
	if s, err := EncodeBech32m("ad", make([]byte, 81)); err != nil || len(s) != 90 {
		t.Errorf("the longest text: %q, %v", s, err)
	}
}

func TestSymbols(t *testing.T) {
	t.Parallel()
	for n := range 70 {
		b := noise(t, n)
		symbols := ToSymbols(b)
		if len(symbols) != (8*n+4)/5 {
			t.Errorf("%d bytes make %d symbols", n, len(symbols))
		}
		if got, err := FromSymbols(symbols); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes come back as %x, %v", n, got, err)
		}
		if n > 0 && n%5 != 0 {
			marked := slices.Clone(symbols)
			marked[len(marked)-1] |= 1
			if _, err := FromSymbols(marked); err == nil {
				t.Errorf("%d bytes: a mark in the filling is taken", n)
			}
		}
		if _, err := FromSymbols(append(symbols, 0)); err == nil && (8*n+4)/5 != (8*(n+1)+4)/5-1 && n%5 != 4 {
			t.Errorf("%d bytes: a symbol more is taken", n)
		}
	}
	if got := ToSymbols([]byte{0xff, 0x00}); !bytes.Equal(got, []byte{31, 28, 0, 0}) {
		t.Errorf("ToSymbols = %v", got)
	}
	if _, err := FromSymbols([]byte{0, 32}); err == nil {
		t.Error("a symbol of six bits is taken")
	}
}

func FuzzDecodeBech32m(f *testing.F) {
	s, _ := address(f, "x")
	for _, seed := range []string{s, strings.ToUpper(s), s[:49], "ad1", "AD1q", "ad1bio", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		symbols, err := DecodeBech32m(s, "ad")
		if err != nil {
			var typing *TypingError
			if !errors.As(err, &typing) {
				t.Errorf("%q: %v is no TypingError", s, err)
			}
			for _, p := range typing.Positions {
				if p < 1 || p > len([]rune(s)) {
					t.Errorf("%q: position %d", s, p)
				}
			}
			return
		}
		if again, err := EncodeBech32m("ad", symbols); err != nil || again != strings.ToLower(s) {
			t.Errorf("%q comes back as %q, %v", s, again, err)
		}
		if b, err := FromSymbols(symbols); err == nil && !bytes.Equal(ToSymbols(b), symbols) {
			t.Errorf("symbols %v have two forms", symbols)
		}
	})
}
