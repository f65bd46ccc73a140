package crypto

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// wordList is the English list of BIP-39: 2,048 words in alphabetical order, no two of which share their first four
// letters.
//
//go:embed words_english.txt
var wordList string

// wordCount is how many words 32 bytes and one byte of checksum make, at 11 bits each.
const wordCount = 24

// Words writes 32 bytes as 24 words of BIP-39, for paper.
func Words(entropy []byte) ([]string, error) {
	if len(entropy) != 32 {
		return nil, fmt.Errorf("crypto: write words: %d bytes, want 32", len(entropy))
	}
	list := strings.Fields(wordList)
	sum := sha256.Sum256(entropy)
	words := make([]string, 0, wordCount)
	var acc, n uint
	for _, b := range append(slices.Clone(entropy), sum[0]) {
		acc, n = acc<<8|uint(b), n+8
		if n >= 11 {
			n -= 11
			words = append(words, list[acc>>n&2047])
		}
	}
	return words, nil
}

// ParseWords reads 24 words of BIP-39, in any case and with any white space between them, and returns their 32 bytes. An
// unknown word is a *TypingError whose positions count words.
func ParseWords(s string) (Secret, error) {
	if len(s) > 1024 {
		return nil, errors.New("crypto: read words: far more than 24 words")
	}
	words := strings.Fields(strings.ToLower(s))
	list := strings.Fields(wordList)
	out := make(Secret, 0, 33)
	var acc, n uint
	for i, w := range words {
		v, known := slices.BinarySearch(list, w)
		if !known {
			return nil, &TypingError{[]int{i + 1}, fmt.Sprintf("%q is not on the list of words,", w)}
		}
		acc, n = acc<<11|uint(v), n+11
		for n >= 8 {
			n -= 8
			out = append(out, byte(acc>>n))
		}
	}
	if len(words) != wordCount {
		return nil, &TypingError{Reason: fmt.Sprintf("%d words, want %d", len(words), wordCount)}
	}
	if sum := sha256.Sum256(out[:32]); sum[0] != out[32] {
		return nil, &TypingError{Reason: "a word is wrong, or two have changed places"}
	}
	return out[:32:32], nil
}
