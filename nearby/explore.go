package nearby

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"airdispatch/message"
)

// explorer is the sockets of one run: those that take in what others announce, and two
// from which the node announces itself, so that what comes there is an answer and
// is never answered.
type explorer struct {
	n       *Node
	heard   []net.PacketConn
	four    net.PacketConn
	six     net.PacketConn
	readers sync.WaitGroup

	// mu guards what the interfaces are, which changes.
	mu    sync.Mutex
	faces []face
}

// face is an interface with its networks.
type face struct {
	net.Interface
	prefixes []netip.Prefix
}

// Run announces the node and hears others until ctx ends.
func (n *Node) Run(ctx context.Context) error {
	e := &explorer{n: n}
	if err := e.open(ctx, true); err != nil {
		return err
	}
	defer e.end()
	e.read(ctx)
	if n.c.Explore.Poll > 0 {
		e.readers.Go(func() { e.poll(ctx) })
	}
	look := time.NewTicker(facesAgain)
	defer look.Stop()
	for {
		e.announce(ctx)
		now := time.Now()
		next := time.NewTimer(min(n.c.Explore.Period, now.Truncate(slot).Add(slot).Sub(now)+time.Millisecond)) // also when the beacon changes
		for due := false; !due; {
			select {
			case <-ctx.Done():
				next.Stop()
				return nil
			case <-look.C:
				e.refused(ctx, e.lookAround())
			case <-next.C:
				due = true
			}
		}
	}
}

// facesAgain is how soon an interface counts that has come up.
const facesAgain = 2 * time.Second

// lookAgain is after which time those who have not answered are asked again.
const lookAgain = 400 * time.Millisecond

// Look asks who is there and listens for answers for a time, without being there for
// others. It ends early when enough reports that what is known suffices; nil is never.
func (n *Node) Look(ctx context.Context, wait time.Duration, enough func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	e := &explorer{n: n}
	if err := e.open(ctx, false); err != nil {
		return err
	}
	defer e.end()
	e.read(ctx)
	e.announce(ctx)
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	look := time.NewTicker(lookAgain / 20)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return nil
			}
			return ctx.Err()
		case <-again.C:
			e.announce(ctx)
		case <-look.C:
			if enough != nil && enough() {
				return nil
			}
		}
	}
}

// open opens the sockets. Hosts without one of the two families do with the other.
func (e *explorer) open(ctx context.Context, hear bool) error {
	var errs []error
	try := func(network, address string) net.PacketConn {
		c, err := e.n.c.Listen(ctx, network, address)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		return c
	}
	e.four, e.six = try("udp4", "0.0.0.0:0"), try("udp6", "[::]:0")
	if e.four == nil && e.six == nil {
		return fmt.Errorf("nearby: explore: %w", errors.Join(errs...))
	}
	if e.four != nil {
		p := ipv4.NewPacketConn(e.four)
		e.refused(ctx, errors.Join(p.SetMulticastTTL(1), p.SetTTL(1), p.SetMulticastLoopback(true)))
	}
	if e.six != nil {
		p := ipv6.NewPacketConn(e.six)
		e.refused(ctx, errors.Join(p.SetMulticastHopLimit(1), p.SetHopLimit(1), p.SetMulticastLoopback(true)))
	}
	if hear {
		for _, port := range e.ports() {
			for _, at := range [][2]string{{"udp4", "0.0.0.0"}, {"udp6", "[::]"}} {
				if c := try(at[0], fmt.Sprintf("%s:%d", at[1], port)); c != nil {
					e.heard = append(e.heard, c)
				}
			}
		}
		if len(e.heard) == 0 {
			e.end()
			return fmt.Errorf("nearby: explore: %w", errors.Join(errs...))
		}
	}
	return e.lookAround()
}

// refused notes what the system would not do; the rest goes on without.
func (e *explorer) refused(ctx context.Context, err error) {
	if err != nil {
		e.n.log.DebugContext(ctx, "nearby: explore", "error", err)
	}
}

// ports are those where others announce themselves.
func (e *explorer) ports() []uint16 {
	x := e.n.c.Explore
	ports := []uint16{x.Port}
	for _, a := range []netip.AddrPort{x.Multicast, x.Multicast6, x.Broadcast} {
		if a.IsValid() {
			ports = append(ports, a.Port())
		}
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	return slices.DeleteFunc(ports, func(p uint16) bool { return p == 0 })
}

// end closes the sockets and waits for their readers.
func (e *explorer) end() {
	for _, c := range append(e.heard, e.four, e.six) {
		if c != nil {
			_ = c.Close() // nothing is waiting in it
		}
	}
	e.readers.Wait()
}

// lookAround finds the interfaces anew, as they come and go, and joins their groups.
func (e *explorer) lookAround() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("nearby: explore: %w", err)
	}
	var faces []face
	chosen := false
	for _, i := range all {
		named := i.Name == e.n.c.Explore.Interface
		chosen = chosen || named
		if i.Flags&net.FlagUp == 0 || e.n.c.Explore.Interface != "" && !named && i.Flags&net.FlagLoopback == 0 {
			continue
		}
		f := face{Interface: i}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				f.prefixes = append(f.prefixes, p.Masked())
			}
		}
		faces = append(faces, f)
	}
	if e.n.c.Explore.Interface != "" && !chosen {
		return fmt.Errorf("nearby: explore: no interface %q: %w", e.n.c.Explore.Interface, message.NotFound)
	}
	e.mu.Lock()
	e.faces = faces
	e.mu.Unlock()
	for _, f := range faces {
		if f.Flags&net.FlagMulticast != 0 && f.Flags&net.FlagLoopback == 0 {
			e.join(f)
		}
	}
	return nil
}

// join joins the groups on an interface; where that was done before, it is an error
// that says so.
func (e *explorer) join(f face) {
	x := e.n.c.Explore
	for _, c := range e.heard {
		four := c.LocalAddr().(*net.UDPAddr).IP.To4() != nil
		if four && x.Multicast.IsValid() {
			_ = ipv4.NewPacketConn(c).JoinGroup(&f.Interface, net.UDPAddrFromAddrPort(x.Multicast))
		}
		if !four && x.Multicast6.IsValid() {
			_ = ipv6.NewPacketConn(c).JoinGroup(&f.Interface, net.UDPAddrFromAddrPort(x.Multicast6))
		}
	}
}

// onLink reports whether a source lies on a network of this host.
func (e *explorer) onLink(a netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.faces {
		if a.Zone() != "" && a.Zone() != f.Name {
			continue
		}
		for _, p := range f.prefixes {
			if p.Contains(a.Unmap().WithZone("")) {
				return true
			}
		}
	}
	return false
}

// announce tells everybody who the node is, by every way that there is.
func (e *explorer) announce(ctx context.Context) {
	e.refused(ctx, e.lookAround())
	b, err := e.n.announcement(time.Now())
	if err != nil {
		e.n.log.WarnContext(ctx, "nearby: nothing can be announced", "error", err)
		return
	}
	x := e.n.c.Explore
	e.mu.Lock()
	faces := e.faces
	e.mu.Unlock()
	for _, f := range faces {
		if f.Flags&net.FlagLoopback != 0 {
			continue
		}
		if f.Flags&net.FlagMulticast != 0 {
			e.toAll(ctx, b, f, x.Multicast)
			e.toAll(ctx, b, f, x.Multicast6)
		}
		if f.Flags&net.FlagBroadcast != 0 {
			e.toAll(ctx, b, f, x.Broadcast)
		}
	}
	for _, p := range x.Peers {
		e.to(ctx, b, p)
	}
}

// toAll sends to a group, or to everybody, on one interface.
func (e *explorer) toAll(ctx context.Context, b []byte, f face, to netip.AddrPort) {
	if !to.IsValid() || len(f.prefixes) == 0 {
		return
	}
	var err error
	switch {
	case to.Addr().Is4() && e.four != nil:
		_, err = ipv4.NewPacketConn(e.four).WriteTo(b, &ipv4.ControlMessage{IfIndex: f.Index}, net.UDPAddrFromAddrPort(to))
	case to.Addr().Is6() && e.six != nil:
		_, err = ipv6.NewPacketConn(e.six).WriteTo(b, &ipv6.ControlMessage{IfIndex: f.Index}, net.UDPAddrFromAddrPort(to))
	}
	e.refused(ctx, err)
}

// to sends to one peer.
func (e *explorer) to(ctx context.Context, b []byte, to netip.AddrPort) {
	c := e.four
	if to.Addr().Is6() && !to.Addr().Is4In6() {
		c = e.six
	}
	if c != nil {
		_, err := c.WriteTo(b, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr().Unmap(), to.Port())))
		e.refused(ctx, err)
	}
}

// read starts a reader for each socket; they end when end closes it.
func (e *explorer) read(ctx context.Context) {
	for _, c := range e.heard {
		e.readers.Go(func() { e.readFrom(ctx, c, true) })
	}
	for _, c := range []net.PacketConn{e.four, e.six} {
		if c != nil {
			e.readers.Go(func() { e.readFrom(ctx, c, false) })
		}
	}
}

// readFrom reads datagrams until the socket is closed.
func (e *explorer) readFrom(ctx context.Context, c net.PacketConn, answer bool) {
	b := make([]byte, MaxDatagram+1)
	for {
		size, addr, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		from, ok := addr.(*net.UDPAddr)
		if err != nil || !ok {
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Millisecond): // a refusal that came back; not a loop
				continue
			}
		}
		source := from.AddrPort()
		source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
		if source.Port() == 0 || !e.onLink(source.Addr()) {
			continue
		}
		if reply := e.n.hear(ctx, b[:size], source); reply != nil && answer {
			_, err := c.WriteTo(reply, from)
			e.refused(ctx, err)
		}
	}
}
