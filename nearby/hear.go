package nearby

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// hostDatagrams and hostAnswers are for each host and second, allHosts for the second: an honest host
	// sends a handful in twenty, and the rest is not even read.
	hostDatagrams = 50
	hostAnswers   = 4
	allDatagrams  = 2000
	allHosts      = 1024
)

// hosts counts what came from each host in this second.
type hosts struct {
	mu     sync.Mutex
	second int64
	all    int
	by     map[netip.Addr]*tally
}

type tally struct{ datagrams, answers int }

func newHosts() *hosts { return &hosts{by: map[netip.Addr]*tally{}} }

// at is the tally of a host; nil where there are too many hosts.
func (h *hosts) at(a netip.Addr, now time.Time) *tally {
	if s := now.Unix(); s != h.second {
		h.second, h.all = s, 0
		clear(h.by)
	}
	t := h.by[a]
	if t == nil && len(h.by) < allHosts {
		t = &tally{}
		h.by[a] = t
	}
	return t
}

// datagram counts one, and reports whether it is to be read.
func (h *hosts) datagram(a netip.Addr, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.at(a, now)
	if t == nil || t.datagrams >= hostDatagrams || h.all >= allDatagrams {
		return false
	}
	t.datagrams++
	h.all++
	return true
}

// answer counts one, and reports whether it may go out.
func (h *hosts) answer(a netip.Addr, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.at(a, now)
	if t == nil || t.answers >= hostAnswers {
		return false
	}
	t.answers++
	return true
}

// hear takes a datagram that came from somewhere on the link, and returns what to answer; nil for
// nothing.
func (n *Node) hear(ctx context.Context, b []byte, from netip.AddrPort) []byte {
	now := time.Now()
	host := from.Addr().Unmap()
	if !n.hosts.datagram(host, now) {
		return nil
	}
	d, err := ParseDatagram(b)
	if err != nil {
		n.log.DebugContext(ctx, "nearby: a datagram is not taken", "from", from, "error", err)
		return nil
	}
	if d.ID == n.id(now) || d.ID == n.id(now.Add(-slot)) || d.ID == n.c.ID {
		return nil // one's own, or somebody who says so
	}
	p, ok := n.peerOf(ctx, d, host, now)
	if !ok {
		return nil
	}
	n.table.Put(p)
	if d.Answer || !n.hosts.answer(host, now) || !n.answers.Allow() {
		return nil
	}
	answer, err := n.answer(now, d.Length)
	if err != nil {
		n.log.WarnContext(ctx, "nearby: no answer can be made", "error", err)
	}
	return answer
}

// peerOf is what a datagram says of its peer. What contradicts the cards that are known
// says nothing.
func (n *Node) peerOf(ctx context.Context, d *Datagram, host netip.Addr, now time.Time) (Peer, bool) {
	p := Peer{ID: d.ID, Place: netip.AddrPortFrom(host, d.Port), Heard: now, host: host}
	if d.Public.IsValid() {
		p.Place, p.Public = netip.AddrPortFrom(d.Public, d.Port), true
	}
	switch {
	case d.Hello != nil:
		if !d.Hello.Fits(d.ID, d.Port, now) {
			return p, false
		}
		if chain, err := n.chain(ctx, d.Hello.Address); err == nil {
			if _, err := d.Hello.Verify(n.verifier, chain); err != nil && message.CodeOf(err) != message.NeedBundle {
				return p, false
			}
		}
		p.Address, p.said = d.Hello.Address, d.Hello.Time()
	case d.Beacon != [16]byte{}:
		p.Hidden, p.Address = true, n.recognise(ctx, d.Beacon, now)
	}
	return p, true
}

// chain is what is known of an address.
func (n *Node) chain(ctx context.Context, a message.Address) (*message.Chain, error) {
	if n.c.Keyring != nil && a == n.c.Keyring.Address() {
		return n.c.Keyring.Chain, nil
	}
	if n.c.People != nil {
		if chain, err := n.c.People.Chain(ctx, a); err == nil {
			return chain, nil
		}
	}
	return n.guests.chain(a)
}

// answer is what the node says of itself in no more bytes than it was asked with, so
// that nobody can have others flooded with more than they send.
func (n *Node) answer(now time.Time, limit int) ([]byte, error) {
	w, err := n.self(now, true)
	if err != nil {
		return nil, err
	}
	// Peers of P2P v0.4 know none of it, so it is left out first.
	less := []func(*wirev1.NearbyPeer){
		func(*wirev1.NearbyPeer) {},
		func(w *wirev1.NearbyPeer) { w.Hello = nil },
		func(w *wirev1.NearbyPeer) { w.Beacon = nil },
		func(w *wirev1.NearbyPeer) { w.Answer = false },
	}
	for _, leave := range less {
		leave(w)
		if b, err := proto.Marshal(w); err != nil || len(b) <= limit {
			return b, err
		}
	}
	return nil, nil
}

// announcement is what the node says without being asked.
func (n *Node) announcement(now time.Time) ([]byte, error) {
	w, err := n.self(now, false)
	if err != nil {
		return nil, err
	}
	return padded(w)
}
