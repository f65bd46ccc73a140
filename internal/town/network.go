package town

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Reasons for which a connection in a town fails.
var (
	errCut     = errors.New("the link was cut")
	errRefused = errors.New("nobody listens there")
)

// Network carries connections between places with names. Each place has an IP
// address of its own from 10.0.0.0/8, so that limits by address mean something.
// Safe for concurrent use.
type Network struct {
	// mu guards all below.
	mu        sync.Mutex
	places    map[string]net.IP
	listeners map[string]*listener
	cuts      map[link]bool
	open      map[*conn]link
	port      int
	// sockets: connections are TCP on loopback, for somebody who lives in
	// another synctest bubble than the rest, where pipes cannot lead. There are
	// then no cuts.
	sockets map[string]string
}

// A link is two places, in order of their names.
type link struct{ a, b string }

// between is the link of two places.
func between(a, b string) link {
	if b < a {
		a, b = b, a
	}
	return link{a, b}
}

// NewNetwork makes a network without anybody in it.
func NewNetwork() *Network {
	return &Network{places: map[string]net.IP{}, listeners: map[string]*listener{}, cuts: map[link]bool{}, open: map[*conn]link{}}
}

// address is the IP of a place; the caller holds mu.
func (n *Network) address(place string) net.IP {
	ip, ok := n.places[place]
	if !ok {
		i := len(n.places) + 1
		ip = net.IPv4(10, byte(i>>8), byte(i), 1).To4()
		n.places[place] = ip
	}
	return ip
}

// Listen opens the port 443 of a place. Errors: somebody listens there already.
func (n *Network) Listen(place string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sockets != nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			n.sockets[place] = l.Addr().String()
		}
		return l, err
	}
	if n.listeners[place] != nil {
		return nil, fmt.Errorf("town: listen at %s: somebody does already", place)
	}
	l := &listener{
		network: n, place: place, addr: &net.TCPAddr{IP: n.address(place), Port: 443},
		// Room for a burst of dials before the server comes to accept.
		queue: make(chan *conn, 128), closed: make(chan struct{}),
	}
	n.listeners[place] = l
	return l, nil
}

// Dialer is how somebody at a place reaches the others; it fits rpc.DialFunc.
// Addresses have the form place:443.
func (n *Network) Dialer(from string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		place, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		c, err := n.dial(ctx, from, place)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "town", Err: fmt.Errorf("%s to %s: %w", from, place, err)}
		}
		return c, nil
	}
}

// dial connects two places.
func (n *Network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	n.mu.Lock()
	if n.sockets != nil {
		address := n.sockets[to]
		n.mu.Unlock()
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	l := n.listeners[to]
	on := between(from, to)
	if n.cuts[on] || l == nil {
		cut := n.cuts[on]
		n.mu.Unlock()
		if cut {
			return nil, errCut
		}
		return nil, errRefused
	}
	n.port = n.port%20_000 + 1
	near, far := newPipe(&net.TCPAddr{IP: n.address(from), Port: 40_000 + n.port}, l.addr)
	near.gone = func() { n.forget(near) }
	n.open[near] = on
	n.mu.Unlock()
	select {
	case l.queue <- far:
		select {
		case <-l.closed: // between the look and the dial: nobody will accept it
			_ = far.Close()
			_ = near.Close()
			return nil, errRefused
		default:
			return near, nil
		}
	case <-l.closed:
		_ = near.Close()
		return nil, errRefused
	case <-ctx.Done():
		_ = near.Close()
		return nil, ctx.Err()
	}
}

// forget drops a connection that was closed.
func (n *Network) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}

// Cut breaks the connections between two places and refuses new ones until
// Mend.
func (n *Network) Cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	on := between(a, b)
	n.cuts[on] = true
	for c, l := range n.open {
		if l == on {
			c.cut()
		}
	}
}

// Mend undoes Cut.
func (n *Network) Mend(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cuts, between(a, b))
}

// Dials is how many connections are open between two places.
func (n *Network) Dials(a, b string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, l := range n.open {
		if l == between(a, b) {
			count++
		}
	}
	return count
}

// A listener is a place that takes connections.
type listener struct {
	network *Network
	place   string
	addr    net.Addr
	queue   chan *conn
	once    sync.Once
	closed  chan struct{}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "town", Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close implements net.Listener. Connections that nobody has accepted break.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, l.place)
		l.network.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
