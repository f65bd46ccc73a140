package message

import (
	"time"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Purpose says what a service of a route is for.
type Purpose int32

// The purposes.
const (
	PurposeAny    = Purpose(wirev1.Purpose_PURPOSE_ANY)
	PurposeInbox  = Purpose(wirev1.Purpose_PURPOSE_INBOX)
	PurposeOutbox = Purpose(wirev1.Purpose_PURPOSE_OUTBOX)
	PurposeMirror = Purpose(wirev1.Purpose_PURPOSE_MIRROR)
)

// Host is a place where a server or tracker answers.
type Host struct {
	// URL is https://host[:port], nothing more.
	URL string
	// Pin is the SHA-256 of the certificate's SubjectPublicKeyInfo; zero where
	// WebPKI decides.
	Pin [32]byte
}

// Pinned reports whether the host has a pin.
func (h Host) Pinned() bool { return h.Pin != [32]byte{} }

// Service names a mail server of a user.
type Service struct {
	Purpose Purpose
	Server  Address
	// Ticket is the server's word that it hosts the user. OpenRoute reads it;
	// only Ticket.Verify against the server's chain makes it count.
	Ticket *Ticket
}

// Pair orders the routes of one address: by card first, so that a thief who
// publishes the highest route number is beaten by the recovery card
// (docs/protocol.md §6.3).
type Pair struct {
	Card, Route uint64
}

// Compare is negative, zero or positive as p stands before, at or after q.
func (p Pair) Compare(q Pair) int {
	switch {
	case p.Card < q.Card || (p.Card == q.Card && p.Route < q.Route):
		return -1
	case p == q:
		return 0
	}
	return 1
}

// Route is a verified route: its signer is a device key of the identity.
type Route struct {
	ID      ID
	Address Address
	CardID  ID
	Pair    Pair
	Time    time.Time
	Expires time.Time
	// Services of a user; Hosts of a server or tracker.
	Services []Service
	Hosts    []Host
	Signed   *wirev1.Signed
}

// Expired reports whether the route's validity is over. An expired route is
// answered as stale and still tried: an old direction is better than none.
func (r *Route) Expired(now time.Time) bool { return !now.Before(r.Expires) }

// Serves reports whether server stands in the route for one of the purposes.
func (r *Route) Serves(server Address, purposes ...Purpose) bool {
	for _, s := range r.Services {
		if s.Server != server {
			continue
		}
		if s.Purpose == PurposeAny {
			return true
		}
		for _, p := range purposes {
			if s.Purpose == p {
				return true
			}
		}
	}
	return false
}

// Servers are the addresses of the services for a purpose, in the route's order.
func (r *Route) Servers(purpose Purpose) []Address {
	var out []Address
	for _, s := range r.Services {
		if s.Purpose == purpose || s.Purpose == PurposeAny {
			out = append(out, s.Server)
		}
	}
	return out
}

// SignRoute makes a route for the chain's head. The fields Address, CardID,
// Pair.Card, ID and Signed of r are filled in.
func SignRoute(r Route, chain *Chain, key crypto.SigningKey) (*Route, error) {
	w := &wirev1.Route{
		Address: chain.Address().Bytes(), CardId: chain.Head().ID[:], Seq: r.Pair.Route,
		Time: millis(r.Time), Expires: millis(r.Expires),
	}
	for _, s := range r.Services {
		w.Services = append(w.Services, &wirev1.Service{Purpose: wirev1.Purpose(s.Purpose), Server: s.Server.Bytes(), Ticket: s.Ticket.Signed})
	}
	for _, h := range r.Hosts {
		host := &wirev1.Host{Url: h.URL}
		if h.Pinned() {
			host.Pin = h.Pin[:]
		}
		w.Hosts = append(w.Hosts, host)
	}
	s, err := sign(kindRoute, w, key)
	if err != nil {
		return nil, err
	}
	return OpenRoute(crypto.Single{}, chain, s)
}

// OpenRoute verifies a route against its owner's chain (docs/protocol.md §6.1).
// Errors: Invalid,
// TooLarge, BadSignature, NeedBundle where the chain lacks the card.
func OpenRoute(v crypto.Verifier, chain *Chain, s *wirev1.Signed) (*Route, error) {
	r, p, err := readRoute(chain, s)
	if err != nil {
		return nil, err
	}
	if err := p.verify(v); err != nil {
		return nil, err
	}
	return r, nil
}

// readRoute is OpenRoute without the signature, which is still to be checked.
func readRoute(chain *Chain, s *wirev1.Signed) (*Route, parsed, error) {
	var w wirev1.Route
	p, err := parse(kindRoute, s, MaxRoute, &w, chain.Head().Signers...)
	if err != nil {
		return nil, p, err
	}
	if err := checkTimes("route", w.GetTime(), w.GetExpires()); err != nil {
		return nil, p, err
	}
	r := &Route{ID: p.id, Time: fromMillis(w.GetTime()), Expires: fromMillis(w.GetExpires()), Signed: s}
	if r.Address, err = AddressFromBytes(w.GetAddress()); err != nil {
		return nil, p, err
	}
	if r.Address != chain.Address() {
		return nil, p, refuse(Invalid, "route: of another address")
	}
	card, err := chain.signer(kindRoute, w.GetCardId(), p.key)
	if err != nil {
		return nil, p, err
	}
	r.CardID, r.Pair = card.ID, Pair{Card: card.Seq, Route: w.GetSeq()}
	if !r.Expires.After(r.Time) || r.Expires.Sub(r.Time) > MaxRouteLife {
		return nil, p, refuse(Invalid, "route: expires %s after its time", r.Expires.Sub(r.Time))
	}
	if card.Role == RoleUser {
		err = r.parseServices(&w)
	} else {
		err = r.parseHosts(&w)
	}
	return r, p, err
}

// parseServices reads the services of a user's route.
func (r *Route) parseServices(w *wirev1.Route) error {
	if len(w.GetHosts()) != 0 {
		return refuse(Invalid, "route: a user's route names no hosts")
	}
	if n := len(w.GetServices()); n > MaxServices {
		return refuse(Invalid, "route: %d services, at most %d", n, MaxServices)
	}
	for _, ws := range w.GetServices() {
		s := Service{Purpose: Purpose(ws.GetPurpose())}
		if s.Purpose < PurposeAny || s.Purpose > PurposeMirror {
			return refuse(Invalid, "route: purpose %d", s.Purpose)
		}
		var err error
		if s.Server, err = AddressFromBytes(ws.GetServer()); err != nil {
			return err
		}
		if s.Ticket, err = parseTicket(ws.GetTicket()); err != nil {
			return err
		}
		if s.Ticket.Server != s.Server || s.Ticket.User != r.Address {
			return refuse(Invalid, "route: a ticket for somebody else")
		}
		r.Services = append(r.Services, s)
	}
	return nil
}

// parseHosts reads the hosts of a server's or tracker's route.
func (r *Route) parseHosts(w *wirev1.Route) error {
	if len(w.GetServices()) != 0 {
		return refuse(Invalid, "route: only users' routes name services")
	}
	if n := len(w.GetHosts()); n < 1 || n > MaxHosts {
		return refuse(Invalid, "route: %d hosts, 1 to %d", n, MaxHosts)
	}
	for _, wh := range w.GetHosts() {
		h := Host{URL: wh.GetUrl()}
		if err := CheckHostURL(h.URL); err != nil {
			return err
		}
		switch len(wh.GetPin()) {
		case 0:
		case len(h.Pin):
			// A pin of zeros would read as no pin, and let WebPKI decide.
			if copy(h.Pin[:], wh.GetPin()); !h.Pinned() {
				return refuse(Invalid, "route: a pin of zeros")
			}
		default:
			return refuse(Invalid, "route: a pin of %d bytes", len(wh.GetPin()))
		}
		r.Hosts = append(r.Hosts, h)
	}
	return nil
}

// Ticket is a mail server's word that it hosts an address.
type Ticket struct {
	Server, User  Address
	Time, Expires time.Time
	Signed        *wirev1.Signed
	parsed        parsed
}

// SignTicket makes a ticket: the server of this key hosts user until expires.
func SignTicket(server, user Address, from, expires time.Time, key crypto.SigningKey) (*Ticket, error) {
	s, err := sign(kindTicket, &wirev1.Ticket{Server: server.Bytes(), User: user.Bytes(), Time: millis(from), Expires: millis(expires)}, key)
	if err != nil {
		return nil, err
	}
	return parseTicket(s)
}

// ParseTicket reads a ticket as it came with a Join; Verify makes it count.
func ParseTicket(s *wirev1.Signed) (*Ticket, error) { return parseTicket(s) }

func parseTicket(s *wirev1.Signed) (*Ticket, error) {
	var w wirev1.Ticket
	p, err := parse(kindTicket, s, MaxTicket, &w)
	if err != nil {
		return nil, err
	}
	if err := checkTimes("ticket", w.GetTime(), w.GetExpires()); err != nil {
		return nil, err
	}
	t := &Ticket{Time: fromMillis(w.GetTime()), Expires: fromMillis(w.GetExpires()), Signed: s, parsed: p}
	if t.Server, err = AddressFromBytes(w.GetServer()); err != nil {
		return nil, err
	}
	if t.User, err = AddressFromBytes(w.GetUser()); err != nil {
		return nil, err
	}
	if !t.Expires.After(t.Time) {
		return nil, refuse(Invalid, "ticket: expires before its time")
	}
	return t, nil
}

// Verify checks the ticket against the server's chain and the clock. Errors:
// Invalid, BadSignature, Denied (a closed server), Clock (ahead), Expired.
func (t *Ticket) Verify(v crypto.Verifier, server *Chain, now time.Time) error {
	if server.Address() != t.Server || server.Head().Role != RoleServer {
		return refuse(Invalid, "ticket: of another server")
	}
	if err := server.current(kindTicket, t.parsed.key); err != nil {
		return err
	}
	if err := NotAhead(t.Time, now); err != nil {
		return err
	}
	if !now.Before(t.Expires) {
		return refuse(Expired, "ticket")
	}
	return t.parsed.verify(v)
}
