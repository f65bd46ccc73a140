package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// lineLinger is how long the socket to somebody's server stays when nothing uses
	// it: the next call there needs no handshake.
	lineLinger = 30 * time.Second
	// secureWithin is how long the two ends of a connection may take to prove who
	// they are.
	secureWithin = 20 * time.Second
)

// live is what a Client has open besides calls: sockets to servers, and
// listeners. close waits for all of it.
type live struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  *sync.WaitGroup

	// mu guards lines, one for each server that was called.
	mu    *sync.Mutex
	lines map[message.Address]*relay.Line
}

func newLive() live {
	ctx, cancel := context.WithCancel(context.Background())
	return live{ctx: ctx, cancel: cancel, group: &sync.WaitGroup{}, mu: &sync.Mutex{}, lines: map[message.Address]*relay.Line{}}
}

// close ends it all.
func (l *live) close() {
	l.mu.Lock()
	l.cancel()
	l.mu.Unlock()
	l.group.Wait()
}

// run runs a line until it ends.
func (l *live) run(ctx context.Context, line *relay.Line, then func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return net.ErrClosed
	}
	l.group.Go(func() {
		err := line.Run(ctx)
		then(err)
	})
	return nil
}

// Dial connects to an address: a net.Conn (a *relay.Conn) to whoever serves the
// protocol there, proved and encrypted from end to end. The relay is the mail server of
// the address, as long as both do not reach each other without it (Config.Direct). Errors: relay.UnknownProtocol, relay.NotOnline, relay.Refused,
// relay.Busy, relay.Gone, message.BadSignature where somebody else answers, and those
// of looking up.
func (c *Client) Dial(ctx context.Context, to message.Address, protocol string) (net.Conn, error) {
	if err := relay.CheckProtocol(protocol); err != nil {
		return nil, err
	}
	if c.me.IsZero() {
		return nil, ErrNoIdentity
	}
	found, err := c.confirmed(ctx, to)
	if err != nil {
		return nil, err
	}
	chain := found.Subject.Chain
	if to == c.me {
		chain = c.c.Keyring.Chain
	}
	err = fmt.Errorf("client: %s: no mail server of its route is known: %w", to, message.NotFound)
	for _, server := range found.Subject.Route.Servers(message.PurposeInbox) {
		id := found.Servers[server]
		if id == nil {
			continue
		}
		var s *relay.Stream
		if s, err = c.call(ctx, id, to, protocol); err == nil {
			return c.secure(ctx, s, relay.Ends{Peer: chain, Caller: true, Direct: c.directWith(ctx, to)})
		}
		if errors.Is(err, relay.Refused) || ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("client: connect to %s: %w", to, err)
}

// directWith is how a connection with somebody may do without a relay; nil where it may
// not.
func (c *Client) directWith(ctx context.Context, whom message.Address) *relay.Direct {
	admit := c.c.DirectWith
	if admit == nil {
		admit = c.AdmitContacts
	}
	if c.c.Direct == nil || !admit(ctx, whom) {
		return nil
	}
	return c.c.Direct
}

// secure proves both ends of a stream to each other.
func (c *Client) secure(ctx context.Context, s *relay.Stream, e relay.Ends) (*relay.Conn, error) {
	e.Keyring, e.Rand = c.c.Keyring, c.c.Rand
	ctx, cancel := context.WithTimeout(ctx, secureWithin)
	defer cancel()
	return relay.Secure(ctx, s, e)
}

// call asks for a connection at one server, on the line that there is, or on a
// new one.
func (c *Client) call(ctx context.Context, server *message.Identity, to message.Address, protocol string) (*relay.Stream, error) {
	for {
		line, err := c.lineTo(server)
		if err != nil {
			return nil, err
		}
		s, err := line.Call(ctx, to, protocol, c.ownCards())
		if !relay.Ended(err) || errors.Is(err, message.Unavailable) || isRefused(err) {
			return s, err
		}
		c.live.drop(server.Address(), line)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// isRefused reports whether a peer said it.
func isRefused(err error) bool {
	_, ok := errors.AsType[message.Code](err)
	return ok
}

// ownCards is what one shows to those who do not know one; nil where it is too
// much for a frame.
func (c *Client) ownCards() *wirev1.Identity {
	w := &wirev1.Identity{Cards: c.c.Keyring.Chain.Signed(0)}
	if proto.Size(w) > relay.MaxBundle {
		return nil
	}
	return w
}

// drop forgets a line that has ended.
func (l *live) drop(server message.Address, line *relay.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines[server] == line {
		delete(l.lines, server)
	}
}

// lineTo is the line to somebody's server.
func (c *Client) lineTo(server *message.Identity) (*relay.Line, error) {
	a := server.Address()
	c.live.mu.Lock()
	line := c.live.lines[a]
	c.live.mu.Unlock()
	if line != nil {
		return line, nil
	}
	at := &standing{c: c, open: func(ctx context.Context, open func(*rpc.Peer) error) error {
		// Where it was said to be, and later where it has gone.
		id := server
		if now, err := c.lookups(ctx).Server(ctx, a); err == nil {
			id = now
		}
		p, err := c.net.Peer(id)
		if err != nil {
			return err
		}
		return open(p)
	}}
	line, err := relay.NewLine(relay.LineConfig{
		Self: c.me, Open: at.socket, Corrected: at.corrected, Bundle: c.ownCards(), Rand: c.c.Rand, Linger: lineLinger, Log: c.log,
	})
	if err != nil {
		return nil, err
	}
	c.live.mu.Lock()
	if there := c.live.lines[a]; there != nil {
		c.live.mu.Unlock()
		return there, nil
	}
	c.live.lines[a] = line
	c.live.mu.Unlock()
	return line, c.live.run(c.live.ctx, line, func(error) { c.live.drop(a, line) })
}

// standing opens sockets to one server, wherever it is by then. Safe for
// concurrent use.
type standing struct {
	c    *Client
	open func(ctx context.Context, open func(*rpc.Peer) error) error

	mu   sync.Mutex
	peer *rpc.Peer // whom the last socket was opened to
}

// socket is LineConfig.Open.
func (s *standing) socket(ctx context.Context) (socket *relay.Socket, err error) {
	err = s.open(ctx, func(p *rpc.Peer) (err error) {
		s.mu.Lock()
		s.peer = p
		s.mu.Unlock()
		socket, err = relay.Open(ctx, p)
		return err
	})
	return socket, err
}

// corrected is LineConfig.Corrected.
func (s *standing) corrected(err error) bool {
	s.mu.Lock()
	p := s.peer
	s.mu.Unlock()
	return p != nil && p.Corrected(err)
}
