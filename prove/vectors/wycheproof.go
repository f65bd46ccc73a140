package main

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/c2sp/wycheproof"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/nacl/secretbox"
	//lint:ignore SA1019 libsodium's sealed box is made of it, and nothing else here has it
	"golang.org/x/crypto/salsa20/salsa"

	"airdispatch/crypto"
	"airdispatch/prove/proof"
)

// hexes are bytes as Wycheproof has them.
type hexes []byte

// UnmarshalJSON reads hexadecimal digits.
func (h *hexes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	raw, err := hex.DecodeString(s)
	*h = raw
	return err
}

// sample is one test of any of the groups.
type sample struct {
	ID      int      `json:"tcId"`
	Flags   []string `json:"flags"`
	Comment string   `json:"comment"`
	Result  string   `json:"result"`

	Msg, Sig, Public, Private, Shared, Key, IV, AAD, CT, Tag, IKM, Salt, Info, OKM, Seed, EK, C, K, M hexes

	Size int
}

// group is what tests share.
type group struct {
	TagSize int             `json:"tagSize"`
	Signer  json.RawMessage `json:"publicKey"`
	Tests   []sample        `json:"tests"`
}

// primitive is a file of Wycheproof, how we judge a test of it, what to alter
// for the control, and which differences are explained and why.
type primitive struct {
	file    string
	tests   int
	accepts func(g group, s sample) bool
	alter   func(s *sample) hexes
	// explained says why we may judge otherwise than Wycheproof, or nothing.
	explained func(s sample) string
}

func primitives() []primitive {
	return []primitive{
		{"ed25519", 151, signature, func(s *sample) hexes { return s.Sig }, spelling},
		{"x25519", 518, exchange, func(s *sample) hexes { return s.Shared }, contributory},
		{"chacha20_poly1305", 325, sealing, func(s *sample) hexes { return s.Tag }, nil},
		{"hkdf_sha256", 86, derivation, func(s *sample) hexes { return s.OKM }, nil},
		{"hmac_sha256", 174, authentication, func(s *sample) hexes { return s.Tag }, nil},
		{"mlkem_768", 201, decapsulation, func(s *sample) hexes { return s.K }, nil},
		{"mlkem_768_encaps", 265, encapsulation, func(s *sample) hexes { return s.K }, nil},
		{"mlkem_768_keygen_seed", 100, generation, func(s *sample) hexes { return s.EK }, nil},
	}
}

// wycheproofs judges all tests and says how many there were, and how many
// differences are explained.
func wycheproofs(f *proof.Figure) (string, error) {
	count, explained := 0, map[string]int{}
	for _, p := range primitives() {
		n, err := p.run(f, explained)
		if err != nil {
			return "", err
		}
		if n < p.tests {
			f.Violations = append(f.Violations, fmt.Sprintf("wycheproof: %s has %d tests of %d", p.file, n, p.tests))
		}
		count += n
	}
	words := []string{}
	for why, n := range explained {
		words = append(words, fmt.Sprintf("%d explained: %s", n, why))
	}
	slices.Sort(words)
	return fmt.Sprintf("%d Wycheproof (%s)", count, strings.Join(words, "; ")), nil
}

// run judges the tests of one file.
func (p primitive) run(f *proof.Figure, explained map[string]int) (int, error) {
	b, err := fs.ReadFile(wycheproof.TestVectors, p.file+"_test.json")
	if err != nil {
		return 0, err
	}
	var all struct {
		Groups []group `json:"testGroups"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return 0, fmt.Errorf("wycheproof: %s: %w", p.file, err)
	}
	count, controlled := 0, false
	for _, g := range all.Groups {
		for _, s := range g.Tests {
			count++
			got := p.accepts(g, s)
			if got != (s.Result != "invalid") {
				why := ""
				if p.explained != nil {
					why = p.explained(s)
				}
				if why == "" {
					f.Violations = append(f.Violations, fmt.Sprintf("wycheproof: %s %d is %s, ours: %t (%s %s)", p.file, s.ID, s.Result, got, s.Comment, strings.Join(s.Flags, " ")))
				} else {
					explained[why]++
				}
			}
			if got && !controlled {
				p.alter(&s)[0] ^= 1
				if controlled = true; p.accepts(g, s) {
					f.Violations = append(f.Violations, "the control: an altered test of "+p.file+" was not missed")
				}
			}
		}
	}
	return count, nil
}

// signature verifies as package crypto does, by the rule of ZIP-215, under a
// key that package crypto takes.
func signature(g group, s sample) bool {
	var signer struct {
		PK hexes `json:"pk"`
	}
	if json.Unmarshal(g.Signer, &signer) != nil {
		return false
	}
	if _, err := crypto.ParseVerifyKey(append([]byte{1}, signer.PK...)); err != nil {
		return false
	}
	return len(s.Sig) == ed25519.SignatureSize &&
		ed25519.VerifyWithOptions(ed25519.PublicKey(signer.PK), s.Msg, s.Sig, &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215})
}

// spelling says why a signature may be accepted that Wycheproof refuses.
func spelling(s sample) string {
	if s.ID != 151 {
		return ""
	}
	return "ZIP-215 takes any spelling of R"
}

// exchange seals a box, as libsodium does, with the shared point of the test and
// opens it with a box key of package crypto: it opens only where that comes to
// the same point.
func exchange(_ group, s sample) bool {
	if _, err := crypto.ParseBox(uint32(crypto.BoxNaCl), s.Public); err != nil {
		return false
	}
	key, err := crypto.BoxKeyFromSeed(crypto.BoxNaCl, s.Private)
	if err != nil {
		return false
	}
	h, err := blake2b.New(24, nil)
	if err != nil {
		return false
	}
	h.Write(s.Public)
	h.Write(key.Public().Bytes())
	var shared [32]byte
	salsa.HSalsa20(&shared, new([16]byte), (*[32]byte)(s.Shared), &salsa.Sigma)
	plain, err := key.Open(nil, secretbox.Seal(slices.Clone(s.Public), []byte("plain"), (*[24]byte)(h.Sum(nil)), &shared))
	return err == nil && string(plain) == "plain"
}

// contributory says why an exchange may be refused that Wycheproof accepts.
func contributory(s sample) string {
	if !slices.Contains(s.Flags, "ZeroSharedSecret") {
		return ""
	}
	return "X25519 keys with which every exchange gives zeros are refused"
}

func sealing(_ group, s sample) bool {
	aead, err := chacha20poly1305.New(s.Key)
	if err != nil || len(s.IV) != chacha20poly1305.NonceSize {
		return false
	}
	sealed := slices.Concat(s.CT, s.Tag)
	plain, err := aead.Open(nil, s.IV, sealed, s.AAD)
	return err == nil && bytes.Equal(plain, s.Msg) && bytes.Equal(aead.Seal(nil, s.IV, s.Msg, s.AAD), sealed)
}

func derivation(_ group, s sample) bool {
	okm, err := hkdf.Key(sha256.New, s.IKM, s.Salt, string(s.Info), s.Size)
	return err == nil && bytes.Equal(okm, s.OKM)
}

func authentication(g group, s sample) bool {
	h := hmac.New(sha256.New, s.Key)
	h.Write(s.Msg)
	return hmac.Equal(h.Sum(nil)[:g.TagSize/8], s.Tag)
}

func decapsulation(_ group, s sample) bool {
	key, err := mlkem.NewDecapsulationKey768(s.Seed)
	if err != nil || (len(s.EK) != 0 && !bytes.Equal(key.EncapsulationKey().Bytes(), s.EK)) {
		return false
	}
	shared, err := key.Decapsulate(s.C)
	return err == nil && bytes.Equal(shared, s.K)
}

// encapsulation takes a key if package crypto takes it as half of a box and the
// standard library takes it for sealing.
func encapsulation(_ group, s sample) bool {
	base := append([]byte{9}, make([]byte, 31)...)
	if _, err := crypto.ParseBox(uint32(crypto.BoxHybrid), slices.Concat(s.EK, base)); err != nil {
		return false
	}
	key, err := mlkem.NewEncapsulationKey768(s.EK)
	if err != nil {
		return false
	}
	shared, sealed, err := mlkemtest.Encapsulate768(key, s.M)
	return err == nil && bytes.Equal(shared, s.K) && bytes.Equal(sealed, s.C)
}

func generation(_ group, s sample) bool {
	key, err := mlkem.NewDecapsulationKey768(s.Seed)
	return err == nil && bytes.Equal(key.EncapsulationKey().Bytes(), s.EK)
}

// flipped changes the last bit of bytes in base64.
func flipped(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) == 0 {
		return s
	}
	b[len(b)-1] ^= 1
	return base64.StdEncoding.EncodeToString(b)
}
