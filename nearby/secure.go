package nearby

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// alpn is the name under which handshakes of peers of our kind go.
	alpn = "ad-nearby/1"
	// addressHeader says whose the certificate is that the asker has shown.
	addressHeader = "Airdispatch-Address"
	// idHeader is how peers of P2P v0.4 say who they are.
	idHeader = "PeerID"
	// certificateLife is what the certificate of a device says; nobody looks at it.
	certificateLife = 24 * time.Hour
	// maxCards bounds the cards that somebody shows.
	maxCards = 256 << 10
	// maxGuests is how many addresses are remembered that are no contacts.
	maxGuests = 256
)

// guests are the cards of those who are no contacts, for as long as the node runs.
type guests struct {
	mu     sync.Mutex
	chains map[message.Address]*message.Chain
}

func (g *guests) chain(a message.Address) (*message.Chain, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.chains[a]; c != nil {
		return c, nil
	}
	return nil, message.NotFound
}

func (g *guests) keep(c *message.Chain) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.chains[c.Address()]; !ok && len(g.chains) >= maxGuests {
		for a := range g.chains {
			delete(g.chains, a) // whoever it is shows them again
			break
		}
	}
	g.chains[c.Address()] = c
}

// config is what both ends do with TLS.
func config(verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		SessionTicketsDisabled: true, InsecureSkipVerify: true, // VerifyConnection takes its place
		VerifyConnection: func(c tls.ConnectionState) error {
			if c.Version != tls.VersionTLS13 || c.CurveID != tls.X25519MLKEM768 || c.NegotiatedProtocol != alpn {
				return fmt.Errorf("nearby: not a handshake of peers: %w", message.BadSignature)
			}
			return verify(c)
		},
	}
}

// shown is the device key that the other end has shown, if it has.
func shown(c *tls.ConnectionState) (crypto.VerifyKey, bool) {
	if c == nil || len(c.PeerCertificates) != 1 {
		return crypto.VerifyKey{}, false
	}
	key, err := crypto.DeviceKey(c.PeerCertificates[0])
	return key, err == nil
}

// lists reports whether an address has a device key.
func lists(c *message.Chain, key crypto.VerifyKey) bool {
	return c != nil && !c.Head().Closed && c.Head().Lists(key)
}

// certificate is one's own.
func (n *Node) certificate() (tls.Certificate, error) {
	now := time.Now()
	der, signer, err := n.c.Keyring.Signer.DeviceCertificate(n.c.Rand, now.Add(-time.Hour), now.Add(certificateLife))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, err
}

// serverTLS answers those who know one's address, and where the node is visible
// everybody.
func (n *Node) serverTLS() *tls.Config {
	c := config(func(tls.ConnectionState) error { return nil })
	c.ClientAuth = tls.RequestClientCert
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if !n.c.Visible && !slices.Contains(knocks(n.c.Keyring.Address(), time.Now()), hello.ServerName) {
			return nil, message.Denied
		}
		cert, err := n.certificate()
		return &cert, err
	}
	return c
}

// knock is the server name by which one shows that one knows an address.
func knock(a message.Address, at uint64) string {
	b := crypto.Beacon(a.Bytes(), knockLabel, at)
	return hex.EncodeToString(b[:]) + ".invalid"
}

// knocks are those that are good now; clocks differ.
func knocks(a message.Address, now time.Time) []string {
	at := slotOf(now)
	return []string{knock(a, at-1), knock(a, at), knock(a, at+1)}
}

// Link is a way to a peer that has proved who it is.
type Link struct {
	Peer  Peer
	Chain *message.Chain

	n    *Node
	tls  *tls.Config
	http *http.Client
}

// Connect connects to a peer that must be that of an address. Errors:
// message.BadSignature where somebody else answers, message.Unavailable where nobody
// does.
func (n *Node) Connect(ctx context.Context, p Peer, want message.Address) (*Link, error) {
	if n.c.Keyring == nil {
		return nil, fmt.Errorf("nearby: connect: no identity: %w", message.Denied)
	}
	if chain, err := n.chain(ctx, want); err == nil {
		l := n.link(p, chain)
		err := l.ping(ctx)
		if err == nil {
			n.table.Prove(p.Place, want)
			return l, nil
		}
		l.Close()
		if !errors.Is(err, message.BadSignature) {
			return nil, err
		}
	}
	chain, err := n.meet(ctx, p, want)
	if err != nil {
		return nil, err
	}
	l := n.link(p, chain)
	if err := l.ping(ctx); err != nil {
		l.Close()
		return nil, err
	}
	n.table.Prove(p.Place, want)
	return l, nil
}

// meet asks a peer for its cards without showing anything of one's own: they prove
// themselves, and only then does one show who one is.
func (n *Node) meet(ctx context.Context, p Peer, want message.Address) (*message.Chain, error) {
	var key crypto.VerifyKey
	c := config(func(s tls.ConnectionState) error {
		k, ok := shown(&s)
		if !ok {
			return fmt.Errorf("nearby: no device key: %w", message.BadSignature)
		}
		key = k
		return nil
	})
	asker := n.client(p, want, c)
	defer asker.CloseIdleConnections()
	res, err := ask(ctx, asker, request{method: http.MethodGet, path: "/cards"})
	if err != nil {
		return nil, err
	}
	w, err := answerOf(res, maxCards, &wirev1.Identity{})
	if err != nil {
		return nil, err
	}
	chain, err := n.learn(ctx, w)
	if err != nil {
		return nil, err
	}
	if chain.Address() != want || !lists(chain, key) {
		return nil, fmt.Errorf("nearby: %s is not %s: %w", p.Place, want.Short(), message.BadSignature)
	}
	return chain, nil
}

// learn verifies cards, and remembers them.
func (n *Node) learn(ctx context.Context, w *wirev1.Identity) (*message.Chain, error) {
	if n.c.People == nil {
		i, err := message.OpenIdentity(n.verifier, &wirev1.Identity{Cards: w.GetCards()}, nil)
		if err != nil {
			return nil, err
		}
		n.guests.keep(i.Chain)
		return i.Chain, nil
	}
	chain, err := n.c.People.Learn(ctx, &wirev1.Identity{Cards: w.GetCards()})
	if err == nil {
		n.guests.keep(chain)
	}
	return chain, err
}

// link is the pinned way to a peer.
func (n *Node) link(p Peer, chain *message.Chain) *Link {
	c := config(func(s tls.ConnectionState) error {
		if key, ok := shown(&s); !ok || !lists(chain, key) {
			return fmt.Errorf("nearby: %s is not %s: %w", p.Place, chain.Address().Short(), message.BadSignature)
		}
		return nil
	})
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := n.certificate()
		return &cert, err
	}
	p.Address, p.Proved = chain.Address(), true
	return &Link{Peer: p, Chain: chain, n: n, tls: c, http: n.client(p, chain.Address(), c)}
}

// client is HTTP to one peer, over TLS.
func (n *Node) client(p Peer, want message.Address, c *tls.Config) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableCompression: true, MaxConnsPerHost: 4, MaxResponseHeaderBytes: maxHeader,
			TLSHandshakeTimeout: answerWithin, ResponseHeaderTimeout: answerWithin,
			DialContext: n.c.Dial,
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				t, _, err := n.handshake(ctx, p.Place, c, want)
				if err != nil {
					return nil, err
				}
				return t, nil
			},
		},
	}
}

// handshake connects to a place and knocks there for an address.
func (n *Node) handshake(ctx context.Context, at netip.AddrPort, c *tls.Config, want message.Address) (*tls.Conn, *steady, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	conn, err := n.c.Dial(ctx, "tcp", at.String())
	if err != nil {
		return nil, nil, fmt.Errorf("nearby: connect to %s: %w: %w", at, err, message.Unavailable)
	}
	c = c.Clone()
	c.ServerName = knock(want, slotOf(time.Now()))
	raw := &steady{Conn: conn}
	t := tls.Client(raw, c)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return t, raw, nil
}

// Close lets go of what is open to the peer.
func (l *Link) Close() { l.http.CloseIdleConnections() }

// ping proves the peer, and oneself to it.
func (l *Link) ping(ctx context.Context) error {
	res, err := l.ask(ctx, request{method: http.MethodGet, path: "/ping"})
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// request is one to a peer.
type request struct {
	method, path string
	body         []byte
	header       http.Header
}

// ask asks as oneself; a peer that does not know one's cards is shown them once.
func (l *Link) ask(ctx context.Context, r request) (*http.Response, error) {
	r.header = l.headers(r.header)
	res, err := ask(ctx, l.http, r)
	if !errors.Is(err, message.NeedBundle) {
		return res, err
	}
	cards, err := proto.Marshal(&wirev1.Identity{Cards: l.n.c.Keyring.Chain.Signed(0)})
	if err != nil {
		return nil, err
	}
	if res, err = ask(ctx, l.http, request{method: http.MethodPut, path: "/cards", body: cards, header: r.header}); err != nil {
		return nil, err
	}
	if err := res.Body.Close(); err != nil {
		return nil, err
	}
	return ask(ctx, l.http, r)
}

// headers say who asks.
func (l *Link) headers(h http.Header) http.Header {
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set(addressHeader, l.n.c.Keyring.Address().String())
	h.Set(idHeader, l.n.ID().String())
	return h
}

// ask sends a request to the one host that a client knows, and makes a refusal an
// error.
func ask(ctx context.Context, c *http.Client, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, "https://peer.invalid"+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("nearby: ask: %w", err)
	}
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	res, err := c.Do(req)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, ctx.Err()
	case errors.Is(err, message.BadSignature) || errors.Is(err, message.Unavailable):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("nearby: ask: %w: %w", err, message.Unavailable)
	case res.StatusCode/100 == 2:
		return res, nil
	}
	_ = res.Body.Close() // nothing in it is wanted
	return nil, fmt.Errorf("nearby: %s %s: %d: %w", r.method, r.path, res.StatusCode, codeOf(res.StatusCode))
}

// answerOf reads an answer, bounded.
func answerOf[M proto.Message](res *http.Response, limit int64, into M) (M, error) {
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return into, fmt.Errorf("nearby: answer: %w: %w", err, message.Unavailable)
	}
	return into, parse(b, limit, into)
}

// parse bounds and reads a message.
func parse(b []byte, limit int64, into proto.Message) error {
	if int64(len(b)) > limit {
		return fmt.Errorf("nearby: more than %d bytes: %w", limit, message.TooLarge)
	}
	if err := message.CheckFields(b, into); err != nil {
		return err
	}
	if err := proto.Unmarshal(b, into); err != nil {
		return fmt.Errorf("nearby: not the expected message: %w", message.Invalid)
	}
	return nil
}
