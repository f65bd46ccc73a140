package rpc

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"airdispatch/message"
)

// DialFunc opens a connection; Guard.Dial is the one that real programs use.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialTimeout bounds resolving, connecting and the TLS handshake, each: short
// enough that a second host of a route still has its turn within a call.
const dialTimeout = 10 * time.Second

// Guard is the one dialer for all outgoing connections. Hosts come from routes
// and references that strangers wrote; without it a route could aim a server at
// its own loopback, its neighbours or a cloud's metadata service. It looks at the
// address that was resolved, when connecting, so names that resolve differently
// the second time gain nothing.
type Guard struct {
	// Private ranges may be reached although they are not public.
	Private []netip.Prefix
}

// Check refuses, with message.Denied, an address that is not public and in none
// of the Private ranges, and every port but 443 and those from 1024 on: the low
// ports belong to protocols that a request could be smuggled into.
func (g Guard) Check(ap netip.AddrPort) error {
	if !ap.IsValid() {
		return fmt.Errorf("rpc: dial: no address: %w", message.Denied)
	}
	if port := ap.Port(); port != 443 && port < 1024 {
		return fmt.Errorf("rpc: dial %s: port %d is neither 443 nor above 1023: %w", ap.Addr(), port, message.Denied)
	}
	if !g.allows(ap.Addr()) {
		return fmt.Errorf("rpc: dial %s: not a public address: %w", ap.Addr(), message.Denied)
	}
	return nil
}

// Dial connects to host:port over TCP if the address that the host resolves to
// passes Check.
func (g Guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, fmt.Errorf("rpc: dial %s: network %q: %w", address, network, message.Denied)
	}
	d := net.Dialer{Timeout: dialTimeout, ControlContext: g.control}
	return d.DialContext(ctx, network, address)
}

// control is called for every address that the dialer is about to connect to.
func (g Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("rpc: dial %s: not an address: %w", address, message.Denied)
	}
	return g.Check(ap)
}

// allows reports whether a may be connected to.
func (g Guard) allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range g.Private {
		if p.Contains(a) {
			return true
		}
	}
	if a.Is4() {
		return !within(a, closed4)
	}
	for _, v4 := range embedded(a) {
		if !g.allows(v4) {
			return false
		}
	}
	return nat64.Contains(a) || public6.Contains(a) && !within(a, closed6)
}

// within reports whether one of ranges contains a.
func within(a netip.Addr, ranges []netip.Prefix) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Outside public6 no IPv6 address is public, but for the NAT64 prefix by which
// an IPv6-only machine reaches IPv4.
var (
	public6   = netip.MustParsePrefix("2000::/3")
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	teredo    = netip.MustParsePrefix("2001::/32")
)

// closed4 is what IANA's registry of special addresses does not call globally
// reachable, and multicast.
var closed4 = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), // link-local; the metadata services of clouds
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),   // documentation
	netip.MustParsePrefix("192.88.99.0/24"), // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("224.0.0.0/4"),     // multicast
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
}

// closed6 is the special ranges inside public6.
var closed6 = []netip.Prefix{
	netip.MustParsePrefix("2001:1::/32"),   // anycast of protocols
	netip.MustParsePrefix("2001:2::/48"),   // benchmarks
	netip.MustParsePrefix("2001:10::/28"),  // ORCHID
	netip.MustParsePrefix("2001:20::/28"),  // ORCHIDv2
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("3fff::/20"),     // documentation
}

// embedded returns the IPv4 addresses that an IPv6 address carries for a gateway
// to unpack: NAT64, 6to4, Teredo (its server and its client) and ISATAP. A public
// prefix must not lead to a private address behind such a gateway.
func embedded(a netip.Addr) []netip.Addr {
	b := a.As16()
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case nat64.Contains(a):
		return []netip.Addr{v4(12)}
	case sixToFour.Contains(a):
		return []netip.Addr{v4(2)}
	case teredo.Contains(a):
		client := [4]byte{^b[12], ^b[13], ^b[14], ^b[15]}
		return []netip.Addr{v4(4), netip.AddrFrom4(client)}
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		return []netip.Addr{v4(12)}
	}
	return nil
}

// PrivateRange is the range in which a literal loopback or private listen address
// lies, so that a program that listens on one lets its own Guard reach its
// neighbours there. "localhost" counts as loopback; names and public or
// unspecified addresses have no range.
func PrivateRange(hostport string) (netip.Prefix, bool) {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap().WithZone("")
	for _, p := range privateRanges {
		if p.Contains(a) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}
