package whisper

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// The bounds of what is found by datagrams: the longest address, and how many a
// second are looked at.
const (
	maxDatagram = 64
	foundRate   = 20
	foundBurst  = 50
)

// announce tells whoever listens where this node is, once, as the predecessor
// does: a datagram that is IP:PORT and nothing else. Then it listens for others.
func (n *Node) announce(ctx context.Context) {
	conn := n.cfg.Discover
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // so that the reader returns
	defer stop()
	if _, err := conn.WriteTo([]byte(n.cfg.Addr), n.cfg.Announce); err != nil {
		n.log.Warn("announce", "to", n.cfg.Announce, "error", err)
	}
	b := make([]byte, maxDatagram+1)
	limit := rate.NewLimiter(foundRate, foundBurst)
	for ctx.Err() == nil {
		size, from, err := conn.ReadFrom(b)
		if err != nil {
			wait(ctx, tickEvery) // what another host answered to the datagram above, or the end
			continue
		}
		if !limit.Allow() {
			continue
		}
		n.mu.Lock()
		n.core.found(time.Now(), hostOf(from), b[:size])
		n.mu.Unlock()
	}
}

// found takes a datagram. The sender of one is easily made up, so it is believed
// only about its own host, answered with nothing, and leads to a connection
// while there are few.
func (c *core) found(now time.Time, from netip.Addr, datagram []byte) {
	if len(datagram) > maxDatagram {
		return
	}
	addr := string(datagram)
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Port() == 0 || c.isOwn(ap) || c.quiet[addr] || c.banned(now, addr) || c.banned(now, from.String()) {
		return
	}
	if !newSource(from).hosts(c, addr) || c.oldCount() >= maxOld {
		return
	}
	c.open(ap.String(), false)
}

// discovers reports whether peers are looked for.
func (c Config) discovers() bool { return c.Discover != nil && c.Announce != net.Addr(nil) }
