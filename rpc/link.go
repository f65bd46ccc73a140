package rpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
)

const (
	// keptLinks bounds the hosts to which connections are kept.
	keptLinks = 512
	// linkIdle is how long an unused connection is kept: less than servers do, so
	// that a call is not begun on a connection that is being closed.
	linkIdle = 60 * time.Second
	// linkPing is the silence on a connection after which it is probed, so that
	// one that died unnoticed is found before HeartbeatPatience is over.
	linkPing = 30 * time.Second
	// pingPatience is how long the answer to a probe may take.
	pingPatience = 15 * time.Second
	// writeStall is how long a peer may refuse to take a single byte.
	writeStall = 60 * time.Second
	// maxConns is how many connections are opened to one host at once. Without it
	// every call of a cold start would dial, and the host would count us out.
	maxConns = 8
	// maxBodies is how many blobs are carried to or from one host at once; with
	// maxConns it stays below what a server allows to one address.
	maxBodies = 32
	// maxAnswerHeader bounds the headers of an answer, in bytes.
	maxAnswerHeader = 64 << 10
	// smallBody is the longest body of a call that is sent together with its head.
	smallBody = 64 << 10
	// unreachable is how long a host that could not be reached is tried last.
	unreachable = 30 * time.Second
)

// linkKey is a host together with what it must prove: connections that were made
// under another proof are other connections.
type linkKey struct {
	origin string // host:port
	pin    [32]byte
}

// link is the connections to one host under one proof.
type link struct {
	origin string
	// calls carries calls, many on one HTTP/2 connection. bodies carries blobs, one
	// at a time on an HTTP/1.1 connection: the frames and windows of HTTP/2 cost
	// more than half of the rate of long bodies.
	calls, bodies carrier
	// lane carries a call that is alone, on one HTTP/1.1 connection: whoever makes
	// one call after the other needs no frames, and both ends do it for two thirds
	// of the work. What comes meanwhile goes to calls.
	lane    carrier
	engaged atomic.Bool // somebody is on the lane
	// post carries a stream that only receives and is alone, on one HTTP/1.1
	// connection: a server can park it, for a third of the memory.
	post   carrier
	posted atomic.Bool // somebody is on it
	// upgraded carries what is no longer HTTP after its first exchange.
	upgraded carrier
	// streams are open on calls, or were until streamed (unix nanoseconds): where
	// a connection is up anyway, no second one is made.
	streams  atomic.Int32
	streamed atomic.Int64

	downUntil atomic.Int64 // unix nanoseconds
}

// carrier carries exchanges to one host; http.Transport is the one of real
// programs.
type carrier interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newLink makes the link to a host. It connects when it is first used.
func (c *Client) newLink(origin string, proof *tls.Config) *link {
	if c.config.Carrier != nil {
		by := resting{c.config.Carrier(proof)}
		return &link{origin: origin, calls: by, bodies: by, lane: by, post: by, upgraded: by}
	}
	bodies, lane := c.plain(proof.Clone()), c.plain(proof.Clone())
	bodies.MaxConnsPerHost, lane.MaxConnsPerHost = maxBodies, 1
	lane.ResponseHeaderTimeout = 0 // every call has a deadline
	post := c.plain(proof.Clone())
	post.DisableKeepAlives = true // it is for one stream
	upgraded := c.plain(proof.Clone())
	upgraded.MaxConnsPerHost = 0 // each is counted by whom it belongs to
	return &link{origin: origin, calls: c.transport(proof), bodies: bodies, lane: lane, post: post, upgraded: upgraded}
}

// resting is a carrier without connections that could lie idle.
type resting struct{ http.RoundTripper }

// CloseIdleConnections has nothing to close.
func (resting) CloseIdleConnections() {}

// plain is a transport that speaks HTTP/1.1 only.
func (c *Client) plain(proof *tls.Config) *http.Transport {
	t := c.transport(proof)
	t.ForceAttemptHTTP2, t.HTTP2, t.Protocols = false, nil, new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return stalling{conn}, nil
	}
	return t
}

// stalling is a connection on which the peer may refuse to take a byte for
// writeStall and no longer, as HTTP/2 has it built in.
type stalling struct{ net.Conn }

// Write sets the deadline anew.
func (s stalling) Write(b []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(writeStall)); err != nil {
		return 0, err
	}
	return s.Conn.Write(b)
}

// close closes the connections that nothing is using.
func (l *link) close() {
	l.calls.CloseIdleConnections()
	l.bodies.CloseIdleConnections()
	l.lane.CloseIdleConnections()
	l.upgraded.CloseIdleConnections()
}

// linkTo returns the link for key, from those that are kept.
func (c *Client) linkTo(key linkKey) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.links.find(key); ok {
		return l
	}
	l := c.newLink(key.origin, c.proof(key.pin))
	c.links.put(key, l)
	return l
}

// proof is the TLS configuration for a host: its pin and nothing else, or where
// it has none the roots.
func (c *Client) proof(pin [32]byte) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: c.config.Roots, DynamicRecordSizingDisabled: true}
	if pin != [32]byte{} {
		config.InsecureSkipVerify = true // VerifyConnection takes its place
		config.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || crypto.Pin(s.PeerCertificates[0]) != pin {
				return fmt.Errorf("rpc: the certificate is not the one that the route pins: %w", message.BadSignature)
			}
			return nil
		}
	}
	return config
}

// transport makes connections with the configured dialer under one proof. The
// zero Proxy is what keeps the environment's proxy out.
func (c *Client) transport(proof *tls.Config) *http.Transport {
	dial := c.config.Dial
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return dial(ctx, network, address)
		},
		TLSClientConfig:        proof,
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxConnsPerHost:        maxConns,
		MaxIdleConnsPerHost:    maxConns,
		IdleConnTimeout:        linkIdle,
		ResponseHeaderTimeout:  HeartbeatPatience,
		MaxResponseHeaderBytes: maxAnswerHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: linkPing, PingTimeout: pingPatience, WriteByteTimeout: writeStall},
	}
}

// send makes one exchange on one of the transports. It goes to that itself, not
// through an http.Client, so there is nothing that could follow redirects or keep
// cookies.
func (l *link) send(by carrier, req *http.Request) (*http.Response, error) {
	out := req.WithContext(req.Context()) // a copy; the headers stay shared, and a transport does not change them
	u := *req.URL
	u.Scheme, u.Host = "https", l.origin
	out.URL, out.Host = &u, ""
	res, err := by.RoundTrip(out)
	if err != nil && req.Context().Err() == nil {
		l.downUntil.Store(time.Now().Add(unreachable).UnixNano())
	}
	return res, err
}

// call makes the exchange of a call: on the lane, or with others on calls.
func (l *link) call(req *http.Request) (*http.Response, error) {
	switch {
	case isStream(req) && l.streams.Load() == 0 && req.Context().Value(receivingKey{}) != nil && l.posted.CompareAndSwap(false, true):
		return held(func() { l.posted.Store(false) })(l.send(l.post, req))
	case isStream(req):
		l.streams.Add(1)
		return held(func() {
			l.streamed.Store(time.Now().UnixNano())
			l.streams.Add(-1)
		})(l.send(l.calls, req))
	case l.streams.Load() == 0 && time.Now().UnixNano()-l.streamed.Load() > int64(linkIdle) && l.engaged.CompareAndSwap(false, true):
		// No values: nothing is sent, but a transport may then repeat the request
		// when it finds that the connection was closed while it lay idle. Writes are
		// idempotent by id, whatever the method says.
		req.Header["Idempotency-Key"] = nil
		req = inMemory(req)
		return held(func() { l.engaged.Store(false) })(l.send(l.lane, req))
	}
	return l.send(l.calls, req)
}

// inMemory is a request whose body, where it is small, is in memory for net/http
// to see: with any other it sends the head first, in a record and a packet of
// its own, because such a body may take its time.
func inMemory(req *http.Request) *http.Request {
	if req.ContentLength <= 0 || req.ContentLength > smallBody || req.GetBody == nil {
		return req
	}
	body, err := req.GetBody()
	if err != nil {
		return req
	}
	defer func() { _ = body.Close() }() // memory, as the original is
	b := make([]byte, req.ContentLength)
	if _, err := io.ReadFull(body, b); err != nil {
		return req
	}
	out := req.WithContext(req.Context())
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	out.Body = io.NopCloser(bytes.NewReader(b))
	_ = req.Body.Close() // nobody reads it any more
	return out
}

// held calls release once the exchange is over: at once where there is none,
// else when its body is closed.
func held(release func()) func(*http.Response, error) (*http.Response, error) {
	return func(res *http.Response, err error) (*http.Response, error) {
		if err != nil {
			release()
			return nil, err
		}
		res.Body = &heldAnswer{ReadCloser: res.Body, release: sync.OnceFunc(release)}
		return res, nil
	}
}

// heldAnswer is the body of an answer for which something is held.
type heldAnswer struct {
	io.ReadCloser
	release func()
}

// Close closes the body and releases.
func (h *heldAnswer) Close() error {
	defer h.release()
	return h.ReadCloser.Close()
}

// up reports whether the host was not found unreachable just now.
func (l *link) up(now time.Time) bool { return l.downUntil.Load() <= now.UnixNano() }

// originOf is the host and port of https://host[:port], in the one spelling by
// which origins are compared.
func originOf(rawURL string) (string, error) {
	if err := message.CheckHostURL(rawURL); err != nil {
		return "", fmt.Errorf("rpc: %w", err)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("rpc: host: %w", message.Invalid)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port), nil
}

// checkRoots verifies a chain that was taken without a check, as the TLS client
// would have done.
func (c *Client) checkRoots(host string, chain []*x509.Certificate) error {
	options := x509.VerifyOptions{Roots: c.config.Roots, DNSName: host, Intermediates: x509.NewCertPool()}
	for _, ca := range chain[1:] {
		options.Intermediates.AddCert(ca)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return fmt.Errorf("rpc: certificate of %s: %w: %v", host, message.BadSignature, err)
	}
	return nil
}
