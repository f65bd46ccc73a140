package crypto

import (
	"bytes"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// lowOrderX25519 are the X25519 public keys whose shared secret is known to everybody, in all spellings below 2^255.
var lowOrderX25519 = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// TestNaClKnownAnswers seals and opens what the C library libsodium does: key of ones, message of threes, and where the
// randomness is fixed, it is fives.
func TestNaClKnownAnswers(t *testing.T) {
	t.Parallel()
	key, err := BoxKeyFromSeed(BoxNaCl, bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	message := bytes.Repeat([]byte{3}, 64)
	want := unhex(t, "50a61409b1ddd0325e9b16b700e719e9772c07000b1bd7786e907c653d20495d2af1697137a53b1b1dfc9befc49b6eeb38f86be720e155eb2be61976d2efb34d67ecd44a6ad634625eb9c288bfc883431a84ab0f5557dfe673aa6f74c19f033e648a947358cfcc606397fa1747d5219a")
	sealed, err := key.Public().Seal(bytes.NewReader(bytes.Repeat([]byte{5}, 32)), nil, message)
	if err != nil || !bytes.Equal(sealed, want) {
		t.Errorf("Seal = %x, %v", sealed, err)
	}
	foreign := unhex(t, "3462e0640728247a6f581e3812850d6edc3dcad1ea5d8184c072f62fb65cb357e27ffa8b76f41656bc66a0882c4d359568410665746d27462a700f01e314f382edd7aae9064879b0f8ba7b88866f88f5e4fbd7649c850541877f9f33ebd25d46d9cbcce09b69a9ba07f0eb1d105d4264")
	if got, err := key.Open(nil, foreign); err != nil || !bytes.Equal(got, message) {
		t.Errorf("Open = %x, %v", got, err)
	}
}

// TestHybridKnownAnswers opens what pyca/cryptography 48 sealed with OpenSSL to the key of this seed, expanded by hand.
func TestHybridKnownAnswers(t *testing.T) {
	t.Parallel()
	key, err := BoxKeyFromSeed(BoxHybrid, bytes.Repeat([]byte{0x42}, 32))
	if err != nil {
		t.Fatal(err)
	}
	sum := Sum(key.Public().Bytes())
	if got := hex.EncodeToString(sum[:]); got != "7d710330a772125b75ce0175d359fb345afef6fa87a47596ccd75116ffb61056" {
		t.Errorf("SHA-256 of the public key = %s", got)
	}
	text, err := os.ReadFile("testdata/hybrid_sealed.hex")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := key.Open([]byte("airdispatch/1 test"), unhex(t, strings.TrimSpace(string(text))))
	if err != nil || string(plain) != "sealed by somebody else" {
		t.Errorf("Open = %q, %v", plain, err)
	}
}

func TestBoxSealAndOpen(t *testing.T) {
	t.Parallel()
	for kind, overhead := range map[BoxKind]int{BoxNaCl: 48, BoxHybrid: 1136} {
		key := boxKey(t, kind)
		box := key.Public()
		if box.Kind() != kind || key.Kind() != kind {
			t.Errorf("kind %d: Kind = %d and %d", kind, box.Kind(), key.Kind())
		}
		again, err := BoxKeyFromSeed(kind, key.Seed())
		if err != nil || again.Public().ID() != box.ID() {
			t.Errorf("kind %d: the key from the seed is another: %v", kind, err)
		}
		parsed, err := ParseBox(uint32(kind), box.Bytes())
		if err != nil || parsed.ID() != box.ID() {
			t.Errorf("kind %d: the box from its bytes is another: %v", kind, err)
		}
		for _, plain := range [][]byte{nil, []byte("x"), noise(t, 32), noise(t, 70_000)} {
			sealed, err := parsed.Seal(source("seal"), []byte("info"), plain)
			if err != nil || len(sealed) != len(plain)+overhead {
				t.Fatalf("kind %d: Seal = %d bytes for %d, %v", kind, len(sealed), len(plain), err)
			}
			if got, err := key.Open([]byte("info"), sealed); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("kind %d: Open = %d bytes, %v", kind, len(got), err)
			}
		}
	}
}

// TestBoxTampering changes each byte, cuts at each length, and tries another key and another info.
func TestBoxTampering(t *testing.T) {
	t.Parallel()
	for _, kind := range []BoxKind{BoxNaCl, BoxHybrid} {
		key := boxKey(t, kind)
		sealed, err := key.Public().Seal(source("seal"), []byte("info"), []byte("plain"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range sealed {
			if _, err := key.Open([]byte("info"), flipped(sealed, i*8)); !errors.Is(err, ErrOpen) {
				t.Errorf("kind %d: byte %d does not count: %v", kind, i, err)
			}
			if _, err := key.Open([]byte("info"), sealed[:i]); !errors.Is(err, ErrOpen) {
				t.Errorf("kind %d: opens when cut to %d bytes: %v", kind, i, err)
			}
		}
		if _, err := key.Open([]byte("info"), append(bytes.Clone(sealed), 0)); !errors.Is(err, ErrOpen) {
			t.Errorf("kind %d: opens with a byte more: %v", kind, err)
		}
		other, err := NewBoxKey(kind, source("other"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Open([]byte("info"), sealed); !errors.Is(err, ErrOpen) {
			t.Errorf("kind %d: opens under another key: %v", kind, err)
		}
		_, err = key.Open([]byte("another info"), sealed)
		if bound := errors.Is(err, ErrOpen); bound != (kind == BoxHybrid) {
			t.Errorf("kind %d: info bound: %v", kind, bound)
		}
	}
}

func TestParseBoxRefuses(t *testing.T) {
	t.Parallel()
	nacl, hybrid := boxKey(t, BoxNaCl).Public().Bytes(), boxKey(t, BoxHybrid).Public().Bytes()
	for name, c := range map[string]struct {
		kind BoxKind
		key  []byte
	}{
		"nacl empty": {BoxNaCl, nil}, "nacl short": {BoxNaCl, nacl[:31]}, "nacl long": {BoxNaCl, append(nacl, 0)},
		"hybrid empty": {BoxHybrid, nil}, "hybrid short": {BoxHybrid, hybrid[:1215]}, "hybrid long": {BoxHybrid, append(hybrid, 0)},
		"hybrid as nacl": {BoxNaCl, hybrid}, "nacl as hybrid": {BoxHybrid, nacl},
		"hybrid not reduced": {BoxHybrid, append(bytes.Repeat([]byte{0xff}, 1184), nacl...)},
	} {
		if _, err := ParseBox(uint32(c.kind), c.key); err == nil || errors.Is(err, ErrUnknownKind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, point := range lowOrderX25519 {
		low := unhex(t, point)
		for _, top := range []byte{0, 0x80} { // X25519 ignores the highest bit
			low[31] |= top
			if _, err := ParseBox(uint32(BoxNaCl), low); err == nil {
				t.Errorf("nacl: low order %x is taken", low)
			}
			if _, err := ParseBox(uint32(BoxHybrid), append(bytes.Clone(hybrid[:1184]), low...)); err == nil {
				t.Errorf("hybrid: low order %x is taken", low)
			}
		}
	}
	for _, kind := range []uint32{0, 3, 256 + 1, 1<<32 - 1} {
		if _, err := ParseBox(kind, nacl); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("kind %d: %v", kind, err)
		}
		if _, err := BoxKeyFromSeed(BoxKind(kind), make([]byte, 32)); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("key of kind %d: %v", kind, err)
		}
	}
	if _, err := BoxKeyFromSeed(BoxNaCl, make([]byte, 31)); err == nil {
		t.Error("a short seed is taken")
	}
}

// TestBoxOwnsItsBytes checks that nobody can change a box from outside.
func TestBoxOwnsItsBytes(t *testing.T) {
	t.Parallel()
	key := boxKey(t, BoxNaCl)
	wire := key.Public().Bytes()
	box, err := ParseBox(uint32(BoxNaCl), wire)
	if err != nil {
		t.Fatal(err)
	}
	id := box.ID()
	wire[0]++
	box.Bytes()[0]++
	key.Seed()[0]++
	if box.ID() != id || key.Public().ID() != id {
		t.Error("a box changed with bytes outside of it")
	}
	if want := Hash("box", []byte{1}, box.Bytes()); id != [16]byte(want[:16]) {
		t.Errorf("ID = %x, want %x", id, want[:16])
	}
}

func TestBoxZero(t *testing.T) {
	t.Parallel()
	var key BoxKey
	if _, err := key.Open(nil, nil); !errors.Is(err, ErrOpen) {
		t.Errorf("Open = %v", err)
	}
	if _, err := key.Public().Seal(source("x"), nil, nil); err == nil {
		t.Error("the zero box seals")
	}
	if key.Kind() != 0 || key.Seed() != nil || key.Public().Bytes() != nil {
		t.Error("the zero key holds something")
	}
}

func FuzzParseBox(f *testing.F) {
	for _, kind := range []BoxKind{BoxNaCl, BoxHybrid} {
		f.Add(uint32(kind), boxKey(f, kind).Public().Bytes())
	}
	for _, point := range lowOrderX25519 {
		f.Add(uint32(BoxNaCl), unhex(f, point))
	}
	f.Fuzz(func(t *testing.T, kind uint32, b []byte) {
		box, err := ParseBox(kind, b)
		if err != nil {
			return
		}
		if uint32(box.Kind()) != kind || !bytes.Equal(box.Bytes(), b) {
			t.Errorf("kind %d, %x comes out as kind %d, %x", kind, b, box.Kind(), box.Bytes())
		}
		if _, err := box.Seal(source("x"), nil, []byte("plain")); err != nil {
			t.Errorf("kind %d: %x is taken but seals nothing: %v", kind, b, err)
		}
	})
}

func BenchmarkBox(b *testing.B) {
	for name, kind := range map[string]BoxKind{"nacl": BoxNaCl, "hybrid": BoxHybrid} {
		key, plain := boxKey(b, kind), noise(b, 32)
		box, random := key.Public(), source("bench")
		sealed, err := box.Seal(random, nil, plain)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"-seal", func(b *testing.B) {
			for b.Loop() {
				if _, err := box.Seal(random, nil, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"-open", func(b *testing.B) {
			for b.Loop() {
				if _, err := key.Open(nil, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestHybridKeysAsTheLibrary reads keys with a coefficient on each side of the modulus, in each place, and wants the verdict of
// the standard library, which is asked in full only when something is sealed.
func TestHybridKeysAsTheLibrary(t *testing.T) {
	t.Parallel()
	good := boxKey(t, BoxHybrid).Public().Bytes()
	verdicts := map[bool]int{}
	for i := range kemVectors / 3 * 2 {
		for _, c := range []uint16{0, kemModulus - 1, kemModulus, kemModulus + 1, 1<<12 - 1} {
			key := bytes.Clone(good)
			b := key[i/2*3:][:3]
			if i%2 == 0 {
				b[0], b[1] = byte(c), b[1]&0xf0|byte(c>>8)
			} else {
				b[1], b[2] = b[1]&0x0f|byte(c<<4), byte(c>>4)
			}
			_, err := ParseBox(uint32(BoxHybrid), key)
			_, want := hpke.MLKEM768X25519().NewPublicKey(key)
			if (err == nil) != (want == nil) {
				t.Fatalf("coefficient %d is %d: %v, the library says %v", i, c, err, want)
			}
			verdicts[err == nil]++
		}
	}
	if verdicts[true] == 0 || verdicts[false] == 0 {
		t.Errorf("verdicts: %v", verdicts)
	}
}
