package client_test

import (
	"crypto/rand"
	"testing"
	"time"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// newDevice is the keyring with another device key in the place of the one that it
// has, as after a loss.
func newDevice(t *testing.T, k *message.Keyring) *message.Keyring {
	t.Helper()
	key, err := crypto.NewSigningKey(rand.Reader)
	must(t, err)
	head := k.Chain.Head()
	card, err := message.SignCard(message.CardDraft{
		Rotation: head.Rotation, Signers: []crypto.VerifyKey{key.Public()}, Boxes: head.Boxes, Time: time.Now(), Role: head.Role,
	}, head, k.Rotation[0])
	must(t, err)
	chain, err := k.Chain.Extend(crypto.Single{}, []*wirev1.Signed{card})
	must(t, err)
	return &message.Keyring{Chain: chain, Rotation: k.Rotation, Signer: key, Boxes: k.Boxes}
}

// lostAnswer sends a letter that the server takes and of which it cannot tell: the draft, and
// the head as another device sees it.
func lostAnswer(t *testing.T, c *client.Client, d *deaf, other *client.Client, draft client.Draft) (id int64, taken *message.Head) {
	t.Helper()
	shut := make(chan struct{})
	failed := make(chan error, 1)
	// The look-up of the reader, which is oneself, needs no answer.
	d.set(shut)
	go func() {
		_, err := c.Send(t.Context(), draft)
		failed <- err
	}()
	eventually(t, "the letter at the server", func() bool {
		must(t, other.SyncSent(t.Context()))
		sent, err := other.Sent(t.Context(), 10)
		must(t, err)
		if len(sent) == 1 {
			taken = sent[0].Head
		}
		return taken != nil
	})
	close(shut)
	id = draftOf(t, <-failed)
	d.set(nil)
	return id, taken
}

// TestSendWhoseAnswerIsLostAndItsKeyToo: the server took a letter, its word was lost, and
// the key that signed is taken off the cards. Sent again, it is said again under the new
// key; a final one, of which there can be no second version, counts as sent.
func TestSendWhoseAnswerIsLostAndItsKeyToo(t *testing.T) {
	for _, c := range []struct {
		terms   message.Terms
		version uint64
	}{{message.Revisable, 2}, {message.Final, 1}} {
		w := newWorld(t, "hill.test")
		k := keyringOf(t, message.RoleUser)
		home, d := t.TempDir(), &deaf{dial: w.network.Dialer("ann")}
		config := client.Config{Home: home, Keyring: k, Rand: rand.Reader, RPC: rpc.Config{Dial: d.Dial}, Trackers: w.trackers}
		ann, err := client.Open(t.Context(), config)
		must(t, err)
		registration := client.Registration{Server: w.server, Trackers: w.trackers}
		_, err = ann.Register(t.Context(), registration)
		must(t, err)
		other, _ := w.open("phone", t.TempDir(), k)
		_, err = other.Register(t.Context(), registration)
		must(t, err)

		id, taken := lostAnswer(t, ann, d, other, client.Draft{To: []string{k.Address().String()}, Body: "once", Terms: c.terms})
		m := taken.Ref()
		must(t, ann.Close())

		config.Keyring = newDevice(t, k)
		ann, err = client.Open(t.Context(), config)
		must(t, err)
		_, err = ann.Register(t.Context(), registration)
		must(t, err)
		sent, err := ann.SendDraft(t.Context(), id)
		if err != nil || len(sent) != 1 || sent[0].Head.Ref() != m || sent[0].Head.Version != c.version {
			t.Fatalf("%+v, %v", sent, err)
		}
		if drafts, err := ann.Drafts(t.Context()); err != nil || len(drafts) != 0 {
			t.Errorf("%+v, %v", drafts, err)
		}
		must(t, ann.Close())
	}
}

// TestSendWhoseAnswerIsLostAndItsServerToo: the server took a letter, its word was lost, and
// the sender moves. Sent again it is the same letter, byte for byte: another first version
// would look as if it had been rewritten. Where the key is gone too, it is another letter.
func TestSendWhoseAnswerIsLostAndItsServerToo(t *testing.T) {
	for _, keyGone := range []bool{false, true} {
		w := newWorld(t, "hill.test")
		elsewhere := w.mail("elsewhere.test")
		k := keyringOf(t, message.RoleUser)
		d := &deaf{dial: w.network.Dialer("ann")}
		config := client.Config{Home: t.TempDir(), Keyring: k, Rand: rand.Reader, RPC: rpc.Config{Dial: d.Dial}, Trackers: w.trackers}
		ann, err := client.Open(t.Context(), config)
		must(t, err)
		registration := client.Registration{Server: w.server, Trackers: w.trackers}
		_, err = ann.Register(t.Context(), registration)
		must(t, err)
		other, _ := w.open("phone", t.TempDir(), k)
		_, err = other.Register(t.Context(), registration)
		must(t, err)
		id, taken := lostAnswer(t, ann, d, other, client.Draft{To: []string{k.Address().String()}, Body: "once"})
		if keyGone {
			must(t, ann.Close())
			config.Keyring = newDevice(t, k)
			ann, err = client.Open(t.Context(), config)
			must(t, err)
		}
		_, err = ann.Register(t.Context(), client.Registration{Server: elsewhere, Trackers: w.trackers})
		must(t, err)
		sent, err := ann.SendDraft(t.Context(), id)
		if err != nil || len(sent) != 1 || sent[0].Head.Version != 1 {
			t.Fatalf("key gone %v: %+v, %v", keyGone, sent, err)
		}
		if same := sent[0].Head.ID == taken.ID; same == keyGone || !same && sent[0].Head.MID == taken.MID {
			t.Errorf("key gone %v: head %s of %s, and the server took %s of %s", keyGone, sent[0].Head.ID, sent[0].Head.Ref(), taken.ID, taken.Ref())
		}
		if drafts, err := ann.Drafts(t.Context()); err != nil || len(drafts) != 0 {
			t.Errorf("%+v, %v", drafts, err)
		}
		must(t, ann.Close())
	}
}
