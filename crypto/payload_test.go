package crypto

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// TestDerive computes HKDF by hand, from HMAC, as RFC 5869 has it.
func TestDerive(t *testing.T) {
	t.Parallel()
	mac := func(key []byte, parts ...string) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write([]byte(p))
		}
		return h.Sum(nil)
	}
	key, ctx := contentKey(t), Sum([]byte("context"))
	prk := mac(ctx[:], string(key.Bytes()))
	payload, commit := key.Derive(ctx)
	if want := mac(prk, "airdispatch/1 commit", "\x01"); !bytes.Equal(commit[:], want) {
		t.Errorf("commitment = %x, want %x", commit, want)
	}
	aead, err := chacha20poly1305.New(mac(prk, "airdispatch/1 payload", "\x01"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := payload.Seal(SuiteChaCha, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	want := aead.Seal(nil, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"), []byte("plain"), nil)
	if !bytes.Equal(sealed, want) {
		t.Errorf("payload = %x, want %x", sealed, want)
	}
	if _, other := key.Derive(Sum([]byte("another context"))); other == commit {
		t.Error("the context does not count")
	}
}

// TestPayloadKnownAnswer holds the format to what a second program, in Python, makes of the same key and text.
func TestPayloadKnownAnswer(t *testing.T) {
	t.Parallel()
	key, err := ContentKeyFromBytes(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	payload, commit := key.Derive([32]byte{1, 2, 3})
	sealed, err := payload.Seal(SuiteChaCha, bytes.Repeat([]byte{9}, 3*ChunkSize+5))
	if err != nil {
		t.Fatal(err)
	}
	sum := Sum(sealed)
	if got := hex.EncodeToString(commit[:]); got != "dab5f0da9073969ce7367a69345f24a067380de5b78184fc68787f61acac5f26" {
		t.Errorf("commitment = %s", got)
	}
	if got := hex.EncodeToString(sum[:]); got != "80a6508f2965c684cd70f83302f90aabdf9525a6450bcfd556a77fa9671d202b" {
		t.Errorf("SHA-256 of the payload = %s", got)
	}
}

func TestContentKey(t *testing.T) {
	t.Parallel()
	key := contentKey(t)
	again, err := ContentKeyFromBytes(key.Bytes())
	if err != nil || !bytes.Equal(again.Bytes(), key.Bytes()) {
		t.Errorf("the key from its bytes is another: %v", err)
	}
	key.Bytes()[0]++
	if !bytes.Equal(again.Bytes(), key.Bytes()) {
		t.Error("the key changed with bytes outside of it")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := ContentKeyFromBytes(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
	var zero ContentKey
	payload, commit := zero.Derive([32]byte{1})
	if commit != [32]byte{} || zero.Bytes() != nil {
		t.Error("the zero key holds something")
	}
	if _, err := payload.Seal(SuiteChaCha, nil); err == nil {
		t.Error("the zero key seals")
	}
	if _, err := payload.Open(SuiteChaCha, make([]byte, 16)); err == nil {
		t.Error("the zero key opens")
	}
}

func TestSuites(t *testing.T) {
	t.Parallel()
	for suite, known := range map[Suite]bool{SuiteNone: true, SuiteChaCha: true, 2: false, 1<<32 - 1: false} {
		if KnownSuite(suite) != known {
			t.Errorf("KnownSuite(%d) = %v", suite, !known)
		}
		if suite == SuiteChaCha {
			continue
		}
		if _, err := payloadKey(t).Seal(suite, nil); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("Seal under suite %d: %v", suite, err)
		}
		if _, err := payloadKey(t).Open(suite, make([]byte, 16)); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("Open under suite %d: %v", suite, err)
		}
	}
}

// sizes are lengths around the borders of chunks.
var sizes = []int{0, 1, ChunkSize - 1, ChunkSize, ChunkSize + 1, 2*ChunkSize - 1, 2 * ChunkSize, 3*ChunkSize + 77}

func TestPayloadSealAndOpen(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	for _, n := range sizes {
		plain := noise(t, n)
		sealed, err := key.Seal(SuiteChaCha, plain)
		if err != nil || int64(len(sealed)) != SealedSize(int64(n)) {
			t.Fatalf("%d bytes: sealed to %d, %v", n, len(sealed), err)
		}
		if got, err := key.Open(SuiteChaCha, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: opened to %d, %v", n, len(got), err)
		}
	}
}

// TestPayloadTampering changes each byte of a short payload, cuts it everywhere, and shuffles the chunks of a long one.
func TestPayloadTampering(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	refused := func(what string, sealed []byte) {
		t.Helper()
		if got, err := key.Open(SuiteChaCha, sealed); !errors.Is(err, ErrOpen) || got != nil {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	short, err := key.Seal(SuiteChaCha, noise(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	for i := range short {
		refused("changed", flipped(short, i*8))
		refused("cut", short[:i])
	}
	refused("longer", append(bytes.Clone(short), 0))
	long, err := key.Seal(SuiteChaCha, noise(t, 3*ChunkSize))
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := long[:sealedChunk], long[sealedChunk:2*sealedChunk], long[2*sealedChunk:]
	for what, parts := range map[string][][]byte{
		"without the last": {a, b}, "without the first": {b, c}, "without the middle": {a, c}, "swapped": {b, a, c},
		"doubled": {a, a, b, c}, "only the last": {c}, "after the end": {a, b, c, c}, "cut in the last": {a, b, c[:9]},
		"an empty chunk more": {a, b, c, c[:16]},
	} {
		refused(what, bytes.Join(parts, nil))
	}
}

// TestEmptyLastChunk checks that a key holder cannot write one text in two ways.
func TestEmptyLastChunk(t *testing.T) {
	t.Parallel()
	key, plain := payloadKey(t), noise(t, ChunkSize)
	first, last := chunkNonce(0, false), chunkNonce(1, true)
	sealed := key.aead().Seal(nil, first[:], plain, nil)
	sealed = key.aead().Seal(sealed, last[:], nil, nil)
	if _, err := key.Open(SuiteChaCha, sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("whole: %v", err)
	}
	if _, err := readAll(key.OpenReader(bytes.NewReader(sealed))); !errors.Is(err, ErrOpen) {
		t.Errorf("stream: %v", err)
	}
}

// TestPadme checks lengths from the paper's formula, E = floor(log2 L), S = floor(log2 E) + 1, low E - S bits zero.
func TestPadme(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{
		4: 4, 5: 5, 8: 8, 9: 10, 15: 16, 17: 18, 100: 104, 500: 512, 1000: 1024, 1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15,
	} {
		if got := padme(n); got != want {
			t.Errorf("padme(%d) = %d, want %d", n, got, want)
		}
	}
	for n := 4; n < 1<<16; n++ {
		p := padme(n)
		if p < n || padme(p) != p || float64(p-n) > 0.12*float64(n) {
			t.Fatalf("padme(%d) = %d", n, p)
		}
	}
}

func TestPadAndUnpad(t *testing.T) {
	t.Parallel()
	for n := range 3000 {
		body := noise(t, n)
		padded := Pad(body)
		if want := padme(max(256, n+4)); len(padded) != want {
			t.Fatalf("%d bytes are padded to %d, want %d", n, len(padded), want)
		}
		if got, err := Unpad(padded); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes: Unpad = %d, %v", n, len(got), err)
		}
	}
	got, err := Unpad(Pad(make([]byte, 1000)))
	if err != nil || cap(got) != 1000 {
		t.Errorf("an append would write into the padding: cap %d, %v", cap(got), err)
	}
}

func TestUnpadRefuses(t *testing.T) {
	t.Parallel()
	good := Pad(make([]byte, 1000)) // 1004 becomes 1024
	for name, b := range map[string][]byte{
		"empty":           nil,
		"short":           {0, 0, 0},
		"too long inside": {0, 0, 0, 1},
		"far too long":    {0xff, 0xff, 0xff, 0xff, 1, 2},
		"cut":             good[:1023],
		"more zeros":      append(bytes.Clone(good), 0),
		"mark in first":   flipped(good, 1004*8),
		"mark in last":    flipped(good, 1023*8),
		"other length":    flipped(good, 2*8),
	} {
		if _, err := Unpad(b); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzUnpad(f *testing.F) {
	f.Add(Pad(nil))
	f.Add(Pad([]byte("body")))
	f.Add(Pad(make([]byte, 1000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := Unpad(b); err == nil && !bytes.Equal(Pad(body), b) {
			t.Errorf("%x is taken and is not what Pad writes", b)
		}
	})
}
