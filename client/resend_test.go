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

		shut := make(chan struct{})
		failed := make(chan error, 1)
		// The look-up of the reader, which is oneself, needs no answer.
		d.set(shut)
		go func() {
			_, err := ann.Send(t.Context(), client.Draft{To: []string{k.Address().String()}, Body: "once", Terms: c.terms})
			failed <- err
		}()
		var m message.Ref
		eventually(t, "the letter at the server", func() bool {
			must(t, other.SyncSent(t.Context()))
			sent, err := other.Sent(t.Context(), 10)
			must(t, err)
			if len(sent) == 1 {
				m = sent[0].Ref
			}
			return len(sent) == 1
		})
		close(shut)
		id := draftOf(t, <-failed)
		d.set(nil)
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
