package mailserver_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/internal/town"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/blobfile"
	"airdispatch/store/memory"
	"airdispatch/store/sqlite"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// world is a network of pipes with one tracker. Everything else is real: TLS,
// Connect, the tracker, the stores.
type world struct {
	t       testing.TB
	network *town.Network
	tracker message.Reference
	ctx     context.Context
	cancel  context.CancelFunc
	group   sync.WaitGroup
	keep    func(testing.TB) *store.Mail
}

// newWorld builds a world with its tracker, whose servers keep in memory. stop
// ends it and waits.
func newWorld(t testing.TB) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &world{t: t, network: town.NewNetwork(), keep: inMemory, ctx: ctx, cancel: cancel}
	keyring := newKeyring(t, message.RoleTracker)
	identity, cert := w.certify(keyring, "tracker.test")
	kept := memory.NewTracker()
	rs := w.listen("tracker.test", cert)
	tracker.New(tracker.Config{
		Keyring: keyring, Identity: func() *message.Identity { return identity }, Store: kept, Verifier: crypto.NewVerifier(), Rand: rand.Reader,
		Limits: tracker.Limits{PublishPerMinute: -1, NetworkPerSecond: -1, LookupsPerSecond: -1},
	}).Mount(rs)
	w.run(ctx, rs.Serve)
	w.tracker = message.Reference{URL: "https://tracker.test", Address: keyring.Address()}
	return w
}

// stop ends the world.
func (w *world) stop() {
	w.cancel()
	w.group.Wait()
}

func (w *world) run(ctx context.Context, f func(context.Context) error) {
	w.group.Go(func() {
		if err := f(ctx); err != nil {
			w.t.Errorf("run: %v", err)
		}
	})
}

func (w *world) listen(place string, cert tls.Certificate) *rpc.Server {
	w.t.Helper()
	l, err := w.network.Listen(place)
	if err != nil {
		w.t.Fatal(err)
	}
	return rpc.NewServer(rpc.ServerConfig{Listener: l, TLS: rpc.ServerTLS(cert), Log: testLog(w.t)})
}

// certify makes a certificate for a place and the route that pins it.
func (w *world) certify(k *message.Keyring, place string) (*message.Identity, tls.Certificate) {
	w.t.Helper()
	now := time.Now()
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{place}, now.Add(-time.Hour), now.Add(3650*24*time.Hour))
	must(w.t, err)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	must(w.t, err)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	must(w.t, err)
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(300 * 24 * time.Hour),
		Hosts: []message.Host{{URL: "https://" + place, Pin: crypto.Pin(leaf)}},
	}, k.Chain, k.Signer)
	must(w.t, err)
	i, err := message.OpenIdentity(crypto.Single{}, &wirev1.Identity{Cards: k.Chain.Signed(0), Route: route.Signed}, nil)
	must(w.t, err)
	return i, cert
}

// host is a mail server.
type host struct {
	w        *world
	place    string
	keyring  *message.Keyring
	identity *message.Identity
	cert     tls.Certificate
	mail     *store.Mail
	known    *store.Known
	client   *rpc.Client
	resolver *tracker.Resolver
	server   *mailserver.Server
	change   []func(*mailserver.Config, *courier.Config)
	halt     func()
}

// host builds a mail server and starts it.
func (w *world) host(name string, change ...func(*mailserver.Config, *courier.Config)) *host {
	w.t.Helper()
	h := &host{w: w, place: name + ".test", keyring: newKeyring(w.t, message.RoleServer), change: change}
	h.identity, h.cert = w.certify(h.keyring, h.place)
	h.mail = w.keep(w.t)
	h.start()
	return h
}

// start starts the server on what it has kept.
func (h *host) start() {
	w := h.w
	w.t.Helper()
	verifier := crypto.NewVerifier()
	h.known = store.NewKnown(h.mail.Identities, verifier)
	h.client = rpc.NewClient(rpc.Config{Dial: w.network.Dialer(h.place), Verifier: verifier, Keyring: h.keyring})
	h.resolver = tracker.NewResolver(tracker.ResolverConfig{Client: h.client, Trackers: []message.Reference{w.tracker}, Known: h.known, Verifier: verifier})
	own := func() *message.Identity { return h.identity }
	cc := courier.Config{
		Identity: own, Client: h.client, Resolver: mailserver.Directory(h.resolver), Known: h.known, Tasks: h.mail.Tasks, Outgoing: h.mail.Outgoing,
		Deliveries: h.mail.Deliveries, Incoming: h.mail.Incoming, Verifier: verifier, Rand: rand.Reader, Log: testLog(w.t),
	}
	mc := mailserver.Config{
		Keyring: h.keyring, Identity: own, Store: h.mail, Known: h.known, Resolver: h.resolver, Client: h.client, Verifier: verifier,
		Rand: rand.Reader, Accounts: mailserver.Open, Log: testLog(w.t),
	}
	for _, f := range h.change {
		f(&mc, &cc)
	}
	mc.Courier = courier.New(cc)
	h.server = mailserver.New(mc)
	rs := w.listen(h.place, h.cert)
	h.server.Mount(rs)
	ctx, cancel := context.WithCancel(w.ctx)
	var group sync.WaitGroup
	for _, f := range []func(context.Context) error{rs.Serve, h.server.Run, mc.Courier.Run} {
		group.Go(func() {
			if err := f(ctx); err != nil {
				w.t.Errorf("%s: %v", h.place, err)
			}
		})
	}
	client := h.client
	var once sync.Once
	halt := func() {
		once.Do(func() {
			cancel()
			group.Wait()
			client.Close()
		})
	}
	// Each start has its own end: in a bubble, two who wait for one lock would
	// keep time from passing.
	h.halt = halt
	w.group.Go(func() { <-w.ctx.Done(); halt() })
	must(w.t, h.server.Publish(w.ctx))
}

func (h *host) reference() message.Reference {
	return message.Reference{URL: "https://" + h.place, Address: h.keyring.Address()}
}

// person is somebody with an account, or none.
type person struct {
	w        *world
	t        testing.TB
	keyring  *message.Keyring
	identity *message.Identity
	client   *rpc.Client
	home     *host
	peer     *rpc.Peer
}

// stranger is a person without an account.
func (w *world) stranger(name string) *person {
	w.t.Helper()
	p := &person{w: w, t: w.t, keyring: newKeyring(w.t, message.RoleUser)}
	p.client = rpc.NewClient(rpc.Config{Dial: w.network.Dialer(name), Verifier: crypto.Single{}, Keyring: p.keyring})
	w.group.Go(func() { <-w.ctx.Done(); p.client.Close() })
	var err error
	p.identity, err = message.OpenIdentity(crypto.Single{}, &wirev1.Identity{Cards: p.keyring.Chain.Signed(0)}, nil)
	must(w.t, err)
	return p
}

// person joins a server and publishes the route there.
func (w *world) person(name string, h *host) *person {
	w.t.Helper()
	p := w.stranger(name)
	p.join(h, 1)
	return p
}

// join moves p to a server, with the n-th route.
func (p *person) join(h *host, n uint64) {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	p.home = h
	peer, _, err := p.client.Open(ctx, h.reference())
	must(p.t, err)
	p.peer = peer
	joined, err := peer.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: &wirev1.Identity{Cards: p.keyring.Chain.Signed(0)}})
	must(p.t, err)
	ticket, err := message.ParseTicket(joined.GetTicket())
	must(p.t, err)
	p.route(n, message.Service{Purpose: message.PurposeAny, Server: h.keyring.Address(), Ticket: ticket})
	_, err = p.peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: p.identity.Wire(), Trackers: []string{p.w.tracker.String()}})
	must(p.t, err)
}

// route signs and publishes p's route.
func (p *person) route(n uint64, services ...message.Service) {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	now := time.Now()
	route, err := message.SignRoute(message.Route{Pair: message.Pair{Route: n}, Time: now, Expires: now.Add(300 * 24 * time.Hour), Services: services}, p.keyring.Chain, p.keyring.Signer)
	must(p.t, err)
	p.identity, err = message.OpenIdentity(crypto.Single{}, &wirev1.Identity{Cards: p.keyring.Chain.Signed(0), Route: route.Signed}, nil)
	must(p.t, err)
	tp, _, err := p.client.Open(ctx, p.w.tracker)
	must(p.t, err)
	resp, err := tp.Tracker().Publish(ctx, &wirev1.PublishRequest{Publications: []*wirev1.Publication{{Subject: p.identity.Wire(), Servers: []*wirev1.Identity{p.home.identity.Wire()}}}})
	must(p.t, err)
	must(p.t, message.OpenRefusal(resp.GetResults()[0].GetRefusal()))
}

func (p *person) address() message.Address { return p.keyring.Address() }

func (p *person) timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.w.ctx, time.Minute)
}

// letter is a private message to some, or with nobody a public one.
func (p *person) letter(text string, to ...*person) *message.Sealed {
	return p.draft(message.Draft{Terms: message.Revisable}, text, to...)
}

// draft completes and seals a draft.
func (p *person) draft(d message.Draft, text string, to ...*person) *message.Sealed {
	p.t.Helper()
	d.Author, d.Time, d.Audience = p.keyring.Chain, time.Now(), message.Private
	if len(to) == 0 && (d.Prev == nil || d.Prev.Audience == message.Public) {
		d.Audience = message.Public
	}
	for _, r := range to {
		d.Readers = append(d.Readers, r.keyring.Chain)
	}
	if d.MID.IsZero() {
		mid, err := message.NewMID(d.Time, rand.Reader)
		must(p.t, err)
		d.MID = mid
	}
	if text != "" {
		d.Content = &message.Content{}
		d.Content.Set(message.TypeText, []byte(text))
	}
	s, err := message.Seal(d, p.keyring.Signer, rand.Reader)
	must(p.t, err)
	return s
}

// edit is the next version; recall the last.
func (p *person) edit(prev *message.Head, text string, to ...*person) *message.Sealed {
	return p.draft(message.Draft{Prev: prev, Terms: message.Revisable}, text, to...)
}

func (p *person) recall(prev *message.Head) *message.Sealed {
	return p.draft(message.Draft{Prev: prev}, "")
}

// trySend submits and returns the result.
func (p *person) trySend(s *message.Sealed, blobs ...*wirev1.BlobRef) (*wirev1.SubmitResult, error) {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	resp, err := p.peer.Mailbox().Submit(ctx, &wirev1.SubmitRequest{Submissions: []*wirev1.Submission{submission(s, blobs...)}})
	if err != nil {
		return nil, err
	}
	r := resp.GetResults()[0]
	return r, message.OpenRefusal(r.GetRefusal())
}

func submission(s *message.Sealed, blobs ...*wirev1.BlobRef) *wirev1.Submission {
	return &wirev1.Submission{Head: s.Head.Signed, Slots: s.Slots, Payload: s.Payload, Blobs: blobs}
}

// send submits.
func (p *person) send(s *message.Sealed, blobs ...*wirev1.BlobRef) *message.Head {
	p.t.Helper()
	r, err := p.trySend(s, blobs...)
	must(p.t, err)
	receipt, err := message.OpenReceipt(crypto.Single{}, p.home.keyring.Chain, r.GetReceipt())
	must(p.t, err)
	if receipt.ID != s.Head.ID || receipt.Kind != message.ReceiptSubmitted {
		p.t.Fatalf("a receipt for something else: %+v", receipt)
	}
	return s.Head
}

// inbox is all entries.
func (p *person) inbox() []*wirev1.Entry {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	resp, err := p.peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{Limit: 1000})
	must(p.t, err)
	return resp.GetEntries()
}

// entry is the entry of a message, or nil.
func (p *person) entry(ref message.Ref) *wirev1.Entry {
	p.t.Helper()
	for _, e := range p.inbox() {
		if string(e.GetFrom()) == string(ref.From.Bytes()) && string(e.GetMid()) == string(ref.MID[:]) {
			return e
		}
	}
	return nil
}

// awaits waits until a message shows a version.
func (p *person) awaits(h *message.Head) *wirev1.Entry {
	p.t.Helper()
	e := p.patiently(h)
	if e == nil {
		p.t.Fatal("the alert never came")
	}
	return e
}

// patiently waits until a message shows a version, and gives up with nil.
func (p *person) patiently(h *message.Head) *wirev1.Entry {
	p.t.Helper()
	var e *wirev1.Entry
	p.w.looks(func() bool {
		e = p.entry(h.Ref())
		c, err := message.ParseHead(e.GetHead())
		if err != nil || c.ID() != h.ID {
			e = nil
		}
		return e != nil
	})
	return e
}

// fetch pulls a message through p's server.
func (p *person) fetch(ref message.Ref, after uint64) (*wirev1.Pulled, error) {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	resp, err := p.peer.Mailbox().Fetch(ctx, &wirev1.FetchRequest{Items: []*wirev1.FetchItem{{From: ref.From.Bytes(), Mid: ref.MID.Bytes(), AfterVersion: after}}})
	if err != nil {
		return nil, err
	}
	r := resp.GetResults()[0]
	return r, message.OpenRefusal(r.GetRefusal())
}

// reads fetches a message and opens its newest version.
func (p *person) reads(author *person, ref message.Ref) string {
	p.t.Helper()
	r, err := p.fetch(ref, 0)
	must(p.t, err)
	return p.open(author, r)
}

// open verifies and decrypts what was pulled.
func (p *person) open(author *person, r *wirev1.Pulled) string {
	p.t.Helper()
	claim, err := message.ParseHead(r.GetHeads()[len(r.GetHeads())-1])
	must(p.t, err)
	h, err := claim.VerifyKept(verifier, author.keyring.Chain)
	must(p.t, err)
	l, err := message.Open(h, r.GetSlot(), p.keyring.Boxes, r.GetPayload())
	must(p.t, err)
	if l.Content == nil {
		return "(recalled)"
	}
	return l.Content.Text(message.TypeText)
}

// status is the delivery of a message of p's to one recipient.
func (p *person) status(mid message.MID, to *person) *wirev1.Delivery {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	resp, err := p.peer.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: mid.Bytes()})
	must(p.t, err)
	for _, d := range resp.GetDeliveries() {
		if string(d.GetTo()) == string(to.address().Bytes()) {
			return d
		}
	}
	return nil
}

// until looks until something is there.
func (w *world) until(what string, there func() bool) {
	w.t.Helper()
	if !w.looks(there) {
		w.t.Fatalf("%s never came", what)
	}
}

// looks looks again and again, and reports whether it was there in time.
func (w *world) looks(there func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
	return true
}

// refused demands a code.
func refused(t testing.TB, err error, want message.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKeyring(t testing.TB, role message.Role) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	must(t, err)
	k, err := message.NewKeyring(role, paper, time.Now(), rand.Reader)
	must(t, err)
	return k
}

func testLog(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// inMemory and inFiles are where a mail server keeps what it keeps.
func inMemory(testing.TB) *store.Mail { return memory.NewMail(memory.NewBlobs()) }

func inFiles(t testing.TB) *store.Mail {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	blobs, err := blobfile.Open(root)
	must(t, err)
	db, err := sqlite.File(t.TempDir() + "/data.db")
	must(t, err)
	m, d, err := sqlite.OpenMail(context.Background(), db, blobs)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(d.Close(), db.Close(), root.Close())) })
	return m
}

// rnd is the system's randomness; zeros is none at all.
type rnd struct{}

func (rnd) Read(b []byte) (int, error) { return rand.Read(b) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// configs and couriers are what a host's settings are changed in.
type (
	configs  = mailserver.Config
	couriers = courier.Config
)

// verifier is the plain one.
var verifier = crypto.Single{}
