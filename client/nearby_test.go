package client_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"airdispatch/client"
	"airdispatch/message"
	"airdispatch/nearby"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"

	"google.golang.org/protobuf/proto"
)

// neighbour is a node of a client on the loopback.
func neighbour(t *testing.T, c *client.Client, k *message.Keyring, got chan *client.Item) (*nearby.Node, nearby.Peer, *recorder) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := netip.MustParseAddrPort(l.Addr().String())
	people := c.Neighbours(func(i *client.Item) { got <- i })
	heard := &recorder{Neighbours: people}
	n, err := nearby.New(nearby.Config{
		ID: nearby.ID{1}, Port: at.Port(), Keyring: k, People: people, Inbox: heard, Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader,
		Listen: func(context.Context, string, string) (net.PacketConn, error) { return nil, errors.New("not here") },
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return n, nearby.Peer{Place: at}, heard
}

// recorder remembers the last letter that was brought.
type recorder struct {
	*client.Neighbours
	last *wirev1.NearbyLetter
}

// Deliver delivers it too.
func (r *recorder) Deliver(ctx context.Context, from message.Address, w *wirev1.NearbyLetter) error {
	r.last = w
	return r.Neighbours.Deliver(ctx, from, w)
}

// TestNearbyLetter: a letter that was brought on the local network lies in the
// ordinary inbox, and is the same letter when it comes over servers too.
func TestNearbyLetter(t *testing.T) {
	w := newWorld(t, "hill.test")
	ann, annKeys, _ := w.resident("ann")
	bob, bobKeys, _ := w.resident("bob")
	got := make(chan *client.Item, 10)
	_, atBob, bobs := neighbour(t, bob, bobKeys, got)
	annNode, _, _ := neighbour(t, ann, annKeys, got)
	ctx := t.Context()

	if _, err := annNode.Connect(ctx, atBob, bobKeys.Address()); !errors.Is(err, message.Denied) {
		t.Fatalf("somebody who is no contact connects: %v", err)
	}
	_, err := bob.AddContact(ctx, annKeys.Address().String(), "ann")
	must(t, err)
	_, err = ann.AddContact(ctx, bobKeys.Address().String(), "bob")
	must(t, err)
	l, err := annNode.Connect(ctx, atBob, bobKeys.Address())
	must(t, err)
	defer l.Close()

	sent, err := ann.SendNearby(ctx, l, client.Draft{Subject: "over the table", Body: "hello"})
	must(t, err)
	if sent.Waits != nil || sent.NotTaken != nil || sent.Receipt == nil {
		t.Errorf("the own server: %v, %v", sent.Waits, sent.NotTaken)
	}
	if i := <-got; i.Subject != "over the table" || i.Ref != sent.Head.Ref() {
		t.Errorf("delivered %+v", i)
	}
	inbox := func() []*client.Item {
		t.Helper()
		items, err := bob.Inbox(ctx, client.InboxQuery{})
		must(t, err)
		more, err := bob.Inbox(ctx, client.InboxQuery{Requests: true})
		must(t, err)
		return append(items, more...)
	}
	if items := inbox(); len(items) != 1 || items[0].Subject != "over the table" || items[0].State != client.StateNew {
		t.Fatalf("inbox: %+v", items)
	}
	read, err := bob.Read(ctx, sent.Head.Ref(), client.ReadOptions{Offline: true})
	must(t, err)
	if body, _ := read.Content.Body(); body != "hello" {
		t.Errorf("read %q", body)
	}

	// The same version over servers.
	must(t, bob.SetVerdict(ctx, annKeys.Address(), store.Allow))
	arrived := false
	for end := time.Now().Add(30 * time.Second); !arrived && time.Now().Before(end); {
		s, err := bob.Sync(ctx)
		must(t, err)
		arrived = len(s.Changed) > 0
	}
	if items := inbox(); !arrived || len(items) != 1 || items[0].Shown != 1 || items[0].Trouble != "" {
		t.Errorf("after it came over servers (%t): %+v", arrived, items)
	}
	must(t, bob.FetchNew(ctx))
	if items := inbox(); len(items) != 1 {
		t.Errorf("after fetching: %d letters", len(items))
	}
	// Again from nearby, after it came over servers; and what nobody may bring.
	letter := bobs.last
	must(t, l.Bring(ctx, letter))
	if items := inbox(); len(items) != 1 || len(got) != 0 {
		t.Errorf("after it was brought again: %d letters, %d told", len(items), len(got))
	}
	for name, spoil := range map[string]func(*wirev1.NearbyLetter){
		"no heads":          func(w *wirev1.NearbyLetter) { w.Heads = nil },
		"a forged head":     func(w *wirev1.NearbyLetter) { w.Heads[0].Signature[5] ^= 1 },
		"a head of noise":   func(w *wirev1.NearbyLetter) { w.Heads[0].Body = []byte{1} },
		"two first heads":   func(w *wirev1.NearbyLetter) { w.Heads = append(w.Heads, w.Heads[0]) },
		"somebody's letter": func(w *wirev1.NearbyLetter) { w.Heads[0] = somebody(t, bobKeys) },
	} {
		w := proto.CloneOf(letter)
		spoil(w)
		if err := l.Bring(ctx, w); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if items := inbox(); len(items) != 1 || items[0].Trouble != "" {
		t.Errorf("after hostile letters: %d", len(items))
	}
}

// somebody is the head of a letter by a stranger.
func somebody(t *testing.T, to *message.Keyring) *wirev1.Signed {
	t.Helper()
	k := keyringOf(t, message.RoleUser)
	mid, err := message.NewMID(time.Now(), rand.Reader)
	must(t, err)
	s, err := message.Seal(message.Draft{
		Author: k.Chain, Readers: []*message.Chain{to.Chain}, MID: mid, Time: time.Now(), Audience: message.Private, Terms: message.Final, Content: &message.Content{},
	}, k.Signer, rand.Reader)
	must(t, err)
	return s.Head.Signed
}
