package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"airdispatch/crypto"
	"airdispatch/message"
)

// keptCallers bounds how many verified headers are remembered: about 100 bytes
// each, and whoever has an identity can make as many as they like.
const keptCallers = 16 << 10

// maxHeader is more than any Access in text form; longer headers are not hashed.
const maxHeader = 2*message.MaxAccess + 64

// Chains finds the chain of an address, with message.NotFound where it is not
// known.
type Chains func(ctx context.Context, a message.Address) (*message.Chain, error)

// Callers tells who is asking. A header is verified once and then known by its
// hash until it expires, because an Access comes with every call and a signature
// check costs more than most answers. Safe for concurrent use.
type Callers struct {
	audience message.Address
	verifier crypto.Verifier
	known    *recent[[32]byte, *message.Access]
	// changes counts calls of Forget: what was verified against a chain that was
	// forgotten in the meantime is not kept.
	changes atomic.Uint64
}

// NewCallers returns the callers of the server with this address.
func NewCallers(audience message.Address, v crypto.Verifier) *Callers {
	return &Callers{audience: audience, verifier: v, known: newRecent[[32]byte, *message.Access](keptCallers, nil)}
}

// Caller verifies the value of an Authorization header and returns whose it is.
// Errors: Unauthenticated without an Access or with one for another server,
// NeedBundle when chains does not know the caller, Clock, Invalid, TooLarge,
// BadSignature, and what else chains returns.
func (c *Callers) Caller(ctx context.Context, header string, chains Chains) (message.Address, error) {
	if header == "" {
		return message.Address{}, fmt.Errorf("rpc: caller: no access: %w", message.Unauthenticated)
	}
	if len(header) > maxHeader {
		return message.Address{}, fmt.Errorf("rpc: caller: header of %d bytes: %w", len(header), message.TooLarge)
	}
	if strings.ContainsAny(header, "\r\n") {
		// Base64 skips them, and one Access would have any number of spellings.
		return message.Address{}, fmt.Errorf("rpc: caller: line break in header: %w", message.Invalid)
	}
	now, key := time.Now(), crypto.Sum([]byte(header))
	if a, ok := c.known.find(key); ok {
		if now.After(a.Expires.Add(message.AccessSlack)) || now.Before(a.Time.Add(-message.AccessSlack)) {
			return message.Address{}, fmt.Errorf("rpc: caller: access outside its time: %w", message.Clock)
		}
		return a.From, nil
	}
	claim, err := message.ParseAccess(header)
	if err != nil {
		return message.Address{}, fmt.Errorf("rpc: caller: %w", err)
	}
	change := c.changes.Load()
	chain, err := chains(ctx, claim.From)
	switch {
	case errors.Is(err, message.NotFound):
		return message.Address{}, message.Need(claim.From)
	case err != nil:
		return message.Address{}, fmt.Errorf("rpc: caller: %w", err)
	}
	a, err := claim.Verify(c.verifier, chain, c.audience, now)
	if err != nil {
		return message.Address{}, fmt.Errorf("rpc: caller: %w", err)
	}
	c.known.put(key, a)
	if c.changes.Load() != change {
		c.known.forget(func(k *message.Access) bool { return k == a })
	}
	return a.From, nil
}

// Forget drops what is known of a. It is called after a card of a was taken,
// because the card may have removed the device that signed.
func (c *Callers) Forget(a message.Address) {
	c.changes.Add(1)
	c.known.forget(func(k *message.Access) bool { return k.From == a })
}

// Remote is where the call that a Connect handler's ctx belongs to comes from: an
// IPv4 address or an IPv6 /64, which is what limits for strangers are counted by.
// Not valid where the connection has no IP address. With proxied, a caller from
// this machine is a proxy, and the asker is whom it names last in X-Forwarded-For:
// what stands before that, the asker wrote.
func Remote(ctx context.Context, proxied bool) netip.Prefix {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return netip.Prefix{}
	}
	return remote(info.Peer().Addr, info.RequestHeader(), proxied)
}

// RemoteOf is Remote for a plain handler.
func RemoteOf(r *http.Request, proxied bool) netip.Prefix {
	return remote(r.RemoteAddr, r.Header, proxied)
}

func remote(hostport string, h http.Header, proxied bool) netip.Prefix {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr()
	if proxied && ip.Unmap().IsLoopback() {
		all := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
		if said, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1])); err == nil {
			ip = said
		}
	}
	return hostOf(ip)
}

// Authorization is the header of the call that a Connect handler's ctx belongs
// to, empty where there is none. Two headers are joined and so become one that
// nobody signed: which of them counts must not depend on who reads.
func Authorization(ctx context.Context) string {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return ""
	}
	return strings.Join(info.RequestHeader().Values("Authorization"), ", ")
}
