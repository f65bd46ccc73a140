package rpc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// TestMain fails when a test leaves a goroutine behind.
// One of net/http is let be: after an answer to an unfinished request it waits half a
// second before it closes, longer than goleak looks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// party is an identity with its certificate and the hosts of its route.
type party struct {
	keys     *message.Keyring
	identity *message.Identity
	cert     tls.Certificate
}

// newKeyring makes an identity.
func newKeyring(t testing.TB, role message.Role) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	k, err := message.NewKeyring(role, paper, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newCert makes a certificate for host.
func newCert(t testing.TB, host string) tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{host}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

// newParty makes a server that pins its certificate for every one of hosts.
func newParty(t testing.TB, hosts ...string) *party {
	t.Helper()
	p := &party{keys: newKeyring(t, message.RoleServer), cert: newCert(t, "server.test")}
	pin := crypto.Pin(p.cert.Leaf)
	var route []message.Host
	for _, h := range hosts {
		route = append(route, message.Host{URL: h, Pin: pin})
	}
	p.route(t, route...)
	return p
}

// route gives p a new route with these hosts.
func (p *party) route(t testing.TB, hosts ...message.Host) {
	t.Helper()
	seq := uint64(1)
	if p.identity != nil {
		seq = p.identity.Route.Pair.Route + 1
	}
	r, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: seq}, Time: time.Now(), Expires: time.Now().Add(24 * time.Hour), Hosts: hosts,
	}, p.keys.Chain, p.keys.Signer)
	if err != nil {
		t.Fatal(err)
	}
	p.identity = &message.Identity{Chain: p.keys.Chain, Route: r}
}

// directory answers Lookup(self) for a party, or with what answer says.
type directory struct {
	wirev1connect.UnimplementedDirectoryHandler
	party  *party
	answer func(ctx context.Context) (*wirev1.LookupResponse, error)
}

func (d *directory) Lookup(ctx context.Context, _ *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	if d.answer != nil {
		return d.answer(ctx)
	}
	s, err := message.SignAnswer(message.Answer{Tracker: d.party.keys.Address(), Time: time.Now(), Found: true, Subject: d.party.identity}, d.party.keys.Signer)
	if err != nil {
		return nil, err
	}
	return &wirev1.LookupResponse{Results: []*wirev1.LookupResult{{Answers: []*wirev1.Signed{s}}}}, nil
}

// running is a server under test.
type running struct {
	*rpc.Server
	stop func()
	log  *bytes.Buffer
}

// serve runs a server of p on l until the test ends.
func serve(t testing.TB, p *party, l net.Listener, d *directory, more ...func(*rpc.Server)) *running {
	t.Helper()
	return serveWith(t, rpc.ServerConfig{Listener: l, TLS: rpc.ServerTLS(p.cert)}, p, d, more...)
}

func serveWith(t testing.TB, c rpc.ServerConfig, p *party, d *directory, more ...func(*rpc.Server)) *running {
	t.Helper()
	r := &running{log: &bytes.Buffer{}}
	c.Log = slog.New(slog.NewTextHandler(&locked{w: r.log}, nil))
	r.Server = rpc.NewServer(c)
	if d == nil {
		d = &directory{party: p}
	}
	r.Mount(wirev1connect.NewDirectoryHandler(d, rpc.Options(c.Log)...))
	for _, m := range more {
		m(r.Server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// newClient returns a client that dials with dial.
func newClient(t testing.TB, dial rpc.DialFunc, k *message.Keyring) *rpc.Client {
	t.Helper()
	c := rpc.NewClient(rpc.Config{Dial: dial, Verifier: crypto.Single{}, Keyring: k})
	t.Cleanup(c.Close)
	return c
}

// loopback listens on a real port and returns its URL.
func loopback(t testing.TB) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, "https://" + l.Addr().String()
}

// guarded is the real dialer, with loopback opened.
func guarded(t testing.TB) rpc.DialFunc {
	t.Helper()
	p, ok := rpc.PrivateRange("127.0.0.1:1")
	if !ok {
		t.Fatal("loopback has no range")
	}
	return rpc.Guard{Private: []netip.Prefix{p}}.Dial
}

func reference(url string, p *party) message.Reference {
	return message.Reference{URL: url, Address: p.keys.Address()}
}

func TestFirstCall(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	var header string
	serve(t, p, l, nil, func(s *rpc.Server) {
		s.Mount("/blobs/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			header = r.Header.Get("Authorization")
			_, _ = io.WriteString(w, r.Proto)
		}))
	})
	user := newKeyring(t, message.RoleUser)
	c := newClient(t, guarded(t), user)
	peer, answer, err := c.Open(t.Context(), reference(url, p))
	if err != nil {
		t.Fatal(err)
	}
	if answer.Tracker != p.keys.Address() || peer.Address() != p.keys.Address() {
		t.Errorf("opened %s, want %s", peer.Address(), p.keys.Address())
	}
	if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}}); err != nil {
		t.Error(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/blobs/x?from=y", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := peer.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "HTTP/1.1" || err != nil {
		t.Errorf("body %q, %v", b, err)
	}
	callers := rpc.NewCallers(p.keys.Address(), crypto.Single{})
	who, err := callers.Caller(t.Context(), header, func(context.Context, message.Address) (*message.Chain, error) { return user.Chain, nil })
	if err != nil || who != user.Address() {
		t.Errorf("caller %s, %v", who, err)
	}
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(&locked{w: w}, nil)) }

// transportFor is a stranger's transport: any certificate, anything goes.
func transportFor(t testing.TB) *http.Transport {
	t.Helper()
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, DisableCompression: true,
		DialContext: (&net.Dialer{}).DialContext,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}
