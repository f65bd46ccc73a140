package message

import (
	"encoding/base64"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// AccessScheme is the scheme of the Authorization header.
const AccessScheme = "Airdispatch"

// Access says who is asking, at one server, for a short time.
type Access struct {
	From     Address
	Audience Address
	Time     time.Time
	Expires  time.Time
}

// SignAccess makes the header value for calls of chain's owner to audience,
// good from now for life, at most MaxAccessLife.
func SignAccess(chain *Chain, audience Address, now time.Time, life time.Duration, key crypto.SigningKey) (string, error) {
	head := chain.Head()
	s, err := sign(kindAccess, &wirev1.Access{
		From: chain.Address().Bytes(), CardId: head.ID[:], Audience: audience.Bytes(),
		Time: millis(now), Expires: millis(now.Add(min(life, MaxAccessLife))),
	}, key)
	if err != nil {
		return "", err
	}
	b, err := proto.Marshal(s)
	if err != nil {
		return "", refuse(Internal, "sign access: %v", err)
	}
	return AccessScheme + " " + base64.RawURLEncoding.EncodeToString(b), nil
}

// AccessClaim is an Access that was read but not verified.
type AccessClaim struct {
	// From is who the caller claims to be: enough to find the chain to verify
	// with, and for nothing else.
	From   Address
	wire   *wirev1.Access
	parsed parsed
}

// ParseAccess reads the value of an Authorization header. Errors:
// Unauthenticated for what is no Access at all, Invalid and TooLarge.
func ParseAccess(header string) (*AccessClaim, error) {
	scheme, text, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, AccessScheme) {
		return nil, refuse(Unauthenticated, "access: no %s authorization", AccessScheme)
	}
	if len(text) > 2*MaxAccess {
		return nil, refuse(TooLarge, "access: %d characters", len(text))
	}
	// Go's decoder passes over line ends, even a strict one.
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, refuse(Invalid, "access: not base64url")
	}
	var s wirev1.Signed
	if err := proto.Unmarshal(b, &s); err != nil {
		return nil, refuse(Invalid, "access: not a statement")
	}
	var w wirev1.Access
	p, err := parse(kindAccess, &s, MaxAccess, &w)
	if err != nil {
		return nil, err
	}
	if err := checkTimes("access", w.GetTime(), w.GetExpires()); err != nil {
		return nil, err
	}
	from, err := AddressFromBytes(w.GetFrom())
	if err != nil {
		return nil, err
	}
	return &AccessClaim{From: from, wire: &w, parsed: p}, nil
}

// Verify checks the claim against its author's chain, the server that it must
// be meant for, and the clock. Errors: Unauthenticated (for another server),
// Clock (outside its time, give or take AccessSlack), BadSignature, NeedBundle,
// Denied (a closed identity).
func (a *AccessClaim) Verify(v crypto.Verifier, chain *Chain, audience Address, now time.Time) (*Access, error) {
	if chain.Address() != a.From {
		return nil, refuse(Unauthenticated, "access: of another address")
	}
	out := &Access{From: a.From, Time: fromMillis(a.wire.GetTime()), Expires: fromMillis(a.wire.GetExpires())}
	var err error
	if out.Audience, err = AddressFromBytes(a.wire.GetAudience()); err != nil {
		return nil, err
	}
	if out.Audience != audience {
		return nil, refuse(Unauthenticated, "access: for another server")
	}
	if _, err := chain.signer(kindAccess, a.wire.GetCardId(), a.parsed.key); err != nil {
		return nil, err
	}
	if life := out.Expires.Sub(out.Time); life <= 0 || life > MaxAccessLife {
		return nil, refuse(Invalid, "access: valid for %s", life)
	}
	if now.Before(out.Time.Add(-AccessSlack)) || now.After(out.Expires.Add(AccessSlack)) {
		return nil, refuse(Clock, "access: valid from %s to %s", out.Time.Format(time.RFC3339), out.Expires.Format(time.RFC3339))
	}
	if err := a.parsed.verify(v); err != nil {
		return nil, err
	}
	return out, nil
}
