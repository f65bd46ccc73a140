package whisper

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// The bounds of what is remembered, and of how many neighbours there are.
const (
	seenIDs      = 1 << 16
	seenAge      = time.Hour
	keptMessages = 512
	keptBytes    = 8 << 20
	backlog      = 20
	recent       = 100

	// fewOurs is how many neighbours of our kind a peer looks for, manyOurs
	// how many it keeps. Six are enough for a connected net of any size.
	fewOurs  = 6
	manyOurs = 12
	maxOld   = 64
	maxKnown = 256
)

// The bounds of what a source may send. A burst of 20 is no flood; a backlog
// of 20 may come with it.
const (
	authorBurst, authorRate     = 60, 10
	strangerBurst, strangerRate = 150, 40
	oursBurst, oursRate         = 2000, 300
	maxAuthors                  = 1024
	banTime                     = 10 * time.Minute
	maxBans                     = 1024
)

// Errors that cost a source its connection.
var (
	errFlood  = errors.New("whisper: a flood")
	errBanned = errors.New("whisper: blacklisted")
)

// world is what the core acts upon: connections, or a simulation of them. None
// of its methods may wait.
type world interface {
	// send puts bytes into the queue to a peer.
	send(addr string, b []byte)
	// dial begins to hold a connection to a peer; it ends with hangUp.
	dial(addr string, pinned bool)
	// hangUp ends the connection to a peer once its queue is empty.
	hangUp(addr string)
	// show shows a message to whoever sits here.
	show(m Message)
}

// link is a neighbour that we send to.
type link struct {
	addr string
	// pinned was asked for by a person, and stays.
	pinned bool
	// up is whether there is a connection now.
	up bool
	// ours has shown to be of our kind; until then it gets the original format only.
	ours bool
	// greeted was told hello over the connection that there is.
	greeted bool
	// eager gets messages; otherwise one of ours gets ids.
	eager bool
	// pruned was told to send ids only, since its last hello.
	pruned bool
	// fed has got the backlog.
	fed bool
	ids []string
}

// source is a neighbour that sends to us, over one connection.
type source struct {
	host netip.Addr
	// peer is where it listens, once it has said so and its host agrees.
	peer   string
	bucket *rate.Limiter
	// said counts what it said in the name of each address on its own host.
	said map[string]int
}

func newSource(host netip.Addr) *source {
	return &source{host: host.Unmap(), bucket: rate.NewLimiter(strangerRate, strangerBurst), said: make(map[string]int)}
}

// core decides what becomes of what is said. It knows no sockets, clocks or
// locks: whoever holds it calls one method at a time and passes the time.
type core struct {
	own   netip.AddrPort
	addr  string
	local []netip.Addr
	rand  io.Reader
	world world
	prove prover
	seen  *seen
	kept  *kept
	links map[string]*link
	known []string
	// pins are what a person asked for; they are tried again when nobody is left.
	pins   []string
	absent map[string]*absence
	author map[string]*rate.Limiter
	bans   map[string]time.Time
	// quiet are those whom a person disconnected; they are not dialled by themselves.
	quiet  map[string]bool
	gossip time.Time
	seeded uint64
	// heard counts what others said, places what was told of.
	heard, places uint64
}

func newCore(addr string, local []netip.Addr, rand io.Reader, w world) *core {
	own, _ := netip.ParseAddrPort(addr) // a name equals no address of a message
	return &core{
		own: own, addr: addr, local: local, rand: rand, world: w, seen: newSeen(seenIDs, seenAge), kept: newKept(),
		links: make(map[string]*link), absent: make(map[string]*absence),
		author: make(map[string]*rate.Limiter), bans: make(map[string]time.Time), quiet: make(map[string]bool),
	}
}

// say sends what a person says here.
func (c *core) say(now time.Time, m Message) (Message, error) {
	id, err := ownID(c.rand, c.addr)
	if err != nil {
		return m, err
	}
	m.ID, m.Addr, m.Timestamp, m.Own = id, c.addr, now.Unix(), true
	o := newObject(m)
	if c.prove.sign != nil {
		o.ours = c.prove.sign(m)
		o.set(keyOurs, o.ours)
		o.From = c.prove.self
	}
	c.seen.add(now, id)
	c.kept.add(o)
	c.spread(o, nil, false)
	return o.Message, nil
}

// receive takes one JSON value from a source. An error costs it the connection.
func (c *core) receive(now time.Time, s *source, raw json.RawMessage) error {
	return c.admit(now, s, func() (*object, error) { return parseObject(raw) })
}

// admit takes an object, which is read only where the source may send at all.
func (c *core) admit(now time.Time, s *source, read func() (*object, error)) error {
	if !s.bucket.AllowN(now, 1) {
		return c.blame(now, s, s.worst())
	}
	if c.banned(now, s.peer) || c.banned(now, s.host.String()) {
		return errBanned
	}
	o, err := read()
	if err != nil {
		return nil
	}
	if o.ours != nil && o.ours.Kind != "" {
		return c.control(now, s, o.ours)
	}
	if o.Body == "" {
		return nil
	}
	own := s.speaksFor(c, o.Addr)
	if c.banned(now, o.Addr) {
		if own {
			return errBanned
		}
		return nil
	}
	if o.ID == "" {
		if o.ID, err = randomID(c.rand); err != nil {
			return err
		}
		o.set(keyID, o.ID)
	}
	asked := c.absent[o.ID]
	if own {
		s.note(o.Addr)
	}
	if c.seen.has(o.ID) {
		c.meet(now, s, o)
		c.duplicate(s)
		return nil
	}
	if asked == nil && !c.authorMay(now, o.Addr) {
		if own {
			return c.blame(now, s, o.Addr)
		}
		return nil
	}
	c.meet(now, s, o)
	c.seen.add(now, o.ID)
	delete(c.absent, o.ID)
	c.prove.check(o)
	o.completeNick()
	c.kept.add(o)
	c.heard++
	c.world.show(o.Message)
	c.spread(o, s, asked != nil && asked.old)
	return nil
}

// spread passes a message on: whole to old peers and to the neighbours in the
// tree, by its id to the other neighbours. Its author and whoever brought it have
// it. One that is stale was said before this peer came, so its kind has it.
func (c *core) spread(o *object, from *source, stale bool) {
	var old, ours []byte
	for _, l := range c.links {
		switch {
		case l.addr == o.Addr || from != nil && l.addr == from.peer:
		case !l.ours:
			if old == nil {
				old = o.bytes(false)
			}
			c.world.send(l.addr, old)
		case !l.up || !l.greeted: // hello tells it what it has missed
		case l.eager && !stale:
			if ours == nil {
				ours = o.bytes(true)
			}
			c.world.send(l.addr, ours)
		case len(l.ids) < maxList:
			l.ids = append(l.ids, o.ID)
		}
	}
}

// meet learns of a peer from a message: where its author listens. A private or
// loopback address is dialled only when it is the sender's own host, so that
// nobody can make this peer knock at its neighbours' doors.
func (c *core) meet(now time.Time, s *source, o *object) {
	ap, err := where(o.Addr)
	if err != nil || ap.Port() == 0 || c.isOwn(ap) {
		return
	}
	direct := s.speaksFor(c, o.Addr)
	marked := isMarked(o.ID, o.Addr)
	if !direct && !public(ap.Addr()) || c.quiet[o.Addr] {
		return
	}
	l := c.links[o.Addr]
	switch {
	case l != nil && direct && marked:
		c.shown(l)
	case l != nil:
	case marked && !direct, marked && c.oursCount() >= 2*manyOurs:
		c.remember(o.Addr)
		return
	case !marked && c.oldCount() >= maxOld:
		return
	default:
		l = c.open(o.Addr, false)
		l.ours = marked
	}
	if direct && !l.ours && !l.fed {
		c.feed(l, o.Addr)
	}
}

// feed gives an old peer that has just spoken for the first time what was said
// before it came.
func (c *core) feed(l *link, addr string) {
	l.fed = true
	for _, o := range c.kept.last(backlog) {
		if o.Addr != addr {
			c.world.send(l.addr, o.bytes(false))
		}
	}
}

// open makes a link.
func (c *core) open(addr string, pinned bool) *link {
	l := c.links[addr]
	if l == nil {
		l = &link{addr: addr, eager: true}
		c.links[addr] = l
		c.world.dial(addr, pinned)
	}
	l.pinned = l.pinned || pinned
	if pinned && !slices.Contains(c.pins, addr) {
		c.pins = append(c.pins, addr)
	}
	return l
}

// part ends a link.
func (c *core) part(addr string) {
	if c.links[addr] != nil {
		delete(c.links, addr)
		c.world.hangUp(addr)
	}
}

// dismiss ends a link because a person wants so; one of our kind is told.
func (c *core) dismiss(addr string) {
	c.unpin(addr)
	c.quiet[addr] = true
	if l := c.links[addr]; l != nil && l.ours {
		c.world.send(addr, (&extension{Kind: kindPart}).bytes())
	}
	c.part(addr)
}

// connected is called when a connection to addr stands.
func (c *core) connected(addr string) {
	if l := c.links[addr]; l != nil {
		l.up, l.greeted = true, false
		c.greet(l)
	}
}

// disconnected is called when a connection to addr is lost; with final it will
// not be tried again.
func (c *core) disconnected(addr string, final bool) {
	l := c.links[addr]
	if l == nil {
		return
	}
	l.up, l.greeted, l.ids = false, false, nil
	if final {
		delete(c.links, addr)
		c.known = slices.DeleteFunc(c.known, func(k string) bool { return k == addr })
	}
}

// authorMay counts a message against its author, over whichever way it came.
func (c *core) authorMay(now time.Time, addr string) bool {
	b := c.author[addr]
	if b == nil {
		if len(c.author) >= maxAuthors {
			for a, other := range c.author {
				if other.TokensAt(now) >= authorBurst {
					delete(c.author, a)
				}
			}
			if len(c.author) >= maxAuthors {
				clear(c.author)
			}
		}
		b = rate.NewLimiter(authorRate, authorBurst)
		c.author[addr] = b
	}
	return b.AllowN(now, 1)
}

// blame blacklists who floods: the address that it speaks for, and its host
// unless that is this one, where others are at home too.
func (c *core) blame(now time.Time, s *source, addr string) error {
	if addr != "" {
		c.ban(now, addr, banTime)
	}
	if !c.isLocal(s.host) {
		c.ban(now, s.host.String(), banTime)
	}
	return fmt.Errorf("%w from %s (%s)", errFlood, s.host, addr)
}

// ban blacklists an address or a host for a time.
func (c *core) ban(now time.Time, what string, d time.Duration) {
	for b, until := range c.bans {
		if len(c.bans) >= maxBans || now.After(until) {
			delete(c.bans, b)
		}
	}
	c.bans[what] = now.Add(d)
	c.unpin(what)
	c.part(what)
	c.known = slices.DeleteFunc(c.known, func(k string) bool { return k == what })
}

// unpin forgets that a person asked for addr.
func (c *core) unpin(addr string) {
	c.pins = slices.DeleteFunc(c.pins, func(p string) bool { return p == addr })
}

// banned reports whether an address or a host is blacklisted.
func (c *core) banned(now time.Time, what string) bool {
	until, ok := c.bans[what]
	return ok && now.Before(until)
}

// isOwn reports whether ap is where this peer listens.
func (c *core) isOwn(ap netip.AddrPort) bool {
	return ap.Port() == c.own.Port() && (ap.Addr().Unmap() == c.own.Addr().Unmap() || c.isLocal(ap.Addr()))
}

// isLocal reports whether a is an address of this host.
func (c *core) isLocal(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || slices.Contains(c.local, a.Unmap())
}

func (c *core) oursCount() int {
	n := 0
	for _, l := range c.links {
		if l.ours {
			n++
		}
	}
	return n
}

func (c *core) oldCount() int { return len(c.links) - c.oursCount() }

// pick is a number below n.
func (c *core) pick(n int) int {
	var b [8]byte
	if _, err := io.ReadFull(c.rand, b[:]); err != nil {
		c.seeded++ // without randomness in turn
		return int(c.seeded % uint64(n))
	}
	return int(binary.BigEndian.Uint64(b[:]) % uint64(n))
}

// speaksFor reports whether addr may be the source's own: it lies on the host
// that the connection comes from.
func (s *source) speaksFor(c *core, addr string) bool {
	if s.peer != "" {
		return s.peer == addr
	}
	return s.hosts(c, addr)
}

// hosts reports whether addr lies on the source's host.
func (s *source) hosts(c *core, addr string) bool {
	ap, err := where(addr)
	if err != nil || ap.Addr().IsUnspecified() {
		return false
	}
	return ap.Addr().Unmap() == s.host || c.isLocal(s.host) && c.isLocal(ap.Addr())
}

// note counts what is said in the name of an address.
func (s *source) note(addr string) {
	if s.said[addr] > 0 || len(s.said) < 32 {
		s.said[addr]++
	}
}

// worst is the address in whose name most was said.
func (s *source) worst() string {
	worst := s.peer
	for addr, n := range s.said {
		if s.peer == "" && n > s.said[worst] {
			worst = addr
		}
	}
	return worst
}

// where reads an address. Names are not looked up: they could name another host
// every time. The one name that everybody knows is understood.
func where(addr string) (netip.AddrPort, error) {
	if port, ok := strings.CutPrefix(addr, "localhost:"); ok {
		addr = "127.0.0.1:" + port
	}
	return netip.ParseAddrPort(addr)
}

// public reports whether a may be dialled although somebody else named it.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedRange.Contains(a)
}

// sharedRange is the range that providers use behind their own NAT.
var sharedRange = netip.MustParsePrefix("100.64.0.0/10")

// randomID is an id for a message that came without one.
func randomID(rand io.Reader) (string, error) {
	var b [8]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("whisper: make an id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
