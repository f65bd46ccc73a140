// Package tricks is what attackers try in more than one part of the proof: hosts
// that are spelled so that they lead inside, texts that do something to a
// terminal or deceive who looks at it, and a terminal to show them on. It knows
// nothing of the product. Each trick is one that some program has fallen for.
package tricks

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Insiders are addresses that no stranger's host may lead to.
func Insiders() []string {
	return []string{"127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"}
}

// Spellings are ways to write an IPv4 address that some program understands.
func Spellings(v4 string) []string {
	b := netip.MustParseAddr(v4).As4()
	n := binary.BigEndian.Uint32(b[:])
	high, low := n>>16, n&0xffff
	f := fmt.Sprintf
	wide := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r - '0' + '０'
		}
		return '。'
	}, v4)
	return []string{
		v4, v4 + ".", f("%d", n), f("0%o", n), f("0x%x", n), f("0X%X", n), f("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]), f("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]),
		f("00%o.%d.%d.%d", b[0], b[1], b[2], b[3]), f("%d.%d", b[0], n&0xffffff), f("%d.%d.%d", b[0], b[1], low), f("0x%x.%d", b[0], n&0xffffff), f("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]),
		f("[::ffff:%s]", v4), f("[::ffff:%x:%x]", high, low), f("[0:0:0:0:0:ffff:%s]", v4), f("[::%s]", v4), f("[::ffff:0:%s]", v4), f("[64:ff9b::%s]", v4), f("[64:ff9b::%x:%x]", high, low),
		f("[64:ff9b:1::%s]", v4), f("[2002:%x:%x::1]", high, low), f("[2001:0:808:808:0:0:%x:%x]", high^0xffff, low^0xffff), f("[2001:0:%x:%x::1]", high, low), f("[2606:4700::5efe:%s]", v4), f("[2606:4700::200:5efe:%s]", v4),
		f("[::ffff:%s%%25lo]", v4), wide, f("x@%s", v4), f("public.example@%s", v4), f("%s#public.example", v4), f("%s?public.example", v4), f("%s\\@public.example", v4), f("public.example:x@%s", v4), f("%s%%00.public.example", v4), f(" %s", v4), f("%s\t", v4),
	}
}

// Names are texts that resolve, here, to the inside.
func Names() []string {
	return []string{
		"localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain", "ip6-localhost", "inside.example", "127.0.0.1.nip.example", "metadata.internal", "xn--lcalhost-e1a", "ⓛocalhost", "loc\u200balhost", "127。0。0。1", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[fe80::1]", "[fe80::1%25eth0]", "[fec0::1]", "[fd00:ec2::254]",
		"[ff02::1]", "[2001:db8::1]", "[3fff::1]", "[5f00::1]", "[100::1]", "[::2]", "[v1.x]", "[", "]", "[]", "[127.0.0.1]", "::1", "0", "",
	}
}
