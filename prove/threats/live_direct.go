package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"airdispatch/message"
	"airdispatch/relay"
)

func directRows() []row {
	return []row{
		{"L11", "who is no contact, though admitted, learns no address, and nobody does of who wants none told", addressesUntold},
		{"L12", "an offer of enemies has a caller dial no low port, no group and no foreign network, and what is dialled hears no more than a handshake", hostileOffers},
		{"L13", "who comes to the port of somebody who waits gets no certificate, and a flood of them ends nothing", portThieves},
		{"L14", "a direct way that breaks or swallows everything loses no byte", brokenWays},
	}
}

// willingly connects with one's own keys, and with a hand in how the direct way is made.
func (t *town) willingly(ctx context.Context, s *server, k *message.Keyring, to *home, protocol string, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (*relay.Conn, error) {
	l, err := t.line(ctx, s, k, relay.LineConfig{})
	if err != nil {
		return nil, err
	}
	stream, err := l.Call(ctx, to.address, protocol, nil)
	if err != nil {
		return nil, err
	}
	return relay.Secure(ctx, stream, relay.Ends{Keyring: k, Peer: to.keys.Chain, Caller: true, Rand: crand.Reader, Direct: &relay.Direct{Dial: dial}})
}

// converses says something, ends, and compares what comes back.
func converses(c *relay.Conn, said []byte) error {
	defer c.Close()
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(said)
		wrote <- errors.Join(err, c.CloseWrite())
	}()
	heard, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(heard, said) {
		err = fmt.Errorf("%d bytes came back of %d, or others", len(heard), len(said))
	}
	return errors.Join(err, <-wrote)
}

func addressesUntold(ctx context.Context, t *town) error {
	var f findings
	p, mallory, err := t.parlourAndStranger(ctx, t.two)
	if err != nil {
		return err
	}
	if _, err := p.bob.listens(ctx, "open", "--allow", "anyone", "--exec", "cat"); err != nil {
		return err
	}
	if _, err := p.bob.listens(ctx, "quiet", "--direct", "never", "--exec", "cat"); err != nil {
		return err
	}
	for _, c := range []struct {
		who      string
		keys     *message.Keyring
		protocol string
		offered  bool
	}{{"a stranger", mallory.Keys, "open", false}, {"a contact, of who wants none told", p.ann.keys, "quiet", false}, {"a contact", p.ann.keys, "echo", true}} {
		var told atomic.Int32
		conn, err := t.willingly(ctx, t.two, c.keys, p.bob, c.protocol, func(context.Context, netip.AddrPort) (net.Conn, error) {
			told.Add(1)
			return nil, errors.New("not taken")
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.who, err)
		}
		f.fine(converses(conn, bytes.Repeat([]byte("where are you? "), 10_000)), c.who)
		f.must(told.Load() > 0 == c.offered, "%s was told %d addresses", c.who, told.Load())
	}
	return f.all()
}

func hostileOffers(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	mallory, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	if _, err := ann.adctl(ctx, "contacts", "add", mallory.Address().String(), "mallory"); err != nil {
		return err
	}
	low, err := t.mouth("127.0.0.1:777", true) // where the test may not listen, it says so
	if err != nil {
		return err
	}
	high, err := t.mouth("127.0.0.78:0", true)
	if err != nil {
		return err
	}
	var aim []netip.AddrPort
	for _, text := range []string{low.at, "224.0.0.1:9999", "169.254.169.254:9999", "0.0.0.0:9999", "10.255.255.1:9999", "[fe80::1]:9999", high.at} {
		aim = append(aim, netip.MustParseAddrPort(text))
	}
	serving := make(chan struct{}, 1)
	if _, err := t.line(ctx, t.two, mallory.Keys, relay.LineConfig{
		Protocols: []string{"echo"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(ctx context.Context, in *relay.Incoming) {
			c, err := relay.Secure(ctx, in.Accept(), relay.Ends{Keyring: mallory.Keys, Peer: ann.keys.Chain, Rand: crand.Reader, Direct: &relay.Direct{
				Listen: func(context.Context) (net.Listener, []netip.AddrPort, error) {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					return l, aim, err
				},
			}})
			if err == nil {
				_, _ = io.Copy(c, c) // who has called says what came
				_ = c.Close()
			}
		},
	}); err != nil {
		return err
	}
	<-serving
	said := strings.Repeat("a canary for mallory alone. ", 20_000)
	heard, err := t.runFed(ctx, ann.env, strings.NewReader(said), ann.dir, "adctl", "connect", "mallory", "echo", "--home", ann.dir)
	f.must(err == nil && heard == said, "%d bytes came back of %d, %v", len(heard), len(said), err)
	f.must(low.visitors() == 0, "a low port was dialled")
	f.must(high.visitors() > 0, "the control: nothing that was offered was dialled")
	b := high.heard.bytes()
	f.must(len(b) < 16<<10 && (len(b) == 0 || b[0] == 22) && !bytes.Contains(b, []byte("canary")), "who was dialled heard %d bytes: %.100q", len(b), b)
	return f.all()
}

func portThieves(ctx context.Context, t *town) error {
	var f findings
	p, mallory, err := t.parlourAndStranger(ctx, t.two)
	if err != nil {
		return err
	}
	der, key, err := mallory.Keys.Signer.DeviceCertificate(crand.Reader, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	came, shown := 0, 0
	var held []net.Conn
	conn, err := t.willingly(ctx, t.two, p.ann.keys, p.bob, "echo", func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		for n := range 100 {
			raw, err := net.Dial("tcp", to.String())
			if err != nil {
				return nil, err
			}
			mu.Lock()
			came, held = came+1, append(held, raw)
			mu.Unlock()
			if n >= 3 {
				continue // it says nothing
			}
			_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
			c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"ad-direct/1/" + hex.EncodeToString(random(16))},
				Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
			_ = c.HandshakeContext(ctx) // what was shown is what counts
			mu.Lock()
			shown += len(c.ConnectionState().PeerCertificates)
			mu.Unlock()
		}
		return nil, errors.New("not taken")
	})
	if err != nil {
		return err
	}
	f.fine(converses(conn, bytes.Repeat([]byte("beside the flood "), 50_000)), "the connection")
	mu.Lock()
	f.must(came > 3, "the control: %d came to the port", came)
	f.must(shown == 0, "%d certificates were shown to who had no token", shown)
	for _, c := range held {
		_ = c.Close()
	}
	mu.Unlock()
	p.well(ctx, &f)
	return f.all()
}

// cutting is a socket that ends, or goes deaf, after some bytes.
type cutting struct {
	net.Conn
	left atomic.Int64
	deaf bool
}

// Read implements net.Conn.
func (c *cutting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.left.Add(-int64(n)) >= 0 {
		return n, err
	}
	if !c.deaf {
		return 0, errors.Join(net.ErrClosed, c.Conn.Close())
	}
	_, err = io.Copy(io.Discard, c.Conn) // until it is given up
	return 0, errors.Join(err, net.ErrClosed)
}

func brokenWays(ctx context.Context, t *town) error {
	var f findings
	p, err := t.parlour(ctx, t.two)
	if err != nil {
		return err
	}
	for name, c := range map[string]struct {
		after int64
		deaf  bool
	}{"cut in the handshake": {700, false}, "cut": {400_000, false}, "deaf": {400_000, true}} {
		var cuts atomic.Int32
		conn, err := t.willingly(ctx, t.two, p.ann.keys, p.bob, "echo", func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			raw, err := d.DialContext(ctx, "tcp", to.String())
			if err != nil {
				return nil, err
			}
			cuts.Add(1)
			way := &cutting{Conn: raw, deaf: c.deaf}
			way.left.Store(c.after)
			return way, nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.fine(converses(conn, random(3<<20)), name)
		f.must(cuts.Load() > 0, "%s: the control: no direct way was tried", name)
	}
	p.well(ctx, &f)
	return f.all()
}
