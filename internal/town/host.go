package town

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Host is a tracker or a mail server. It can be stopped and started again on
// what it has kept.
type Host struct {
	// Keyring holds the host's keys, for tests that speak in its name.
	Keyring *message.Keyring

	town        *Town
	name, place string
	certificate tls.Certificate
	identity    *message.Identity
	kept        *kept
	prepare     func(h *Host, s *rpc.Server) (work []func(context.Context) error, done func(), err error)

	// mu guards stop.
	mu   sync.Mutex
	stop func() error
}

// Tracker builds a tracker and starts it; change may alter its settings.
// Servers and people that come later know it.
func (w *Town) Tracker(name string, change ...func(*tracker.Config)) *Host {
	w.t.Helper()
	h := w.host(name, message.RoleTracker, func(h *Host, s *rpc.Server) ([]func(context.Context) error, func(), error) {
		c := tracker.Config{
			Keyring: h.Keyring, Identity: func() *message.Identity { return h.identity }, Store: h.kept.tracker(),
			Verifier: crypto.NewVerifier(), Rand: rand.Reader, Log: w.log,
		}
		for _, f := range change {
			f(&c)
		}
		tracker.New(c).Mount(s)
		return nil, func() {}, nil
	})
	w.mu.Lock()
	w.trackers = append(w.trackers, h)
	w.mu.Unlock()
	return h
}

// Server builds a mail server with open accounts that knows all trackers of the
// town so far, and starts it: its route is published when Server returns.
func (w *Town) Server(name string, change ...func(*mailserver.Config)) *Host {
	w.t.Helper()
	trackers := w.References()
	return w.host(name, message.RoleServer, func(h *Host, s *rpc.Server) ([]func(context.Context) error, func(), error) {
		verifier := crypto.NewVerifier()
		mail := h.kept.mail
		known := store.NewKnown(mail.Identities, verifier)
		client := rpc.NewClient(rpc.Config{Dial: w.network.Dialer(h.place), Verifier: verifier, Keyring: h.Keyring})
		resolver := tracker.NewResolver(tracker.ResolverConfig{Client: client, Trackers: trackers, Known: known, Verifier: verifier, Log: w.log})
		own := func() *message.Identity { return h.identity }
		c := courier.New(courier.Config{
			Identity: own, Client: client, Resolver: mailserver.Directory(resolver), Known: known, Tasks: mail.Tasks, Outgoing: mail.Outgoing,
			Deliveries: mail.Deliveries, Incoming: mail.Incoming, Verifier: verifier, Rand: rand.Reader, FirstRetry: firstRetry, Log: w.log,
		})
		config := mailserver.Config{
			Keyring: h.Keyring, Identity: own, Store: mail, Known: known, Resolver: resolver, Client: client, Courier: c,
			Verifier: verifier, Rand: rand.Reader, Accounts: mailserver.Open, Log: w.log,
			Limits: mailserver.Limits{PrefetchJitter: time.Millisecond},
		}
		for _, f := range change {
			f(&config)
		}
		m := mailserver.New(config)
		m.Mount(s)
		if err := h.publishOnce(m.Publish); err != nil {
			return nil, client.Close, err
		}
		return []func(context.Context) error{c.Run, m.Run}, client.Close, nil
	})
}

// firstRetry is the couriers' first wait: short, because a story waits for it.
const firstRetry = 50 * time.Millisecond

// publishOnce publishes a new host's route; a host that is started again while
// its tracker is down has published before.
func (h *Host) publishOnce(publish func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(h.town.ctx, actTimeout)
	defer cancel()
	err := publish(ctx)
	if errors.Is(err, message.Unavailable) {
		return nil
	}
	return err
}

// References are the trackers of the town.
func (w *Town) References() []message.Reference {
	w.mu.Lock()
	defer w.mu.Unlock()
	var refs []message.Reference
	for _, h := range w.trackers {
		refs = append(refs, h.Reference())
	}
	return refs
}

// host builds a host and starts it.
func (w *Town) host(name string, role message.Role, prepare func(*Host, *rpc.Server) ([]func(context.Context) error, func(), error)) *Host {
	w.t.Helper()
	h := &Host{town: w, name: name, place: name + ".town", prepare: prepare}
	w.act("building "+name, func(ctx context.Context) (err error) {
		if h.Keyring, err = newKeyring(role); err != nil {
			return err
		}
		if err := h.certify(); err != nil {
			return err
		}
		h.kept, err = w.keep(ctx, name, role)
		return err
	})
	w.mu.Lock()
	w.hosts[name] = h
	w.mu.Unlock()
	h.Start()
	return h
}

// certify makes the host's certificate and the route that pins it.
func (h *Host) certify() error {
	now := time.Now()
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{h.place}, now.Add(-time.Hour), now.Add(10*365*24*time.Hour))
	if err != nil {
		return err
	}
	if h.certificate, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(h.certificate.Certificate[0])
	if err != nil {
		return err
	}
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(90 * 24 * time.Hour),
		Hosts: []message.Host{{URL: "https://" + h.place, Pin: crypto.Pin(leaf)}},
	}, h.Keyring.Chain, h.Keyring.Signer)
	if err != nil {
		return err
	}
	h.identity, err = message.OpenIdentity(crypto.Single{}, &wirev1.Identity{Cards: h.Keyring.Chain.Signed(0), Route: route.Signed}, nil)
	return err
}

// Address is who the host is.
func (h *Host) Address() message.Address { return h.Keyring.Address() }

// Reference is where and who the host is.
func (h *Host) Reference() message.Reference {
	return message.Reference{URL: "https://" + h.place, Address: h.Address()}
}

// Start starts a host that does not run, on what it has kept.
func (h *Host) Start() {
	h.town.t.Helper()
	h.town.act("starting "+h.name, func(ctx context.Context) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.stop != nil {
			return errors.New("it runs already")
		}
		if err := h.kept.open(ctx); err != nil {
			return err
		}
		listener, err := h.town.network.Listen(h.place)
		if err != nil {
			return err
		}
		server := rpc.NewServer(rpc.ServerConfig{Listener: listener, TLS: rpc.ServerTLS(h.certificate), Log: h.town.log})
		work, done, err := h.prepare(h, server)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		running, cancel := context.WithCancel(h.town.ctx)
		results := make(chan error, len(work)+1)
		for _, f := range append(work, server.Serve) {
			go func() { results <- f(running) }()
		}
		h.stop = func() error {
			cancel()
			var errs []error
			for range len(work) + 1 {
				errs = append(errs, <-results)
			}
			done()
			return errors.Join(append(errs, h.kept.close())...)
		}
		return nil
	})
}

// Stop stops the host in order. What it has acknowledged is there when it
// starts again.
func (h *Host) Stop() {
	h.town.t.Helper()
	h.town.act("stopping "+h.name, func(context.Context) error { return h.halt() })
}

// Silence stops the host, and takes the connections of others without a word
// until end is called: a machine that hangs.
func (h *Host) Silence() (end func()) {
	h.town.t.Helper()
	h.Stop()
	held := make(chan struct{})
	var listener net.Listener
	h.town.act("silencing "+h.name, func(context.Context) (err error) {
		listener, err = h.town.network.Listen(h.place)
		return err
	})
	if listener == nil {
		return func() {}
	}
	go func() {
		defer close(held)
		var conns []net.Conn
		for {
			c, err := listener.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	return func() {
		_ = listener.Close()
		<-held
	}
}

// halt stops the host if it runs.
func (h *Host) halt() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop == nil {
		return nil
	}
	stop := h.stop
	h.stop = nil
	return stop()
}

// close stops the host for good.
func (h *Host) close() {
	if err := h.halt(); err != nil {
		h.town.fail(fmt.Errorf("%s does not stop in order: %w", h.name, err))
	}
}

// Mail is what a mail server keeps, for tests that look behind it.
func (h *Host) Mail() *store.Mail { return h.kept.mail }

// Records is what a tracker keeps.
func (h *Host) Records() *store.Tracker { return h.kept.records }
