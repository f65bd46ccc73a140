package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Person is what is known of an address.
type Person struct {
	Address message.Address
	// Name is name@host where one was asked for.
	Name string
	// Found is what trackers said.
	Found *tracker.Found
}

// ErrNobody says that a text names nobody; with it comes message.NotFound.
var ErrNobody = errors.New("neither an address nor a contact")

// NameChangedError says that a name stands for another address than when it was
// pinned. Nothing switches before a person accepts it.
type NameChangedError struct {
	Name        string
	Pinned, Now message.Address
}

// Error names both addresses.
func (e *NameChangedError) Error() string {
	return fmt.Sprintf("client: %s stood for %s and now stands for %s", e.Name, e.Pinned, e.Now)
}

// Unwrap is message.Conflict.
func (e *NameChangedError) Unwrap() error { return message.Conflict }

// Lookup finds what is known of an address, a name@host, an address@@host, a
// link or a contact, past all caches. Errors: message.Invalid, message.NotFound,
// message.Unavailable, *NameChangedError.
func (c *Client) Lookup(ctx context.Context, text string) (*Person, error) {
	t, err := c.Target(ctx, text)
	if err != nil {
		return nil, err
	}
	p := &Person{Address: t.Address}
	if t.UserName != "" {
		p.Name = t.UserName + "@" + t.Host
		if p.Address, err = c.name(ctx, t); err != nil {
			return nil, err
		}
	}
	r := c.lookups(ctx)
	direct := t.UserName == "" && t.Host != ""
	if direct {
		r = tracker.NewResolver(tracker.ResolverConfig{
			Client: c.net, Nobody: c.anon, Trackers: []message.Reference{c.reference(ctx, t.Host)}, Known: c.known, Verifier: c.verifier, Log: c.log,
		})
	}
	err = c.acquainted(ctx, r, func() (err error) { p.Found, err = r.Fresh(ctx, p.Address); return err })
	if err != nil {
		return nil, err
	}
	if direct && !p.Found.Confirmed {
		// What one knew before is no answer to what that host says.
		return nil, fmt.Errorf("client: look up %s at %s: it does not answer for this address: %w", p.Address, t.Host, message.Unavailable)
	}
	return p, nil
}

// reference is how a host is reached: as the tracker that one uses there, whose
// key is pinned, and otherwise as one that shows a certificate which others vouch for.
func (c *Client) reference(ctx context.Context, host string) message.Reference {
	ref := message.Reference{URL: "https://" + host}
	c.mu.Lock()
	refs := slices.Clone(c.c.Trackers)
	c.mu.Unlock()
	if a, err := c.Account(ctx); err == nil {
		refs = append(refs, a.Trackers...)
	}
	if n := slices.IndexFunc(refs, func(r message.Reference) bool { return r.URL == ref.URL }); n >= 0 {
		return refs[n]
	}
	return ref
}

// Target reads what a person wrote where an address or a message is meant. A
// contact's name is replaced by its address; trackers of a link will be asked
// from now on. Errors: message.Invalid, message.NotFound for what would be a
// contact, with ErrNobody.
func (c *Client) Target(ctx context.Context, text string) (message.Target, error) {
	text = strings.TrimSpace(text)
	who, which, isMessage := cutMessage(text)
	if CheckContactName(who) == nil {
		contact, err := c.home.Contact(ctx, who)
		if errors.Is(err, message.NotFound) {
			return message.Target{}, fmt.Errorf("client: %q is %w: %w", who, ErrNobody, message.NotFound)
		}
		if err != nil {
			return message.Target{}, err
		}
		text = contact.Address.String()
		if isMessage {
			text += "::" + which
		}
	}
	t, err := message.ParseTarget(text)
	if err == nil && len(t.Trackers) != 0 {
		c.mu.Lock()
		c.c.Trackers = append(c.c.Trackers, t.Trackers...)
		c.resolver = nil
		c.mu.Unlock()
	}
	return t, err
}

// cutMessage cuts who::which, but not inside an IPv6 host.
func cutMessage(text string) (who, which string, ok bool) {
	i := strings.LastIndex(text, "::")
	if i < 0 || strings.Contains(text[i:], "]") {
		return text, "", false
	}
	return text[:i], text[i+2:], true
}

// Resolve finds the address that a person wrote: an address, a contact, a name
// or a link. A name is asked of its tracker, and pinned the first time; where
// the tracker cannot be reached, the pin counts.
func (c *Client) Resolve(ctx context.Context, text string) (message.Address, error) {
	t, err := c.Target(ctx, text)
	if err != nil {
		return message.Address{}, err
	}
	if t.UserName != "" {
		return c.name(ctx, t)
	}
	return t.Address, nil
}

// name resolves name@host.
func (c *Client) name(ctx context.Context, t message.Target) (message.Address, error) {
	name := t.UserName + "@" + t.Host
	pin, pinErr := c.home.Pin(ctx, name)
	record, _, err := c.lookups(ctx).Name(ctx, t.UserName, t.Host)
	switch {
	case err == nil:
		if pin, err = c.home.Resolve(ctx, name, record.Address, time.Now()); err != nil {
			return message.Address{}, err
		}
	case pinErr == nil && (errors.Is(err, message.Unavailable) || errors.Is(err, message.NotFound)):
		c.log.WarnContext(ctx, "the name's tracker cannot be asked; the pinned address is used", "name", name, "error", err)
	default:
		return message.Address{}, err
	}
	if !pin.Offered.IsZero() {
		return message.Address{}, &NameChangedError{Name: name, Pinned: pin.Address, Now: pin.Offered}
	}
	return pin.Address, nil
}

// readers are the chains to seal to: confirmed by a tracker just now, and not
// disputed. Errors: message.Disagreement, message.Unavailable where nobody
// confirms, message.NotFound, message.Invalid for what is no person.
func (c *Client) readers(ctx context.Context, to []message.Address) ([]*message.Chain, error) {
	chains := make([]*message.Chain, len(to))
	errs := make([]error, len(to))
	var asking sync.WaitGroup
	for n, a := range to {
		asking.Go(func() { chains[n], errs[n] = c.reader(ctx, a) })
	}
	asking.Wait()
	return chains, errors.Join(errs...)
}

func (c *Client) reader(ctx context.Context, a message.Address) (*message.Chain, error) {
	if a == c.me {
		return c.c.Keyring.Chain, nil
	}
	found, err := c.confirmed(ctx, a)
	if err != nil {
		return nil, err
	}
	return found.Subject.Chain, nil
}

// confirmed is what a tracker stands behind just now, about a person who is at some server.
func (c *Client) confirmed(ctx context.Context, a message.Address) (*tracker.Found, error) {
	found, err := c.lookups(ctx).Fresh(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("client: look up %s: %w", a, err)
	}
	chain := found.Subject.Chain
	if found.Disagreement {
		accepted, err := c.home.Accepted(ctx, a)
		if err != nil || accepted != chain.Head().ID {
			return nil, fmt.Errorf("client: %s: %w", a, message.Disagreement)
		}
	}
	switch {
	case !found.Confirmed:
		return nil, fmt.Errorf("client: %s: no tracker confirms its cards now: %w", a, message.Unavailable)
	case chain.Head().Role != message.RoleUser:
		return nil, fmt.Errorf("client: %s is the address of a %s, not of a person: %w", a, chain.Head().Role, message.Invalid)
	case chain.Head().Closed:
		return nil, fmt.Errorf("client: %s: the identity is closed: %w", a, message.Denied)
	case found.Subject.Route == nil || len(found.Subject.Route.Servers(message.PurposeInbox)) == 0:
		return nil, fmt.Errorf("client: %s is at no mail server now: %w", a, message.NotFound)
	}
	return found, nil
}

// acquainted looks up, and does so again after showing one's cards where a
// private tracker, which may have listed the address, does not know them yet.
func (c *Client) acquainted(ctx context.Context, r *tracker.Resolver, look func() error) error {
	err := look()
	if !errors.Is(err, message.NeedBundle) || c.me.IsZero() {
		return err
	}
	own := &message.Identity{Chain: c.c.Keyring.Chain}
	if _, shownErr := r.Publish(ctx, &wirev1.Publication{Subject: own.Wire()}); shownErr != nil {
		return err // not listed: what the tracker wants to know first stays the answer
	}
	return look()
}

// origins are the servers that hand out what an address published.
func (c *Client) origins(ctx context.Context, a message.Address) ([]*rpc.Peer, error) {
	var found *tracker.Found
	r := c.lookups(ctx)
	err := c.acquainted(ctx, r, func() (err error) { found, err = r.Lookup(ctx, a); return err })
	if err != nil {
		return nil, fmt.Errorf("client: look up %s: %w", a, err)
	}
	if found.Subject.Route == nil {
		return nil, fmt.Errorf("client: %s is at no mail server: %w", a, message.NotFound)
	}
	var peers []*rpc.Peer
	for _, server := range found.Subject.Route.Servers(message.PurposeOutbox) {
		if i := found.Servers[server]; i != nil {
			if p, err := c.anon.Peer(i); err == nil {
				peers = append(peers, p)
			}
		}
	}
	if len(peers) == 0 {
		return nil, fmt.Errorf("client: %s: no mail server of its route is known: %w", a, message.NotFound)
	}
	return peers, nil
}

// eachOrigin asks the servers of an address one after the other until one
// answers. What a server says it does not have ends the search only when all
// said so.
func (c *Client) eachOrigin(ctx context.Context, a message.Address, call func(p *rpc.Peer) error) error {
	peers, err := c.origins(ctx, a)
	if err != nil {
		return err
	}
	for _, p := range peers {
		if err = call(p); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}
