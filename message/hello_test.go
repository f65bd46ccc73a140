package message

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func TestHello(t *testing.T) {
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	k, err := NewKeyring(RoleUser, paper, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeyring(RoleUser, paper[1:], now, rand.Reader); err == nil {
		t.Fatal("a paper key of 31 bytes")
	}
	paper[0] ^= 1
	other, err := NewKeyring(RoleUser, paper, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := [16]byte{1, 2, 3}
	h, err := SignHello(Hello{Peer: id, Port: 8001, Time: now, Expires: now.Add(5 * time.Minute)}, k.Chain, k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseHello(h.Signed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Verify(crypto.Single{}, k.Chain); err != nil || got.Address != k.Address() {
		t.Errorf("verify: %v", err)
	}
	if _, err := c.Verify(crypto.Single{}, other.Chain); !errors.Is(err, Invalid) {
		t.Errorf("with somebody else's cards: %v", err)
	}
	for name, tt := range map[string]struct {
		peer [16]byte
		port uint16
		at   time.Time
		want bool
	}{
		"its own":      {id, 8001, now, true},
		"another peer": {[16]byte{9}, 8001, now, false},
		"another port": {id, 8002, now, false},
		"an hour late": {id, 8001, now.Add(time.Hour), false},
		"too early":    {id, 8001, now.Add(-time.Hour), false},
	} {
		if got := c.Fits(tt.peer, tt.port, tt.at); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	forged := proto.CloneOf(h.Signed)
	forged.Signature[3] ^= 1
	if c, err = ParseHello(forged); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(crypto.Single{}, k.Chain); !errors.Is(err, BadSignature) {
		t.Errorf("forged: %v", err)
	}
	// A signature for another purpose is worth nothing here.
	s, err := sign(kindAccess, &wirev1.Hello{Address: k.Address().Bytes(), Peer: id[:], Port: 1}, k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = ParseHello(s); err == nil {
		_, err = c.Verify(crypto.Single{}, k.Chain)
	}
	if err == nil {
		t.Error("an access was taken for a hello")
	}
}
