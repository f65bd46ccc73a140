package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
)

// Bounds of a Resolver.
const (
	// maxTrackers is how many trackers one Resolver knows at most: accounts
	// announce trackers, and may not make a server ask without end.
	maxTrackers = 64
	// maxAsked is how many trackers one look-up asks at most.
	maxAsked = 16
	// maxFound bounds each of the caches.
	maxFound = 10_000
	// askTimeout is how long one tracker may take for one question.
	askTimeout = 10 * time.Second
	// patience is how much longer the second tracker may take once the first
	// has found something.
	patience = 1500 * time.Millisecond
	// faultFresh is how long a failure is remembered: long enough that a burst
	// of look-ups does not become a burst of dials.
	faultFresh = 2 * time.Second
	// leastFresh is how long an answer is used again however old its tracker's
	// clock makes it look.
	leastFresh = 10 * time.Second
)

// ResolverConfig is what a Resolver is made of. Client, Known and Verifier are
// required.
type ResolverConfig struct {
	Client *rpc.Client
	// Nobody asks trackers first where it is not nil, and Client only those that
	// answer to whom they know: who asks about whom is who writes to whom.
	Nobody   *rpc.Client
	Trackers []message.Reference
	// Known remembers the highest state ever seen of every address.
	Known    *store.Known
	Verifier crypto.Verifier
	// Via is the asker's own mail server, asked first, so that trackers do not
	// learn who asks; nil to ask trackers directly.
	Via *rpc.Peer
	// Log may be nil.
	Log *slog.Logger
}

// Resolver asks trackers and believes what proves itself. Safe for concurrent
// use.
type Resolver struct {
	c   ResolverConfig
	log *slog.Logger

	// mu guards trackers; never held across a call.
	mu       sync.Mutex
	trackers []*remote

	asked   *otter.Cache[message.Query, *askedEntry]
	found   *otter.Cache[message.Address, *foundEntry]
	asking  flights[message.Query, *askedEntry]
	finding flights[finding, *foundEntry]
}

// Found is what is known of an address after trackers were asked.
type Found struct {
	Subject *message.Identity
	// Servers are those in the subject's route whose tickets hold.
	Servers map[message.Address]*message.Identity
	// Stale: the route or the ticket of a server has expired; it may still be
	// tried.
	Stale bool
	// Confirmed: a tracker stands behind the newest card, in an answer that was
	// verified. Without it the result comes from memory or from an unknown
	// tracker: good for verifying what the subject signed, not for sealing to it.
	Confirmed bool
	// Disagreement: trackers stand on different branches of the subject's chain.
	// Nothing is to be sealed to it before a person has accepted one.
	Disagreement bool
	// At is when the trackers were asked.
	At time.Time
}

// foundEntry is a cached result of a look-up.
type foundEntry struct {
	found *Found
	err   error
	until time.Time
}

// finding names a look-up in flight.
type finding struct {
	address message.Address
	fresh   bool
}

// NewResolver makes a Resolver; it asks nobody yet.
func NewResolver(c ResolverConfig) *Resolver {
	r := &Resolver{
		c: c, log: c.Log,
		asked: bounded[message.Query, *askedEntry](maxFound),
		found: bounded[message.Address, *foundEntry](maxFound),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.AddTrackers(c.Trackers...)
	return r
}

// AddTrackers makes more trackers known; those known already, and any beyond
// 64, are passed over. The order is the order of asking.
func (r *Resolver) AddTrackers(refs ...message.Reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range refs {
		known := slices.ContainsFunc(r.trackers, func(t *remote) bool { return t.ref == ref })
		if !known && len(r.trackers) < maxTrackers {
			r.trackers = append(r.trackers, &remote{ref: ref})
		}
	}
}

// Trackers are the trackers that are asked.
func (r *Resolver) Trackers() []message.Reference {
	var out []message.Reference
	for _, t := range r.remotes() {
		out = append(out, t.ref)
	}
	return out
}

// remotes is a copy of the list of trackers.
func (r *Resolver) remotes() []*remote {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.trackers)
}

// Lookup finds an address: from its cache for up to a minute, else from its
// own server, else from two trackers. What the trackers cannot be asked about,
// or deny, but is remembered from before, is returned without Confirmed.
// Errors: message.NotFound, message.Unavailable.
func (r *Resolver) Lookup(ctx context.Context, a message.Address) (*Found, error) {
	if e, ok := r.found.GetIfPresent(a); ok && time.Now().Before(e.until) {
		return e.found, e.err
	}
	return r.find(ctx, finding{address: a})
}

// Fresh is Lookup past all caches, the own server's included.
func (r *Resolver) Fresh(ctx context.Context, a message.Address) (*Found, error) {
	return r.find(ctx, finding{address: a, fresh: true})
}

// find runs one look-up for all who want it now.
func (r *Resolver) find(ctx context.Context, f finding) (*Found, error) {
	e, err := r.finding.do(ctx, f, func(ctx context.Context) (*foundEntry, error) {
		e, err := r.findOnce(ctx, f)
		if err != nil {
			return nil, err
		}
		r.found.Set(f.address, e)
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	return e.found, e.err
}

// findOnce asks and judges. The error is nil for results that may be cached.
func (r *Resolver) findOnce(ctx context.Context, f finding) (*foundEntry, error) {
	asked, err := r.ask(ctx, message.Query{Address: f.address}, f.fresh)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("tracker: look-up %s: %w", f.address.Short(), errors.Join(ctx.Err(), message.Unavailable))
	}
	now := time.Now()
	if err != nil {
		asked = &askedEntry{until: now.Add(faultFresh)}
	}
	found, judged := r.judge(ctx, f.address, asked, now)
	switch {
	case judged == nil:
		return &foundEntry{found: found, until: asked.until}, nil
	case absent(judged) && err != nil:
		return nil, err
	case absent(judged):
		return &foundEntry{err: judged, until: asked.until}, nil
	}
	return nil, judged
}

// Server is the identity of a mail server, with a route. Errors:
// message.NotFound for what is no server, message.Unavailable.
func (r *Resolver) Server(ctx context.Context, a message.Address) (*message.Identity, error) {
	f, err := r.Lookup(ctx, a)
	if err != nil {
		return nil, err
	}
	if f.Subject.Chain.Head().Role != message.RoleServer || f.Subject.Route == nil {
		return nil, fmt.Errorf("tracker: %s is no mail server with a route: %w", a.Short(), message.NotFound)
	}
	return f.Subject, nil
}

// judge makes one result of all answers. Errors: message.NotFound.
func (r *Resolver) judge(ctx context.Context, a message.Address, asked *askedEntry, now time.Time) (*Found, error) {
	f, standing, err := r.settle(ctx, a, asked, now)
	if err != nil {
		return nil, err
	}
	r.servers(ctx, f, standing, now)
	return f, nil
}

// settle learns every subject, which throws out what is lower than what was
// seen; what is held then is the result. It also returns the answers that count.
func (r *Resolver) settle(ctx context.Context, a message.Address, asked *askedEntry, now time.Time) (*Found, []*message.Answer, error) {
	before, err := r.c.Known.Identity(ctx, a)
	if err != nil && !absent(err) {
		return nil, nil, fmt.Errorf("tracker: look-up %s: %w", a.Short(), err)
	}
	var standing []*message.Answer
	for _, answer := range asked.answers {
		if answer.Found && r.learn(ctx, answer.Tracker, answer.Subject, now) {
			standing = append(standing, answer)
		}
	}
	for _, i := range asked.loose {
		r.learn(ctx, message.Address{}, i, now)
	}
	subject, err := r.c.Known.Identity(ctx, a)
	if err != nil {
		return nil, nil, fmt.Errorf("tracker: look-up %s: %w", a.Short(), err)
	}
	f := &Found{Subject: subject, At: now}
	for n, answer := range standing {
		f.Confirmed = f.Confirmed || answer.Subject.Chain.Head().ID == subject.Chain.Head().ID
		for _, other := range standing[:n] {
			f.Disagreement = f.Disagreement || disagree(before, answer.Subject, other.Subject)
		}
	}
	if f.Disagreement {
		r.log.WarnContext(ctx, "trackers disagree", "address", a.Short())
	}
	return f, standing, nil
}

// disagree reports whether two trackers stand on two branches, or on one by
// whose first-seen times the branch that was held before falls for one of them
// and stands for the other.
func disagree(held, a, b *message.Identity) bool {
	one, two := a.Sighting(), b.Sighting()
	if message.Disagree(one, two) {
		return true
	}
	if held == nil || !message.Disagree(held.Sighting(), one) || !message.Disagree(held.Sighting(), two) {
		return false
	}
	return message.DisagreeOn(held.Sighting(), one, two)
}

// learn remembers an identity. It reports false for one that is not to be
// taken into account; a state that is behind still says which branch its
// tracker stands on.
func (r *Resolver) learn(ctx context.Context, tracker message.Address, i *message.Identity, now time.Time) bool {
	w := i.Wire()
	if tracker.IsZero() {
		w.FirstSeen = nil
	}
	_, err := r.c.Known.Learn(ctx, w, now)
	switch {
	case err == nil:
		return true
	case errors.Is(err, message.Stale), errors.Is(err, message.Conflict):
		r.log.WarnContext(ctx, "answer discarded", "address", i.Address().Short(), "tracker", short(tracker), "error", err)
		return true
	}
	r.log.WarnContext(ctx, "answer not taken", "address", i.Address().Short(), "tracker", short(tracker), "error", err)
	return false
}

// short is an address in a log; that of nobody in particular is "own server".
func short(a message.Address) string {
	if a.IsZero() {
		return "own server"
	}
	return a.Short()
}

// servers fills in the servers of the subject's route whose tickets hold. An
// expired ticket makes the result stale; any other fault removes the server.
func (r *Resolver) servers(ctx context.Context, f *Found, answers []*message.Answer, now time.Time) {
	f.Servers = make(map[message.Address]*message.Identity)
	if f.Subject.Route == nil {
		return
	}
	f.Stale = f.Subject.Route.Expired(now)
	for _, service := range f.Subject.Route.Services {
		for _, answer := range answers {
			if i := answer.Servers[service.Server]; i != nil {
				r.learn(ctx, answer.Tracker, i, now)
			}
		}
		server, err := r.hosting(ctx, service.Server, now)
		if err != nil {
			r.log.InfoContext(ctx, "server of a route not found", "server", service.Server.Short(), "error", err)
			continue
		}
		switch err := service.Ticket.Verify(r.c.Verifier, server.Chain, now); {
		case errors.Is(err, message.Expired):
			f.Stale = true
		case err != nil:
			r.log.WarnContext(ctx, "ticket does not hold", "address", f.Subject.Address().Short(), "error", err)
			continue
		}
		f.Servers[service.Server] = server
	}
}

// hosting is what is known of a server in somebody's route; one that came with
// no answer is asked for by itself. It goes no further from there: what calls
// itself a server may have a route of its own that leads back.
func (r *Resolver) hosting(ctx context.Context, a message.Address, now time.Time) (*message.Identity, error) {
	i, err := r.c.Known.Identity(ctx, a)
	if !absent(err) {
		return i, err
	}
	asked, err := r.ask(ctx, message.Query{Address: a}, false)
	if err != nil {
		return nil, err
	}
	f, _, err := r.settle(ctx, a, asked, now)
	if err != nil {
		return nil, err
	}
	return f.Subject, nil
}
