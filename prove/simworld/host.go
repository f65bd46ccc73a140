package simworld

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/prove/simnet"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/memory"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Host is a tracker or a mail server.
type Host struct {
	world    *World
	name     string
	role     message.Role
	place    *simnet.Place
	rand     *chance
	keyring  *message.Keyring
	leaf     *x509.Certificate
	identity *message.Identity

	kept    *keep
	records *store.Tracker

	// up says that the host runs; running is what runs in its present life.
	up      bool
	running *sync.WaitGroup
	crashes int
}

// host builds a host and starts it.
func (w *World) host(name string, role message.Role) (*Host, error) {
	n := len(w.trackers) + len(w.servers) + 1
	h := &Host{world: w, name: name, role: role, place: w.bus.Place(name+".example", ip(n)), rand: &chance{seed: w.Seed, who: name}}
	var err error
	if h.keyring, _, err = newKeyring(role, h.rand); err != nil {
		return nil, err
	}
	if err := h.certify(); err != nil {
		return nil, err
	}
	if role == message.RoleTracker {
		h.records = memory.NewTracker()
		w.trackers = append(w.trackers, h)
	} else {
		h.kept = w.Shelf.keep()
		w.servers = append(w.servers, h)
	}
	return h, h.start()
}

// newKeyring makes an identity, and its paper key.
func newKeyring(role message.Role, rand *chance) (*message.Keyring, crypto.Secret, error) {
	paper, err := crypto.RandomBytes(rand, 32)
	if err != nil {
		return nil, nil, err
	}
	k, err := message.NewKeyring(role, paper, time.Now(), rand)
	return k, paper, err
}

// certify makes the host's certificate and the route that pins it.
func (h *Host) certify() error {
	now := time.Now()
	certPEM, keyPEM, err := crypto.NewCertificate(h.rand, []string{h.place.Name()}, now.Add(-time.Hour), now.Add(10*365*24*time.Hour))
	if err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return err
	}
	if h.leaf, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
		return err
	}
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(90 * 24 * time.Hour),
		Hosts: []message.Host{{URL: "https://" + h.place.Name(), Pin: crypto.Pin(h.leaf)}},
	}, h.keyring.Chain, h.keyring.Signer)
	if err != nil {
		return err
	}
	h.identity, err = message.OpenIdentity(crypto.Single{}, &wirev1.Identity{Cards: h.keyring.Chain.Signed(0), Route: route.Signed}, nil)
	return err
}

// reference is where and who the host is.
func (h *Host) reference() message.Reference {
	return message.Reference{URL: "https://" + h.place.Name(), Address: h.keyring.Address()}
}

// references are all trackers.
func (w *World) references() []message.Reference {
	var refs []message.Reference
	for _, t := range w.trackers {
		refs = append(refs, t.reference())
	}
	return refs
}

// noDial is for clients whose carrier takes the dialer's place.
func noDial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("simworld: nobody dials here")
}

// start has the host answer and do its work, for one life of its place.
func (h *Host) start() error {
	s := rpc.NewServer(rpc.ServerConfig{Log: h.world.log})
	life := h.place.Life()
	h.up, h.running = true, &sync.WaitGroup{}
	if h.role == message.RoleTracker {
		h.tracker(h.records).Mount(s)
		h.place.Start(h.world.lie(h, s), h.leaf)
		return nil
	}
	if err := h.kept.open(h.world.ctx); err != nil {
		return err
	}
	m, c, done := h.mailServer(h.kept.mail)
	m.Mount(s)
	h.place.Start(h.world.lie(h, s), h.leaf)
	h.running.Go(func() {
		h.place.Clock.Wear()
		defer done()
		var all sync.WaitGroup
		all.Go(func() { h.ended(m.Run(life)) })
		all.Go(func() { h.ended(c.Run(life)) })
		all.Go(func() { h.publish(life, m) })
		all.Wait()
	})
	return nil
}

// ended is for work that has no end but that of the life.
func (h *Host) ended(err error) {
	if err != nil {
		h.world.blame("%s: its work ended: %v", h.name, err)
	}
}

// publish shows the server to the trackers, as its program does when it starts.
func (h *Host) publish(life context.Context, m *mailserver.Server) {
	for life.Err() == nil && m.Publish(life) != nil {
		select {
		case <-time.After(30 * time.Second):
		case <-life.Done():
		}
	}
}

// tracker makes the room of a tracker.
func (h *Host) tracker(records *store.Tracker) *tracker.Server {
	return tracker.New(tracker.Config{
		Keyring: h.keyring, Identity: func() *message.Identity { return h.identity }, Store: records, Verifier: crypto.NewVerifier(),
		Rand: h.rand, Log: h.world.log.With("host", h.name),
	})
}

// secondTracker is a tracker under the same name that begins with nothing.
func (h *Host) secondTracker() http.Handler {
	s := rpc.NewServer(rpc.ServerConfig{Log: h.world.log})
	h.tracker(memory.NewTracker()).Mount(s)
	return s
}

// secondServer is a mail server under the same name on another store, which brings
// nothing to anybody.
func (h *Host) secondServer(k *keep) http.Handler {
	s := rpc.NewServer(rpc.ServerConfig{Log: h.world.log})
	m, _, done := h.mailServer(k.mail)
	m.Mount(s)
	h.world.closing = append(h.world.closing, func() {
		done()
		_ = k.close() // nobody is promised anything by it
	})
	return s
}

// mailServer makes the rooms of a mail server.
func (h *Host) mailServer(mail *store.Mail) (*mailserver.Server, *courier.Courier, func()) {
	verifier, log := crypto.NewVerifier(), h.world.log.With("host", h.name)
	known := store.NewKnown(mail.Identities, verifier)
	client := rpc.NewClient(rpc.Config{Dial: noDial, Carrier: h.place.Carrier(), Verifier: verifier, Keyring: h.keyring})
	resolver := tracker.NewResolver(tracker.ResolverConfig{Client: client, Trackers: h.world.references(), Known: known, Verifier: verifier, Log: log})
	own := func() *message.Identity { return h.identity }
	c := courier.New(courier.Config{
		Identity: own, Client: client, Resolver: mailserver.Directory(resolver), Known: known, Tasks: mail.Tasks, Outgoing: mail.Outgoing,
		Deliveries: mail.Deliveries, Incoming: mail.Incoming, Verifier: verifier, Rand: h.rand, Log: log,
	})
	m := mailserver.New(mailserver.Config{
		Keyring: h.keyring, Identity: own, Store: mail, Known: known, Resolver: resolver, Client: client, Courier: c, Verifier: verifier,
		Rand: h.rand, Accounts: mailserver.Open, Log: log, Limits: mailserver.Limits{PrefetchJitter: 5 * time.Second},
	})
	return m, c, client.Close
}

// crash takes the power from the host: what its disk had not synced is lost.
func (h *Host) crash() {
	w := h.world
	h.up = false
	h.place.Crash()
	if h.kept == nil {
		return
	}
	old, running := h.kept, h.running
	h.crashes++
	r := w.dice(fmt.Sprintf("%s loss %d", h.name, h.crashes))
	h.kept = &keep{shelf: old.shelf, disk: old.disk.Loss(r), blobs: old.blobs}
	w.ending.Go(func() {
		running.Wait()
		_ = old.close() // without power nothing closes in order
	})
}

// halt waits for what ran in a life that has ended, and closes what it kept.
func (h *Host) halt() {
	h.running.Wait()
	if h.kept == nil {
		return
	}
	if err := h.kept.close(); err != nil {
		h.world.blame("%s: the store does not close: %v", h.name, err)
	}
}
