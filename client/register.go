package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/home"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// routeLife is how long a route is good: as long as the protocol allows,
	// with a day to spare for clocks.
	routeLife = message.MaxRouteLife - 24*time.Hour
	// renewAfter is how old a ticket gets before it is renewed: early enough that
	// a person who is away for half a year keeps the account.
	renewAfter = 30 * 24 * time.Hour
	// renewTries is how often a renewal that failed may be tried again: once a day.
	renewTries = 24 * time.Hour
)

// Registration says where to open an account.
type Registration struct {
	Server message.Reference
	// Trackers to publish the route to; at least one.
	Trackers []message.Reference
	Invite   string
	// Name to claim at the first tracker; may be empty.
	Name string
}

// Registered is what came of it.
type Registered struct {
	Account home.Account
	// Server is who the server turned out to be.
	Server message.Address
	// Published has one entry for each tracker; some may have failed.
	Published []tracker.Published
	// Name is name@host where one was claimed. NameErr says why it was not: the
	// account is good without it.
	Name    string
	NameErr error
}

// Register opens an account at a mail server, signs a route that names it and
// publishes that to the trackers, whose receipts are verified. Registering
// again renews; at another server it names that one instead, takes the verdicts
// about senders along, and has that server ask theirs what they hold for the
// owner. What one has sent stays at the old one, which goes on handing it out: the
// route names it as an outbox. Errors:
// ErrNoIdentity, message.Denied (no invitation, not on the list),
// message.Unavailable, message.BadSignature (the server or tracker is not who
// the reference says).
func (c *Client) Register(ctx context.Context, r Registration) (*Registered, error) {
	switch {
	case c.me.IsZero():
		return nil, ErrNoIdentity
	case len(r.Trackers) == 0:
		return nil, fmt.Errorf("client: register: no tracker: %w", message.Invalid)
	case r.Name != "":
		if err := message.CheckUserName(r.Name); err != nil {
			return nil, err
		}
	}
	peer, answer, err := c.net.Open(ctx, r.Server)
	if err != nil {
		return nil, fmt.Errorf("client: register: mail server %s: %w", r.Server.URL, err)
	}
	if answer.Subject.Chain.Head().Role != message.RoleServer {
		return nil, fmt.Errorf("client: register: %s is a %s, not a mail server: %w", r.Server.URL, answer.Subject.Chain.Head().Role, message.Invalid)
	}
	if err := c.learn(ctx, answer.Subject); err != nil {
		return nil, fmt.Errorf("client: register: %w", err)
	}
	taken, err := c.moving(ctx, answer.Tracker)
	if err != nil {
		return nil, fmt.Errorf("client: register: %w", err)
	}
	resolver := tracker.NewResolver(tracker.ResolverConfig{Client: c.net, Trackers: r.Trackers, Known: c.known, Verifier: c.verifier, Log: c.log})
	out := &Registered{Server: answer.Tracker}
	// The server is pinned from now on, whatever was known of it before.
	r.Server.Address = answer.Tracker
	ticket, err := c.join(ctx, peer, answer.Subject, r.Invite)
	if err != nil {
		return nil, fmt.Errorf("client: register: %w", err)
	}
	if err := taken.bring(ctx, peer); err != nil {
		return nil, fmt.Errorf("client: register: %w", err)
	}
	seats := c.seats(ctx, message.Service{Purpose: message.PurposeAny, Server: answer.Tracker, Ticket: ticket}, answer.Subject)
	route, published, err := c.publish(ctx, resolver, seats)
	if _, said := errors.AsType[*message.Refused](err); said && len(seats) > 1 {
		// Perhaps because of a server that is left; where one is now matters more.
		route, published, err = c.publish(ctx, resolver, seats[:1])
	}
	out.Published = published
	if err != nil {
		return out, fmt.Errorf("client: register: %w", err)
	}
	if err := c.announce(ctx, peer, route, r.Trackers, taken.ask); err != nil {
		return out, fmt.Errorf("client: register: %w", err)
	}
	taken.leave(ctx, c, route)
	taken.hear(ctx, c)
	if out.Account, err = c.keepAccount(ctx, r, ticket); err != nil {
		return out, err
	}
	c.setOwn(peer)
	if r.Name != "" {
		out.Name, out.NameErr = c.claim(ctx, resolver, r.Trackers[0], r.Name)
	}
	return out, nil
}

// keepAccount remembers where one is registered.
func (c *Client) keepAccount(ctx context.Context, r Registration, ticket *message.Ticket) (home.Account, error) {
	now := time.Now()
	was, err := c.home.Account(ctx, c.me)
	if err != nil && !absent(err) {
		return was, err
	}
	a := home.Account{Owner: c.me, Server: r.Server, Trackers: r.Trackers, Name: was.Name, Joined: was.Joined, Renewed: now, Expires: ticket.Expires}
	if a.Joined.IsZero() || was.Server.Address != r.Server.Address {
		a.Joined = now
		if err := c.home.SetCursor(ctx, c.me, inboxLog, 0, 0); err != nil {
			return a, err
		}
	}
	return a, c.home.PutAccount(ctx, a)
}

// join asks for a ticket and verifies it.
func (c *Client) join(ctx context.Context, p *rpc.Peer, server *message.Identity, invite string) (*message.Ticket, error) {
	own := &wirev1.Identity{Cards: c.c.Keyring.Chain.Signed(0)}
	resp, err := p.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: own, Invite: invite})
	if err != nil {
		return nil, err
	}
	t, err := message.ParseTicket(resp.GetTicket())
	if err != nil {
		return nil, err
	}
	if t.User != c.me {
		return nil, fmt.Errorf("client: join: a ticket for somebody else: %w", message.Invalid)
	}
	return t, t.Verify(c.verifier, server.Chain, time.Now())
}

// publishTries is how often a route is numbered anew because another device
// published meanwhile.
const publishTries = 3

// seat is a service that a route is to name, and whose it is.
type seat struct {
	service message.Service
	server  *message.Identity
}

// seats are the own server, and those that one has left and that still keep what
// was sent from there: without them in the route nobody takes their alerts, or
// pulls from them, any more. The latest come first, and the oldest fall out.
func (c *Client) seats(ctx context.Context, own message.Service, server *message.Identity) []seat {
	out := []seat{{own, server}}
	was, err := c.known.Identity(ctx, c.me)
	if err != nil || was.Route == nil {
		return out
	}
	for _, s := range was.Route.Services {
		sends := s.Purpose == message.PurposeAny || s.Purpose == message.PurposeOutbox
		if s.Server == own.Server || !sends || !time.Now().Before(s.Ticket.Expires) || len(out) == message.MaxServices {
			continue
		}
		if i, err := c.known.Identity(ctx, s.Server); err == nil && i.Route != nil {
			s.Purpose = message.PurposeOutbox
			out = append(out, seat{s, i})
		}
	}
	return out
}

// publish signs a route with the next number and brings it to the trackers.
func (c *Client) publish(ctx context.Context, r *tracker.Resolver, seats []seat) (*message.Route, []tracker.Published, error) {
	services := make([]message.Service, 0, len(seats))
	for _, p := range seats {
		services = append(services, p.service)
	}
	var published []tracker.Published
	var err error
	for range publishTries {
		var route *message.Route
		if route, err = c.nextRoute(ctx, r, services); err != nil {
			return nil, nil, err
		}
		own := &message.Identity{Chain: c.c.Keyring.Chain, Route: route}
		p := &wirev1.Publication{Subject: own.Wire()}
		for _, at := range seats {
			w := at.server.Wire()
			w.FirstSeen = nil
			p.Servers = append(p.Servers, w)
		}
		if published, err = r.Publish(ctx, p); err == nil {
			if _, err := c.known.Learn(ctx, own.Wire(), time.Now()); err != nil {
				return nil, published, err
			}
			return route, published, nil
		}
		if !errors.Is(err, message.Stale) && !errors.Is(err, message.Conflict) {
			break
		}
	}
	return nil, published, err
}

// nextRoute signs a route that stands after everything that was seen of one's
// own, by the trackers or here.
func (c *Client) nextRoute(ctx context.Context, r *tracker.Resolver, services []message.Service) (*message.Route, error) {
	var seq uint64
	_, err := r.Fresh(ctx, c.me) // learns what the trackers have
	// A private tracker tells nothing to whom it does not know yet; publishing
	// makes the acquaintance.
	unknown := absent(err) || errors.Is(err, message.NeedBundle) || errors.Is(err, message.Denied)
	if err != nil && !unknown && !errors.Is(err, message.Unavailable) {
		return nil, err
	}
	if i, err := c.known.Identity(ctx, c.me); err == nil && i.Route != nil && i.Route.CardID == c.c.Keyring.Chain.Head().ID {
		seq = i.Route.Pair.Route
	}
	now := time.Now()
	return message.SignRoute(message.Route{
		Pair: message.Pair{Route: seq + 1}, Time: now, Expires: now.Add(routeLife), Services: services,
	}, c.c.Keyring.Chain, c.c.Keyring.Signer)
}

// announce tells the server where one is published, and which senders' servers it
// is to ask.
func (c *Client) announce(ctx context.Context, p *rpc.Peer, route *message.Route, trackers []message.Reference, ask [][]byte) error {
	own := &message.Identity{Chain: c.c.Keyring.Chain, Route: route}
	req := &wirev1.AnnounceRequest{Identity: own.Wire()}
	for _, t := range trackers {
		req.Trackers = append(req.Trackers, t.String())
	}
	for {
		n := min(len(ask), perCall)
		req.Ask, ask = ask[:n], ask[n:]
		if _, err := p.Mailbox().Announce(ctx, req); err != nil || len(ask) == 0 {
			return err
		}
	}
}

// claim asks a tracker for a name.
func (c *Client) claim(ctx context.Context, r *tracker.Resolver, at message.Reference, name string) (string, error) {
	record, err := r.Claim(ctx, at, name)
	if err != nil {
		return "", fmt.Errorf("client: claim %s: %w", name, err)
	}
	if record.Address != c.me {
		return "", fmt.Errorf("client: claim %s: the tracker gave it to another address: %w", name, message.Invalid)
	}
	full := name + "@" + strings.TrimPrefix(at.URL, "https://")
	a, err := c.home.Account(ctx, c.me)
	if err != nil {
		return full, err
	}
	a.Name = full
	return full, c.home.PutAccount(ctx, a)
}

// Claim asks the first tracker of the account for a name. Errors:
// message.NameTaken, message.Denied, message.Unavailable.
func (c *Client) Claim(ctx context.Context, name string) (string, error) {
	if err := message.CheckUserName(name); err != nil {
		return "", err
	}
	a, err := c.Account(ctx)
	if err != nil {
		return "", err
	}
	return c.claim(ctx, c.lookups(ctx), a.Trackers[0], name)
}

// Unregister publishes a route without servers, so that nobody writes here any
// more, and closes the account; the server erases what it held. What is in the
// home stays.
func (c *Client) Unregister(ctx context.Context) error {
	a, err := c.Account(ctx)
	if err != nil {
		return err
	}
	resolver := tracker.NewResolver(tracker.ResolverConfig{Client: c.net, Trackers: a.Trackers, Known: c.known, Verifier: c.verifier, Log: c.log})
	if _, _, err := c.publish(ctx, resolver, nil); err != nil {
		return fmt.Errorf("client: unregister: %w", err)
	}
	err = c.ask(ctx, func(p *rpc.Peer) error {
		_, err := p.Mailbox().Leave(ctx, &wirev1.LeaveRequest{})
		return err
	})
	// Denied: there is no account any more; an earlier try got so far.
	if err != nil && !errors.Is(err, message.Denied) {
		return fmt.Errorf("client: unregister: %w", err)
	}
	c.setOwn(nil)
	return c.home.RemoveAccount(ctx, c.me)
}

// renew asks for a new ticket and publishes a new route when the ticket is a
// month old.
func (c *Client) renew(ctx context.Context) error {
	a, err := c.Account(ctx)
	if err != nil || time.Since(a.Renewed) < renewAfter {
		return err
	}
	if id, err := c.known.Identity(ctx, a.Server.Address); err == nil && id.Route != nil && len(id.Route.Hosts) > 0 {
		// The server may have moved since one registered.
		a.Server.URL = id.Route.Hosts[0].URL
	}
	was := a.Renewed
	a.Renewed = time.Now().Add(renewTries - renewAfter)
	if err := c.home.PutAccount(ctx, a); err != nil {
		return err
	}
	c.log.InfoContext(ctx, "renewing the account", "since", was)
	_, err = c.Register(ctx, Registration{Server: a.Server, Trackers: a.Trackers})
	return err
}
