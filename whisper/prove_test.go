package whisper

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/netip"
	"testing"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// newKeyring makes an identity.
func newKeyring(t *testing.T) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	k, err := message.NewKeyring(message.RoleUser, paper, someTime(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestFalseSignatures: a signature holds for the message that it was made for,
// and for an identity whose key made it; everything else is shown as false.
func TestFalseSignatures(t *testing.T) {
	t.Parallel()
	ann, eve := newKeyring(t), newKeyring(t)
	sign, err := newProver(ann)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newProver(eve)
	if err != nil {
		t.Fatal(err)
	}
	w := &paper{}
	c := newCore("192.0.2.1:5000", nil, rand.Reader, w)
	c.prove = sign
	c.open("192.0.2.9:1", false).ours = true
	c.connected("192.0.2.9:1")
	if _, err := c.say(someTime(), Message{Nick: "ann", Body: "mine", FileType: "t", File: []byte("file")}); err != nil {
		t.Fatal(err)
	}
	said := w.sent["192.0.2.9:1"]
	if len(said) != 2 {
		t.Fatalf("sent %v", said)
	}
	shownAs := func(change func(o *object)) Message {
		t.Helper()
		o, err := parseObject(bytes.TrimSpace([]byte(said[1])))
		if err != nil {
			t.Fatal(err)
		}
		change(o)
		there := &paper{}
		raw := json.RawMessage(o.bytes(true))
		if err := newCore("192.0.2.3:1", nil, rand.Reader, there).receive(someTime(), newSource(netip.MustParseAddr("192.0.2.1")), raw); err != nil {
			t.Fatal(err)
		}
		if len(there.shown) != 1 {
			t.Fatalf("it was not shown: %s", raw)
		}
		return there.shown[0]
	}
	if m := shownAs(func(*object) {}); m.From != ann.Address().String() || m.Forged {
		t.Errorf("the true one is shown as %q, forged %v", m.From, m.Forged)
	}
	for name, change := range map[string]func(o *object){
		"another body":     func(o *object) { o.set(keyBody, "yours") },
		"another nickname": func(o *object) { o.set(keyNick, "eve") },
		"another time":     func(o *object) { o.set(keyTimestamp, 7) },
		"another file":     func(o *object) { o.set(keyFile, "AAAA") },
		"another id":       func(o *object) { o.set(keyID, "x") },
		"another place":    func(o *object) { o.set(keyAddr, "192.0.2.1:5001") },
		"another identity": func(o *object) { o.ours.Chain = other.sign(Message{}).Chain; o.set(keyOurs, o.ours) },
		"another key":      func(o *object) { e := other.sign(o.Message); e.Chain = o.ours.Chain; o.set(keyOurs, e) },
		"no chain":         func(o *object) { o.ours.Chain = nil; o.set(keyOurs, o.ours) },
		"half":             func(o *object) { o.ours.Signature = o.ours.Signature[:50]; o.set(keyOurs, o.ours) },
	} {
		if m := shownAs(change); m.From != "" || !m.Forged {
			t.Errorf("%s: shown as said by %q, forged %v", name, m.From, m.Forged)
		}
	}
}

// known is what a person knows of others.
type known struct {
	names  map[message.Address]string
	chains map[message.Address]*message.Chain
}

func (k known) Name(a message.Address) string          { return k.names[a] }
func (k known) Chain(a message.Address) *message.Chain { return k.chains[a] }

// TestChangedKeys: a contact who signs is shown by name, also with newer cards; a key that was withdrawn, and
// cards that went another way, are said to be changed, and are nobody's name.
func TestChangedKeys(t *testing.T) {
	t.Parallel()
	ann := newKeyring(t)
	next := func(k *message.Keyring) *message.Keyring { // the same identity, with another device
		t.Helper()
		device, err := crypto.NewSigningKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		head := k.Chain.Head()
		card, err := message.SignCard(message.CardDraft{
			Rotation: head.Rotation, Signers: []crypto.VerifyKey{device.Public()}, Boxes: head.Boxes, Time: someTime(), Role: message.RoleUser,
		}, head, k.Rotation[0])
		if err != nil {
			t.Fatal(err)
		}
		chain, err := k.Chain.Extend(crypto.Single{}, []*wirev1.Signed{card})
		if err != nil {
			t.Fatal(err)
		}
		return &message.Keyring{Chain: chain, Signer: device, Rotation: k.Rotation, Boxes: k.Boxes}
	}
	newer, fork := next(ann), next(ann)
	stranger := newKeyring(t)
	for name, c := range map[string]struct {
		signer *message.Keyring
		knows  *message.Chain
		want   Message
	}{
		"nothing is known of a contact": {ann, nil, Message{Name: "ann"}},
		"the same cards":                {ann, ann.Chain, Message{Name: "ann"}},
		"newer cards":                   {newer, ann.Chain, Message{Name: "ann"}},
		"a key that was withdrawn":      {ann, newer.Chain, Message{Changed: true}},
		"another way":                   {fork, newer.Chain, Message{Changed: true}},
		"a stranger":                    {stranger, nil, Message{}},
	} {
		p, err := newProver(c.signer)
		if err != nil {
			t.Fatal(err)
		}
		m := Message{ID: "x", Addr: "192.0.2.1:1", Nick: "ann", Body: "me"}
		o := newObject(m)
		o.ours = p.sign(m)
		who := known{names: map[message.Address]string{ann.Address(): "ann"}, chains: map[message.Address]*message.Chain{ann.Address(): c.knows}}
		prover{people: who}.check(o)
		if o.Name != c.want.Name || o.Changed != c.want.Changed || o.From != c.signer.Address().String() || o.Forged {
			t.Errorf("%s: %+v", name, o.Message)
		}
	}
}
