package message

import (
	"time"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// kindHello is the statement in a datagram of a peer that shows who it is
// (docs/protocol.md §15.2).
const kindHello = "hello"

const (
	// MaxHello fits into a datagram beside what else is in it.
	MaxHello = 512
	// MaxHelloLife is the longest validity of a Hello: a recorded one soon tells nothing.
	MaxHelloLife = 10 * time.Minute
	// helloPeer is the length of a peer's id.
	helloPeer = 16
)

// Hello says who a nearby peer is, for a short time. It is a hint where to knock,
// and no proof of who will answer there: whoever has heard it can repeat it.
type Hello struct {
	Address Address
	// Peer is the id of the peer, and Port where it answers.
	Peer    [16]byte
	Port    uint16
	Time    time.Time
	Expires time.Time
	Signed  *wirev1.Signed
}

// SignHello makes a hello of chain's owner. The fields but Address and Signed are
// taken from h.
func SignHello(h Hello, chain *Chain, key crypto.SigningKey) (*Hello, error) {
	card := chain.Head().ID
	h.Address = chain.Address()
	s, err := sign(kindHello, &wirev1.Hello{
		Address: h.Address.Bytes(), CardId: card[:], Peer: h.Peer[:], Port: int32(h.Port), Time: millis(h.Time), Expires: millis(h.Expires),
	}, key)
	if err != nil {
		return nil, err
	}
	h.Signed = s
	return &h, nil
}

// HelloClaim is a Hello that was read but not verified.
type HelloClaim struct {
	// Address is who the peer claims to be: enough to find the chain to verify
	// with, and for nothing else.
	Address Address
	hello   Hello
	card    []byte
	parsed  parsed
}

// ParseHello reads a hello. Errors: Invalid, TooLarge, Unsupported.
func ParseHello(s *wirev1.Signed) (*HelloClaim, error) {
	var w wirev1.Hello
	p, err := parse(kindHello, s, MaxHello, &w)
	if err != nil {
		return nil, err
	}
	if err := checkTimes("hello", w.GetTime(), w.GetExpires()); err != nil {
		return nil, err
	}
	if len(w.GetPeer()) != helloPeer || w.GetPort() < 1 || w.GetPort() > 65535 {
		return nil, refuse(Invalid, "hello: peer of %d bytes, port %d", len(w.GetPeer()), w.GetPort())
	}
	a, err := AddressFromBytes(w.GetAddress())
	if err != nil {
		return nil, err
	}
	h := Hello{Address: a, Peer: [16]byte(w.GetPeer()), Port: uint16(w.GetPort()), Time: fromMillis(w.GetTime()), Expires: fromMillis(w.GetExpires()), Signed: s}
	return &HelloClaim{Address: a, hello: h, card: w.GetCardId(), parsed: p}, nil
}

// Fits reports whether the hello is of the datagram that it came in, and of now.
func (c *HelloClaim) Fits(peer [16]byte, port uint16, now time.Time) bool {
	life := c.hello.Expires.Sub(c.hello.Time)
	return c.hello.Peer == peer && c.hello.Port == port && life > 0 && life <= MaxHelloLife &&
		!now.Before(c.hello.Time.Add(-AccessSlack)) && !now.After(c.hello.Expires.Add(AccessSlack))
}

// Time is when the hello was made, by its author's clock.
func (c *HelloClaim) Time() time.Time { return c.hello.Time }

// Verify checks the claim against its author's chain. Errors: BadSignature,
// NeedBundle, Denied (a closed identity), Invalid.
func (c *HelloClaim) Verify(v crypto.Verifier, chain *Chain) (*Hello, error) {
	if chain.Address() != c.Address {
		return nil, refuse(Invalid, "hello: of another address")
	}
	if _, err := chain.signer(kindHello, c.card, c.parsed.key); err != nil {
		return nil, err
	}
	if err := c.parsed.verify(v); err != nil {
		return nil, err
	}
	h := c.hello
	return &h, nil
}
