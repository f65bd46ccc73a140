package whisper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"airdispatch/message"
)

// MaxBody is how many bytes the body of a message has at most.
const MaxBody = 16 << 10

// The bounds of connections from others, and how often the core looks what is due.
const (
	maxSources     = 512
	maxSourcesHost = 64
	tickEvery      = 100 * time.Millisecond
	earRoom        = 512
)

// Errors for the person who sits here.
var (
	// ErrEmpty is a message without words; old peers do not survive one.
	ErrEmpty = errors.New("whisper: nothing to say")
	// ErrTooLarge is a message or file that does not fit.
	ErrTooLarge = errors.New("whisper: too large")
)

// Config says how a node is. Addr, Dial and Rand are needed.
type Config struct {
	// Nick is the name that others see.
	Nick string
	// Addr is where this node listens, as others dial it: IP:PORT.
	Addr string
	// Local are the addresses of this host besides the loopback's.
	Local []netip.Addr
	// Peers are dialled from the beginning, and again whenever they are lost.
	Peers []string
	// Dial opens a connection.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Discover is a socket on which peers announce themselves, or nil. Run sends
	// one datagram to Announce and closes it at the end.
	Discover net.PacketConn
	// Announce is where to say that this node is here.
	Announce net.Addr
	// Rand is where ids and choices come from.
	Rand io.Reader
	// Keyring signs what is said here, if it is not nil.
	Keyring *message.Keyring
	// People is what is known here of those who sign; nil for nothing.
	People People
	// Log is told of what goes wrong; nil for nobody.
	Log *slog.Logger
}

// Node is one peer of the net. Its methods may be called at once.
type Node struct {
	cfg Config
	log *slog.Logger

	// mu guards what follows.
	mu      sync.Mutex
	core    *core
	peers   map[string]*peer
	ears    map[*Ear]struct{}
	conns   map[net.Conn]netip.Addr
	running context.Context
	work    sync.WaitGroup
}

// Peer is a neighbour as a person sees it.
type Peer struct {
	Addr string
	// Up is whether there is a connection to it.
	Up bool
	// Ours is whether it has shown to understand more than the original format.
	Ours bool
	// Pinned is whether a person asked for it.
	Pinned bool
}

// Ear hears what is said, from the moment that it was made.
type Ear struct {
	// C has what was said, by others and here. Who hears too slowly misses the oldest.
	C    chan Message
	node *Node
}

// New makes a node; Run runs it.
func New(cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Nick = shorten(strings.ToValidUTF8(strings.Join(strings.Fields(cfg.Nick), " "), ""), maxNick)
	n := &Node{cfg: cfg, log: cfg.Log, peers: make(map[string]*peer), ears: make(map[*Ear]struct{}), conns: make(map[net.Conn]netip.Addr)}
	n.core = newCore(cfg.Addr, cfg.Local, cfg.Rand, (*outside)(n))
	if cfg.Keyring != nil {
		p, err := newProver(cfg.Keyring)
		if err != nil {
			return nil, fmt.Errorf("whisper: sign as %s: %w", cfg.Keyring.Address(), err)
		}
		n.core.prove = p
	}
	n.core.prove.people = cfg.People
	for _, addr := range cfg.Peers {
		n.core.open(addr, true)
	}
	return n, nil
}

// Run takes connections from the listener, holds those to peers, and returns
// when the context has ended and everything that it began is over. It closes
// the listener.
func (n *Node) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	n.running = ctx
	for _, p := range n.peers {
		n.start(p)
	}
	n.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close() // so that Accept returns
		n.mu.Lock()
		defer n.mu.Unlock()
		for conn := range n.conns {
			_ = conn.Close() // so that its reader returns
		}
	})
	defer stop()
	n.work.Go(func() { n.ticks(ctx) })
	if n.cfg.discovers() {
		n.work.Go(func() { n.announce(ctx) })
	}
	err := n.accept(ctx, l)
	cancel()
	n.work.Wait()
	return err
}

// accept takes connections until the listener is closed.
func (n *Node) accept(ctx context.Context, l net.Listener) error {
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close() // it came too late
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("whisper: listen: %w", err)
		}
		if err != nil { // too many files are open, or the other side has gone already
			n.log.Warn("accept", "error", err)
			wait(ctx, tickEvery)
			continue
		}
		if !n.admit(conn) {
			_ = conn.Close() // it is not wanted
			continue
		}
		n.work.Go(func() { n.listen(conn) })
	}
}

// wait waits for a time, or until the context ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// admit counts a connection, and refuses what is too much or blacklisted.
func (n *Node) admit(conn net.Conn) bool {
	host := hostOf(conn.RemoteAddr())
	n.mu.Lock()
	defer n.mu.Unlock()
	same := 0
	for _, h := range n.conns {
		if h == host {
			same++
		}
	}
	if len(n.conns) >= maxSources || same >= maxSourcesHost && !n.core.isLocal(host) || n.core.banned(time.Now(), host.String()) {
		return false
	}
	n.conns[conn] = host
	return n.running.Err() == nil
}

// listen reads what a neighbour says until its stream is over, is no longer
// JSON, or is a flood.
func (n *Node) listen(conn net.Conn) {
	defer func() {
		_ = conn.Close() // nothing was written
		n.mu.Lock()
		delete(n.conns, conn)
		n.mu.Unlock()
	}()
	s, in := newSource(hostOf(conn.RemoteAddr())), newStream(conn)
	for {
		raw, err := in.next()
		if err == nil {
			n.mu.Lock()
			err = n.core.receive(time.Now(), s, raw)
			n.mu.Unlock()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				n.log.Info("connection dropped", "host", s.host, "error", err)
			}
			return
		}
	}
}

// ticks lets the core do what is due.
func (n *Node) ticks(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			n.mu.Lock()
			n.core.tick(now)
			n.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// Say says something to everybody.
func (n *Node) Say(body string) error { return n.say(Message{Body: body}) }

// SendFile sends a file to everybody, whole, in one message whose body is the
// file's name.
func (n *Node) SendFile(name, mediaType string, data []byte) error {
	if len(data) == 0 {
		return ErrEmpty
	}
	if len(data) > MaxFile {
		return fmt.Errorf("%w: a file of %d bytes; at most %d", ErrTooLarge, len(data), MaxFile)
	}
	return n.say(Message{Body: name, FileType: mediaType, File: data})
}

func (n *Node) say(m Message) error {
	m.Nick, m.Body = n.cfg.Nick, strings.ToValidUTF8(m.Body, "\uFFFD")
	if strings.TrimSpace(m.Body) == "" {
		return ErrEmpty
	}
	if len(m.Body) > MaxBody {
		return fmt.Errorf("%w: a message of %d bytes; at most %d", ErrTooLarge, len(m.Body), MaxBody)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	said, err := n.core.say(time.Now(), m)
	if err == nil {
		(*outside)(n).show(said)
	}
	return err
}

// Connect holds a connection to host:port from now on, also where it was blocked.
func (n *Node) Connect(addr string) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("whisper: connect to %q: want host:port", addr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.core.bans, addr)
	delete(n.core.quiet, addr)
	if host, _, err := net.SplitHostPort(addr); err == nil {
		delete(n.core.bans, host)
	}
	n.core.open(addr, true)
	if p := n.peers[addr]; p != nil {
		p.pinned = true
	}
	return nil
}

// Disconnect ends the connection to a peer until Connect. What the peer says is
// heard all the same; see Block.
func (n *Node) Disconnect(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.core.dismiss(addr)
}

// Block ends the connection to a peer and takes nothing from it any more, while
// this node runs or until Connect.
func (n *Node) Block(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.core.ban(time.Now(), addr, blockTime)
	if ap, err := netip.ParseAddrPort(addr); err == nil && !n.core.isLocal(ap.Addr()) {
		n.core.ban(time.Now(), ap.Addr().Unmap().String(), blockTime)
	}
}

// blockTime is longer than anybody chats.
const blockTime = 10 * 365 * 24 * time.Hour

// Peers are the neighbours, in the order of their addresses.
func (n *Node) Peers() []Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]Peer, 0, len(n.core.links))
	for _, l := range n.core.links {
		out = append(out, Peer{Addr: l.addr, Up: l.up, Ours: l.ours, Pinned: l.pinned})
	}
	slices.SortFunc(out, func(a, b Peer) int { return strings.Compare(a.Addr, b.Addr) })
	return out
}

// Addr is where this node listens, as others dial it.
func (n *Node) Addr() string { return n.cfg.Addr }

// Nick is the name that others see.
func (n *Node) Nick() string { return n.cfg.Nick }

// Recent are the newest messages that are still held, at most limit, oldest first.
func (n *Node) Recent(limit int) []Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.recent(limit)
}

func (n *Node) recent(limit int) []Message {
	var out []Message
	for _, o := range n.core.kept.last(limit) {
		out = append(out, o.Message)
	}
	return out
}

// Hear makes an ear, and says what was said last before it was made. Close it
// when it is no longer needed.
func (n *Node) Hear(before int) (*Ear, []Message) {
	e := &Ear{C: make(chan Message, earRoom), node: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ears[e] = struct{}{}
	return e, n.recent(before)
}

// Close ends the hearing; C is not closed.
func (e *Ear) Close() {
	e.node.mu.Lock()
	defer e.node.mu.Unlock()
	delete(e.node.ears, e)
}

// start runs a peer, if the node runs; mu is held.
func (n *Node) start(p *peer) {
	ctx := n.running
	if ctx == nil || ctx.Err() != nil {
		return
	}
	n.work.Go(func() { p.run(ctx) })
}

// established tells the core of a connection.
func (n *Node) established(p *peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.peers[p.addr] == p {
		n.core.connected(p.addr)
	}
}

// lost tells the core that there is no connection, with final for good.
func (n *Node) lost(p *peer, final bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.peers[p.addr] != p {
		return
	}
	if final {
		delete(n.peers, p.addr)
	}
	n.core.disconnected(p.addr, final)
}

// outside is the node as the core sees it; mu is held in all of it.
type outside Node

func (o *outside) send(addr string, b []byte) {
	if p := o.peers[addr]; p != nil {
		p.push(b)
	}
}

func (o *outside) dial(addr string, pinned bool) {
	p := newPeer((*Node)(o), addr, pinned)
	o.peers[addr] = p
	(*Node)(o).start(p)
}

func (o *outside) hangUp(addr string) {
	if p := o.peers[addr]; p != nil {
		delete(o.peers, addr)
		p.end()
	}
}

func (o *outside) show(m Message) {
	for e := range o.ears {
		select {
		case e.C <- m:
		default:
			select {
			case <-e.C: // the oldest
			default:
			}
			select {
			case e.C <- m:
			default:
			}
		}
	}
}

// hostOf is the host of a connection's other end.
func hostOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
