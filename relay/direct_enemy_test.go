package relay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// person is how somebody shakes hands who looks away from who is at the other end.
func person(t *testing.T, k *message.Keyring, name string) *tls.Config {
	t.Helper()
	der, signer, err := k.Signer.DeviceCertificate(rand.Reader, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}}, MinVersion: tls.VersionTLS13,
		NextProtos: []string{name}, InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert,
	}
}

// tokenIn finds the name of the handshake in what a caller says first.
func tokenIn(b []byte) string {
	const prefix = "ad-direct/1/"
	at := bytes.Index(b, []byte(prefix))
	if at < 0 || at+len(prefix)+32 > len(b) {
		return ""
	}
	return string(b[at : at+len(prefix)+32])
}

// TestSomebodyElseIsThere: where a candidate leads to somebody else, who takes whatever name is
// asked for, the caller says nothing to them but its handshake, and goes by the relay.
func TestSomebodyElseIsThere(t *testing.T) {
	m := newMeadow(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			heard <- -1
			return
		}
		defer c.Close()
		config := person(t, m.people["mallory"], "")
		config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			mine := config.Clone()
			mine.NextProtos, mine.GetConfigForClient = h.SupportedProtos, nil
			return mine, nil
		}
		n, _ := io.Copy(io.Discard, tls.Server(c, config))
		heard <- n
	}()
	t.Cleanup(func() { _ = l.Close() })
	m.at = func(netip.AddrPort) []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}
	}
	line, conns := m.pair(true)
	near, far := m.connect(line, conns, true)
	crossing(t, near, far, 1<<20, nil)
	if n := <-heard; n != 0 {
		t.Errorf("somebody else heard %d bytes", n)
	}
	if direct, _ := near.Direct(); direct {
		t.Error("the connection goes to somebody else")
	}
	ends(t, near, far)
}

// thief lets the other end have no more than what it has seen of a handshake.
type thief struct {
	net.Conn
	seen chan<- string
}

func (c thief) Write(b []byte) (int, error) {
	if token := tokenIn(b); token != "" {
		c.seen <- token
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// TestStolenToken: who has seen the token on its way, and has another key, is not taken; who
// does not know it, or comes second with it, gets no certificate to look at.
func TestStolenToken(t *testing.T) {
	m := newMeadow(t)
	seen := make(chan string, 1)
	m.wrap = func(c net.Conn) net.Conn { return thief{c, seen} }
	line, conns := m.pair(true)
	near, far := m.connect(line, conns, true)
	token := <-seen
	m.mu.Lock()
	port := m.ports[0].Addr().String()
	m.mu.Unlock()
	for try, name := range []string{"ad-direct/1/" + hex.EncodeToString(make([]byte, 16)), token, token} {
		certificates := try % 2
		raw, err := net.Dial("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
		c := tls.Client(raw, person(t, m.people["mallory"], name))
		_ = c.Handshake()
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("mallory heard %d bytes", n)
		}
		if got := len(c.ConnectionState().PeerCertificates); got > certificates {
			t.Errorf("%s: %d certificates", name, got)
		}
		_ = raw.Close()
	}
	crossing(t, near, far, 1<<20, nil)
	if direct, _ := far.Direct(); direct {
		t.Error("the connection goes to mallory")
	}
	ends(t, near, far)
}

// crowd counts the sockets of a port that are open at once.
type crowd struct {
	net.Listener
	mu         sync.Mutex
	open, most int
	shut       bool
	changed    sync.Cond // of mu
}

// Close closes the port.
func (c *crowd) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	c.changed.Broadcast()
	return c.Listener.Close()
}

type guest struct {
	net.Conn
	crowd *crowd
	once  sync.Once
}

func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	c.most = max(c.most, c.open)
	return &guest{Conn: conn, crowd: c}, nil
}

func (g *guest) Close() error {
	g.once.Do(func() {
		g.crowd.mu.Lock()
		g.crowd.open--
		g.crowd.changed.Broadcast()
		g.crowd.mu.Unlock()
	})
	return g.Conn.Close()
}

// TestFloodOfAPort: those who come to the port of somebody else take no more than a few places
// for a few seconds, and the connection goes on whatever becomes of the direct way.
func TestFloodOfAPort(t *testing.T) {
	m := newMeadow(t)
	var mu sync.Mutex
	var held []net.Conn
	t.Cleanup(func() {
		for _, c := range held {
			_ = c.Close()
		}
	})
	seat := &crowd{}
	seat.changed.L = &seat.mu
	line, conns := m.pairAt(func(d *relay.Direct) {
		listen := d.Listen
		d.Listen = func(ctx context.Context) (net.Listener, []netip.AddrPort, error) {
			l, at, err := listen(ctx)
			if err != nil {
				return nil, nil, err
			}
			for i := range 100 { // before the caller can know of it
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					return nil, nil, err
				}
				if i%3 == 0 {
					_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
				}
				mu.Lock()
				held = append(held, c)
				mu.Unlock()
			}
			seat.Listener = l
			return seat, at, nil
		}
	})
	near, far := m.connect(line, conns, true)
	crossing(t, near, far, 2<<20, nil)
	ends(t, near, far)
	seat.mu.Lock()
	defer seat.mu.Unlock()
	for !seat.shut || seat.open > 0 { // all are closed, whoever still holds the other end
		seat.changed.Wait()
	}
	if seat.most > 16 {
		t.Errorf("%d sockets were nobody's at once", seat.most)
	}
}

// TestOffersOfEnemies: a callee that offers what it likes gets the caller to dial neither low ports
// nor groups nor more than a few, and breaks nothing but its own connection.
func TestOffersOfEnemies(t *testing.T) {
	offer := func(w *wirev1.LiveOffer) []byte {
		b, err := proto.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	token := make([]byte, 16)
	for name, c := range map[string]struct {
		b    []byte
		want []string
		bad  bool
	}{
		"nothing":        {b: nil},
		"two":            {b: offer(&wirev1.LiveOffer{Token: token, Candidates: []string{"192.0.2.7:5000", "[2001:db8::1]:6000"}}), want: []string{"192.0.2.7:5000", "[2001:db8::1]:6000"}},
		"a low port":     {b: offer(&wirev1.LiveOffer{Token: token, Candidates: []string{"192.0.2.7:25", "192.0.2.7:1023", "192.0.2.7:0"}})},
		"a group":        {b: offer(&wirev1.LiveOffer{Token: token, Candidates: []string{"224.0.0.251:5353", "[ff02::1]:5353", "255.255.255.255:9999", "0.0.0.0:2000", "[::]:2000"}})},
		"link-local":     {b: offer(&wirev1.LiveOffer{Token: token, Candidates: []string{"169.254.169.254:8080", "[fe80::1]:8080", "[fe80::1%eth0]:8080"}})},
		"mapped":         {b: offer(&wirev1.LiveOffer{Token: token, Candidates: []string{"[::ffff:192.0.2.7]:5000", "192.0.2.7:5000"}}), want: []string{"192.0.2.7:5000"}},
		"a name":         {b: offer(&wirev1.LiveOffer{Token: token, Candidates: []string{"localhost:5000"}}), bad: true},
		"too many":       {b: offer(&wirev1.LiveOffer{Token: token, Candidates: make([]string, 9)}), bad: true},
		"a short token":  {b: offer(&wirev1.LiveOffer{Token: token[:8], Candidates: []string{"192.0.2.7:5000"}}), bad: true},
		"garbage":        {b: []byte{0xff, 0xff}, bad: true},
		"more than fits": {b: make([]byte, 2000), bad: true},
	} {
		got, _, err := relay.ParseOffer(c.b)
		if (err != nil) != c.bad || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		for i, to := range got {
			if to.String() != c.want[i] {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	}
}

// TestLegOfAnEnemy: whoever is the other end and breaks the rules on the direct socket loses
// the direct way, and no more than the connection.
func TestLegOfAnEnemy(t *testing.T) {
	for name, b := range map[string][]byte{
		"too large": binary.BigEndian.AppendUint32(nil, relay.MaxFrame+1), "garbage": {0, 0, 0, 2, 0xff, 0xff}, "cut": {0, 0, 1, 0, 1}, "nothing": nil,
	} {
		m := newMeadow(t)
		line, conns := m.pair(true)
		far := make(chan *relay.Conn, 1)
		s, err := line.Call(t.Context(), m.people["bob"].Address(), "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		e := m.ends("alice", "bob", true)
		d := m.directly()
		dialled := make(chan struct{})
		e.Direct = &relay.Direct{Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			defer close(dialled)
			c, err := d.Dial(ctx, to)
			if err != nil {
				return nil, err
			}
			return &rude{Conn: c, says: b, in: m.people["alice"], t: t}, nil
		}}
		near, err := relay.Secure(t.Context(), s, e)
		if err != nil {
			t.Fatal(err)
		}
		far <- <-conns
		<-dialled
		there := <-far
		crossing(t, near, there, 400_000, nil)
		if direct, _ := there.Direct(); direct {
			t.Errorf("%s: it goes on directly", name)
		}
		ends(t, near, there)
	}
}

// rude shakes hands as it should, under the name that its caller would use, and then says
// something else.
type rude struct {
	net.Conn
	says []byte
	in   *message.Keyring
	t    *testing.T
}

func (c *rude) Write(b []byte) (int, error) {
	if token := tokenIn(b); token != "" {
		own := tls.Client(c.Conn, person(c.t, c.in, token))
		if err := own.Handshake(); err != nil {
			c.t.Errorf("the handshake of who one is: %v", err)
		}
		_, _ = own.Write(c.says)
		_ = own.Close()
	}
	return 0, net.ErrClosed
}

// FuzzOffer: whatever somebody offers is refused, or a few places that may be dialled.
func FuzzOffer(f *testing.F) {
	b, err := proto.Marshal(&wirev1.LiveOffer{Token: make([]byte, 16), Candidates: []string{"192.0.2.7:5000", "[2001:db8::1]:6000"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, token, err := relay.ParseOffer(b)
		if err == nil && (len(got) > 8 || len(got) > 0 && len(token) != 16) {
			t.Errorf("%v, a token of %d bytes", got, len(token))
		}
		for _, to := range got {
			if to.Port() < 1024 || to.Addr().IsMulticast() || to.Addr().IsUnspecified() || to.Addr().IsLinkLocalUnicast() || to.Addr().Zone() != "" {
				t.Errorf("%v may be dialled", to)
			}
		}
	})
}
