package main

import (
	"context"
	"crypto/rand"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// promised is what a tracker gave receipts for: the route of each address.
type promised struct {
	mu     sync.Mutex
	routes map[message.Address]message.ID
}

// promises is where a script keeps them.
const promises = "promises"

// reach opens the tracker whose reference is in a file.
func reach(ts *testscript.TestScript, file string) *rpc.Peer {
	ref, err := message.ParseReference(strings.TrimSpace(ts.ReadFile(file)))
	ts.Check(err)
	client := rpc.NewClient(rpc.Config{
		Dial: rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Dial, Verifier: crypto.NewVerifier(),
	})
	ts.Defer(client.Close)
	peer, _, err := client.Open(context.Background(), ref)
	ts.Check(err)
	return peer
}

// publishOne publishes a new server and notes the promise.
func publishOne(peer *rpc.Peer, p *promised) error {
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		return err
	}
	now := time.Now()
	k, err := message.NewKeyring(message.RoleServer, paper, now, rand.Reader)
	if err != nil {
		return err
	}
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(time.Hour), Hosts: []message.Host{{URL: "https://mail.example.org"}},
	}, k.Chain, k.Signer)
	if err != nil {
		return err
	}
	i := &message.Identity{Chain: k.Chain, Route: route}
	r, err := peer.Tracker().Publish(context.Background(), &wirev1.PublishRequest{Publications: []*wirev1.Publication{{Subject: i.Wire()}}})
	if err != nil {
		return err
	}
	receipt, err := message.OpenReceipt(crypto.Single{}, peer.Identity().Chain, r.GetResults()[0].GetReceipt())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes[k.Address()] = receipt.ID
	return nil
}

// publishUntilKilled publishes from many sides and kills all programs in the
// background, as a loss of power would, while that goes on.
func publishUntilKilled(ts *testscript.TestScript, _ bool, args []string) {
	peer := reach(ts, args[0])
	p, ok := ts.Value(promises).(*promised)
	if !ok {
		ts.Fatalf("no place for promises")
	}
	var publishing sync.WaitGroup
	enough := make(chan struct{}, 1000)
	for range 8 {
		publishing.Go(func() {
			for publishOne(peer, p) == nil {
				select {
				case enough <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 40 {
		<-enough
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Kill())
	}
	publishing.Wait()
}

// honoured looks every promise up.
func honoured(ts *testscript.TestScript, _ bool, args []string) {
	peer := reach(ts, args[0])
	p, ok := ts.Value(promises).(*promised)
	if !ok || len(p.routes) < 40 {
		ts.Fatalf("no promises were made")
	}
	for a, id := range p.routes {
		q := message.Query{Address: a}
		r, err := peer.Directory().Lookup(context.Background(), &wirev1.LookupRequest{Queries: []*wirev1.Query{q.Wire()}})
		ts.Check(err)
		answer, err := message.OpenAnswer(crypto.Single{}, peer.Identity().Chain, r.GetResults()[0].GetAnswers()[0], q, time.Now())
		ts.Check(err)
		if !answer.Found || answer.Subject.Route.ID != id {
			ts.Fatalf("%s has a receipt and is lost", a)
		}
	}
}
