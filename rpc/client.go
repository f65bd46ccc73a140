package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

const (
	// HeartbeatEvery is how often the server of a stream sends something, so that
	// silence means that it is gone.
	HeartbeatEvery = 25 * time.Second
	// HeartbeatPatience is the silence after which a receiver gives a stream up:
	// three heartbeats, so that one may be lost.
	HeartbeatPatience = 75 * time.Second
	// DefaultTimeout of one unary call.
	DefaultTimeout = 30 * time.Second
	// keptPeers bounds the peers whose Access and connections are kept.
	keptPeers = 1024
)

// Config says how a Client asks.
type Config struct {
	// Dial is required: a Guard's.
	Dial DialFunc
	// Verifier is required.
	Verifier crypto.Verifier
	// Roots are whom hosts without a pin must satisfy; nil is the system's.
	Roots *x509.CertPool
	// Keyring is who is asking; nil asks as nobody.
	Keyring *message.Keyring
	// Timeout of one unary call; 0 is DefaultTimeout.
	Timeout time.Duration
	// Carrier, where not nil, makes what carries exchanges under one proof, in place
	// of TLS connections that Dial opens: a simulated network, which delivers
	// requests whole. It holds whom it reaches to the proof as TLS would, by
	// VerifyConnection.
	Carrier func(proof *tls.Config) http.RoundTripper
}

// Client asks servers and trackers, and keeps connections to them. Safe for
// concurrent use.
type Client struct {
	config Config
	peers  *recent[message.Address, *Peer]

	mu    sync.Mutex // held while a peer or a link is looked up or made, so that there is one of each
	links *recent[linkKey, *link]
}

// NewClient returns a client; it connects when it is first asked to.
func NewClient(c Config) *Client {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return &Client{
		config: c,
		peers:  newRecent[message.Address, *Peer](keptPeers, nil),
		links:  newRecent[linkKey, *link](keptLinks, (*link).close),
	}
}

// Close closes the connections that no call is using. The client can go on being
// used.
func (c *Client) Close() {
	c.peers.forget(func(*Peer) bool { return true })
	c.links.forget(func(*link) bool { return true })
}

// Peer returns the server or tracker of this identity, which the caller has
// verified. Errors: Invalid where its route names no hosts.
func (c *Client) Peer(id *message.Identity) (*Peer, error) {
	if id.Route == nil || len(id.Route.Hosts) == 0 {
		return nil, fmt.Errorf("rpc: peer %s: no hosts in its route: %w", id.Address().Short(), message.Invalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.peers.find(id.Address()); ok && p.identity.Route.ID == id.Route.ID && p.identity.Chain.Head().ID == id.Chain.Head().ID {
		return p, nil
	}
	p := &Peer{client: c, identity: id}
	for _, h := range id.Route.Hosts {
		origin, err := originOf(h.URL)
		if err != nil {
			return nil, err
		}
		p.hosts = append(p.hosts, linkKey{origin: origin, pin: h.Pin})
	}
	p.open()
	c.peers.put(id.Address(), p)
	return p, nil
}

// Open makes the first contact with a server or tracker and returns what it says
// of itself, verified. With an address in ref any certificate is accepted for the
// one question Lookup(self), and then only the certificate that the answer's
// route pins (or that the roots accept, where it pins none). Without an address
// the roots decide. In both cases the route must name the host that was asked.
// Errors: BadSignature where it is not who it should be, Invalid, Unavailable.
func (c *Client) Open(ctx context.Context, ref message.Reference) (*Peer, *message.Answer, error) {
	origin, err := originOf(ref.URL)
	if err != nil {
		return nil, nil, err
	}
	seen := &firstSight{}
	proof := c.proof([32]byte{})
	if !ref.Address.IsZero() {
		proof.InsecureSkipVerify = true // meet decides once the answer says what to expect
	}
	proof.VerifyConnection = seen.look
	l := c.newLink(origin, proof)
	defer l.close()

	answer, err := c.lookupSelf(ctx, l, ref)
	if err != nil {
		return nil, nil, explain(ctx, "open "+ref.URL, err)
	}
	if err := c.meet(origin, seen.certificates(), answer.Subject); err != nil {
		return nil, nil, err
	}
	p, err := c.Peer(answer.Subject)
	return p, answer, err
}

// lookupSelf asks the one question of a first contact, as nobody.
func (c *Client) lookupSelf(ctx context.Context, l *link, ref message.Reference) (*message.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	directory := wirev1connect.NewDirectoryClient(doer(func(r *http.Request) (*http.Response, error) { return l.send(l.calls, r) }), "https://"+l.origin, carrying()...)
	res, err := directory.Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}})
	if err != nil {
		return nil, err
	}
	if n := len(res.GetResults()); n != 1 {
		return nil, fmt.Errorf("%d results to one question: %w", n, message.Invalid)
	}
	result := res.GetResults()[0]
	if err := message.OpenRefusal(result.GetRefusal()); err != nil {
		return nil, err
	}
	if n := len(result.GetAnswers()); n != 1 {
		return nil, fmt.Errorf("%d answers about itself: %w", n, message.Invalid)
	}
	return message.OpenSelfAnswer(c.config.Verifier, ref.Address, result.GetAnswers()[0], time.Now())
}

// meet compares the certificate that a host showed with what the identity's route
// says of this host.
func (c *Client) meet(origin string, chain []*x509.Certificate, id *message.Identity) error {
	if id.Route == nil {
		return fmt.Errorf("rpc: open %s: the server has no route: %w", origin, message.Invalid)
	}
	for _, h := range id.Route.Hosts {
		if o, err := originOf(h.URL); err != nil || o != origin {
			continue
		}
		if len(chain) == 0 {
			return fmt.Errorf("rpc: open %s: no certificate was seen: %w", origin, message.BadSignature)
		}
		if h.Pinned() {
			if crypto.Pin(chain[0]) == h.Pin {
				return nil
			}
			return fmt.Errorf("rpc: open %s: the certificate is not the one that the route pins: %w", origin, message.BadSignature)
		}
		host, _, err := net.SplitHostPort(origin)
		if err != nil {
			return fmt.Errorf("rpc: open %s: %w", origin, message.Invalid)
		}
		return c.checkRoots(host, chain)
	}
	return fmt.Errorf("rpc: open %s: the route of %s names other hosts: %w", origin, id.Address().Short(), message.BadSignature)
}

// firstSight remembers the certificates of a first contact. All connections of
// one contact must show the same key, or one could answer and another be pinned.
type firstSight struct {
	mu    sync.Mutex
	chain []*x509.Certificate
}

// look is a tls.Config's VerifyConnection.
func (f *firstSight) look(s tls.ConnectionState) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(s.PeerCertificates) == 0 {
		return fmt.Errorf("rpc: no certificate: %w", message.BadSignature)
	}
	if f.chain != nil && crypto.Pin(f.chain[0]) != crypto.Pin(s.PeerCertificates[0]) {
		return fmt.Errorf("rpc: two certificates in one contact: %w", message.BadSignature)
	}
	f.chain = s.PeerCertificates
	return nil
}

func (f *firstSight) certificates() []*x509.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.chain
}

// maxBody is the body of a call: Connect reads a body that is over
// message.MaxCall to its end before it says so, however long that is.
const maxBody = message.MaxCall + 64<<10

// doer makes a function the HTTP client of Connect.
type doer func(*http.Request) (*http.Response, error)

// Do makes one exchange. The answer to a unary call has a bounded body; streams
// are bounded message by message.
func (d doer) Do(req *http.Request) (*http.Response, error) {
	res, err := d(req)
	if err == nil && !isStream(req) && !said(res.ContentLength) {
		res.Body = http.MaxBytesReader(nil, res.Body, maxBody)
	}
	return res, err
}

// carrying is what holds for every call that is made: bounded, uncompressed.
func carrying() []connect.ClientOption {
	return []connect.ClientOption{
		connect.WithCodec(protoCodec{}),
		connect.WithReadMaxBytes(message.MaxCall),
		connect.WithSendMaxBytes(message.MaxCall),
		connect.WithAcceptCompression("gzip", nil, nil),
	}
}
