package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Known is the memory of identities that never goes back: what was verified
// once is kept with the highest pair ever seen, and a lower one is refused.
// Trackers, mail servers and clients all remember in this way. Safe for
// concurrent use.
type Known struct {
	ids      Identities
	verifier crypto.Verifier

	// mu guards cache; never held across a call of ids.
	mu    sync.Mutex
	cache map[message.Address]knownEntry
}

// knownEntry is a verified identity, the highest pair ever seen on its branch
// (also when the route that had it is void), and the revision of its record.
type knownEntry struct {
	identity *message.Identity
	highest  message.Pair
	revision uint64
}

// maxKnown bounds the cache; beyond it, entries make room in no order.
const maxKnown = 10_000

// learnTries is how often a lost race for a record is run again. Each loss
// means that somebody else brought the record forward.
const learnTries = 100

// NewKnown remembers in ids.
func NewKnown(ids Identities, v crypto.Verifier) *Known {
	return &Known{ids: ids, verifier: v, cache: make(map[message.Address]knownEntry)}
}

// Identity is what is known of a. Errors: message.NotFound.
func (k *Known) Identity(ctx context.Context, a message.Address) (*message.Identity, error) {
	e, err := k.load(ctx, a)
	return e.identity, err
}

// Chain is the chain known of a: the form that rpc asks for.
func (k *Known) Chain(ctx context.Context, a message.Address) (*message.Chain, error) {
	i, err := k.Identity(ctx, a)
	if err != nil {
		return nil, err
	}
	return i.Chain, nil
}

// load reads and verifies the record of a, or takes it from the cache.
func (k *Known) load(ctx context.Context, a message.Address) (knownEntry, error) {
	k.mu.Lock()
	e, ok := k.cache[a]
	k.mu.Unlock()
	if ok {
		// Every call asks for its caller here; a record is thousands of bytes.
		if n, err := k.ids.Revision(ctx, a); err != nil {
			return knownEntry{}, err
		} else if n == e.revision {
			return e, nil
		}
	}
	r, err := k.ids.Identity(ctx, a)
	if err != nil {
		return knownEntry{}, err
	}
	// Verified again although it was before: the file may have been changed by
	// somebody else since.
	i, err := message.OpenIdentity(k.verifier, &wirev1.Identity{Cards: r.Cards, Route: r.Route}, nil)
	if err != nil {
		// Not the caller's fault, whatever the code of err says.
		return knownEntry{}, fmt.Errorf("store: record of %s: %v: %w", a.Short(), err, message.Internal)
	}
	if i.Address() != a {
		return knownEntry{}, fmt.Errorf("store: record of %s: of another address: %w", a.Short(), message.Internal)
	}
	i.FirstSeen = r.FirstSeen
	e = knownEntry{i, r.Pair, r.Revision}
	k.remember(e)
	return e, nil
}

// remember puts e into the cache.
func (k *Known) remember(e knownEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cache) >= maxKnown {
		for a := range k.cache {
			delete(k.cache, a)
			break
		}
	}
	k.cache[e.identity.Address()] = e
}

// Learn verifies a bundle about some address, merges it into what is known and
// returns what is known then. The bundle's cards may be those after the ones
// that are known. First-seen times in the bundle are taken for cards that are
// new here and only if they lie before now: pass a bundle that came from
// anybody but a tracker without them. For cards of another branch than the one
// held they are not taken: a branch is left by one's own clock, never because
// somebody says that the other is old.
//
// Errors: message.Stale (an older state, a losing branch, or a route below the
// highest pair), message.Conflict (another route under the same pair; both are
// kept as evidence), message.Clock (a card or route from the future),
// message.NeedBundle, and those of message.OpenIdentity. With Stale and
// Conflict what is known then is returned beside the error: the cards of a
// bundle are learned even if its route is refused. A bundle that is known
// already is no error.
func (k *Known) Learn(ctx context.Context, w *wirev1.Identity, now time.Time) (*message.Identity, error) {
	o, err := k.Open(ctx, w)
	if err != nil {
		return nil, err
	}
	return k.Keep(ctx, o, now)
}

// Offer is a bundle that Open verified, and nothing has been kept of yet: for
// those who have to look at it before they let it in. Only Open makes one, so
// that Keep need not verify it again.
type Offer struct {
	bundle   *wirev1.Identity
	held     knownEntry
	identity *message.Identity
}

// Identity is what the bundle says, together with the cards that are known.
func (o *Offer) Identity() *message.Identity { return o.identity }

// Held is what was known when the bundle was opened, nil for nothing.
func (o *Offer) Held() *message.Identity { return o.held.identity }

// Known reports whether all of the bundle was known when it was opened.
func (o *Offer) Known() bool { return o.identity == o.held.identity }

// Open is the first half of Learn: it verifies a bundle and keeps nothing. What
// is known already, byte for byte, is not verified again. Errors: those of
// message.OpenIdentity.
func (k *Known) Open(ctx context.Context, w *wirev1.Identity) (*Offer, error) {
	a, err := message.IdentityAddress(w)
	if err != nil {
		return nil, err
	}
	o := &Offer{bundle: w}
	o.held, err = k.load(ctx, a)
	if err != nil && !errors.Is(err, message.NotFound) {
		return nil, err
	}
	var chain *message.Chain
	if o.held.identity != nil {
		if o.identity = o.held.identity; same(o.identity, w) {
			return o, nil
		}
		chain = o.identity.Chain
	}
	if o.identity, err = message.OpenIdentity(k.verifier, w, chain); err != nil {
		return nil, err
	}
	return o, nil
}

// same reports whether w brings nothing beyond what is held: the cards that w
// ends with are the newest, and its route is the route. Held statements were
// verified, so equal bytes, key and signature among them, need no second look.
func same(held *message.Identity, w *wirev1.Identity) bool {
	cards := w.GetCards()
	if len(w.GetFirstSeen()) != 0 || len(cards) > held.Chain.Len() || (held.Route == nil) != (w.GetRoute() == nil) {
		return false
	}
	if held.Route != nil && !equal(held.Route.Signed, w.GetRoute()) {
		return false
	}
	return slices.EqualFunc(held.Chain.Signed(held.Chain.Len()-len(cards)), cards, equal)
}

// equal reports whether two statements are the same bytes.
func equal(a, b *wirev1.Signed) bool {
	return bytes.Equal(a.GetBody(), b.GetBody()) && bytes.Equal(a.GetKey(), b.GetKey()) && bytes.Equal(a.GetSignature(), b.GetSignature())
}

// Keep is the second half of Learn: it merges what was opened into what is
// known. If that has changed since, the bundle is opened anew. Errors: those of
// Learn.
func (k *Known) Keep(ctx context.Context, o *Offer, now time.Time) (*message.Identity, error) {
	for range learnTries {
		i, err := k.keepOnce(ctx, o, now)
		if !errors.Is(err, errRace) {
			return i, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if o, err = k.Open(ctx, o.bundle); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("store: learn: %w", message.Unavailable)
}

// errRace says that somebody else put a record meanwhile.
var errRace = errors.New("record changed meanwhile")

func (k *Known) keepOnce(ctx context.Context, o *Offer, now time.Time) (*message.Identity, error) {
	held := o.held
	if err := o.identity.NotAhead(now); err != nil {
		return nil, err
	}
	if o.Known() {
		return held.identity, nil
	}
	offered := &message.Identity{Chain: o.identity.Chain, Route: o.identity.Route, FirstSeen: o.identity.FirstSeen}
	offered.FirstSeen = sightings(held.identity, offered, now)
	next, refused := k.merge(held, offered)
	if errors.Is(refused, message.Conflict) {
		if err := k.ids.AddEvidence(ctx, offered.Address(), "route", held.identity.Route.Signed, offered.Route.Signed); err != nil {
			return held.identity, err
		}
	}
	if next.identity == held.identity {
		return held.identity, refused
	}
	err := k.ids.PutIdentity(ctx, record(next, now))
	if errors.Is(err, message.Conflict) {
		return nil, errRace
	}
	if err != nil {
		return nil, err
	}
	next.revision++
	k.remember(next)
	return next.identity, refused
}

// sightings are the times for offered's cards: those already held keep theirs,
// and what is on another branch than the one held is seen now.
func sightings(held, offered *message.Identity, now time.Time) []time.Time {
	out := make([]time.Time, offered.Chain.Len())
	same := true
	for n := range out {
		out[n] = now
		if held != nil {
			mine, ok := held.Chain.At(uint64(n))
			theirs, _ := offered.Chain.At(uint64(n))
			same = same && (!ok || mine.ID == theirs.ID)
			if ok && same && n < len(held.FirstSeen) {
				out[n] = held.FirstSeen[n]
				continue
			}
		}
		if same && n < len(offered.FirstSeen) && offered.FirstSeen[n].Before(now) {
			out[n] = offered.FirstSeen[n]
		}
	}
	return out
}

// merge decides what to hold: held itself where offered brings nothing new. An
// error beside it says why the offered branch or route is not taken.
func (k *Known) merge(held knownEntry, offered *message.Identity) (knownEntry, error) {
	if held.identity == nil {
		return knownEntry{offered, routePair(offered), 0}, nil
	}
	standing, err := message.Compare(held.identity.Sighting(), offered.Sighting())
	if err != nil {
		return held, err
	}
	next := held
	switch standing {
	case message.Wins:
		// Routes of the losing branch are void, and so is their order.
		return knownEntry{offered, routePair(offered), held.revision}, nil
	case message.Loses, message.Older:
		return held, fmt.Errorf("store: learn %s: %w", offered.Address().Short(), message.Stale)
	case message.Newer:
		next.identity = &message.Identity{Chain: offered.Chain, Route: k.stillGood(offered.Chain, held.identity.Route), FirstSeen: offered.FirstSeen}
	}
	if offered.Route == nil {
		return next, nil
	}
	order := offered.Route.Pair.Compare(held.highest)
	var last message.ID
	if held.identity.Route != nil {
		last = held.identity.Route.ID
	}
	switch {
	case order == 0 && offered.Route.ID == last:
		return next, nil
	case order < 0, order == 0 && last.IsZero() && held.highest != message.Pair{}:
		// Of a void route nothing is left but its number, which stays used.
		return next, fmt.Errorf("store: learn %s: route: %w", offered.Address().Short(), message.Stale)
	case order == 0 && !last.IsZero():
		return next, fmt.Errorf("store: learn %s: route: %w", offered.Address().Short(), message.Conflict)
	}
	next.identity = &message.Identity{Chain: offered.Chain, Route: offered.Route, FirstSeen: offered.FirstSeen}
	next.highest = offered.Route.Pair
	return next, nil
}

// routePair is the pair of an identity's route, zero without one.
func routePair(i *message.Identity) message.Pair {
	if i.Route == nil {
		return message.Pair{}
	}
	return i.Route.Pair
}

// stillGood is the held route, if a newer card has not removed the device that
// signed it.
func (k *Known) stillGood(chain *message.Chain, held *message.Route) *message.Route {
	if held == nil {
		return nil
	}
	route, err := message.OpenRoute(k.verifier, chain, held.Signed)
	if err != nil {
		return nil
	}
	return route
}

// record is what the store keeps of e.
func record(e knownEntry, now time.Time) *IdentityRecord {
	i := e.identity
	r := &IdentityRecord{
		Address: i.Address(), Cards: i.Chain.Signed(0), FirstSeen: i.FirstSeen, Pair: e.highest, Updated: now, Revision: e.revision,
	}
	if i.Route != nil {
		r.Route, r.RouteID, r.Expires = i.Route.Signed, i.Route.ID, i.Route.Expires
	}
	return r
}
