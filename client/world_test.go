package client_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"airdispatch/client"
	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/internal/town"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/home"
	"airdispatch/store/memory"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// world is a network in which a test can break single connections and speak
// with everybody's keys, which a town does not allow.
type world struct {
	t        *testing.T
	network  *town.Network
	trackers []message.Reference
	server   message.Reference
}

func newWorld(t *testing.T, trackers ...string) *world {
	t.Helper()
	w := &world{t: t, network: town.NewNetwork()}
	for _, name := range trackers {
		w.tracker(name)
	}
	w.server = w.mail("mail.test")
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place makes an identity with a certificate and a listener.
func (w *world) place(role message.Role, name string) (*message.Keyring, *message.Identity, *rpc.Server) {
	w.t.Helper()
	k := keyringOf(w.t, role)
	now := time.Now()
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{name}, now.Add(-time.Hour), now.Add(time.Hour))
	must(w.t, err)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	must(w.t, err)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	must(w.t, err)
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(24 * time.Hour), Hosts: []message.Host{{URL: "https://" + name, Pin: crypto.Pin(leaf)}},
	}, k.Chain, k.Signer)
	must(w.t, err)
	l, err := w.network.Listen(name)
	must(w.t, err)
	return k, &message.Identity{Chain: k.Chain, Route: route}, rpc.NewServer(rpc.ServerConfig{Listener: l, TLS: rpc.ServerTLS(cert)})
}

func keyringOf(t *testing.T, role message.Role) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	must(t, err)
	k, err := message.NewKeyring(role, paper, time.Now(), rand.Reader)
	must(t, err)
	return k
}

// run runs until the test ends.
func (w *world) run(work ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, f := range work {
		group.Go(func() {
			if err := f(ctx); err != nil {
				w.t.Error(err)
			}
		})
	}
	w.t.Cleanup(func() {
		cancel()
		group.Wait()
	})
}

func (w *world) tracker(name string) {
	k, identity, rs := w.place(message.RoleTracker, name)
	tracker.New(tracker.Config{
		Keyring: k, Identity: func() *message.Identity { return identity }, Store: memory.NewTracker(), Verifier: crypto.Single{}, Rand: rand.Reader,
	}).Mount(rs)
	w.run(rs.Serve)
	w.trackers = append(w.trackers, message.Reference{URL: "https://" + name, Address: k.Address()})
}

// mail is a mail server.
func (w *world) mail(name string) message.Reference {
	k, identity, rs := w.place(message.RoleServer, name)
	own := func() *message.Identity { return identity }
	kept := memory.NewMail(memory.NewBlobs())
	known := store.NewKnown(kept.Identities, crypto.Single{})
	net := rpc.NewClient(rpc.Config{Dial: w.network.Dialer(name), Verifier: crypto.Single{}, Keyring: k})
	w.t.Cleanup(net.Close)
	resolver := tracker.NewResolver(tracker.ResolverConfig{Client: net, Trackers: w.trackers, Known: known, Verifier: crypto.Single{}})
	c := courier.New(courier.Config{
		Identity: own, Client: net, Resolver: mailserver.Directory(resolver), Known: known, Tasks: kept.Tasks, Outgoing: kept.Outgoing,
		Deliveries: kept.Deliveries, Incoming: kept.Incoming, Verifier: crypto.Single{}, Rand: rand.Reader,
	})
	m := mailserver.New(mailserver.Config{
		Keyring: k, Identity: own, Store: kept, Known: known, Resolver: resolver, Client: net, Courier: c, Verifier: crypto.Single{}, Rand: rand.Reader,
		Accounts: mailserver.Open,
	})
	m.Mount(rs)
	w.run(rs.Serve, c.Run, m.Run)
	must(w.t, m.Publish(w.t.Context()))
	return message.Reference{URL: "https://" + name, Address: k.Address()}
}

// open opens a client whose connections a test can break.
func (w *world) open(name, dir string, k *message.Keyring) (*client.Client, *breaker) {
	w.t.Helper()
	b := &breaker{dial: w.network.Dialer(name)}
	c, err := client.Open(w.t.Context(), client.Config{Home: dir, Keyring: k, Rand: rand.Reader, RPC: rpc.Config{Dial: b.Dial}, Trackers: w.trackers})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, c.Close()) })
	return c, b
}

// resident opens a client and registers it.
func (w *world) resident(name string) (*client.Client, *message.Keyring, *breaker) {
	w.t.Helper()
	k := keyringOf(w.t, message.RoleUser)
	c, b := w.open(name, w.t.TempDir(), k)
	_, err := c.Register(w.t.Context(), client.Registration{Server: w.server, Trackers: w.trackers})
	must(w.t, err)
	return c, k, b
}

// breaker breaks connections after so many bytes in either direction.
type breaker struct {
	dial rpc.DialFunc
	// after is how many bytes the next connections carry; 0 is without end. left
	// is how many connections will break.
	after, left, broke atomic.Int64
}

// Dial connects, to a connection that may break.
func (b *breaker) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := b.dial(ctx, network, address)
	if err != nil || b.left.Load() <= 0 {
		return c, err
	}
	b.left.Add(-1)
	f := &fragile{Conn: c, b: b}
	f.rest.Store(b.after.Load())
	return f, nil
}

// fragile is a connection that breaks.
type fragile struct {
	net.Conn
	b    *breaker
	rest atomic.Int64
}

func (f *fragile) spend(n int) {
	if left := f.rest.Add(-int64(n)); left <= 0 && left+int64(n) > 0 {
		f.b.broke.Add(1)
		_ = f.Conn.Close() // that is what is wanted
	}
}

// Read reads until it breaks.
func (f *fragile) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.spend(n)
	return n, err
}

// Write writes until it breaks.
func (f *fragile) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p)
	f.spend(n)
	return n, err
}

func TestTransfersOverBrokenConnections(t *testing.T) {
	w := newWorld(t, "hill.test")
	_, bob, _ := w.resident("bob")
	dir := t.TempDir()
	ann := keyringOf(t, message.RoleUser)
	first, _ := w.open("ann", dir, ann)
	_, err := first.Register(t.Context(), client.Registration{Server: w.server, Trackers: w.trackers})
	must(t, err)

	// Connections that carry less than the attachment: it arrives all the same.
	path, content := someFile(t, "f.bin", 6*crypto.PieceSize+123)
	up, broken := w.open("ann", dir, ann)
	broken.after.Store(2 * crypto.PieceSize)
	broken.left.Store(3)
	sent, err := up.Send(t.Context(), client.Draft{To: []string{bob.Address().String()}, Body: "b", Attach: []client.File{{Path: path}}})
	must(t, err)
	if broken.broke.Load() == 0 {
		t.Error("no connection broke")
	}

	ref := sent[0].Head.Ref()
	homeless := t.TempDir()
	down, _ := w.open("ann", homeless, ann)
	_, err = down.Register(t.Context(), client.Registration{Server: w.server, Trackers: w.trackers})
	must(t, err)
	_, err = down.Read(t.Context(), ref, client.ReadOptions{})
	must(t, err)
	fresh, broken := w.open("ann", homeless, ann)
	a, err := fresh.Attachment(t.Context(), ref, "")
	must(t, err)
	broken.after.Store(2 * crypto.PieceSize)
	broken.left.Store(3)
	var got collected
	must(t, fresh.Download(t.Context(), ref, a, &got))
	if string(got.b) != string(content) {
		t.Errorf("%d bytes arrived, not %d", len(got.b), len(content))
	}
	if broken.broke.Load() == 0 {
		t.Error("no connection broke")
	}
	full := errors.New("disk full")
	if err := fresh.Download(t.Context(), ref, a, &collected{fail: full}); !errors.Is(err, full) {
		t.Error("a full disk: ", err)
	}
}

// collected is what was written, until it fails.
type collected struct {
	b    []byte
	fail error
}

// Write collects.
func (c *collected) Write(p []byte) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	c.b = append(c.b, p...)
	return len(p), nil
}

// TestRenewal: a ticket that is a month old is renewed with the next look into
// the inbox, and the route with it.
func TestRenewal(t *testing.T) {
	w := newWorld(t, "hill.test")
	dir, k := t.TempDir(), keyringOf(t, message.RoleUser)
	ann, _ := w.open("ann", dir, k)
	done, err := ann.Register(t.Context(), client.Registration{Server: w.server, Trackers: w.trackers})
	must(t, err)
	memory, err := home.Open(t.Context(), dir)
	must(t, err)
	defer memory.Close()
	old := done.Account
	old.Renewed = time.Now().Add(-31 * 24 * time.Hour)
	old.Server.URL = "https://before.test" // where the server was then
	must(t, memory.PutAccount(t.Context(), old))
	before, err := ann.Lookup(t.Context(), k.Address().String())
	must(t, err)
	for range 2 {
		_, err = ann.Sync(t.Context())
		must(t, err)
	}
	after, err := ann.Lookup(t.Context(), k.Address().String())
	must(t, err)
	if was, is := before.Found.Subject.Route.Pair.Route, after.Found.Subject.Route.Pair.Route; is != was+1 {
		t.Errorf("route %d became %d", was, is)
	}
	a, err := ann.Account(t.Context())
	if err != nil || time.Since(a.Renewed) > time.Hour || a.Joined.IsZero() || !a.Joined.Equal(old.Joined.Truncate(time.Millisecond)) {
		t.Errorf("%+v, %v", a, err)
	}
	if a.Server.URL != w.server.URL {
		t.Errorf("the server is at %s, want %s", a.Server.URL, w.server.URL)
	}
}

// TestDisagreement: two trackers know different cards of one person. Nothing is
// sealed to either before somebody says which.
func TestDisagreement(t *testing.T) {
	w := newWorld(t, "hill.test", "dale.test")
	ann, _, _ := w.resident("ann")
	_, bob, _ := w.resident("bob")
	head := bob.Chain.Head()
	fork := func(at message.Reference) {
		t.Helper()
		next, err := message.SignCard(message.CardDraft{
			Rotation: head.Rotation, Signers: head.Signers, Boxes: []crypto.Box{newBox(t)}, Time: time.Now(), Role: message.RoleUser,
		}, head, bob.Rotation[0])
		must(t, err)
		w.publish(at, bob, next)
	}
	to := []string{bob.Address().String()}
	_, err := ann.Send(t.Context(), client.Draft{To: to, Body: "before"})
	must(t, err)
	fork(w.trackers[0])
	fork(w.trackers[1])
	_, err = ann.Send(t.Context(), client.Draft{To: to, Body: "meanwhile"})
	kept, ok := errors.AsType[*client.DraftError](err)
	if !ok || !errors.Is(err, message.Disagreement) {
		t.Fatal("sealed to a disputed address: ", err)
	}
	p, err := ann.Lookup(t.Context(), to[0])
	if err != nil || !p.Found.Disagreement {
		t.Fatalf("%+v, %v", p, err)
	}
	accepted, err := ann.Accept(t.Context(), to[0])
	if err != nil || accepted != bob.Address() {
		t.Fatal(accepted, err)
	}
	if _, err := ann.SendDraft(t.Context(), kept.ID); err != nil {
		t.Fatal("after a person has decided: ", err)
	}
}

func newBox(t *testing.T) crypto.Box {
	t.Helper()
	k, err := crypto.NewBoxKey(crypto.BoxHybrid, rand.Reader)
	must(t, err)
	return k.Public()
}

// publish brings another card of somebody to one tracker, with the route signed
// anew under it.
func (w *world) publish(at message.Reference, k *message.Keyring, card *wirev1.Signed) {
	w.t.Helper()
	net := rpc.NewClient(rpc.Config{Dial: w.network.Dialer("thief"), Verifier: crypto.Single{}, Keyring: k})
	defer net.Close()
	peer, _, err := net.Open(w.t.Context(), w.server)
	must(w.t, err)
	joined, err := peer.Mailbox().Join(w.t.Context(), &wirev1.JoinRequest{Identity: &wirev1.Identity{Cards: k.Chain.Signed(0)}})
	must(w.t, err)
	ticket, err := message.ParseTicket(joined.GetTicket())
	must(w.t, err)
	chain, err := k.Chain.Extend(crypto.Single{}, []*wirev1.Signed{card})
	must(w.t, err)
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: time.Now(), Expires: time.Now().Add(time.Hour),
		Services: []message.Service{{Purpose: message.PurposeAny, Server: w.server.Address, Ticket: ticket}},
	}, chain, k.Signer)
	must(w.t, err)
	hill, _, err := net.Open(w.t.Context(), at)
	must(w.t, err)
	resp, err := hill.Tracker().Publish(w.t.Context(), &wirev1.PublishRequest{Publications: []*wirev1.Publication{{
		Subject: (&message.Identity{Chain: chain, Route: route}).Wire(), Servers: []*wirev1.Identity{joined.GetServer()},
	}}})
	must(w.t, err)
	must(w.t, message.OpenRefusal(resp.GetResults()[0].GetRefusal()))
}
