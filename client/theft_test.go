package client

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// succeeds makes the keyring after a genesis card, with a card that key signs.
func succeeds(t *testing.T, was *message.Keyring, key crypto.SigningKey) *message.Keyring {
	t.Helper()
	next := newKeyring(t)
	genesis, _ := was.Chain.At(0)
	mine, _ := next.Chain.At(0)
	card, err := message.SignCard(message.CardDraft{
		Rotation: append([]crypto.VerifyKey{key.Public()}, next.Rotation[0].Public()), Signers: []crypto.VerifyKey{next.Signer.Public()},
		Boxes: mine.Boxes, Time: time.Now(), Role: message.RoleUser,
	}, genesis, key)
	if err != nil {
		t.Fatal(err)
	}
	if next.Chain, err = message.OpenChain(crypto.Single{}, []*wirev1.Signed{was.Chain.Signed(0)[0], card}); err != nil {
		t.Fatal(err)
	}
	return next
}

// TestLettersOfAThief: what a thief's card signed is spoken of once when the paper
// key has taken the address back, hides nothing, and troubles no later list.
func TestLettersOfAThief(t *testing.T) {
	k := newKeyring(t)
	c := alone(t, k)
	a := newAuthor(t, c, k)
	drawer, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	if a.k, err = message.NewKeyring(message.RoleUser, drawer, time.Now(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	learn := func(who *message.Keyring) {
		t.Helper()
		if _, err := c.known.Learn(t.Context(), &wirev1.Identity{Cards: who.Chain.Signed(0)}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	list := func(want int, trouble error) {
		t.Helper()
		items, err := c.Inbox(t.Context(), InboxQuery{})
		if len(items) != want || !errors.Is(err, trouble) {
			t.Fatalf("%d letters and %v, not %d and %v", len(items), err, want, trouble)
		}
		for _, i := range items {
			if i.State != StateNew || i.Trouble != "" {
				t.Errorf("%+v", i)
			}
		}
	}
	learn(a.k)
	a.alert(c, a.version(nil, "from the owner"))
	thief := *a
	thief.k, thief.mid = succeeds(t, a.k, a.k.Rotation[0]), message.MID{7}
	learn(thief.k)
	letter := thief.version(nil, "from the thief")
	thief.alert(c, letter)
	list(2, nil)
	paper, err := crypto.SigningKeyFromSeed(drawer)
	if err != nil {
		t.Fatal(err)
	}
	learn(succeeds(t, a.k, paper))
	list(1, message.BadSignature)
	list(1, nil)
	list(1, nil)
	if i, err := c.Message(t.Context(), letter.Head.Ref()); err == nil {
		t.Errorf("the thief's letter is shown: %+v", i)
	}
}
