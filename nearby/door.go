package nearby

import (
	"context"
	"crypto/tls"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxConns is how many connections may be open, and connsPerHost from one host.
	maxConns, connsPerHost = 256, 32
	// firstWithin is how long somebody may take to say anything.
	firstWithin = 5 * time.Second
	// handshake begins every connection of TLS.
	handshake = 0x16
)

// door tells the two kinds of connections on one port apart.
type door struct {
	ctx           context.Context
	l             net.Listener
	tls           *tls.Config // nil where there is none
	plain, secure *side
	group         sync.WaitGroup

	mu    sync.Mutex
	hosts map[netip.Addr]int
	all   int
	// silent are those that have not said anything yet.
	silent map[*counted]struct{}
	closed bool
}

func newDoor(ctx context.Context, l net.Listener) *door {
	d := &door{ctx: ctx, l: l, hosts: map[netip.Addr]int{}, silent: map[*counted]struct{}{}}
	d.plain, d.secure = newSide(l.Addr()), newSide(l.Addr())
	return d
}

// fullPause is how long a door waits that has no descriptor for a caller.
const fullPause = 10 * time.Millisecond

// accept passes connections on until the listener is closed.
func (d *door) accept() error {
	for {
		c, err := d.l.Accept()
		if err != nil {
			if t, ok := err.(interface{ Temporary() bool }); ok && t.Temporary() {
				// Out of files; others close theirs.
				select {
				case <-d.ctx.Done():
				case <-time.After(fullPause):
				}
				continue
			}
			return err
		}
		host := hostOf(c.RemoteAddr())
		if !d.enter(host) {
			_ = c.Close() // there are too many
			continue
		}
		d.group.Go(func() { d.sort(&counted{Conn: c, leave: sync.OnceFunc(func() { d.exit(host) })}) })
	}
}

func hostOf(a net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// enter counts a connection, where there is room.
func (d *door) enter(host netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= maxConns || d.hosts[host] >= connsPerHost {
		return false
	}
	d.all++
	d.hosts[host]++
	return true
}

func (d *door) exit(host netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.hosts[host]--; d.hosts[host] == 0 {
		delete(d.hosts, host)
	}
}

// sort reads the first byte of a connection and passes it on.
func (d *door) sort(c *counted) {
	if !d.hold(c) {
		_ = c.Close() // it is broken, or too late
		return
	}
	defer d.release(c)
	var first [1]byte
	n, err := c.Read(first[:])
	if err != nil || n == 0 || c.SetReadDeadline(time.Time{}) != nil {
		_ = c.Close() // it has said nothing
		return
	}
	c.first = first[:]
	if first[0] != handshake {
		d.plain.pass(c)
		return
	}
	if d.tls == nil {
		_ = c.Close() // nobody is here who could prove it
		return
	}
	raw := &steady{Conn: c}
	t := tls.Server(raw, d.tls)
	ctx, cancel := context.WithTimeout(d.ctx, answerWithin)
	defer cancel()
	if t.HandshakeContext(ctx) != nil {
		_ = t.Close() // it has been told
		return
	}
	d.secure.pass(&secured{Conn: t, tls: t, raw: raw, state: t.ConnectionState()})
}

// secured is a connection over TLS. It hides its type, because HTTP would want a
// name of its own in the handshake.
type secured struct {
	net.Conn
	tls   *tls.Conn
	raw   *steady
	state tls.ConnectionState
}

// stateKey is where the handshake of a connection is found in the context of a request.
type stateKey struct{}

// withState is http.Server.ConnContext.
func withState(ctx context.Context, c net.Conn) context.Context {
	if s, ok := c.(*secured); ok {
		return context.WithValue(ctx, stateKey{}, &s.state)
	}
	return ctx
}

// stateOf is the handshake of the connection that a request came on; nil where it came in the clear.
func stateOf(r *http.Request) *tls.ConnectionState {
	s, _ := r.Context().Value(stateKey{}).(*tls.ConnectionState)
	return s
}

// hold waits for what a connection says; not when the door has closed.
func (d *door) hold(c *counted) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || c.SetReadDeadline(time.Now().Add(firstWithin)) != nil {
		return false
	}
	d.silent[c] = struct{}{}
	return true
}

func (d *door) release(c *counted) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.silent, c)
}

// Close takes no more connections, and waits for none to say anything.
func (d *door) Close() error {
	err := d.l.Close()
	d.mu.Lock()
	d.closed = true
	for c := range d.silent {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // where that fails it is closed already
	}
	d.mu.Unlock()
	_ = d.plain.Close() // cannot fail
	_ = d.secure.Close()
	return err
}

// wait waits for those that have not said anything yet.
func (d *door) wait() { d.group.Wait() }

// counted is a connection that gives back its place, and its first byte.
type counted struct {
	net.Conn
	first []byte
	leave func()
}

// Read reads, the first byte too.
func (c *counted) Read(p []byte) (int, error) {
	if len(c.first) > 0 && len(p) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite ends what goes out, where the network can.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes, and gives back the place.
func (c *counted) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// side is a listener for one kind of connections.
type side struct {
	addr  net.Addr
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func newSide(a net.Addr) *side {
	return &side{addr: a, conns: make(chan net.Conn), ended: make(chan struct{})}
}

// pass hands a connection to whoever accepts.
func (s *side) pass(c net.Conn) {
	select {
	case s.conns <- c:
	case <-s.ended:
		_ = c.Close() // nobody takes it
	}
}

// Accept is the next connection.
func (s *side) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.ended:
		return nil, net.ErrClosed
	}
}

// Close takes no more.
func (s *side) Close() error {
	s.once.Do(func() { close(s.ended) })
	return nil
}

// Addr is where it listens.
func (s *side) Addr() net.Addr { return s.addr }

// quiet makes what HTTP complains about a matter of debugging: strangers cause it.
func quiet(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }

// wait waits until all sessions have ended; those that have not when ctx ends are cut.
func (s *sessions) wait(ctx context.Context) {
	cut := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for n := range s.all {
			if n.ws != nil {
				_ = n.ws.CloseNow() // its reader ends
			}
		}
	})
	defer cut()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		n := len(s.all)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		<-tick.C
	}
}
