package store

import (
	"context"
	"errors"
	"fmt"
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

// knownEntry is a verified identity and the revision that it was read from.
type knownEntry struct {
	identity *message.Identity
	revision uint64
}

// maxKnown bounds the cache; beyond it, entries make room in no order.
const maxKnown = 10_000

// learnTries is how often a lost race for a record is run again.
const learnTries = 8

// NewKnown remembers in ids.
func NewKnown(ids Identities, v crypto.Verifier) *Known {
	return &Known{ids: ids, verifier: v, cache: make(map[message.Address]knownEntry)}
}

// Identity is what is known of a. Errors: message.NotFound.
func (k *Known) Identity(ctx context.Context, a message.Address) (*message.Identity, error) {
	i, _, err := k.load(ctx, a)
	return i, err
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
func (k *Known) load(ctx context.Context, a message.Address) (*message.Identity, uint64, error) {
	r, err := k.ids.Identity(ctx, a)
	if err != nil {
		return nil, 0, err
	}
	k.mu.Lock()
	e, ok := k.cache[a]
	k.mu.Unlock()
	if ok && e.revision == r.Revision {
		return e.identity, e.revision, nil
	}
	// Verified again although it was before: the file may have been changed by
	// somebody else since.
	i, err := message.OpenIdentity(k.verifier, &wirev1.Identity{Cards: r.Cards, Route: r.Route}, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("store: record of %s: %w", a.Short(), errors.Join(err, message.Internal))
	}
	i.FirstSeen = r.FirstSeen
	k.remember(i, r.Revision)
	return i, r.Revision, nil
}

// remember puts i into the cache.
func (k *Known) remember(i *message.Identity, revision uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cache) >= maxKnown {
		for a := range k.cache {
			delete(k.cache, a)
			break
		}
	}
	k.cache[i.Address()] = knownEntry{i, revision}
}

// Learn verifies a bundle about some address, merges it into what is known and
// returns what is known then. The bundle's cards may be those after the ones
// that are known. First-seen times in the bundle are taken for cards that are
// new here and only if they lie before now: pass a bundle that came from
// anybody but a tracker without them.
//
// Errors: message.Stale (an older state or a losing branch; what is known is
// returned beside it), message.Conflict (another route under the same pair; both
// are kept as evidence), message.NeedBundle, and those of message.OpenIdentity.
// A bundle that is known already is no error.
func (k *Known) Learn(ctx context.Context, w *wirev1.Identity, now time.Time) (*message.Identity, error) {
	for range learnTries {
		i, err := k.learnOnce(ctx, w, now)
		if !errors.Is(err, errRace) {
			return i, err
		}
	}
	return nil, fmt.Errorf("store: learn: %w", message.Unavailable)
}

// errRace says that somebody else put a record meanwhile.
var errRace = errors.New("record changed meanwhile")

func (k *Known) learnOnce(ctx context.Context, w *wirev1.Identity, now time.Time) (*message.Identity, error) {
	a, err := message.IdentityAddress(w)
	if err != nil {
		return nil, err
	}
	held, revision, err := k.load(ctx, a)
	if err != nil && !errors.Is(err, message.NotFound) {
		return nil, err
	}
	var chain *message.Chain
	if held != nil {
		chain = held.Chain
	}
	offered, err := message.OpenIdentity(k.verifier, w, chain)
	if err != nil {
		return nil, err
	}
	offered.FirstSeen = sightings(held, offered, now)
	next, err := k.merge(held, offered)
	if errors.Is(err, message.Conflict) {
		if err := k.ids.AddEvidence(ctx, offered.Address(), "route", held.Route.Signed, offered.Route.Signed); err != nil {
			return held, err
		}
	}
	if err != nil || next == held {
		return held, err
	}
	err = k.ids.PutIdentity(ctx, record(next, revision, now))
	if errors.Is(err, message.Conflict) {
		return nil, errRace
	}
	if err != nil {
		return nil, err
	}
	k.remember(next, revision+1)
	return next, nil
}

// sightings are the times for offered's cards: those already held keep theirs.
func sightings(held, offered *message.Identity, now time.Time) []time.Time {
	out := make([]time.Time, offered.Chain.Len())
	for n := range out {
		out[n] = now
		if n < len(offered.FirstSeen) && offered.FirstSeen[n].Before(now) {
			out[n] = offered.FirstSeen[n]
		}
		if held == nil || n >= len(held.FirstSeen) {
			continue
		}
		mine, _ := held.Chain.At(uint64(n))
		theirs, _ := offered.Chain.At(uint64(n))
		if mine != nil && theirs != nil && mine.ID == theirs.ID {
			out[n] = held.FirstSeen[n]
		}
	}
	return out
}

// merge decides what to hold: held itself where offered brings nothing new.
func (k *Known) merge(held, offered *message.Identity) (*message.Identity, error) {
	if held == nil {
		return offered, nil
	}
	standing, err := message.Compare(held.Sighting(), offered.Sighting())
	if err != nil {
		return held, err
	}
	switch standing {
	case message.Wins:
		// Routes of the losing branch are void.
		return offered, nil
	case message.Loses, message.Older:
		return held, fmt.Errorf("store: learn %s: %w", held.Address().Short(), message.Stale)
	}
	next := &message.Identity{Chain: offered.Chain, Route: held.Route, FirstSeen: offered.FirstSeen}
	if offered.Route == nil {
		if standing == message.Same {
			return held, nil
		}
		// The new card may have removed the device that signed the route.
		if held.Route != nil {
			if _, err := message.OpenRoute(k.verifier, next.Chain, held.Route.Signed); err != nil {
				next.Route = nil
			}
		}
		return next, nil
	}
	if held.Route != nil {
		switch order := offered.Route.Pair.Compare(held.Route.Pair); {
		case order < 0:
			return held, fmt.Errorf("store: learn %s: route: %w", held.Address().Short(), message.Stale)
		case order == 0 && offered.Route.ID != held.Route.ID:
			return held, fmt.Errorf("store: learn %s: route: %w", held.Address().Short(), message.Conflict)
		case order == 0 && standing == message.Same:
			return held, nil
		}
	}
	next.Route = offered.Route
	return next, nil
}

// record is what the store keeps of i.
func record(i *message.Identity, revision uint64, now time.Time) *IdentityRecord {
	r := &IdentityRecord{
		Address: i.Address(), Cards: i.Chain.Signed(0), FirstSeen: i.FirstSeen, Pair: i.Pair(), Updated: now, Revision: revision,
	}
	if i.Route != nil {
		r.Route, r.RouteID, r.Expires = i.Route.Signed, i.Route.ID, i.Route.Expires
	}
	return r
}
