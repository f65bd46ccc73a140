package proof

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Loopback is the only place that anybody here may connect to.
func Loopback() rpc.DialFunc {
	return rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Dial
}

// Town is a tracker and mail servers that run as processes.
type Town struct {
	Programs Programs
	Tracker  *Server
	// Verifier checks all that people here are told.
	Verifier crypto.Verifier
}

// Person is somebody with an account, and a device without a disk.
type Person struct {
	Keys     *message.Keyring
	Identity *message.Identity
	// Host is the identity of the person's mail server.
	Host   *message.Identity
	Client *rpc.Client
	// Peer is that mail server.
	Peer *rpc.Peer
}

// Address is the person's.
func (p *Person) Address() message.Address { return p.Keys.Address() }

// Keyring makes an identity with a paper key that nobody keeps.
func Keyring(role message.Role) (*message.Keyring, error) {
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		return nil, err
	}
	return message.NewKeyring(role, paper, time.Now(), rand.Reader)
}

// Join opens an account at the mail server of a reference, as a client does: it
// signs a route, publishes it at the tracker and announces it to the server.
func (t *Town) Join(ctx context.Context, reference string) (*Person, error) {
	k, err := Keyring(message.RoleUser)
	if err != nil {
		return nil, err
	}
	p := &Person{Keys: k, Client: rpc.NewClient(rpc.Config{Dial: Loopback(), Verifier: t.Verifier, Keyring: k})}
	if err := t.settle(ctx, p, reference); err != nil {
		p.Client.Close()
		return nil, fmt.Errorf("join: %w", err)
	}
	return p, nil
}

func (t *Town) settle(ctx context.Context, p *Person, reference string) error {
	ref, err := message.ParseReference(reference)
	if err != nil {
		return err
	}
	peer, answer, err := p.Client.Open(ctx, ref)
	if err != nil {
		return err
	}
	p.Peer, p.Host = peer, answer.Subject
	res, err := peer.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: &wirev1.Identity{Cards: p.Keys.Chain.Signed(0)}})
	if err != nil {
		return err
	}
	ticket, err := message.ParseTicket(res.GetTicket())
	if err != nil {
		return err
	}
	p.Identity = &message.Identity{Chain: p.Keys.Chain}
	p.Identity.Route, err = message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: time.Now(), Expires: time.Now().Add(90 * 24 * time.Hour),
		Services: []message.Service{{Purpose: message.PurposeAny, Server: p.Host.Address(), Ticket: ticket}},
	}, p.Keys.Chain, p.Keys.Signer)
	if err != nil {
		return err
	}
	if err := t.publish(ctx, p); err != nil {
		return err
	}
	_, err = peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: p.Identity.Wire(), Trackers: []string{t.Tracker.Reference}})
	return err
}

// publish brings a person's route to the tracker.
func (t *Town) publish(ctx context.Context, p *Person) error {
	ref, err := message.ParseReference(t.Tracker.Reference)
	if err != nil {
		return err
	}
	peer, _, err := p.Client.Open(ctx, ref)
	if err != nil {
		return err
	}
	res, err := peer.Tracker().Publish(ctx, &wirev1.PublishRequest{Publications: []*wirev1.Publication{
		{Subject: p.Identity.Wire(), Servers: []*wirev1.Identity{p.Host.Wire()}},
	}})
	if err != nil {
		return err
	}
	if len(res.GetResults()) != 1 {
		return fmt.Errorf("publish: %d results", len(res.GetResults()))
	}
	return message.OpenRefusal(res.GetResults()[0].GetRefusal())
}
