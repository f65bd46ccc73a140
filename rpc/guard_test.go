package rpc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"airdispatch/message"
)

// spellings are hosts as a route or a reference may name them, and after = what a
// resolver (some take every form that inet_aton takes) makes of them, where that
// is another text.
const spellings = `
# IPv4, as four decimals
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255
100.64.0.1 100.127.255.254 127.0.0.1 127.1.2.3
127.255.255.255 169.254.169.254 169.254.0.1
172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170
192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.7
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
# the same addresses as inet_aton writes them
2130706433=127.0.0.1 017700000001=127.0.0.1 0x7f000001=127.0.0.1 0x7F.0.0.1=127.0.0.1
0177.0.0.1=127.0.0.1 0177.0.0.01=127.0.0.1 127.1=127.0.0.1 127.0.1=127.0.0.1 0x7f.1=127.0.0.1
00000177.00.00.01=127.0.0.1 127.0.0.1.=127.0.0.1 0=0.0.0.0 0x0=0.0.0.0 00=0.0.0.0
167772161=10.0.0.1 0xa000001=10.0.0.1 012.0.0.1=10.0.0.1 10.1=10.0.0.1
2852039166=169.254.169.254 0xa9fea9fe=169.254.169.254 0251.0376.0251.0376=169.254.169.254
0xa9.0xfe.0xa9.0xfe=169.254.169.254 169.16689662=169.254.169.254 3232235521=192.168.0.1
0xc0a80001=192.168.0.1 0300.0250.0.1=192.168.0.1 192.168.1=192.168.0.1 2886729729=172.16.0.1
１２７.０.０.１=127.0.0.1 ①②⑦.⓪.⓪.①=127.0.0.1
# names
localhost=127.0.0.1 localhost=::1 LOCALHOST=127.0.0.1 localhost.=127.0.0.1
localhost.localdomain=127.0.0.1 ip6-localhost=::1 a.localhost=127.0.0.1
rebind.example=127.0.0.1 metadata.internal=169.254.169.254 router.example=192.168.1.1
127.0.0.1.nip.example=127.0.0.1 intranet.example=fd00::1 printer.example=fe80::1
# IPv6
[::]=:: [::1]=::1 [0:0:0:0:0:0:0:1]=::1 [::2]=::2 [::1%lo]=::1%lo
[fe80::1]=fe80::1 [fe80::1%eth0]=fe80::1%eth0 [febf::1]=febf::1 [fec0::1]=fec0::1
[fc00::1]=fc00::1 [fd12:3456::1]=fd12:3456::1 [fd00:ec2::254]=fd00:ec2::254 [ff02::1]=ff02::1
[ff0e::1]=ff0e::1 [100::1]=100::1 [2001:db8::1]=2001:db8::1 [3fff::1]=3fff::1
[2001:2::1]=2001:2::1 [2001:10::1]=2001:10::1 [2001:20::1]=2001:20::1 [2001:1::1]=2001:1::1
[5f00::1]=5f00::1 [4000::1]=4000::1 [1::1]=1::1
# IPv4 inside IPv6
[::ffff:127.0.0.1]=::ffff:127.0.0.1 [::ffff:7f00:1]=::ffff:7f00:1 [::ffff:10.0.0.1]=::ffff:10.0.0.1
[::ffff:169.254.169.254]=::ffff:169.254.169.254 [::ffff:a9fe:a9fe]=::ffff:a9fe:a9fe [::ffff:0.0.0.0]=::ffff:0.0.0.0
[::ffff:127.0.0.1%eth0]=::ffff:127.0.0.1%eth0 [::127.0.0.1]=::127.0.0.1 [::8.8.8.8]=::8.8.8.8
[::ffff:0:127.0.0.1]=::ffff:0:7f00:1 [::ffff:0:8.8.8.8]=::ffff:0:808:808
[64:ff9b::127.0.0.1]=64:ff9b::7f00:1 [64:ff9b::10.0.0.1]=64:ff9b::a00:1 [64:ff9b::a9fe:a9fe]=64:ff9b::a9fe:a9fe
[64:ff9b::192.168.0.1]=64:ff9b::c0a8:1 [64:ff9b::]=64:ff9b:: [64:ff9b:1::8.8.8.8]=64:ff9b:1::808:808
[2002:7f00:1::]=2002:7f00:1:: [2002:a00:1::1]=2002:a00:1::1 [2002:c0a8:1::1]=2002:c0a8:1::1
[2002:a9fe:a9fe::]=2002:a9fe:a9fe:: [2002:6440:1::]=2002:6440:1::
# Teredo by a private server
[2001:0:7f00:1::]=2001:0:7f00:1::f7f7:f7f7
# Teredo to 127.0.0.1
[2001:0:808:808:0:0:80ff:fffe]=2001:0:808:808:0:0:80ff:fffe
# Teredo to 192.168.0.1
[2001:0:808:808:0:0:3f57:fffe]=2001:0:808:808:0:0:3f57:fffe
# Teredo to 169.254.169.254
[2001:0:808:808:0:0:5601:5601]=2001:0:808:808:0:0:5601:5601
# ISATAP
[2606:4700::5efe:10.0.0.1]=2606:4700::5efe:a00:1
# ISATAP, universal bit
[2606:4700::200:5efe:127.0.0.1]=2606:4700::200:5efe:7f00:1
`

// open are addresses that are anybody's.
var open = []string{
	"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
	"169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
	"223.255.255.255", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1",
	"2001:0:808:808:0:0:f7f7:f7f7", "2001:4860::8888", "2606:4700::5efe:808:808",
}

func TestGuardRefusesEverySpelling(t *testing.T) {
	n := 0
	for line := range strings.Lines(spellings) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, s := range strings.Fields(line) {
			n++
			refused(t, s)
		}
	}
	if n < 100 {
		t.Errorf("%d spellings", n)
	}
}

// refused checks one spelling.
func refused(t *testing.T, spelling string) {
	t.Helper()
	host, resolved, ok := strings.Cut(spelling, "=")
	if !ok {
		resolved = host
	}
	a, err := netip.ParseAddr(resolved)
	if err != nil {
		t.Fatal(err)
	}
	// What the dialer hands to its control function is the resolved address.
	address := netip.AddrPortFrom(a, 443).String()
	if err := (Guard{}).control(t.Context(), "tcp", address, nil); !errors.Is(err, message.Denied) {
		t.Errorf("%s as %s: %v, want denied", host, address, err)
	}
}

func TestGuardLetsThroughWhatIsPublic(t *testing.T) {
	for _, s := range open {
		for _, port := range []uint16{443, 1024, 8443, 65535} {
			if err := (Guard{}).Check(netip.AddrPortFrom(netip.MustParseAddr(s), port)); err != nil {
				t.Errorf("%s port %d: %v", s, port, err)
			}
		}
		for _, port := range []uint16{0, 22, 25, 80, 442, 444, 1023} {
			if err := (Guard{}).Check(netip.AddrPortFrom(netip.MustParseAddr(s), port)); !errors.Is(err, message.Denied) {
				t.Errorf("%s port %d: %v, want denied", s, port, err)
			}
		}
	}
}

func TestGuardOpensNamedRangesOnly(t *testing.T) {
	g := Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00:1::/32")}}
	for s, want := range map[string]bool{
		"127.0.0.1": true, "::ffff:127.0.0.1": true, "64:ff9b::7f00:1": true, "fd00:1::5": true, "fd00:1::5%eth0": true,
		"::1": false, "10.0.0.1": false, "fd00:2::5": false, "2002:a00:1::1": false,
	} {
		err := g.Check(netip.AddrPortFrom(netip.MustParseAddr(s), 8443))
		if got := err == nil; got != want {
			t.Errorf("%s: %v, want allowed %v", s, err, want)
		}
	}
	if err := g.Check(netip.MustParseAddrPort("127.0.0.1:80")); !errors.Is(err, message.Denied) {
		t.Errorf("a low port of an opened range: %v", err)
	}
	if err := g.Check(netip.AddrPort{}); !errors.Is(err, message.Denied) {
		t.Errorf("no address: %v", err)
	}
	if err := g.control(t.Context(), "tcp", "localhost:443", nil); !errors.Is(err, message.Denied) {
		t.Errorf("an unresolved name: %v", err)
	}
}

// TestGuardDials goes through the real dialer, so that the control function is
// shown to be in its way.
func TestGuardDials(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		if c, err := (Guard{}).Dial(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, message.Denied) {
			t.Errorf("%s: %v, %v, want denied", host, c, err)
		}
	}
	g := Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	c, err := g.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	for _, network := range []string{"udp", "unix", "ip", ""} {
		if _, err := g.Dial(t.Context(), network, l.Addr().String()); !errors.Is(err, message.Denied) {
			t.Errorf("network %q: %v, want denied", network, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Dial(ctx, "tcp", l.Addr().String()); err == nil {
		t.Error("dialled under an ended context")
	}
}

func TestPrivateRange(t *testing.T) {
	for hostport, want := range map[string]string{
		"127.0.0.1:8443": "127.0.0.0/8", "localhost:1": "127.0.0.0/8", "LocalHost.:1": "127.0.0.0/8", "127.9.9.9": "127.0.0.0/8",
		"[::1]:8443": "::1/128", "::1": "::1/128", "10.1.2.3:1": "10.0.0.0/8", "172.20.0.1:1": "172.16.0.0/12",
		"192.168.7.7:1": "192.168.0.0/16", "[fd00::1]:1": "fc00::/7", "[fe80::1%eth0]:1": "fe80::/10", "100.64.1.1:1": "100.64.0.0/10",
		"169.254.1.1:1": "169.254.0.0/16", "[::ffff:10.0.0.1]:1": "10.0.0.0/8",
		"8.8.8.8:1": "", ":8443": "", "0.0.0.0:1": "", "[::]:1": "", "mail.example:443": "", "": "", "localhost.example:1": "",
	} {
		p, ok := PrivateRange(hostport)
		if ok != (want != "") || ok && p.String() != want {
			t.Errorf("%q: %v %v, want %q", hostport, p, ok, want)
		}
		if ok {
			host := strings.Trim(hostport, "[]")
			if h, _, err := net.SplitHostPort(hostport); err == nil {
				host = h
			}
			a, err := netip.ParseAddr(host)
			if err == nil && (Guard{Private: []netip.Prefix{p}}).Check(netip.AddrPortFrom(a, 8443)) != nil {
				t.Errorf("%q: its own range does not open it", hostport)
			}
		}
	}
}
