package whisper

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// How long to wait for what somebody else has, before asking for it, and before
// asking somebody else; and how often addresses are passed on.
const (
	askDelay    = 700 * time.Millisecond
	askSpread   = 2000 // milliseconds
	askAgain    = 1500 * time.Millisecond
	gossipEvery = 30 * time.Second
	maxAbsent   = 4096
	maxAsked    = 6
)

// absence is a message that others have and this peer does not.
type absence struct {
	from  []string
	due   time.Time
	asked int
	// place is where it stands among those that were told of.
	place uint64
	// old was said before somebody became a neighbour: the others have it.
	old bool
}

// control takes what a neighbour of our kind says.
func (c *core) control(now time.Time, s *source, e *extension) error {
	if !e.sound() {
		return nil
	}
	if e.Kind == kindHello {
		return c.hello(now, s, e)
	}
	l := c.links[s.peer]
	if s.peer == "" || l == nil {
		return nil
	}
	switch e.Kind {
	case kindHave:
		c.offered(now, s.peer, e.IDs, false)
		c.introduced(s, e.Know)
	case kindWant:
		if !e.Old {
			l.eager = true
		}
		for _, id := range e.IDs {
			if o := c.kept.byID[id]; o != nil {
				c.world.send(l.addr, o.bytes(true))
			}
		}
	case kindPrune:
		l.eager = false
	case kindPart:
		c.introduced(s, e.Know)
		c.part(l.addr)
		for _, addr := range e.Know {
			if slices.Contains(c.known, addr) && !c.quiet[addr] && c.oursCount() < manyOurs {
				c.open(addr, false).ours = true
			}
		}
	}
	return nil
}

// hello is how a neighbour says that it is of our kind, and where it listens.
// It is believed where it lies on the host that the connection comes from.
func (c *core) hello(now time.Time, s *source, e *extension) error {
	ap, err := netip.ParseAddrPort(e.Addr)
	if err != nil || c.isOwn(ap) || !s.hosts(c, e.Addr) || s.peer != "" && s.peer != e.Addr {
		return nil
	}
	if c.banned(now, e.Addr) {
		return errBanned
	}
	s.peer = e.Addr
	s.bucket.SetLimitAt(now, oursRate)
	s.bucket.SetBurstAt(now, oursBurst)
	c.introduced(s, e.Know)
	if c.quiet[e.Addr] || c.links[e.Addr] == nil && c.oursCount() >= 2*manyOurs {
		return nil
	}
	l := c.open(e.Addr, false)
	l.pruned = false // it pushes again
	c.shown(l)
	c.caughtUp(now, s.peer, e.IDs)
	if c.oursCount() > manyOurs {
		c.split(e.Addr)
	}
	return nil
}

// caughtUp notes what a new neighbour has. A newcomer wants to know what is
// talked about, not all that was said.
func (c *core) caughtUp(now time.Time, peer string, ids []string) {
	if c.heard == 0 {
		for _, id := range ids[:max(0, len(ids)-backlog)] {
			c.seen.add(now, id)
		}
	}
	c.offered(now, peer, ids, true)
}

// shown notes that a neighbour is of our kind.
func (c *core) shown(l *link) {
	l.ours, l.fed = true, true
	c.remember(l.addr)
	c.greet(l)
}

// greet says hello to a neighbour that has shown to be of our kind.
func (c *core) greet(l *link) {
	if !l.ours || !l.up || l.greeted {
		return
	}
	l.greeted, l.eager = true, true
	e := &extension{Kind: kindHello, Addr: c.addr, Know: c.some(l.addr)}
	for _, o := range c.kept.last(recent) {
		e.IDs = append(e.IDs, o.ID)
	}
	c.world.send(l.addr, e.bytes())
}

// split makes room when there are too many neighbours: another one is told to
// take the newcomer in our place, so that nobody is cut off.
func (c *core) split(newcomer string) {
	var others []string
	for addr, l := range c.links {
		if l.ours && !l.pinned && addr != newcomer && l.up {
			others = append(others, addr)
		}
	}
	if len(others) == 0 {
		return
	}
	slices.Sort(others)
	other := others[c.pick(len(others))]
	c.world.send(other, (&extension{Kind: kindPart, Know: []string{newcomer}}).bytes())
	c.part(other)
}

// duplicate tells a neighbour that its messages come by another way too.
func (c *core) duplicate(s *source) {
	if l := c.links[s.peer]; l != nil && l.ours && l.greeted && !l.pruned {
		l.eager, l.pruned = false, true
		c.world.send(l.addr, (&extension{Kind: kindPrune}).bytes())
	}
}

// offered notes that a neighbour has messages; old were said before it was one.
func (c *core) offered(now time.Time, peer string, ids []string, old bool) {
	for _, id := range ids {
		if c.seen.has(id) || id == "" {
			continue
		}
		a := c.absent[id]
		if a == nil {
			if len(c.absent) >= maxAbsent {
				return
			}
			c.places++
			a = &absence{due: now, place: c.places, old: old}
			if !old {
				a.due = now.Add(c.patience())
			}
			c.absent[id] = a
		}
		if !slices.Contains(a.from, peer) && len(a.from) < manyOurs {
			a.from = append(a.from, peer)
		}
	}
}

// patience is how long to wait before asking. It differs, so that where a branch
// of the tree broke one asks, and the others get it from that one: if all asked,
// there would be a knot of new branches to be pruned again.
func (c *core) patience() time.Duration {
	return askDelay + time.Duration(c.pick(askSpread))*time.Millisecond
}

// tick does what is due: ids to neighbours outside the tree, questions for what
// has not come, and more neighbours where there are too few.
func (c *core) tick(now time.Time) {
	for _, l := range c.links {
		if len(l.ids) > 0 {
			c.world.send(l.addr, (&extension{Kind: kindHave, IDs: l.ids}).bytes())
			l.ids = nil
		}
	}
	c.ask(now)
	c.seen.forget(now)
	if len(c.links) == 0 {
		for _, addr := range c.pins {
			c.open(addr, true)
		}
	}
	if c.oursCount() < fewOurs {
		if addr := c.another(now); addr != "" {
			c.open(addr, false).ours = true
		}
	}
	if now.Sub(c.gossip) > gossipEvery {
		c.gossip = now
		for addr, l := range c.links {
			if l.ours && l.up && l.greeted {
				c.world.send(addr, (&extension{Kind: kindHave, Know: c.some(addr)}).bytes())
			}
		}
	}
}

// ask asks for what is due, each message of one neighbour that has it.
func (c *core) ask(now time.Time) {
	if len(c.absent) == 0 {
		return
	}
	want := make(map[string][]string)
	old := make(map[string]bool)
	for id, a := range c.absent {
		if now.Before(a.due) {
			continue
		}
		if a.asked >= maxAsked || c.seen.has(id) {
			delete(c.absent, id)
			continue
		}
		peer := a.from[a.asked%len(a.from)]
		a.asked++
		a.due = now.Add(askAgain)
		if l := c.links[peer]; l != nil && l.up && l.greeted && len(want[peer]) < maxList {
			if !a.old {
				l.eager, l.pruned = true, false
			}
			want[peer] = append(want[peer], id)
			old[peer] = a.old && (old[peer] || len(want[peer]) == 1)
		} else {
			a.due = now
		}
	}
	for peer, ids := range want {
		slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(c.absent[a].place, c.absent[b].place) })
		c.world.send(peer, (&extension{Kind: kindWant, IDs: ids, Old: old[peer]}).bytes())
	}
}

// remember notes where a peer of our kind listens.
func (c *core) remember(addr string) {
	if slices.Contains(c.known, addr) || addr == c.addr {
		return
	}
	if len(c.known) < maxKnown {
		c.known = append(c.known, addr)
		return
	}
	c.known[c.pick(len(c.known))] = addr
}

// introduced remembers the peers that a neighbour tells of. A private address
// is believed of one who is on that network itself.
func (c *core) introduced(s *source, addrs []string) {
	for _, addr := range addrs {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil || ap.Port() == 0 || c.isOwn(ap) {
			continue
		}
		if public(ap.Addr()) || s.hosts(c, addr) || ap.Addr().IsPrivate() && network(ap.Addr()) == network(s.host) {
			c.remember(addr)
		}
	}
}

// network is the local network of an address.
func network(a netip.Addr) netip.Prefix {
	bits := 24
	if a = a.Unmap(); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the bits fit
	return p
}

// another is a peer of our kind that is no neighbour, or nothing.
func (c *core) another(now time.Time) string {
	if len(c.known) == 0 {
		return ""
	}
	addr := c.known[c.pick(len(c.known))]
	if c.links[addr] != nil || c.quiet[addr] || c.banned(now, addr) {
		return ""
	}
	return addr
}

// some are a few addresses to pass on.
func (c *core) some(but string) []string {
	var out []string
	for range min(8, len(c.known)) {
		if addr := c.known[c.pick(len(c.known))]; addr != but && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}
