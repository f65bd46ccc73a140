package crypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestWordList holds the list to the published one.
func TestWordList(t *testing.T) {
	t.Parallel()
	sum := Sum([]byte(wordList))
	if got := hex.EncodeToString(sum[:]); got != "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda" {
		t.Errorf("SHA-256 of the list = %s", got)
	}
	if list := strings.Fields(wordList); len(list) != 2048 || !slices.IsSorted(list) {
		t.Errorf("the list has %d words, sorted: %v", len(list), slices.IsSorted(list))
	}
}

// TestBIP39 reads and writes the vectors of 32 bytes that go with BIP-39.
func TestBIP39(t *testing.T) {
	t.Parallel()
	for entropy, words := range map[string]string{
		"0000000000000000000000000000000000000000000000000000000000000000": strings.Repeat("abandon ", 23) + "art",
		"7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f": "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title",
		"8080808080808080808080808080808080808080808080808080808080808080": "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": strings.Repeat("zoo ", 23) + "vote",
		"3e141609b97933b66a060dcddc71fad1d91677db872031e85f4c015c5e7e8982": "dignity pass list indicate nasty swamp pool script soccer toe leaf photo multiply desk host tomato cradle drill spread actor shine dismiss champion exotic",
		"2c85efc7f24ee4573d2b81a6ec66cee209b2dcbd09d8eddc51e0215b0b68e416": "clutch control vehicle tonight unusual clog visa ice plunge glimpse recipe series open hour vintage deposit universe tip job dress radar refuse motion taste",
		"4fa1a8bc3e6d80ee1316050e862c1812031493212b7ec3f3bb1b08f168cabeef": "exile ask congress lamp submit jacket era scheme attend cousin alcohol catch course end lucky hurt sentence oven short ball bird grab wing top",
		"15da872c95a13dd738fbf50e427583ad61f18fd99f628c417a61cf8343c90419": "beyond stage sleep clip because twist token leaf atom beauty genius food business side grid unable middle armed observe pair crouch tonight away coconut",
	} {
		got, err := Words(unhex(t, entropy))
		if err != nil || strings.Join(got, " ") != words {
			t.Errorf("Words(%s) = %v, %v", entropy, got, err)
		}
		for _, text := range []string{words, strings.ToUpper(words), "\n " + strings.ReplaceAll(words, " ", "\t\r\n ") + "\n"} {
			if b, err := ParseWords(text); err != nil || hex.EncodeToString(b) != entropy {
				t.Errorf("ParseWords(%q) = %x, %v", text, []byte(b), err)
			}
		}
	}
}

func TestParseWordsRefuses(t *testing.T) {
	t.Parallel()
	words, err := Words(noise(t, 32))
	if err != nil {
		t.Fatal(err)
	}
	with := func(at int, word string) string {
		changed := slices.Clone(words)
		changed[at] = word
		return strings.Join(changed, " ")
	}
	for name, c := range map[string]struct {
		text, names string
		positions   []int
	}{
		"empty":        {"", "0 words", nil},
		"23 words":     {strings.Join(words[:23], " "), "23 words", nil},
		"25 words":     {strings.Join(words, " ") + " zoo", "25 words", nil},
		"unknown":      {with(4, "abandn"), `"abandn"`, []int{5}},
		"last":         {with(23, "zzz"), `"zzz"`, []int{24}},
		"checksum":     {with(0, map[bool]string{true: "ability", false: "abandon"}[words[0] == "abandon"]), "wrong", nil},
		"swapped":      {strings.Join(append([]string{words[1], words[0]}, words[2:]...), " "), "wrong", nil},
		"only control": {with(3, "\x1b[2J"), `"\x1b[2j"`, []int{4}},
	} {
		_, err := ParseWords(c.text)
		var typing *TypingError
		if !errors.As(err, &typing) || !slices.Equal(typing.Positions, c.positions) || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseWords(strings.Repeat("zoo ", 500)); err == nil {
		t.Error("500 words are taken")
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := Words(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
}

func FuzzParseWords(f *testing.F) {
	words, err := Words(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.Join(words, " "))
	f.Add("zoo zoo zooo")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseWords(s)
		if err != nil {
			return
		}
		again, err := Words(b)
		if err != nil || !slices.Equal(again, strings.Fields(strings.ToLower(s))) {
			t.Errorf("%q comes back as %v, %v", s, again, err)
		}
		if back, err := ParseWords(strings.Join(again, " ")); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
