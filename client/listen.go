package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// backlog is how many connections wait for Accept; callers beyond are told Busy.
const backlog = 64

// Admission says whose connections a listener takes. The caller is who the relay
// says that it is; only one who then proves it is handed out by Accept.
type Admission func(ctx context.Context, from message.Address) bool

// AdmitContacts admits those who are contacts at the moment of the call, and one's
// own devices.
func (c *Client) AdmitContacts(ctx context.Context, from message.Address) bool {
	all, err := c.home.Contacts(ctx)
	if err != nil {
		return false
	}
	for _, contact := range all {
		if contact.Address == from {
			return true
		}
	}
	return from == c.me
}

// Anyone admits everybody.
func Anyone(context.Context, message.Address) bool { return true }

// Only admits some addresses.
func Only(addresses ...message.Address) Admission {
	return func(_ context.Context, from message.Address) bool { return slices.Contains(addresses, from) }
}

// Listener takes live connections. It stays reachable, whatever happens to its
// socket, until Close, or until the server refuses it for good.
type Listener struct {
	c      *Client
	admit  []Admission
	conns  chan *relay.Conn
	places chan struct{} // one for each connection that waits, or is being proved
	line   *relay.Line
	ended  chan struct{} // closed once the line has ended

	reached sync.Once
	serving chan struct{} // closed once calls arrive
	closing sync.Once
	closed  chan struct{}

	// mu guards err.
	mu  sync.Mutex
	err error
}

// Listen takes connections for a protocol, and returns once they arrive. Without
// admit, contacts and one's own devices are admitted; with it, whom any of them
// admits. Of several listeners of one address for one protocol the latest is called. Errors:
// ErrNoAccount, message.Denied, message.Unavailable.
func (c *Client) Listen(ctx context.Context, protocol string, admit ...Admission) (net.Listener, error) {
	if err := relay.CheckProtocol(protocol); err != nil {
		return nil, err
	}
	if _, err := c.Account(ctx); err != nil {
		return nil, err
	}
	if len(admit) == 0 {
		admit = []Admission{c.AdmitContacts}
	}
	l := &Listener{
		c: c, admit: admit, conns: make(chan *relay.Conn, backlog), places: make(chan struct{}, backlog),
		ended: make(chan struct{}), serving: make(chan struct{}), closed: make(chan struct{}),
	}
	at := &standing{c: c, open: func(ctx context.Context, open func(*rpc.Peer) error) error { return c.ask(ctx, open) }}
	var err error
	l.line, err = relay.NewLine(relay.LineConfig{
		Self: c.me, Open: at.socket, Corrected: at.corrected, Bundle: c.ownCards(), Rand: c.c.Rand, Protocols: []string{protocol},
		OnCall: l.take, OnServing: func() { l.reached.Do(func() { close(l.serving) }) }, Log: c.log,
	})
	if err == nil {
		err = c.live.run(c.live.ctx, l.line, l.end)
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-l.serving:
		return l, nil
	case <-l.ended:
		return nil, l.failed()
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), l.Close())
	}
}

// end is told when the line has ended.
func (l *Listener) end(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	close(l.ended)
	l.clear()
}

// clear cuts off what nobody will take any more.
func (l *Listener) clear() {
	for {
		select {
		case c := <-l.conns:
			_ = c.Abort() // its other end learns of it, and that this was no end in order
		default:
			return
		}
	}
}

// failed is why the listener has ended.
func (l *Listener) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		return net.ErrClosed
	}
	return fmt.Errorf("client: listen: %w", l.err)
}

// take answers a call.
func (l *Listener) take(ctx context.Context, in *relay.Incoming) {
	if !slices.ContainsFunc(l.admit, func(a Admission) bool { return a(ctx, in.From) }) {
		in.Refuse(relay.Refused)
		return
	}
	chain, err := l.c.caller(ctx, in.From, in.Bundle)
	if err != nil {
		l.c.log.InfoContext(ctx, "client: a caller is not known", "from", in.From, "error", err)
		in.Refuse(relay.Refused)
		return
	}
	select {
	case l.places <- struct{}{}:
	default:
		in.Refuse(relay.Busy)
		return
	}
	conn, err := l.c.secure(ctx, in.Accept(), relay.Ends{Peer: chain, Direct: l.c.directWith(ctx, in.From)})
	if err != nil {
		<-l.places
		l.c.log.InfoContext(ctx, "client: a caller is not who the relay says", "from", in.From, "error", err)
		return
	}
	l.conns <- conn // there is a place
	select {
	case <-l.closed:
		l.clear()
	case <-l.ended:
		l.clear()
	default:
	}
}

// caller is the chain of somebody who calls: as it is looked up, and where nobody
// knows the address, as it was sent along, which proves itself.
func (c *Client) caller(ctx context.Context, from message.Address, sent *wirev1.Identity) (*message.Chain, error) {
	if from == c.me {
		return c.c.Keyring.Chain, nil
	}
	found, err := c.lookups(ctx).Lookup(ctx, from)
	if err == nil {
		if found.Disagreement {
			return nil, message.Disagreement
		}
		return found.Subject.Chain, nil
	}
	if sent == nil {
		return nil, err
	}
	var known *message.Chain
	if held, heldErr := c.known.Identity(ctx, from); heldErr == nil {
		known = held.Chain
	}
	i, err := message.OpenIdentity(c.verifier, &wirev1.Identity{Cards: sent.GetCards()}, known)
	switch {
	case err != nil:
		return nil, err
	case i.Address() != from:
		return nil, fmt.Errorf("client: cards of another address: %w", message.BadSignature)
	case known != nil && known.Len() >= i.Chain.Len():
		return known, nil
	}
	return i.Chain, nil
}

// Accept returns the next connection, a *relay.Conn: Peer says who has called.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		<-l.places
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.ended:
		return nil, l.failed()
	}
}

// Close takes no more connections. Those that were accepted go on.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		close(l.closed)
		l.line.Retire()
		l.clear()
	})
	return nil
}

// Addr is one's own address.
func (l *Listener) Addr() net.Addr { return relay.Addr{Address: l.c.me} }
