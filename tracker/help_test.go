package tracker_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/memory"
	"airdispatch/store/sqlite"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// unlimited is for tests and benchmarks that are not about limits.
var unlimited = tracker.Limits{PublishPerMinute: -1, PublishBurst: -1, ServerPerMinute: -1, ServerBurst: -1, NetworkPerSecond: -1, NetworkBurst: -1, LookupsPerSecond: -1, LookupBurst: -1, Names: -1}

// must returns v, or ends the test.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newKeys makes an identity.
func newKeys(t testing.TB, role message.Role) *message.Keyring {
	t.Helper()
	paper := must[[]byte](t)(crypto.RandomBytes(rand.Reader, 32))
	return must[*message.Keyring](t)(message.NewKeyring(role, paper, time.Now(), rand.Reader))
}

// serverRoute is a server's or tracker's identity with a route to host.
func serverRoute(t testing.TB, k *message.Keyring, seq uint64, host message.Host) *message.Identity {
	t.Helper()
	now := time.Now()
	r := must[*message.Route](t)(message.SignRoute(message.Route{
		Pair: message.Pair{Route: seq}, Time: now, Expires: now.Add(90 * 24 * time.Hour), Hosts: []message.Host{host},
	}, k.Chain, k.Signer))
	return &message.Identity{Chain: k.Chain, Route: r}
}

// userRoute is a user's identity with a route to servers that gave tickets.
func userRoute(t testing.TB, k *message.Keyring, seq uint64, servers ...*message.Keyring) *message.Identity {
	t.Helper()
	now := time.Now()
	r := message.Route{Pair: message.Pair{Route: seq}, Time: now, Expires: now.Add(90 * 24 * time.Hour)}
	for _, s := range servers {
		ticket := must[*message.Ticket](t)(message.SignTicket(s.Address(), k.Address(), now, now.Add(300*24*time.Hour), s.Signer))
		r.Services = append(r.Services, message.Service{Purpose: message.PurposeAny, Server: s.Address(), Ticket: ticket})
	}
	signed := must[*message.Route](t)(message.SignRoute(r, k.Chain, k.Signer))
	return &message.Identity{Chain: k.Chain, Route: signed}
}

// publication is the bundle of a subject and its servers.
func publication(subject *message.Identity, servers ...*message.Identity) *wirev1.Publication {
	p := &wirev1.Publication{Subject: subject.Wire()}
	for _, s := range servers {
		p.Servers = append(p.Servers, s.Wire())
	}
	return p
}

// somewhere is the host of a mail server that nobody connects to.
var somewhere = message.Host{URL: "https://mail.example.org"}

// hosted is a user and the server that hosts them.
type hosted struct {
	user, server *message.Keyring
	subject      *message.Identity
	host         *message.Identity
}

// newHosted makes a user and a server.
func newHosted(t testing.TB) hosted {
	t.Helper()
	h := hosted{user: newKeys(t, message.RoleUser), server: newKeys(t, message.RoleServer)}
	h.host = serverRoute(t, h.server, 1, somewhere)
	h.subject = userRoute(t, h.user, 1, h.server)
	return h
}

func (h hosted) publication() *wirev1.Publication { return publication(h.subject, h.host) }

// openStore opens a tracker's store in a file of the test.
func openStore(t testing.TB) *store.Tracker {
	t.Helper()
	file, err := sqlite.File(filepath.Join(t.TempDir(), "tracker.db"))
	if err != nil {
		t.Fatal(err)
	}
	st, data, err := sqlite.OpenTracker(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := data.Close(); err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// local makes a tracker that is called directly.
func local(t testing.TB, change func(*tracker.Config)) (*tracker.Server, *message.Keyring, *store.Tracker) {
	t.Helper()
	k := newKeys(t, message.RoleTracker)
	own := serverRoute(t, k, 1, somewhere)
	c := tracker.Config{
		Keyring: k, Identity: func() *message.Identity { return own }, Verifier: crypto.NewVerifier(), Rand: rand.Reader, Limits: unlimited,
	}
	if change != nil {
		change(&c)
	}
	if c.Store == nil {
		c.Store = openStore(t)
	}
	return tracker.New(c), k, c.Store
}

// inMemory is for tests that are about rules and not about keeping.
func inMemory(c *tracker.Config) { c.Store = memory.NewTracker() }

// site is something that answers on loopback, over TLS.
type site struct {
	keys     *message.Keyring
	identity *message.Identity
	store    *store.Tracker
	ref      message.Reference
	stop     func()
}

// serve answers on loopback what mount mounts, until the test ends.
func serve(t testing.TB, role message.Role, mount func(*site, *rpc.Server)) *site {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	pair := must[tls.Certificate](t)(tls.X509KeyPair(certPEM, keyPEM))
	leaf := must[*x509.Certificate](t)(x509.ParseCertificate(pair.Certificate[0]))
	s := &site{keys: newKeys(t, role)}
	url := "https://" + l.Addr().String()
	s.identity = serverRoute(t, s.keys, 1, message.Host{URL: url, Pin: crypto.Pin(leaf)})
	s.ref = message.Reference{URL: url, Address: s.keys.Address()}
	server := rpc.NewServer(rpc.ServerConfig{Listener: l, TLS: rpc.ServerTLS(pair)})
	mount(s, server)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	s.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(s.stop)
	return s
}

// honest is a real tracker on loopback.
func honest(t testing.TB, change func(*tracker.Config)) *site {
	t.Helper()
	return serve(t, message.RoleTracker, func(s *site, r *rpc.Server) {
		s.store = openStore(t)
		c := tracker.Config{
			Keyring: s.keys, Identity: func() *message.Identity { return s.identity }, Store: s.store, Verifier: crypto.NewVerifier(),
			Rand: rand.Reader, Limits: unlimited,
		}
		if change != nil {
			change(&c)
		}
		tracker.New(c).Mount(r)
	})
}

// liar is a tracker that answers as a func says.
type liar struct {
	wirev1connect.UnimplementedTrackerHandler
	site   *site
	answer func(ctx context.Context, q message.Query) (*wirev1.Signed, error)
}

// Lookup is truthful about the liar itself and leaves the rest to answer.
func (l *liar) Lookup(ctx context.Context, r *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	out := &wirev1.LookupResponse{}
	for _, w := range r.GetQueries() {
		q, err := message.OpenQuery(w)
		if err != nil {
			return nil, err
		}
		var s *wirev1.Signed
		if q.Self() {
			s, err = message.SignAnswer(message.Answer{Tracker: l.site.keys.Address(), Time: time.Now(), Found: true, Subject: l.site.identity}, l.site.keys.Signer)
		} else {
			s, err = l.answer(ctx, q)
		}
		if err != nil {
			return nil, err
		}
		out.Results = append(out.Results, &wirev1.LookupResult{Answers: []*wirev1.Signed{s}})
	}
	return out, nil
}

// hostile is a tracker on loopback that answers as a func says.
func hostile(t testing.TB, answer func(s *site, ctx context.Context, q message.Query) (*wirev1.Signed, error)) *site {
	t.Helper()
	return serve(t, message.RoleTracker, func(s *site, r *rpc.Server) {
		l := &liar{site: s, answer: func(ctx context.Context, q message.Query) (*wirev1.Signed, error) { return answer(s, ctx, q) }}
		r.Mount(wirev1connect.NewDirectoryHandler(l, rpc.Options(nil)...))
		r.Mount(wirev1connect.NewTrackerHandler(l, rpc.Options(nil)...))
	})
}

// found is an answer by s about a subject.
func (s *site) found(q message.Query, subject *message.Identity, servers ...*message.Identity) message.Answer {
	a := message.Answer{Tracker: s.keys.Address(), Time: time.Now(), Query: q, Found: true, Subject: subject, Servers: map[message.Address]*message.Identity{}}
	for _, server := range servers {
		a.Servers[server.Address()] = server
	}
	return a
}

// newClient asks as k, or as nobody.
func newClient(t testing.TB, k *message.Keyring) *rpc.Client {
	t.Helper()
	c := rpc.NewClient(rpc.Config{
		Dial: rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Dial, Verifier: crypto.NewVerifier(), Keyring: k,
	})
	t.Cleanup(c.Close)
	return c
}

// asker is a resolver with a memory of its own.
func asker(t testing.TB, k *message.Keyring, trackers ...*site) (*tracker.Resolver, *store.Known) {
	t.Helper()
	known := store.NewKnown(openStore(t).Identities, crypto.NewVerifier())
	c := tracker.ResolverConfig{Client: newClient(t, k), Known: known, Verifier: crypto.NewVerifier()}
	for _, s := range trackers {
		c.Trackers = append(c.Trackers, s.ref)
	}
	return tracker.NewResolver(c), known
}

// publishTo publishes at one tracker and demands success.
func publishTo(t testing.TB, s *site, ps ...*wirev1.Publication) {
	t.Helper()
	r, _ := asker(t, nil, s)
	for _, p := range ps {
		if _, err := r.Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}
