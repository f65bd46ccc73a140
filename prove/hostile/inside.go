package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/prove/tricks"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// canary is a listener on the inside that counts who comes.
type canary struct {
	net.Listener
	came atomic.Int32
	port string
}

// newCanary starts one; it ends with its listener.
func newCanary() (*canary, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	c := &canary{Listener: l, port: port}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.came.Add(1)
			_ = conn.Close()
		}
	}()
	return c, err
}

// resolver answers every name from inside this process, so that no question
// leaves the machine: names that begin with "flip" are public when first asked
// for and an insider from then on, all others are insiders at once.
type resolver struct {
	mu    sync.Mutex
	asked map[string]bool
}

// public is somebody's address; nothing is ever sent there.
const public = "93.184.216.34"

// use makes it the resolver of this process.
func (r *resolver) use() {
	r.asked = map[string]bool{}
	net.DefaultResolver = &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go r.serve(there)
		return here, nil
	}}
}

// serve answers one connection in the form that DNS has over TCP.
func (r *resolver) serve(c net.Conn) {
	defer c.Close()
	for size := make([]byte, 2); ; {
		if _, err := io.ReadFull(c, size); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size))
		if _, err := io.ReadFull(c, q); err != nil || len(q) < 17 {
			return
		}
		end, name := 12, ""
		for end < len(q) && q[end] != 0 {
			next := end + 1 + int(q[end])
			if next > len(q)-5 {
				return
			}
			name, end = name+string(q[end+1:next])+".", next
		}
		out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end+5]...)
		if binary.BigEndian.Uint16(q[end+1:]) == 1 {
			addresses := r.addresses(strings.ToLower(name))
			out[7] = byte(len(addresses))
			for _, a := range addresses {
				b := netip.MustParseAddr(a).As4()
				out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, b[0], b[1], b[2], b[3])
			}
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

func (r *resolver) addresses(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var number int
	if _, err := fmt.Sscanf(name, "flip%d.", &number); err != nil {
		return tricks.Insiders()
	}
	if !r.asked[name] {
		r.asked[name] = true
		return []string{public}
	}
	return []string{tricks.Insiders()[number%len(tricks.Insiders())], "127.0.0.1"}
}

// inside are hosts that aim our dialer at this machine and its neighbours.
func (a *arena) inside() (all []attack) {
	hosts := tricks.Names()
	for _, v4 := range tricks.Insiders() {
		hosts = append(hosts, tricks.Spellings(v4)...)
	}
	for _, host := range hosts {
		all = append(all, attack{fmt.Sprintf("dialer: %q", host), func(ctx context.Context) error { return a.led(ctx, host) }})
	}
	for n := range 20 {
		all = append(all, attack{fmt.Sprintf("dialer: rebinding %d", n), func(ctx context.Context) error { return a.rebound(ctx, fmt.Sprintf("flip%d.example", n)) }})
	}
	return append(all, attack{"admaild: trackers on the inside", a.announced})
}

// led demands that a host leads nowhere inside.
func (a *arena) led(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	before := a.canary.came.Load()
	raw := strings.Trim(strings.ReplaceAll(host, "%25", "%"), "[]")
	for _, address := range []string{host + ":" + a.canary.port, net.JoinHostPort(raw, a.canary.port)} {
		c, err := (rpc.Guard{}).Dial(ctx, "tcp", address)
		if err == nil {
			_ = c.Close()
			return fmt.Errorf("%q was connected to", address)
		}
		if sys := (*os.SyscallError)(nil); errors.As(err, &sys) || errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%q was tried: %w", address, err)
		}
	}
	if now := a.canary.came.Load(); now != before {
		return fmt.Errorf("the inside was reached: %d", now)
	}
	return nil
}

// rebound looks a name up, finds it public, and demands that connecting to what
// it has become meanwhile is refused.
func (a *arena) rebound(ctx context.Context, name string) error {
	first, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return err
	}
	for _, ip := range first {
		if err := (rpc.Guard{}).Check(netip.AddrPortFrom(ip.Unmap(), 443)); err != nil {
			return fmt.Errorf("the first answer was not public: %w", err)
		}
	}
	c, err := (rpc.Guard{}).Dial(ctx, "tcp", name+":"+a.canary.port)
	if err == nil {
		_ = c.Close()
		return errors.New("was connected to")
	}
	if !errors.Is(err, message.Denied) {
		return fmt.Errorf("was not denied: %w", err)
	}
	return nil
}

// reached is the control: who may go inside gets there.
func (a *arena) reached(ctx context.Context, missed func(string)) {
	before := a.canary.came.Load()
	c, err := rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Dial(ctx, "tcp", "inside.example:"+a.canary.port)
	if err == nil {
		_ = c.Close()
	}
	if !arrives(ctx, a.canary, before) {
		missed(fmt.Sprintf("a dialer that may go inside did not, %v", err))
	}
	before = a.canary.came.Load()
	if err := announce(ctx, a.healthy, []string{"https://127.0.0.1:" + a.canary.port}); err != nil || !arrives(ctx, a.canary, before) {
		missed(fmt.Sprintf("a mail server that may go inside did not, %v", err))
	}
}

// arrives waits until somebody has come.
func arrives(ctx context.Context, c *canary, before int32) bool {
	for range 100 {
		if c.came.Load() > before {
			return true
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			break
		}
	}
	return false
}

// announce names trackers to a person's mail server.
func announce(ctx context.Context, p *proof.Person, trackers []string) error {
	_, err := p.Peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: p.Identity.Wire(), Trackers: trackers})
	return err
}

// announced names trackers on the inside to a mail server that no range was
// opened to, in every spelling that it takes.
func (a *arena) announced(ctx context.Context) error {
	before, taken := a.canary.came.Load(), 0
	for _, host := range append(tricks.Spellings("127.0.0.1"), tricks.Names()...) {
		err := announce(ctx, a.blind, []string{"https://" + host + ":" + a.canary.port})
		switch {
		case err == nil:
			taken++
		case !errors.Is(err, message.Invalid):
			return fmt.Errorf("%q: %w", host, err)
		}
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	if now := a.canary.came.Load(); now != before || taken == 0 {
		return fmt.Errorf("%d taken, the inside was reached %d times", taken, now-before)
	}
	return nil
}
