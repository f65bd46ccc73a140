package crypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
)

// unhex reads hexadecimal.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC8032 checks keys, signatures and the rule of verification against RFC 8032, section 7.1.
func TestRFC8032(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ seed, public, message, signature string }{
		{
			"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
			"",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
		},
		{
			"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
			"72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		},
		{
			"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
			"af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
		},
	} {
		key, err := SigningKeyFromSeed(unhex(t, v.seed))
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(key.Public().Bytes()); got != "01"+v.public {
			t.Errorf("public key = %s, want 01%s", got, v.public)
		}
		if !bytes.Equal(key.Seed(), unhex(t, v.seed)) {
			t.Error("the seed that comes out is not the seed that went in")
		}
		if got := hex.EncodeToString(ed25519.Sign(key.secret(), unhex(t, v.message))); got != v.signature {
			t.Errorf("signature = %s, want %s", got, v.signature)
		}
	}
}

// TestSignIsLabelled checks what is signed against its definition, with the standard library as the judge.
func TestSignIsLabelled(t *testing.T) {
	t.Parallel()
	key := signingKey(t, "a")
	public := key.Public()
	signature := key.Sign("card", []byte("body"))
	if len(signature) != SignatureSize || !ed25519.Verify(public[:], []byte("airdispatch/1 card\nbody"), signature) {
		t.Error("the signature is not over the label, the kind, a line feed and the body")
	}
	for _, kind := range []string{"", "a\nb", "\n"} {
		if key.Sign(kind, nil) != nil {
			t.Errorf("kind %q is signed", kind)
		}
	}
}

func TestSigningKeyZero(t *testing.T) {
	t.Parallel()
	var zero SigningKey
	if !zero.IsZero() || signingKey(t, "a").IsZero() {
		t.Error("IsZero is wrong")
	}
	if zero.Sign("card", nil) != nil || zero.Seed() != nil || zero.Public() != (VerifyKey{}) {
		t.Error("the zero key does something")
	}
	if _, err := ParseVerifyKey(zero.Public().Bytes()); err == nil {
		t.Error("the zero key's public half is taken")
	}
	if _, err := SigningKeyFromSeed(make([]byte, 31)); err == nil {
		t.Error("a short seed is taken")
	}
}

func TestParseVerifyKey(t *testing.T) {
	t.Parallel()
	good := signingKey(t, "a").Public()
	k, err := ParseVerifyKey(good.Bytes())
	if err != nil || k != good {
		t.Errorf("ParseVerifyKey(Bytes) = %v, %v", k, err)
	}
	if got := good.String(); got != hex.EncodeToString(good[:8]) {
		t.Errorf("String = %q", got)
	}
	wire := func(point string) []byte { return append([]byte{1}, unhex(t, point)...) }
	bad := map[string][]byte{
		"empty":         nil,
		"short":         good.Bytes()[:32],
		"long":          append(good.Bytes(), 0),
		"not a point":   wire("0200000000000000000000000000000000000000000000000000000000000000"),
		"non-canonical": wire("f1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), // y = p + 4
	}
	for _, point := range smallOrderPoints {
		bad["small order "+point] = wire(point)
	}
	for name, b := range bad {
		if _, err := ParseVerifyKey(b); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	other := good.Bytes()
	other[0] = 2
	if _, err := ParseVerifyKey(other); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("unknown algorithm: %v", err)
	}
}

// TestHashes checks the three hashes against their definitions.
func TestHashes(t *testing.T) {
	t.Parallel()
	if got, want := ID("card", []byte("b")), sha256.Sum256([]byte("airdispatch/1 id card\nb")); got != want {
		t.Errorf("ID = %x, want %x", got, want)
	}
	if got, want := Hash("ctx", []byte("a"), nil, []byte("b")), sha256.Sum256([]byte("airdispatch/1 ctx\nab")); got != want {
		t.Errorf("Hash = %x, want %x", got, want)
	}
	if got, want := hex.EncodeToString(sumOf("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; got != want {
		t.Errorf("Sum = %s, want %s", got, want)
	}
}

// sumOf returns Sum as a slice.
func sumOf(s string) []byte {
	sum := Sum([]byte(s))
	return sum[:]
}

func FuzzParseVerifyKey(f *testing.F) {
	f.Add(signingKey(f, "a").Public().Bytes())
	for _, point := range smallOrderPoints {
		f.Add(append([]byte{1}, unhex(f, point)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseVerifyKey(b)
		if err == nil && !bytes.Equal(k.Bytes(), b) {
			t.Errorf("%x is taken and comes out as %x", b, k.Bytes())
		}
	})
}

// TestParseVerifyKeyKnown: a key that was read before is the same key, and says nothing for another.
func TestParseVerifyKeyKnown(t *testing.T) {
	t.Parallel()
	a, b := signingKey(t, "a").Public(), signingKey(t, "b").Public()
	for _, known := range [][]VerifyKey{nil, {a}, {b}, {b, a}} {
		if got, err := ParseVerifyKey(a.Bytes(), known...); err != nil || got != a {
			t.Errorf("with %v: %v, %v", known, got, err)
		}
		if _, err := ParseVerifyKey(make([]byte, 33), known...); err == nil {
			t.Errorf("with %v: algorithm 0 was read", known)
		}
		if _, err := ParseVerifyKey(append([]byte{algorithmEd25519}, make([]byte, 32)...), known...); err == nil {
			t.Errorf("with %v: a point of small order was read", known)
		}
	}
}
