package nearby

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"airdispatch/message"
)

const (
	// protocolHeader says what a connection is for, and connectionUpgrade that one is wanted.
	protocolHeader    = "Airdispatch-Protocol"
	connectionUpgrade = "airdispatch-connection"
	connectionPath    = "/connection"
	maxProtocol       = 64
	// backlog is how many connections of a protocol wait for Accept; maxLive how many may be open that others have
	// made, and livePerAddress by one of them: some less than connections of a host, so that letters still come.
	backlog        = 16
	maxLive        = 128
	livePerAddress = 24
)

// CheckProtocol refuses, with message.Invalid, what is no name of a protocol: 1 to 64 letters,
// digits and any of . _ - / + (docs/protocol.md §14).
func CheckProtocol(name string) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/+", r)
	}
	if name == "" || len(name) > maxProtocol || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("nearby: protocol %.70q: 1 to %d letters, digits and . _ - / +: %w", name, maxProtocol, message.Invalid)
	}
	return nil
}

// Admission says whose connections a listener takes; the caller has proved who it is.
type Admission func(ctx context.Context, from message.Address) bool

// Listener takes connections for one protocol while the node serves.
type Listener struct {
	n        *Node
	protocol string
	admit    []Admission
	conns    chan *Conn
	closed   chan struct{}
	once     sync.Once
}

// lives are the listeners of a node, and the connections that others have made.
type lives struct {
	mu        sync.Mutex
	listeners map[string]*Listener
	open      map[*Conn]struct{}
	places    map[message.Address]int
	taken     int
	ended     bool
}

// Listen takes connections for a protocol, of those whom any of admit admits; without admit
// of contacts and one's own devices. Whoever is admitted by address may be no contact. Errors: message.Invalid,
// message.Denied without an identity, message.Conflict where the protocol is served already.
func (n *Node) Listen(protocol string, admit ...Admission) (*Listener, error) {
	if err := CheckProtocol(protocol); err != nil {
		return nil, err
	}
	if n.c.Keyring == nil {
		return nil, fmt.Errorf("nearby: listen: no identity: %w", message.Denied)
	}
	if len(admit) == 0 {
		admit = []Admission{n.isContact}
	}
	l := &Listener{n: n, protocol: protocol, admit: admit, conns: make(chan *Conn, backlog), closed: make(chan struct{})}
	n.lives.mu.Lock()
	defer n.lives.mu.Unlock()
	switch {
	case n.lives.ended:
		return nil, net.ErrClosed
	case n.lives.listeners[protocol] != nil:
		return nil, fmt.Errorf("nearby: listen: %s is served already: %w", protocol, message.Conflict)
	}
	n.lives.listeners[protocol] = l
	return l, nil
}

// Accept is the next connection, a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close takes no more connections; those that nobody has accepted are aborted.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.n.lives.mu.Lock()
		if l.n.lives.listeners[l.protocol] == l {
			delete(l.n.lives.listeners, l.protocol)
		}
		close(l.closed) // under mu, so that nothing is handed over after it
		l.n.lives.mu.Unlock()
		var all sync.WaitGroup
		defer all.Wait()
		for {
			select {
			case c := <-l.conns:
				all.Go(func() { _ = c.Abort() }) // nobody has it
			default:
				return
			}
		}
	})
	return nil
}

// Addr is the name of the protocol.
func (l *Listener) Addr() net.Addr { return protocolAddr(l.protocol) }

// protocolAddr is a net.Addr that is a name.
type protocolAddr string

// Network is the name of this kind of network.
func (protocolAddr) Network() string { return "airdispatch-nearby" }

// String is the protocol.
func (p protocolAddr) String() string { return string(p) }

// admits reports whether a caller may connect.
func (l *Listener) admits(ctx context.Context, from message.Address) bool {
	return slices.ContainsFunc(l.admit, func(a Admission) bool { return a(ctx, from) })
}

// listener is who serves a protocol; nil for nobody.
func (v *lives) listener(protocol string) *Listener {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.listeners[protocol]
}

// admits reports whether any listener admits a caller.
func (v *lives) admits(ctx context.Context, from message.Address) bool {
	v.mu.Lock()
	var all []*Listener
	for _, l := range v.listeners {
		all = append(all, l)
	}
	v.mu.Unlock()
	return slices.ContainsFunc(all, func(l *Listener) bool { return l.admits(ctx, from) })
}

// place counts a connection of an address, where there is room, and returns how to give the
// place back.
func (v *lives) place(a message.Address) (leave func(), ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended || v.taken >= maxLive || v.places[a] >= livePerAddress {
		return nil, false
	}
	v.taken++
	v.places[a]++
	return sync.OnceFunc(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.taken--
		if v.places[a]--; v.places[a] == 0 {
			delete(v.places, a)
		}
	}), true
}

// hand gives a connection to whoever accepts; not where nobody does.
func (v *lives) hand(l *Listener, c *Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-l.closed:
		return false
	default:
	}
	select {
	case l.conns <- c:
		v.open[c] = struct{}{}
		return true
	default:
		return false
	}
}

func (v *lives) gone(c *Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, c)
}

// end closes all listeners and all connections that others have made.
func (v *lives) end() {
	v.mu.Lock()
	v.ended = true
	var listeners []*Listener
	for _, l := range v.listeners {
		listeners = append(listeners, l)
	}
	var open []*Conn
	for c := range v.open {
		open = append(open, c)
	}
	v.mu.Unlock()
	var all sync.WaitGroup
	for _, l := range listeners {
		all.Go(func() { _ = l.Close() }) // it cannot fail
	}
	for _, c := range open {
		all.Go(func() { _ = c.Close() }) // it may be closed already
	}
	all.Wait()
}

// take answers somebody who wants a connection.
func (n *Node) take(w http.ResponseWriter, r *http.Request) {
	l, from, err := n.called(r)
	var leave func()
	if err == nil {
		var room bool
		if leave, room = n.lives.place(from); !room || len(l.conns) == cap(l.conns) {
			if room {
				leave()
			}
			err = Busy
		}
	}
	if err != nil {
		n.log.InfoContext(r.Context(), "nearby: a connection is refused", "from", from, "error", err)
		refuse(w, err)
		return
	}
	c, err := hijack(w)
	if err != nil {
		leave()
		n.log.DebugContext(r.Context(), "nearby: a connection broke", "from", from, "error", err)
		return
	}
	c.peer, c.protocol = from, l.protocol
	c.leave = func() {
		leave()
		n.lives.gone(c)
	}
	if !n.lives.hand(l, c) {
		_ = c.Close() // nobody takes it any more
	}
}

// called is what a caller wants, and who it is. Only contacts learn that a protocol is not served.
func (n *Node) called(r *http.Request) (*Listener, message.Address, error) {
	if n.stopping.Load() {
		return nil, message.Address{}, Gone
	}
	from, err := n.prove(r)
	if err != nil {
		return nil, from, err
	}
	protocol := r.Header.Get(protocolHeader)
	if err := CheckProtocol(protocol); err != nil {
		return nil, from, err
	}
	if r.Header.Get("Upgrade") != connectionUpgrade {
		return nil, from, fmt.Errorf("nearby: no upgrade: %w", message.Invalid)
	}
	l := n.lives.listener(protocol)
	switch {
	case l != nil && l.admits(r.Context(), from):
		return l, from, nil
	case l == nil && n.isContact(r.Context(), from):
		return nil, from, UnknownProtocol
	}
	return nil, from, Refused
}

// hijack takes a connection away from HTTP, and says so to the other end.
func hijack(w http.ResponseWriter) (*Conn, error) {
	taken, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	s, ok := taken.(*secured)
	if !ok {
		return nil, errors.Join(message.Unsupported, taken.Close())
	}
	early, err := in.Reader.Peek(in.Reader.Buffered())
	if err != nil {
		return nil, errors.Join(err, taken.Close())
	}
	c := newConn(s.tls, s.raw, early)
	err = c.SetWriteDeadline(time.Now().Add(answerWithin))
	if err == nil {
		_, err = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+connectionUpgrade+"\r\n\r\n")
	}
	if err == nil {
		err = c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(err, taken.Close())
	}
	return c, nil
}

// Dial makes a connection to the peer for a protocol. Errors: a Reason, message.Invalid,
// message.BadSignature, message.Unavailable where nobody answers.
func (l *Link) Dial(ctx context.Context, protocol string) (*Conn, error) {
	if err := CheckProtocol(protocol); err != nil {
		return nil, err
	}
	if err := l.ping(ctx); err != nil { // it may have to be shown one's cards
		if errors.Is(err, message.Denied) {
			err = Refused
		}
		return nil, fmt.Errorf("nearby: connect to %s: %w", protocol, err)
	}
	t, raw, err := l.n.handshake(ctx, l.Peer.Place, l.tls, l.Chain.Address())
	if err != nil {
		return nil, fmt.Errorf("nearby: connect to %s: %w", protocol, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // what waits ends
	early, err := l.call(t, protocol)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close() // it has been refused
		return nil, fmt.Errorf("nearby: connect to %s: %w", protocol, err)
	}
	c := newConn(t, raw, early)
	c.peer, c.protocol = l.Chain.Address(), protocol
	return c, nil
}

// call asks for a connection over a handshake, and returns what came behind the answer.
func (l *Link) call(t *tls.Conn, protocol string) ([]byte, error) {
	if err := t.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, fmt.Errorf("%w: %w", err, message.Unavailable)
	}
	req, err := http.NewRequest(http.MethodGet, "https://peer.invalid"+connectionPath, nil)
	if err != nil {
		return nil, err
	}
	req.Header = l.headers(nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", connectionUpgrade)
	req.Header.Set(protocolHeader, protocol)
	if err := req.Write(t); err != nil {
		return nil, fmt.Errorf("%w: %w", err, message.Unavailable)
	}
	in := bufio.NewReader(io.LimitReader(t, maxHeader))
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, message.Unavailable)
	}
	defer func() { _ = res.Body.Close() }() // nothing in it is wanted
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, reasonOf(res.StatusCode)
	}
	early, err := in.Peek(in.Buffered())
	return early, errors.Join(err, t.SetDeadline(time.Time{}))
}
