package nearby

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"airdispatch/message"
)

const (
	// maxPeers bounds the table: more than a network of one link has.
	maxPeers = 1024
	// maxPerHost bounds what one host can take of it.
	maxPerHost = 16
)

// Peer is one that was heard.
type Peer struct {
	ID ID
	// Place is where it answers.
	Place netip.AddrPort
	// Address is whose it is; zero for peers of P2P v0.4, and for those of whom one
	// does not know the address.
	Address message.Address
	// Proved says that whoever answered at Place has shown the keys of Address.
	Proved bool
	// Hidden ones were recognised, or not, by a beacon.
	Hidden bool
	// Public places are what the peer says, and not where it was heard from.
	Public bool
	// Heard is when last.
	Heard time.Time

	host netip.Addr // where it was heard from
	said time.Time  // of its hello
	// asked is when it was last polled, answered when it last answered; missed is how often in turn it did not.
	asked, answered time.Time
	missed          int
}

// there is when it last gave a sign of life.
func (p Peer) there() time.Time { return later(p.Heard, p.answered) }

// Table is who was heard, bounded and forgetful. Safe for concurrent use.
type Table struct {
	hold time.Duration

	mu    sync.Mutex
	peers map[ID]Peer
}

// NewTable makes a table that forgets whom it has not heard for the time of hold.
func NewTable(hold time.Duration) *Table { return &Table{hold: hold, peers: map[ID]Peer{}} }

// Put notes a peer that was heard at p.Heard, and reports whether that says anything
// new. A known one that has moved is known at its new place; only one that has proved
// who it is stays where it is until it is silent, or until it signs that it has moved, so
// that nobody who has heard its id can send others elsewhere.
func (t *Table) Put(p Peer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(p.Heard)
	old, ok := t.peers[p.ID]
	same := ok && old.Place == p.Place && old.Address == p.Address
	switch {
	case same:
		p.Proved = p.Proved || old.Proved
		p.said = later(old.said, p.said)
		p.asked, p.answered, p.missed = old.asked, old.answered, old.missed
	case ok && !mayMove(old, p):
		return false
	case !ok && !t.room(p):
		return false
	}
	if !p.Address.IsZero() {
		// A hidden peer has another id every ten minutes.
		for id, other := range t.peers {
			if id != p.ID && other.Address == p.Address && other.Place == p.Place {
				p.Proved = p.Proved || other.Proved
				delete(t.peers, id)
			}
		}
	}
	t.peers[p.ID] = p
	return !same
}

// mayMove reports whether what is newly said of a known id takes the place of what
// was known.
func mayMove(old, p Peer) bool {
	if old.Address.IsZero() || p.Proved {
		return true
	}
	if p.Address != old.Address {
		return false // an id is claimed in a moment
	}
	return !old.Proved || p.said.After(old.said)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// room makes room for a new peer, at the cost of the one of the same host, or of
// all, that was silent the longest and has proved nothing.
func (t *Table) room(p Peer) bool {
	here := 0
	for _, o := range t.peers {
		if o.host == p.host {
			here++
		}
	}
	if here < maxPerHost && len(t.peers) < maxPeers {
		return true
	}
	var worst *Peer
	for _, o := range t.peers {
		if o.Proved || here >= maxPerHost && o.host != p.host {
			continue
		}
		if worst == nil || less(o, *worst) < 0 {
			worst = &o
		}
	}
	if worst == nil || worst.Address.IsZero() == p.Address.IsZero() && !worst.Heard.Before(p.Heard) {
		return false
	}
	delete(t.peers, worst.ID)
	return true
}

// less orders by how little is lost: those without an address first, then by silence.
func less(a, b Peer) int {
	if za, zb := a.Address.IsZero(), b.Address.IsZero(); za != zb {
		if za {
			return -1
		}
		return 1
	}
	return cmp.Or(a.Heard.Compare(b.Heard), slices.Compare(a.ID[:], b.ID[:]))
}

// forget drops the silent.
func (t *Table) forget(now time.Time) {
	for id, p := range t.peers {
		if now.Sub(p.there()) > t.hold {
			delete(t.peers, id)
		}
	}
}

// Prove notes that a peer has shown the keys of an address at a place.
func (t *Table) Prove(place netip.AddrPort, a message.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, p := range t.peers {
		if p.Place == place && (p.Address == a || p.Address.IsZero()) {
			p.Address, p.Proved = a, true
			t.peers[id] = p
		}
	}
}

// Peer is the peer of an id, if it is known.
func (t *Table) Peer(id ID, now time.Time) (Peer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	p, ok := t.peers[id]
	return p, ok
}

// Peers is who is there: those with an address first, each by place.
func (t *Table) Peers(now time.Time) []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	out := make([]Peer, 0, len(t.peers))
	for _, p := range t.peers {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Peer) int {
		if za, zb := a.Address.IsZero(), b.Address.IsZero(); za != zb {
			if zb {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Place.Compare(b.Place), slices.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// due are the peers to poll, those first who were not for the longest time, a few of each host; they
// count as polled from now on.
func (t *Table) due(now time.Time, may func(Peer) bool) []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	var all []Peer
	for _, p := range t.peers {
		if may(p) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Peer) int { return cmp.Or(a.asked.Compare(b.asked), slices.Compare(a.ID[:], b.ID[:])) })
	var out []Peer
	of := map[netip.Addr]int{}
	for _, p := range all {
		if len(out) >= maxPolled || of[p.host] >= pollsOfHost {
			continue
		}
		of[p.host]++
		p.asked = now
		t.peers[p.ID] = p
		out = append(out, p)
	}
	return out
}

// polled notes what came of it: who does not answer twice is gone, and at once who says so.
func (t *Table) polled(p Peer, now time.Time, answer pollAnswer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.peers[p.ID]
	switch {
	case !ok || known.Place != p.Place: // it has moved in the meantime
		return
	case answer == isThere:
		known.answered, known.missed = now, 0
	case answer == isStopping || known.missed+1 >= pollsMissed:
		delete(t.peers, p.ID)
		return
	default:
		known.missed++
	}
	t.peers[p.ID] = known
}
