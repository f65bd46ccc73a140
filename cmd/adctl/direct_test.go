package main

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"airdispatch/message"
)

// TestDialDirectly: nobody has this computer connect to itself, to a network that it is not in, to a
// metadata service or to a low port, by saying that they are there.
func TestDialDirectly(t *testing.T) {
	a := &app{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is allowed is not dialled here
	for _, to := range []string{
		"127.0.0.1:8080", "[::1]:8080", "169.254.169.254:8080", "[fe80::1]:8080", "0.0.0.0:8080", "224.0.0.1:8080", "255.255.255.255:8080",
		"8.8.8.8:53", "[64:ff9b::7f00:1]:8080", "[::ffff:127.0.0.1]:8080",
	} {
		if c, err := a.dialDirectly(t.Context(), netip.MustParseAddrPort(to)); !errors.Is(err, message.Denied) {
			t.Errorf("%s: %v, %v", to, c, err)
		}
	}
	inside := func(to netip.Addr) bool {
		for _, n := range ownNetworks() {
			if n.Contains(to) {
				return true
			}
		}
		return false
	}
	for _, text := range []string{"10.77.66.55", "172.29.66.55", "192.168.66.55", "fd00:66::55"} {
		to := netip.MustParseAddr(text)
		if inside(to) {
			t.Logf("%s is on a network of this computer", to)
			continue
		}
		if c, err := a.dialDirectly(t.Context(), netip.AddrPortFrom(to, 8080)); !errors.Is(err, message.Denied) {
			t.Errorf("%s: %v, %v", to, c, err)
		}
	}
	for _, n := range ownNetworks() {
		if _, err := a.dialDirectly(ctx, netip.AddrPortFrom(n.Addr(), 8080)); errors.Is(err, message.Denied) {
			t.Errorf("%s, which is this computer's own: %v", n, err)
		}
	}
}
