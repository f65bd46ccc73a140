package crypto

import (
	"io"
	"math/rand/v2"
	"testing"
)

// source returns randomness that is the same in every run, and different for each name.
func source(name string) io.Reader { return rand.NewChaCha8(Sum([]byte(name))) }

// noise returns n bytes that are the same in every run.
func noise(t testing.TB, n int) []byte {
	t.Helper()
	b, err := RandomBytes(source("noise"), n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signingKey returns a key that belongs to name.
func signingKey(t testing.TB, name string) SigningKey {
	t.Helper()
	k, err := NewSigningKey(source(name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// boxKey returns a key of a kind.
func boxKey(t testing.TB, kind BoxKind) BoxKey {
	t.Helper()
	k, err := NewBoxKey(kind, source("box"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// contentKey returns a content key.
func contentKey(t testing.TB) ContentKey {
	t.Helper()
	k, err := NewContentKey(source("content"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// payloadKey returns a payload key.
func payloadKey(t testing.TB) PayloadKey {
	t.Helper()
	k, _ := contentKey(t).Derive(Sum([]byte("context")))
	return k
}

// flipped returns a copy of b in which bit i of the whole is the other one.
func flipped(b []byte, i int) []byte {
	c := append([]byte(nil), b...)
	c[i/8] ^= 1 << (i % 8)
	return c
}
