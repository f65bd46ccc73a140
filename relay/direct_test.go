package relay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"airdispatch/message"
	"airdispatch/relay"
)

// meadow is a world whose ends can reach each other at the loopback interface, with
// a relay that can be restarted, and everything counted that goes through it.
type meadow struct {
	*world
	// relayed is the bytes on all sockets of the relay.
	relayed atomic.Int64
	server  atomic.Pointer[relay.Server]
	stop    func()

	mu      sync.Mutex
	sockets []net.Conn // of the relay
	dialled []net.Conn // directly
	ports   []net.Listener
	// at changes what bob offers; wrap what alice has dialled.
	at   func(netip.AddrPort) []netip.AddrPort
	wrap func(net.Conn) net.Conn
	// listened counts the ports that bob has opened.
	listened int
}

// counted counts what goes over a socket.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func newMeadow(t testing.TB) *meadow {
	t.Helper()
	m := &meadow{world: newWorld(t, free(), "alice", "bob", "mallory")}
	m.start()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.server.Load().ServeHTTP(w, r) }))
	t.Cleanup(func() { m.stop(); h.Close() })
	m.url = h.URL
	m.dial = func(string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, address)
			if err == nil {
				c = counted{c, &m.relayed}
				m.mu.Lock()
				m.sockets = append(m.sockets, c)
				m.mu.Unlock()
			}
			return c, err
		}
	}
	return m
}

// start starts a relay that knows nothing.
func (m *meadow) start() {
	known := byName{people: map[string]message.Address{}}
	for name, k := range m.people {
		known.people[name] = k.Address()
	}
	s := relay.New(relay.Config{Authorizer: known, Limits: free()})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	m.server.Store(s)
	m.stop = func() { cancel(); running.Wait() }
}

// restart puts another relay in the place of the one that was there.
func (m *meadow) restart() {
	m.stop()
	m.start()
}

// directly is how alice and bob do without the relay.
func (m *meadow) directly() *relay.Direct {
	return &relay.Direct{
		Listen: func(context.Context) (net.Listener, []netip.AddrPort, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, nil, err
			}
			at := []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ports = append(m.ports, l)
			m.listened++
			if m.at != nil {
				at = m.at(at[0])
			}
			return l, at, nil
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", to.String())
			if err != nil {
				return nil, err
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.wrap != nil {
				c = m.wrap(c)
			}
			m.dialled = append(m.dialled, c)
			return c, nil
		},
	}
}

// cut breaks the direct sockets.
func (m *meadow) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.dialled {
		_ = c.Close()
	}
	m.dialled = nil
}

// unplug breaks the sockets of the relay.
func (m *meadow) unplug() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.sockets {
		_ = c.Close()
	}
	m.sockets = nil
}

// pair has bob listen, and alice have a line.
func (m *meadow) pair(willing bool) (*relay.Line, <-chan *relay.Conn) {
	m.t.Helper()
	if !willing {
		return m.pairAt(nil)
	}
	return m.pairAt(func(*relay.Direct) {})
}

// pairAt is pair with a bob who is willing in his own way; nil is not.
func (m *meadow) pairAt(how func(*relay.Direct)) (*relay.Line, <-chan *relay.Conn) {
	m.t.Helper()
	conns := make(chan *relay.Conn, 64)
	serving := make(chan struct{}, 64)
	m.line("bob", relay.LineConfig{
		Protocols: []string{"x"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(ctx context.Context, in *relay.Incoming) {
			e := m.ends("bob", "alice", false)
			if how != nil {
				e.Direct = m.directly()
				how(e.Direct)
			}
			c, err := relay.Secure(ctx, in.Accept(), e)
			if err != nil {
				m.t.Logf("bob takes a call: %v", err)
				return
			}
			conns <- c
		},
	})
	<-serving
	return m.line("alice", relay.LineConfig{}), conns
}

// connect has alice call bob.
func (m *meadow) connect(l *relay.Line, conns <-chan *relay.Conn, willing bool) (near, far *relay.Conn) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := l.Call(ctx, m.people["bob"].Address(), "x", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	e := m.ends("alice", "bob", true)
	if willing {
		e.Direct = m.directly()
	}
	near, err = relay.Secure(ctx, s, e)
	if err != nil {
		m.t.Fatal(err)
	}
	return near, <-conns
}

// becomes waits until all of some connections go directly, or none does.
func becomes(t testing.TB, want bool, conns ...*relay.Conn) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for _, c := range conns {
		for {
			direct, changed := c.Direct()
			if direct == want {
				break
			}
			select {
			case <-changed:
			case <-timeout:
				t.Fatalf("direct is not %v", want)
			}
		}
	}
}

// randomly is n bytes that are like no others.
func randomly(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// crossing sends bytes both ways at once, and calls midway once a third of them has come.
func crossing(t testing.TB, near, far *relay.Conn, n int, midway func()) {
	t.Helper()
	there, back := randomly(t, n), randomly(t, n)
	var all sync.WaitGroup
	var once sync.Once
	send := func(c *relay.Conn, b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Errorf("write: %v", err)
		}
	}
	receive := func(c *relay.Conn, want []byte) {
		_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
		got := make([]byte, 0, n)
		piece := make([]byte, 32<<10)
		for len(got) < n {
			m, err := c.Read(piece[:min(len(piece), n-len(got))])
			got = append(got, piece[:m]...)
			if err != nil {
				t.Errorf("read after %d bytes of %d: %v", len(got), n, err)
				break
			}
			if len(got) > n/3 && midway != nil {
				once.Do(midway)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came that are not those that were sent", len(got))
		}
	}
	all.Go(func() { send(near, there) })
	all.Go(func() { send(far, back) })
	all.Go(func() { receive(near, back) })
	all.Go(func() { receive(far, there) })
	all.Wait()
}

// ends closes a connection in order, from one end.
func ends(t testing.TB, near, far *relay.Conn) {
	t.Helper()
	_ = far.SetReadDeadline(time.Now().Add(60 * time.Second))
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(far); err != nil || len(b) != 0 {
		t.Errorf("at the end: %d bytes, %v", len(b), err)
	}
	<-far.Ended()
	if err := far.Close(); err != nil {
		t.Error(err)
	}
}

// TestDirect: where both ends are willing and reach each other, what they say does
// not pass the relay any more, and the relay forgets the connection at its end.
func TestDirect(t *testing.T) {
	m := newMeadow(t)
	l, conns := m.pair(true)
	near, far := m.connect(l, conns, true)
	becomes(t, true, near, far)
	before := m.relayed.Load()
	crossing(t, near, far, 10<<20, nil)
	if got := m.relayed.Load() - before; got > 10<<10 {
		t.Errorf("%d bytes passed the relay", got)
	}
	if got := m.server.Load().Counts(); got.Connections != 1 {
		t.Errorf("the relay knows of %d connections", got.Connections)
	}
	ends(t, near, far)
	again, there := m.connect(l, conns, true)
	if got := m.server.Load().Counts(); got.Connections != 1 {
		t.Errorf("the relay knows of %d connections", got.Connections)
	}
	ends(t, there, again)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.ports[:1] {
		if c, err := net.Dial("tcp", p.Addr().String()); err == nil {
			_ = c.Close()
			t.Error("a port stays open after its caller has come")
		}
	}
}

// TestDirectIsANetConn: all that a net.Conn does, on a connection without the relay.
func TestDirectIsANetConn(t *testing.T) {
	m := newMeadow(t)
	l, conns := m.pair(true)
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		near, far := m.connect(l, conns, true)
		becomes(t, true, near, far)
		return near, far, func() { _ = near.Close(); _ = far.Close() }, nil
	})
}

// TestOnlyTheWilling: an end that has not said that it is willing neither tells where it
// is nor looks where the other is; ends that do not know of it are ends like that.
func TestOnlyTheWilling(t *testing.T) {
	for name, c := range map[string]struct{ caller, callee bool }{"neither": {}, "the caller": {caller: true}, "the callee": {callee: true}} {
		t.Run(name, func(t *testing.T) {
			m := newMeadow(t)
			l, conns := m.pair(c.callee)
			near, far := m.connect(l, conns, c.caller)
			crossing(t, near, far, 1<<20, nil)
			if direct, _ := near.Direct(); direct || m.listened != 0 || len(m.dialled) != 0 {
				t.Errorf("direct %v, %d ports, %d dialled", direct, m.listened, len(m.dialled))
			}
			ends(t, near, far)
		})
	}
}

// dead is where somebody takes connections and says nothing.
func dead(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return netip.MustParseAddrPort(l.Addr().String())
}

// TestCandidatesThatLeadNowhere: black holes, closed ports and ports that nobody should
// dial cost nothing but the direct way, and not that where one leads to the callee.
func TestCandidatesThatLeadNowhere(t *testing.T) {
	m := newMeadow(t)
	hole := dead(t)
	shut := netip.MustParseAddrPort("127.0.0.1:1")
	m.at = func(at netip.AddrPort) []netip.AddrPort { return []netip.AddrPort{hole, shut, at} }
	l, conns := m.pair(true)
	near, far := m.connect(l, conns, true)
	becomes(t, true, near, far)
	crossing(t, near, far, 1<<20, nil)
	ends(t, near, far)

	m.mu.Lock()
	m.at = func(netip.AddrPort) []netip.AddrPort { return []netip.AddrPort{hole, shut} }
	m.mu.Unlock()
	near, far = m.connect(l, conns, true)
	crossing(t, near, far, 1<<20, nil)
	if direct, _ := near.Direct(); direct {
		t.Error("it goes directly, to nobody")
	}
	ends(t, near, far)
}

// TestDirectBreaks: a direct socket that breaks in the middle costs nothing: the rest
// goes by the relay, and nothing is lost, twice or out of order.
func TestDirectBreaks(t *testing.T) {
	m := newMeadow(t)
	l, conns := m.pair(true)
	for _, unplugged := range []bool{false, true} {
		near, far := m.connect(l, conns, true)
		becomes(t, true, near, far)
		crossing(t, near, far, 10<<20, func() {
			if unplugged {
				m.unplug() // and the way back is not there at once
			}
			m.cut()
		})
		becomes(t, false, near, far)
		before := m.relayed.Load()
		crossing(t, near, far, 1<<20, nil)
		if got := m.relayed.Load() - before; got < 2<<20 {
			t.Errorf("%d bytes passed the relay afterwards", got)
		}
		ends(t, far, near)
	}
}

// brittle breaks after some bytes.
type brittle struct {
	net.Conn
	left *atomic.Int64
}

func (b brittle) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.left.Add(-int64(n)) < 0 {
		_ = b.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

func (b brittle) Write(p []byte) (int, error) {
	if b.left.Add(-int64(len(p))) < 0 {
		_ = b.Close()
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

// TestDirectBreaksAnywhere: wherever the direct socket breaks, in its handshake, when the
// ends meet, or while one has left the relay and the other has not, nothing is lost.
func TestDirectBreaksAnywhere(t *testing.T) {
	m := newMeadow(t)
	l, conns := m.pair(true)
	step := 97
	if testing.Short() {
		step *= 6
	}
	for after := 1; after < 9000; after += step {
		left := &atomic.Int64{}
		left.Store(int64(after))
		m.mu.Lock()
		m.wrap = func(c net.Conn) net.Conn { return brittle{c, left} }
		m.mu.Unlock()
		near, far := m.connect(l, conns, true)
		crossing(t, near, far, 400_000, nil)
		ends(t, near, far)
		if t.Failed() {
			t.Fatalf("the socket broke after %d bytes", after)
		}
	}
}

// TestRelayRestartsMeanwhile: a connection that does without the relay goes on when the
// relay knows nothing of it any more. Then it has no way back.
func TestRelayRestartsMeanwhile(t *testing.T) {
	m := newMeadow(t)
	l, conns := m.pair(true)
	near, far := m.connect(l, conns, true)
	becomes(t, true, near, far)
	crossing(t, near, far, 4<<20, m.restart)
	// A call on the same lines shows that they are back, and have heard what the relay knows.
	for {
		other, there, err := m.tryConnect(l, conns)
		if err == nil {
			ends(t, other, there)
			break
		}
		if !errors.Is(err, relay.NotOnline) && !errors.Is(err, relay.Gone) && !strings.Contains(err.Error(), "connect") {
			t.Fatal(err)
		}
	}
	crossing(t, near, far, 1<<20, nil)
	m.cut()
	for _, c := range []*relay.Conn{near, far} {
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, relay.Gone) {
			t.Errorf("with no way left: %v", err)
		}
		_ = c.Close()
	}
}

func (m *meadow) tryConnect(l *relay.Line, conns <-chan *relay.Conn) (near, far *relay.Conn, err error) {
	s, err := l.Call(m.t.Context(), m.people["bob"].Address(), "x", nil)
	if err != nil {
		return nil, nil, err
	}
	if near, err = relay.Secure(m.t.Context(), s, m.ends("alice", "bob", true)); err != nil {
		return nil, nil, err
	}
	return near, <-conns, nil
}

// TestBothSidesUnpluggedMeanwhile: sockets of the relay break and come back under a
// connection that does without it, which then still has a way back.
func TestBothSidesUnpluggedMeanwhile(t *testing.T) {
	m := newMeadow(t)
	l, conns := m.pair(true)
	near, far := m.connect(l, conns, true)
	becomes(t, true, near, far)
	crossing(t, near, far, 3<<20, m.unplug)
	crossing(t, near, far, 3<<20, m.cut)
	becomes(t, false, near, far)
	ends(t, near, far)
}

// TestDirectBesideText: the way back needs no particular form of frames.
func TestDirectBesideText(t *testing.T) {
	m := newMeadow(t)
	m.form = relay.Text
	l, conns := m.pair(true)
	near, far := m.connect(l, conns, true)
	becomes(t, true, near, far)
	crossing(t, near, far, 1<<20, m.cut)
	ends(t, near, far)
}
