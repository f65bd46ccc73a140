package mailserver_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"

	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/memory"
	"airdispatch/tracker"
)

// A mail server is put together from its rooms: a store, what is known of
// others, a client to ask with, a resolver, a courier, and a listener.
func ExampleNew() {
	serve := func(ctx context.Context, keyring *message.Keyring, own func() *message.Identity, l net.Listener) error {
		verifier := crypto.NewVerifier()
		kept := memory.NewMail(memory.NewBlobs())
		known := store.NewKnown(kept.Identities, verifier)
		client := rpc.NewClient(rpc.Config{
			Dial: rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Dial, Verifier: verifier, Keyring: keyring,
		})
		defer client.Close()
		resolver := tracker.NewResolver(tracker.ResolverConfig{Client: client, Known: known, Verifier: verifier})
		brings := courier.New(courier.Config{
			Identity: own, Client: client, Resolver: mailserver.Directory(resolver), Known: known, Tasks: kept.Tasks, Outgoing: kept.Outgoing,
			Deliveries: kept.Deliveries, Incoming: kept.Incoming, Verifier: verifier, Rand: rand.Reader,
		})
		s := mailserver.New(mailserver.Config{
			Keyring: keyring, Identity: own, Store: kept, Known: known, Resolver: resolver, Client: client, Courier: brings,
			Verifier: verifier, Rand: rand.Reader, Accounts: mailserver.ByInvite,
		})
		answers := rpc.NewServer(rpc.ServerConfig{Listener: l})
		s.Mount(answers)
		ended := make(chan error, 3)
		for _, run := range []func(context.Context) error{answers.Serve, s.Run, brings.Run} {
			go func() { ended <- run(ctx) }()
		}
		for range cap(ended) {
			if err := <-ended; err != nil {
				return err
			}
		}
		return nil
	}
	_ = serve
}

// Who may join is one of three words.
func ExampleParseAccounts() {
	for _, s := range []string{"open", "invite", "list"} {
		p, err := mailserver.ParseAccounts(s)
		fmt.Println(p, err)
	}
	// Output:
	// open <nil>
	// invite <nil>
	// list <nil>
}
