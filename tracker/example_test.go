package tracker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// A server or a client asks its trackers through a Resolver. What it is told it
// verifies, and remembers in a store.
func ExampleResolver() {
	find := func(ctx context.Context, known *store.Known, client *rpc.Client, a message.Address) error {
		r := tracker.NewResolver(tracker.ResolverConfig{
			Client: client, Known: known, Verifier: crypto.NewVerifier(),
			Trackers: []message.Reference{{URL: "https://tracker.example.org"}},
		})
		found, err := r.Lookup(ctx, a)
		if err != nil {
			return err
		}
		if !found.Confirmed || found.Disagreement {
			return fmt.Errorf("nothing is sealed to %s before a tracker confirms its card", a.Short())
		}
		for _, server := range found.Subject.Route.Servers(message.PurposeInbox) {
			fmt.Println(found.Servers[server].Route.Hosts[0].URL)
		}
		return nil
	}
	_ = find
}

// An empty query is about whoever is asked: how every connection begins. The
// answer proves itself to whoever has the address.
func ExampleServer_Lookup() {
	now := time.Now()
	keyring, err := message.NewKeyring(message.RoleTracker, bytes.Repeat([]byte{1}, 32), now, rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	route, err := message.SignRoute(message.Route{
		Time: now, Expires: now.Add(90 * 24 * time.Hour), Hosts: []message.Host{{URL: "https://tracker.example.org"}},
	}, keyring.Chain, keyring.Signer)
	if err != nil {
		fmt.Println(err)
		return
	}
	own := &message.Identity{Chain: keyring.Chain, Route: route}
	server := tracker.New(tracker.Config{
		Keyring: keyring, Identity: func() *message.Identity { return own }, Store: &store.Tracker{}, Verifier: crypto.NewVerifier(),
	})
	response, err := server.Lookup(context.Background(), &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := message.OpenSelfAnswer(crypto.Single{}, keyring.Address(), response.Results[0].Answers[0], now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Subject.Chain.Head().Role, answer.Subject.Route.Hosts[0].URL)
	// Output: tracker https://tracker.example.org
}
