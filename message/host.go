package message

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxHost is the longest name that DNS can hold.
const maxHost = 253

// CheckHostURL refuses, with Invalid, what is not https://host[:port]: no
// path, query, fragment, user or other scheme, so that a host in a route
// cannot say more than where to connect.
func CheckHostURL(s string) error {
	host, ok := strings.CutPrefix(s, "https://")
	if !ok || checkHost(host) != nil {
		return refuse(Invalid, "host %q: the form is https://host[:port]", clip(s))
	}
	return nil
}

// checkHost accepts host[:port]: a DNS name, an IPv4 address, or an IPv6
// address in brackets. It is stricter than net/url on purpose: every host has
// one reading, whichever program looks at it.
func checkHost(s string) error {
	host, port, hasPort := s, "", false
	if end := strings.LastIndexByte(s, ']'); end >= 0 {
		if host = s[:end+1]; end+1 < len(s) {
			hasPort = s[end+1] == ':'
			if port = s[end+2:]; !hasPort {
				return refuse(Invalid, "host %q: a port follows a colon", clip(s))
			}
		}
	} else {
		host, port, hasPort = strings.Cut(s, ":")
	}
	if hasPort && !isPort(port) {
		return refuse(Invalid, "host %q: a port is a number from 1 to 65535", clip(s))
	}
	if !isIPv6(host) && !isDNSName(host) {
		return refuse(Invalid, "host %q: neither a name nor an IP address; IPv6 stands in brackets", clip(s))
	}
	return nil
}

// isPort reports whether s is a port in its one spelling.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// isIPv6 reports whether s is an IPv6 address in brackets, without a zone:
// zones mean something on one machine only.
func isIPv6(s string) bool {
	inner, ok := strings.CutPrefix(s, "[")
	if !ok || !strings.HasSuffix(inner, "]") {
		return false
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
	return err == nil && a.Is6() && a.Zone() == ""
}

// isDNSName reports whether s is a DNS name of ASCII letters, digits, hyphens
// and underscores, or an IPv4 address. A name whose last label is a number is
// an IPv4 address or nothing: some programs read 127.1 or 0x7f000001 as one.
func isDNSName(s string) bool {
	if len(s) == 0 || len(s) > maxHost {
		return false
	}
	labels := strings.Split(strings.ToLower(s), ".")
	for _, l := range labels {
		if len(l) < 1 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || !onlyOf(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") {
			return false
		}
	}
	last := labels[len(labels)-1]
	if onlyOf(last, "0123456789") || (strings.HasPrefix(last, "0x") && onlyOf(last[2:], "0123456789abcdef")) {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is4()
	}
	return true
}
