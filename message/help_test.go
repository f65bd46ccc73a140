package message

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// counted is a source of randomness that gives the same bytes every time:
// SHA-256 of a label and a counter.
type counted struct {
	label string
	n     uint64
	rest  []byte
}

func (c *counted) Read(p []byte) (int, error) {
	for i := range p {
		if len(c.rest) == 0 {
			sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(c.label), c.n))
			c.n, c.rest = c.n+1, sum[:]
		}
		p[i], c.rest = c.rest[0], c.rest[1:]
	}
	return len(p), nil
}

// from is a fresh source under a label.
func from(label string) *counted { return &counted{label: label} }

// testTime is now, for everything that is not about time.
func testTime() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// person is an identity with all its keys, the paper key too.
type person struct {
	*Keyring
	paper crypto.SigningKey
}

// newPerson makes the identity of a label.
func newPerson(t testing.TB, label string, role Role) *person {
	t.Helper()
	seed := sha256.Sum256([]byte("paper " + label))
	k, err := NewKeyring(role, seed[:], testTime(), from(label))
	if err != nil {
		t.Fatal(err)
	}
	return &person{k, must(crypto.SigningKeyFromSeed(seed[:]))(t)}
}

// user makes a user.
func user(t testing.TB, label string) *person {
	t.Helper()
	return newPerson(t, label, RoleUser)
}

// must unwraps a value that cannot fail in a sound test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused checks that err wraps a code.
func refused(t *testing.T, err error, want Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want code %s", err, want.Name())
	}
	if err != nil && CodeOf(err) != want {
		t.Errorf("code of %v is %s, want %s", err, CodeOf(err).Name(), want.Name())
	}
}

// key makes a signing key from a label.
func key(t testing.TB, label string) crypto.SigningKey {
	t.Helper()
	return must(crypto.NewSigningKey(from(label)))(t)
}

// draft is the head card of p as a draft, to be changed by a test.
func (p *person) draft() CardDraft {
	h := p.Chain.Head()
	return CardDraft{Rotation: h.Rotation, Signers: h.Signers, Boxes: h.Boxes, Time: testTime(), Role: h.Role}
}

// after is the chain with one more card, changed by edit and signed by k.
func after(t testing.TB, c *Chain, d CardDraft, k crypto.SigningKey) *Chain {
	t.Helper()
	s := must(SignCard(d, c.Head(), k))(t)
	return must(c.Extend(crypto.Single{}, []*wirev1.Signed{s}))(t)
}

// text is content with a Markdown body.
func text(body string) *Content {
	return &Content{Components: []Component{{Type: TypeMarkdown, Data: []byte(body)}}}
}

// letter is a draft of a private message from p.
func (p *person) letter(t testing.TB, body string, to ...*person) Draft {
	t.Helper()
	d := Draft{
		Author: p.Chain, MID: must(NewMID(testTime(), from("mid "+body)))(t), Time: testTime(),
		Audience: Private, Terms: Revisable, Content: text(body),
	}
	for _, r := range to {
		d.Readers = append(d.Readers, r.Chain)
	}
	return d
}

// post is a draft of a public message from p.
func (p *person) post(t testing.TB, name, body string) Draft {
	t.Helper()
	d := Draft{Author: p.Chain, Name: name, Time: testTime(), Audience: Public, Terms: Revisable, Content: text(body)}
	if name == "" {
		d.MID = must(NewMID(testTime(), from("mid "+body)))(t)
	}
	return d
}

// seal seals a draft with p's device key.
func (p *person) seal(t testing.TB, d Draft) *Sealed {
	t.Helper()
	return must(Seal(d, p.Signer, from("seal")))(t)
}

// pemOf is the plaintext of a key file around these bytes.
func pemOf(b []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: keyringType, Bytes: b})
}
