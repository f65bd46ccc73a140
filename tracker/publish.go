package tracker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Bounds of a publish call.
const (
	// maxPublications is the most in one call.
	maxPublications = 64
	// maxBundle bounds the statements of one identity, so that an answer with
	// a subject and all its servers fits message.MaxAnswer.
	maxBundle = 512 << 10
	// publishers is how many publications of one call are worked on at once:
	// enough that their commits share one fsync.
	publishers = 32
)

// Publish offers cards and routes to be kept. Every publication has a result
// of its own: a receipt, or a refusal. The publications about one address are
// taken in their order.
func (s *Server) Publish(ctx context.Context, r *wirev1.PublishRequest) (*wirev1.PublishResponse, error) {
	n := len(r.GetPublications())
	if n < 1 || n > maxPublications {
		return nil, fmt.Errorf("tracker: publish: %d publications, 1 to %d: %w", n, maxPublications, message.Invalid)
	}
	if !s.limiters.publishFrom(rpc.Remote(ctx, s.c.Proxied), n) {
		return nil, fmt.Errorf("tracker: publish: from one network: %w", message.RateLimited)
	}
	now := time.Now()
	results := make([]*wirev1.PublishResult, n)
	servers := newLearned(s)
	var workers sync.WaitGroup
	slots := make(chan struct{}, publishers)
	for about, lane := range lanes(r.GetPublications()) {
		slots <- struct{}{}
		workers.Go(func() {
			defer func() { <-slots }()
			for _, at := range lane {
				signed, err := s.publish(ctx, about, r.GetPublications()[at], servers, now)
				if err != nil {
					s.counts.refused.Add(1)
					s.log.DebugContext(ctx, "publication refused", "error", err)
				} else {
					s.counts.published.Add(1)
				}
				results[at] = &wirev1.PublishResult{Receipt: signed, Refusal: message.Refusal(err, now)}
			}
		})
	}
	workers.Wait()
	return &wirev1.PublishResponse{Results: results}, nil
}

// lanes are the indexes of publications by the address that they are about;
// those that do not say stand under the zero one.
func lanes(ps []*wirev1.Publication) map[message.Address][]int {
	out := make(map[message.Address][]int)
	for at, p := range ps {
		a, err := message.IdentityAddress(p.GetSubject())
		if err != nil {
			a = message.Address{}
		}
		out[a] = append(out[a], at)
	}
	return out
}

// publish takes in one publication about a and returns its receipt. Nothing is kept
// before the subject is verified and served here; of the servers that came
// along, only those that its route names are looked at.
func (s *Server) publish(ctx context.Context, a message.Address, p *wirev1.Publication, servers *learned, now time.Time) (*wirev1.Signed, error) {
	if a.IsZero() {
		_, err := message.IdentityAddress(p.GetSubject())
		return nil, cmp.Or(err, error(message.Invalid))
	}
	if a == s.address {
		return nil, fmt.Errorf("tracker: publish: the tracker itself: %w", message.Denied)
	}
	if !s.limiters.publishOf(a) {
		return nil, fmt.Errorf("tracker: publish %s: %w", a.Short(), message.RateLimited)
	}
	if len(p.GetServers()) > message.MaxServices {
		return nil, fmt.Errorf("tracker: publish %s: %d servers: %w", a.Short(), len(p.GetServers()), message.Invalid)
	}
	// First-seen times are a tracker's own; a publisher has no say in them.
	w := &wirev1.Identity{Cards: p.GetSubject().GetCards(), Route: p.GetSubject().GetRoute()}
	o, err := s.open(ctx, a, w)
	if err != nil {
		return nil, err
	}
	if err := timely(o.Identity(), now); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, o.Identity()); err != nil {
		return nil, err
	}
	if err := s.tickets(ctx, o.Identity(), p.GetServers(), servers, now); err != nil {
		return nil, err
	}
	if err := s.newcomer(o); err != nil {
		return nil, err
	}
	return s.keep(ctx, o, now)
}

// newcomer refuses, with message.Denied, a user of whom nothing is held and who
// has no mail server: identities cost nothing, but a ticket is somebody's word.
// A server may bring new users only so fast. Whoever is held may leave and
// publish an empty route.
func (s *Server) newcomer(o *store.Offer) error {
	i := o.Identity()
	if o.Held() != nil || i.Chain.Head().Role != message.RoleUser {
		return nil
	}
	if i.Route == nil || len(i.Route.Services) == 0 {
		if s.c.Private {
			// Admitted, and by no server: the operator has listed the address itself.
			return nil
		}
		return fmt.Errorf("tracker: publish %s: no mail server has a ticket for it: %w", i.Address().Short(), message.Denied)
	}
	for _, service := range i.Route.Services {
		if !s.limiters.newAt(service.Server) {
			return fmt.Errorf("tracker: publish %s: new users of %s: %w", i.Address().Short(), service.Server.Short(), message.RateLimited)
		}
	}
	return nil
}

// keep makes an offer durable and promises so.
func (s *Server) keep(ctx context.Context, o *store.Offer, now time.Time) (*wirev1.Signed, error) {
	var place store.Place
	var placed, err error
	var placing sync.WaitGroup
	// At once with the change, so that both share one sync. A place that is
	// taken for a refusal is a gap, which the log may have.
	placing.Go(func() { place, placed = s.c.Store.Log.Advance(ctx) })
	if !o.Known() {
		_, err = s.known.Keep(ctx, o, now)
		// Also after a refusal: a new card is kept even if its route is not.
		s.changed(o.Identity().Address())
	}
	placing.Wait()
	if err = errors.Join(err, placed); err != nil {
		return nil, err
	}
	id := o.Identity().Chain.Head().ID
	if route := o.Identity().Route; route != nil {
		id = route.ID
	}
	return s.receipt(id, place, now)
}

// open verifies a bundle about a.
func (s *Server) open(ctx context.Context, a message.Address, w *wirev1.Identity) (*store.Offer, error) {
	if size(w) > maxBundle {
		return nil, fmt.Errorf("tracker: publish %s: bundle: %w", a.Short(), message.TooLarge)
	}
	o, err := s.known.Open(ctx, w)
	if err != nil {
		return nil, err
	}
	if size(o.Identity().Wire()) > maxBundle {
		return nil, fmt.Errorf("tracker: publish %s: chain: %w", a.Short(), message.TooLarge)
	}
	return o, nil
}

// changed drops what was made of the former state of a.
func (s *Server) changed(a message.Address) {
	s.answers.drop(addressMark(a))
	s.callers.Forget(a)
}

// timely refuses statements from the future, and a route that is over.
func timely(i *message.Identity, now time.Time) error {
	for n := range i.Chain.Len() {
		card, _ := i.Chain.At(uint64(n))
		if err := message.NotAhead(card.Time, now); err != nil {
			return err
		}
	}
	if i.Route == nil {
		return nil
	}
	if i.Route.Expired(now) {
		return fmt.Errorf("tracker: publish %s: route: %w", i.Address().Short(), message.Expired)
	}
	for _, service := range i.Route.Services {
		if err := message.NotAhead(service.Ticket.Time, now); err != nil {
			return err
		}
	}
	return message.NotAhead(i.Route.Time, now)
}

// tickets checks that every server in the route of i hosts i, after it has
// taken in those servers that came along.
func (s *Server) tickets(ctx context.Context, i *message.Identity, came []*wirev1.Identity, l *learned, now time.Time) error {
	if i.Route == nil || len(i.Route.Services) == 0 {
		return nil
	}
	servers := make(map[message.Address]*message.Identity)
	for _, service := range i.Route.Services {
		if err := s.admitServer(ctx, i, service.Server, l); err != nil {
			return err
		}
		server, err := l.learn(ctx, service.Server, came, now)
		if err != nil {
			return err
		}
		servers[service.Server] = server
	}
	return i.VerifyTickets(s.c.Verifier, servers, now)
}

// admitServer refuses, with message.Denied, a server that the operator refused
// and, at a private tracker, one that is not on the list, unless the user is.
func (s *Server) admitServer(ctx context.Context, user *message.Identity, server message.Address, l *learned) error {
	listing, err := l.listing(ctx, server)
	if err != nil {
		return err
	}
	if s.c.Private && listing == store.Unlisted {
		// A user on the list may live anywhere; others only on listed servers.
		listing, err = s.c.Store.Listings.Listing(ctx, user.Address())
		if err != nil {
			return err
		}
	} else if listing == store.Unlisted {
		listing = store.Allowed
	}
	if listing != store.Allowed {
		return fmt.Errorf("tracker: server %s is not served here: %w", server.Short(), message.Denied)
	}
	return nil
}

// equal reports whether two statements are the same bytes.
func equal(a, b *wirev1.Signed) bool {
	return bytes.Equal(a.GetBody(), b.GetBody()) && bytes.Equal(a.GetKey(), b.GetKey()) && bytes.Equal(a.GetSignature(), b.GetSignature())
}

// size is the number of bytes of an identity's statements.
func size(w *wirev1.Identity) int {
	n := len(w.GetRoute().GetBody())
	for _, c := range w.GetCards() {
		n += len(c.GetBody())
	}
	return n
}

// learned takes in the servers that come with publications: the same few come
// with all of them, and are verified, and looked up in the store, once in a call.
type learned struct {
	s *Server
	// mu guards done.
	mu   sync.Mutex
	done map[message.Address]*serverOnce
}

// serverOnce is one server and what became of its bundle.
type serverOnce struct {
	// mu is held while the bundle is worked on, and guards the rest.
	mu    sync.Mutex
	tried []*wirev1.Identity
	// identity is what was known of it after the last bundle, nil before.
	identity *message.Identity
	// listing holds where listed.
	listing store.Listing
	listed  bool
}

func newLearned(s *Server) *learned {
	return &learned{s: s, done: make(map[message.Address]*serverOnce)}
}

// once is what this call knows of a server, locked.
func (l *learned) once(a message.Address) *serverOnce {
	l.mu.Lock()
	o, ok := l.done[a]
	if !ok {
		o = &serverOnce{}
		l.done[a] = o
	}
	l.mu.Unlock()
	o.mu.Lock()
	return o
}

// listing is how the operator lists a server.
func (l *learned) listing(ctx context.Context, a message.Address) (store.Listing, error) {
	o := l.once(a)
	defer o.mu.Unlock()
	if o.listed {
		return o.listing, nil
	}
	var err error
	o.listing, err = l.s.c.Store.Listings.Listing(ctx, a)
	o.listed = err == nil
	return o.listing, err
}

// learn takes in what came about server a, and returns what is known of it
// then. That the tracker holds a newer state of the server is no fault of the
// publisher. Errors: message.NeedBundle where nothing is known.
func (l *learned) learn(ctx context.Context, a message.Address, came []*wirev1.Identity, now time.Time) (*message.Identity, error) {
	o := l.once(a)
	defer o.mu.Unlock()
	for _, w := range came {
		if slices.ContainsFunc(o.tried, func(t *wirev1.Identity) bool { return sameBundle(t, w) }) {
			continue
		}
		about, err := message.IdentityAddress(w)
		if err != nil {
			return nil, err
		}
		if about != a {
			continue
		}
		if err := l.s.learnServer(ctx, a, w, now); err != nil {
			return nil, err
		}
		o.tried, o.identity = append(o.tried, w), nil
	}
	if o.identity != nil {
		return o.identity, nil
	}
	i, err := l.s.known.Identity(ctx, a)
	if absent(err) {
		return nil, message.Need(a)
	}
	if err != nil {
		return nil, err
	}
	o.identity = i
	return i, nil
}

// learnServer verifies and keeps a server's bundle.
func (s *Server) learnServer(ctx context.Context, a message.Address, w *wirev1.Identity, now time.Time) error {
	w = &wirev1.Identity{Cards: w.GetCards(), Route: w.GetRoute()}
	o, err := s.open(ctx, a, w)
	if err != nil || o.Known() {
		return err
	}
	i := o.Identity()
	if i.Chain.Head().Role != message.RoleServer {
		return fmt.Errorf("tracker: publish: %s is no server: %w", a.Short(), message.Invalid)
	}
	if i.Route != nil {
		if err := message.NotAhead(i.Route.Time, now); err != nil {
			return err
		}
	}
	_, err = s.known.Keep(ctx, o, now)
	s.changed(a)
	if errors.Is(err, message.Stale) || errors.Is(err, message.Conflict) {
		return nil
	}
	return err
}

// sameBundle reports whether two bundles are the same statements.
func sameBundle(a, b *wirev1.Identity) bool {
	return equal(a.GetRoute(), b.GetRoute()) && slices.EqualFunc(a.GetCards(), b.GetCards(), equal)
}
