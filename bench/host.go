package bench

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/sqlite"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// everyone is the context of what is set up and of the calls of clients.
func everyone() context.Context { return context.Background() }

// loopback is the only place that anybody here may connect to.
func loopback() rpc.DialFunc {
	return rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Dial
}

// keyring makes an identity with a paper key that nobody keeps.
func keyring(role message.Role) (*message.Keyring, error) {
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		return nil, err
	}
	return message.NewKeyring(role, paper, time.Now(), rand.Reader)
}

// A Host is a tracker or mail server of ours on loopback, wired as its command
// wires it: TLS 1.3 with a pinned certificate and a SQLite file.
type Host struct {
	keys     *message.Keyring
	identity *message.Identity
	verifier crypto.Verifier
	listener net.Listener
	server   *rpc.Server
	db       *sql.DB
	data     *sqlite.DB

	mail    *store.Mail    // of a mail server
	tracker *store.Tracker // of a tracker

	stop []func() error
}

// newHost makes an identity that answers on a fresh port.
func newHost(role message.Role) (*Host, error) {
	h := &Host{verifier: crypto.NewVerifier()}
	var err error
	if h.keys, err = keyring(role); err != nil {
		return nil, err
	}
	cert, _, err := certificate()
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, err
	}
	if h.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	h.stop = append(h.stop, h.listener.Close)
	if h.identity, err = routed(h.keys, message.Route{Hosts: []message.Host{{URL: "https://" + h.listener.Addr().String(), Pin: crypto.Pin(leaf)}}}); err != nil {
		return nil, err
	}
	// All clients of a measurement come from one IP address.
	h.server = rpc.NewServer(rpc.ServerConfig{Listener: h.listener, TLS: rpc.ServerTLS(cert), Limits: rpc.Limits{PerHost: 100_000, Connections: 100_000}})
	return h, nil
}

// routed is the identity of a keyring with a route signed now.
func routed(k *message.Keyring, r message.Route) (*message.Identity, error) {
	r.Pair.Route = max(r.Pair.Route, 1)
	r.Time, r.Expires = time.Now(), time.Now().Add(90*24*time.Hour)
	signed, err := message.SignRoute(r, k.Chain, k.Signer)
	if err != nil {
		return nil, err
	}
	return &message.Identity{Chain: k.Chain, Route: signed}, nil
}

// serve begins to answer.
func (h *Host) serve() {
	ctx, cancel := context.WithCancel(everyone())
	done := make(chan error, 1)
	go func() { done <- h.server.Serve(ctx) }()
	h.stop = []func() error{func() error { cancel(); return <-done }}
}

// close ends the host in order: answering, then the store.
func (h *Host) close() {
	for _, stop := range h.stop {
		_ = stop()
	}
	if h.data != nil {
		_ = h.data.Close()
	}
	if h.db != nil {
		_ = h.db.Close()
	}
}

// openMail makes a mail server that does not limit anybody's rate and brings
// nothing: what it keeps for others stays in its outbox, and is measured where
// it arrives.
func openMail(dir string) (h *Host, err error) {
	if h, err = newHost(message.RoleServer); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.db, err = sqlite.File(filepath.Join(dir, "data.sqlite")); err != nil {
		return nil, err
	}
	blobs, err := openBlobs(dir)
	if err != nil {
		return nil, err
	}
	if h.mail, h.data, err = sqlite.OpenMail(everyone(), h.db, blobs); err != nil {
		return nil, err
	}
	own := func() *message.Identity { return h.identity }
	known := store.NewKnown(h.mail.Identities, h.verifier)
	client := rpc.NewClient(rpc.Config{Dial: loopback(), Verifier: h.verifier, Keyring: h.keys})
	resolver := tracker.NewResolver(tracker.ResolverConfig{Client: client, Known: known, Verifier: h.verifier})
	mailserver.New(mailserver.Config{
		Keyring: h.keys, Identity: own, Store: h.mail, Known: known, Resolver: resolver, Client: client, Verifier: h.verifier,
		Courier: courier.New(courier.Config{
			Identity: own, Client: client, Known: known, Tasks: h.mail.Tasks, Outgoing: h.mail.Outgoing, Deliveries: h.mail.Deliveries,
			Incoming: h.mail.Incoming, Verifier: h.verifier, Rand: rand.Reader,
		}),
		Rand: rand.Reader, Accounts: mailserver.Open,
		Limits: mailserver.Limits{
			Bytes: -1, Messages: -1, SubmitsPerSecond: -1, AlertsPerSecond: -1, CallsPerSecond: -1, NetworkPerSecond: -1, Watchers: -1, WatchersPerAddress: -1,
			PrefetchJitter: 24 * time.Hour,
		},
		Live: relay.Limits{BytesPerSecond: -1, Connections: -1, ConnectionsPerAddress: -1},
	}).Mount(h.server)
	h.serve()
	return h, nil
}

// openTracker makes a tracker that does not limit anybody's rate.
func openTracker(dir string) (h *Host, err error) {
	if h, err = newHost(message.RoleTracker); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.db, err = sqlite.File(filepath.Join(dir, "data.sqlite")); err != nil {
		return nil, err
	}
	if h.tracker, h.data, err = sqlite.OpenTracker(everyone(), h.db); err != nil {
		return nil, err
	}
	tracker.New(tracker.Config{
		Keyring: h.keys, Identity: func() *message.Identity { return h.identity }, Store: h.tracker, Verifier: h.verifier, Rand: rand.Reader,
		Limits: tracker.Limits{PublishPerMinute: -1, ServerPerMinute: -1, NetworkPerSecond: -1, LookupsPerSecond: -1},
	}).Mount(h.server)
	h.serve()
	return h, nil
}

// A person is somebody with a device of their own: a client with its own
// connections.
type person struct {
	keys     *message.Keyring
	identity *message.Identity
	client   *rpc.Client
	peer     *rpc.Peer
}

// asker is a client of h, in the name of k or of nobody.
func (h *Host) asker(k *message.Keyring) (*rpc.Client, *rpc.Peer, error) {
	c := rpc.NewClient(rpc.Config{Dial: loopback(), Verifier: crypto.Single{}, Keyring: k})
	p, err := c.Peer(h.identity)
	return c, p, err
}

// resident makes somebody who lives on h: joined through the front door, with a
// route that names h.
func (h *Host) resident(int) (*person, error) {
	k, err := keyring(message.RoleUser)
	if err != nil {
		return nil, err
	}
	p := &person{keys: k}
	if p.client, p.peer, err = h.asker(k); err != nil {
		return nil, err
	}
	res, err := p.peer.Mailbox().Join(everyone(), &wirev1.JoinRequest{Identity: &wirev1.Identity{Cards: k.Chain.Signed(0)}})
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	ticket, err := message.ParseTicket(res.GetTicket())
	if err != nil {
		return nil, err
	}
	services := []message.Service{{Purpose: message.PurposeAny, Server: h.identity.Address(), Ticket: ticket}}
	if p.identity, err = routed(k, message.Route{Services: services}); err != nil {
		return nil, err
	}
	if _, err := p.peer.Mailbox().Announce(everyone(), &wirev1.AnnounceRequest{Identity: p.identity.Wire()}); err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	return p, nil
}

// residents makes n of them.
func (h *Host) residents(n int) ([]*person, error) {
	var made stock[*person]
	if err := made.add(n, h.resident); err != nil {
		return nil, err
	}
	return made.take(n)
}

// leave closes the connections of people.
func leave(people []*person) {
	for _, p := range people {
		p.client.Close()
	}
}

// refused is the first refusal among results.
func refused(all ...*wirev1.Refusal) error {
	for _, r := range all {
		if err := message.OpenRefusal(r); err != nil {
			return err
		}
	}
	return nil
}

// errShort says that a page has not what was put there.
var errShort = errors.New("fewer than there should be")

// strangers are n clients of h that say nothing about themselves.
func (h *Host) strangers(n int) ([]*person, error) {
	out := make([]*person, n)
	for i := range out {
		c, p, err := h.asker(nil)
		if err != nil {
			return nil, err
		}
		out[i] = &person{client: c, peer: p}
	}
	return out, nil
}

// hosted is the services of somebody whom a server hosts.
func hosted(server *message.Keyring, user message.Address) ([]message.Service, error) {
	ticket, err := message.SignTicket(server.Address(), user, time.Now(), time.Now().Add(365*24*time.Hour), server.Signer)
	if err != nil {
		return nil, err
	}
	return []message.Service{{Purpose: message.PurposeAny, Server: server.Address(), Ticket: ticket}}, nil
}
