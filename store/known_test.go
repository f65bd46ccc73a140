package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// shelf is store.Identities in a map: the contract in its shortest form.
type shelf struct {
	mu       sync.Mutex
	records  map[message.Address]IdentityRecord
	evidence map[message.Address][][2]*wirev1.Signed
}

func newShelf() *shelf {
	return &shelf{records: map[message.Address]IdentityRecord{}, evidence: map[message.Address][][2]*wirev1.Signed{}}
}

func (s *shelf) Identity(_ context.Context, a message.Address) (*IdentityRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[a]
	if !ok {
		return nil, message.NotFound
	}
	return &r, nil
}

func (s *shelf) Revision(ctx context.Context, a message.Address) (uint64, error) {
	r, err := s.Identity(ctx, a)
	if err != nil {
		return 0, err
	}
	return r.Revision, nil
}

func (s *shelf) PutIdentity(_ context.Context, r *IdentityRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[r.Address].Revision != r.Revision {
		return message.Conflict
	}
	kept := *r
	kept.Revision++
	s.records[r.Address] = kept
	return nil
}

func (s *shelf) AddEvidence(_ context.Context, about message.Address, _ string, a, b *wirev1.Signed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pair := range s.evidence[about] {
		if proto.Equal(pair[0], a) && proto.Equal(pair[1], b) {
			return nil
		}
	}
	s.evidence[about] = append(s.evidence[about], [2]*wirev1.Signed{a, b})
	return nil
}

func (s *shelf) Evidence(_ context.Context, about message.Address) ([][2]*wirev1.Signed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evidence[about], nil
}

// chained is a source of randomness for tests: SHA-256 of what it gave before.
type chained struct{ last [32]byte }

func (c *chained) Read(p []byte) (int, error) {
	for i := range p {
		if i%32 == 0 {
			c.last = sha256.Sum256(c.last[:])
		}
		p[i] = c.last[i%32]
	}
	return len(p), nil
}

// owner is an identity with its keys.
type owner struct {
	t      *testing.T
	ring   *message.Keyring
	paper  crypto.SigningKey
	second crypto.SigningKey // another device
	chain  *message.Chain
}

func monday() time.Time { return time.Date(2026, 11, 16, 8, 0, 0, 0, time.UTC) }

// newOwner makes a server: a route with hosts needs nobody else.
func newOwner(t *testing.T, name string) *owner {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	ring, err := message.NewKeyring(message.RoleServer, seed[:], monday(), &chained{sha256.Sum256([]byte("ring " + name))})
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{t: t, ring: ring, chain: ring.Chain}
	if o.paper, err = crypto.SigningKeyFromSeed(seed[:]); err != nil {
		t.Fatal(err)
	}
	if o.second, err = crypto.NewSigningKey(&chained{sha256.Sum256([]byte("second " + name))}); err != nil {
		t.Fatal(err)
	}
	return o
}

// next is chain with one more card that lists the given devices, signed by key.
func (o *owner) next(chain *message.Chain, key crypto.SigningKey, devices ...crypto.SigningKey) *message.Chain {
	o.t.Helper()
	h := chain.Head()
	d := message.CardDraft{Rotation: h.Rotation, Boxes: h.Boxes, Time: monday(), Role: h.Role}
	for _, device := range devices {
		d.Signers = append(d.Signers, device.Public())
	}
	s, err := message.SignCard(d, h, key)
	if err != nil {
		o.t.Fatal(err)
	}
	chain, err = chain.Extend(crypto.Single{}, []*wirev1.Signed{s})
	if err != nil {
		o.t.Fatal(err)
	}
	return chain
}

// route is a route of chain with this number, to this host.
func (o *owner) route(chain *message.Chain, seq uint64, host string, key crypto.SigningKey) *message.Route {
	o.t.Helper()
	r, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: seq}, Time: monday(), Expires: monday().Add(24 * time.Hour), Hosts: []message.Host{{URL: "https://" + host}},
	}, chain, key)
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

// bundle is what travels.
func bundle(chain *message.Chain, r *message.Route) *wirev1.Identity {
	return (&message.Identity{Chain: chain, Route: r}).Wire()
}

// memory is a Known over a shelf, with the clock in a test's hand.
type memory struct {
	t     *testing.T
	shelf *shelf
	known *Known
	now   time.Time
}

func newMemory(t *testing.T) *memory {
	s := newShelf()
	return &memory{t, s, NewKnown(s, crypto.Single{}), monday()}
}

// reopen forgets everything that is not on the shelf.
func (m *memory) reopen() { m.known = NewKnown(m.shelf, crypto.Single{}) }

// learn offers a bundle and checks the code; zero for no error.
func (m *memory) learn(w *wirev1.Identity, want message.Code) *message.Identity {
	m.t.Helper()
	i, err := m.known.Learn(m.t.Context(), w, m.now)
	if want == 0 && err != nil {
		m.t.Fatalf("learn: %v", err)
	}
	if want != 0 && !errors.Is(err, want) {
		m.t.Fatalf("learn: got %v, want %s", err, want.Name())
	}
	return i
}

// holds checks what is known of an address.
func (m *memory) holds(chain *message.Chain, r *message.Route) {
	m.t.Helper()
	i, err := m.known.Identity(m.t.Context(), chain.Address())
	if err != nil {
		m.t.Fatal(err)
	}
	if i.Chain.Head().ID != chain.Head().ID {
		m.t.Errorf("holds card %d, not the expected card %d", i.Chain.Head().Seq, chain.Head().Seq)
	}
	switch {
	case r == nil && i.Route != nil:
		m.t.Errorf("holds route %v, not none", i.Route.Pair)
	case r != nil && (i.Route == nil || i.Route.ID != r.ID):
		m.t.Errorf("does not hold route %v", r.Pair)
	}
}

func TestLearnAndAgain(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	if _, err := m.known.Chain(t.Context(), o.chain.Address()); !errors.Is(err, message.NotFound) {
		t.Errorf("of nobody: %v", err)
	}
	r := o.route(o.chain, 1, "one.example", o.ring.Signer)
	first := m.learn(bundle(o.chain, r), 0)
	if again := m.learn(bundle(o.chain, r), 0); again != first {
		t.Error("what is known already was learned anew")
	}
	if m.shelf.records[o.chain.Address()].Revision != 1 {
		t.Error("what is known already was written anew")
	}
	m.holds(o.chain, r)
	m.reopen()
	m.holds(o.chain, r)
	m.learn(bundle(o.chain, r), 0)
	if chain, err := m.known.Chain(t.Context(), o.chain.Address()); err != nil || chain.Len() != 1 {
		t.Errorf("chain: %v", err)
	}
}

// Only the cards that the receiver lacks need to travel.
func TestLearnPartialBundles(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	one := o.next(o.chain, o.ring.Rotation[0], o.ring.Signer)
	two := o.next(one, o.ring.Rotation[0], o.ring.Signer, o.second)
	r := o.route(two, 1, "one.example", o.second)
	partial := func(after int) *wirev1.Identity { return (&message.Identity{Chain: two, Route: r}).WireAfter(after) }

	m.learn(partial(1), message.NeedBundle)
	m.learn(bundle(o.chain, nil), 0)
	m.learn(partial(2), message.NeedBundle)
	m.learn(partial(1), 0)
	m.holds(two, r)
	m.learn(partial(2), 0)
	m.learn(partial(3), 0)

	w := partial(3)
	w.Route = nil
	m.learn(w, message.Invalid) // tells nothing
	m.learn(nil, message.Invalid)
}

// A lower pair is refused for ever: after expiry, after a restart, and after
// the route that had the highest one is void.
func TestLowerPairIsRefused(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	low, high := o.route(o.chain, 4, "low.example", o.ring.Signer), o.route(o.chain, 5, "high.example", o.ring.Signer)
	m.learn(bundle(o.chain, high), 0)
	m.learn(bundle(o.chain, low), message.Stale)
	m.now = m.now.Add(400 * 24 * time.Hour)
	m.learn(bundle(o.chain, low), message.Stale)
	m.reopen()
	if i := m.learn(bundle(o.chain, low), message.Stale); i == nil || i.Route.ID != high.ID {
		t.Error("what is known was not returned beside the refusal")
	}
	m.holds(o.chain, high)

	// The device that signed the held route is removed.
	both := o.next(o.chain, o.paper, o.ring.Signer, o.second)
	m.learn(bundle(both, nil), 0)
	m.holds(both, high)
	gone := o.next(both, o.paper, o.second)
	m.learn(bundle(gone, nil), 0)
	m.holds(gone, nil)
	m.reopen()
	m.holds(gone, nil)
	if got := m.shelf.records[gone.Address()].Pair; got != high.Pair {
		t.Errorf("the highest pair became %v", got)
	}
	m.learn(bundle(gone, high), message.BadSignature)
	m.learn(bundle(gone, o.route(both, 3, "other.example", o.second)), 0)
	m.learn(bundle(gone, o.route(both, 2, "other.example", o.second)), message.Stale)
}

// Of a route that has become void the number stays used.
func TestVoidPairIsNotUsedAgain(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	both := o.next(o.chain, o.paper, o.ring.Signer, o.second)
	gone := o.next(both, o.paper, o.second)
	m.learn(bundle(both, o.route(both, 7, "lost.example", o.ring.Signer)), 0)
	m.learn(bundle(gone, nil), 0)
	m.learn(bundle(gone, o.route(both, 6, "back.example", o.second)), message.Stale)
	m.learn(bundle(gone, o.route(both, 7, "same.example", o.second)), message.Stale)
	m.holds(gone, nil)
	good := o.route(both, 8, "good.example", o.second)
	m.learn(bundle(gone, good), 0)
	m.holds(gone, good)
}

func TestSamePairOtherRoute(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	one, other := o.route(o.chain, 1, "one.example", o.ring.Signer), o.route(o.chain, 1, "two.example", o.ring.Signer)
	m.learn(bundle(o.chain, one), 0)
	m.learn(bundle(o.chain, other), message.Conflict)
	m.learn(bundle(o.chain, other), message.Conflict)
	m.holds(o.chain, one)
	kept, _ := m.shelf.Evidence(t.Context(), o.chain.Address())
	if len(kept) != 1 || !proto.Equal(kept[0][0], one.Signed) || !proto.Equal(kept[0][1], other.Signed) {
		t.Errorf("kept as evidence: %v", kept)
	}
	// Newer cards in such a bundle are learned all the same.
	longer := o.next(o.chain, o.paper, o.ring.Signer)
	if i := m.learn(bundle(longer, other), message.Conflict); i.Chain.Len() != 2 {
		t.Error("the newer card was not returned")
	}
	m.holds(longer, one)
}

// A refused route does not keep a revocation out.
func TestCardsAreLearnedWithoutTheirRoute(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	m.learn(bundle(o.chain, o.route(o.chain, 9, "nine.example", o.ring.Signer)), 0)
	both := o.next(o.chain, o.paper, o.second, o.ring.Signer)
	m.learn(bundle(both, o.route(o.chain, 8, "eight.example", o.ring.Signer)), message.Stale)
	i, err := m.known.Identity(t.Context(), o.chain.Address())
	if err != nil || i.Chain.Len() != 2 || i.Route.Pair.Route != 9 {
		t.Errorf("holds %v, %v", i, err)
	}
	m.learn(bundle(o.chain, nil), message.Stale) // an older state
}

// The owner's paper key undoes within seven days what a thief did, and the
// thief's routes are void, however high their number.
func TestForkWinVoidsTheRoute(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		want  message.Code
	}{
		"just inside":  {message.ForkWindow - time.Millisecond, 0},
		"exactly":      {message.ForkWindow, message.Stale},
		"just outside": {message.ForkWindow + time.Millisecond, message.Stale},
	} {
		t.Run(name, func(t *testing.T) {
			o, m := newOwner(t, "a"), newMemory(t)
			thief := o.next(o.chain, o.ring.Rotation[0], o.second)
			stolen := o.route(thief, 1<<63, "thief.example", o.second)
			m.learn(bundle(thief, stolen), 0)
			m.now = m.now.Add(c.after)
			m.reopen()
			rescue := o.next(o.chain, o.paper, o.ring.Signer)
			r := o.route(rescue, 1, "home.example", o.ring.Signer)
			m.learn(bundle(rescue, r), c.want)
			if c.want != 0 {
				m.holds(thief, stolen)
				return
			}
			m.holds(rescue, r)
			m.learn(bundle(thief, stolen), message.Stale)
			m.holds(rescue, r)
		})
	}
}

// Nobody's word makes a verifier leave the branch that it holds: a tracker that
// says the thief's card is old is not believed about it.
func TestClaimedTimesDoNotMoveABranch(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	rescue := o.next(o.chain, o.paper, o.ring.Signer)
	m.learn(bundle(rescue, nil), 0)
	thief := &message.Identity{Chain: o.next(o.chain, o.ring.Rotation[0], o.second), FirstSeen: []time.Time{monday().AddDate(-1, 0, 0), monday().AddDate(0, 0, -30)}}
	m.learn(thief.Wire(), message.Stale)
	m.holds(rescue, nil)
	equal := &message.Identity{Chain: o.next(o.chain, o.paper, o.second), FirstSeen: thief.FirstSeen}
	m.learn(equal.Wire(), message.Stale)
	m.holds(rescue, nil)
}

// At first acquaintance a tracker's times are taken, if they are past.
func TestFirstSeenIsTakenAtFirst(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	two := o.next(o.chain, o.paper, o.ring.Signer)
	past, future := monday().Add(-time.Hour), monday().Add(time.Hour)
	i := m.learn((&message.Identity{Chain: two, FirstSeen: []time.Time{past, future}}).Wire(), 0)
	if !i.FirstSeen[0].Equal(past) || !i.FirstSeen[1].Equal(monday()) {
		t.Errorf("first seen %v", i.FirstSeen)
	}
	three := o.next(two, o.paper, o.ring.Signer)
	m.now = m.now.Add(time.Minute)
	i = m.learn((&message.Identity{Chain: three, FirstSeen: []time.Time{past.Add(-time.Hour), past, past}}).Wire(), 0)
	if !i.FirstSeen[0].Equal(past) || !i.FirstSeen[1].Equal(monday()) || !i.FirstSeen[2].Equal(past) {
		t.Errorf("first seen %v", i.FirstSeen)
	}
}

func TestFutureIsRefused(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	r := o.route(o.chain, 1, "one.example", o.ring.Signer)
	m.now = monday().Add(-message.MaxAhead - time.Millisecond)
	m.learn(bundle(o.chain, r), message.Clock)
	m.learn(bundle(o.chain, nil), message.Clock)
	m.now = monday().Add(-message.MaxAhead)
	m.learn(bundle(o.chain, r), 0)
}

// Many learners at once: the highest pair is held at the end, and nothing that
// was refused or lost a race stands in its place.
func TestLearnersRace(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	const learners = 48
	bundles := make([]*wirev1.Identity, learners)
	for n := range bundles {
		bundles[n] = bundle(o.chain, o.route(o.chain, uint64(n+1), "one.example", o.ring.Signer))
	}
	var wg sync.WaitGroup
	for _, w := range bundles {
		// Two memories over one shelf are two nodes of one server.
		for _, k := range []*Known{m.known, NewKnown(m.shelf, crypto.Single{})} {
			wg.Go(func() {
				if _, err := k.Learn(t.Context(), w, m.now); err != nil && !errors.Is(err, message.Stale) {
					t.Errorf("learn: %v", err)
				}
			})
		}
	}
	wg.Wait()
	for _, again := range []bool{false, true} {
		if again {
			m.reopen()
		}
		i, err := m.known.Identity(t.Context(), o.chain.Address())
		if err != nil || i.Route.Pair.Route != learners {
			t.Fatalf("holds %v, %v", i.Route, err)
		}
	}
}

// stubborn loses every race.
type stubborn struct{ *shelf }

func (stubborn) PutIdentity(context.Context, *IdentityRecord) error { return message.Conflict }

// broken fails as a disk does.
type broken struct{ *shelf }

func (broken) PutIdentity(context.Context, *IdentityRecord) error { return message.StorageFull }
func (broken) AddEvidence(context.Context, message.Address, string, *wirev1.Signed, *wirev1.Signed) error {
	return message.StorageFull
}

func TestLearnFromBadShelves(t *testing.T) {
	o := newOwner(t, "a")
	w := bundle(o.chain, o.route(o.chain, 1, "one.example", o.ring.Signer))
	if _, err := NewKnown(stubborn{newShelf()}, crypto.Single{}).Learn(t.Context(), w, monday()); !errors.Is(err, message.Unavailable) {
		t.Errorf("a race lost for ever: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewKnown(stubborn{newShelf()}, crypto.Single{}).Learn(ctx, w, monday()); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has left: %v", err)
	}
	s := newShelf()
	if _, err := NewKnown(broken{s}, crypto.Single{}).Learn(t.Context(), w, monday()); !errors.Is(err, message.StorageFull) {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := NewKnown(s, crypto.Single{}).Learn(t.Context(), w, monday()); err != nil {
		t.Fatal(err)
	}
	other := bundle(o.chain, o.route(o.chain, 1, "two.example", o.ring.Signer))
	if _, err := NewKnown(broken{s}, crypto.Single{}).Learn(t.Context(), other, monday()); !errors.Is(err, message.StorageFull) {
		t.Errorf("evidence that cannot be kept: %v", err)
	}
}

// A record that somebody changed on the disk is this server's fault, not the
// peer's, and is not believed.
func TestDamagedRecords(t *testing.T) {
	o, p := newOwner(t, "a"), newOwner(t, "b")
	for name, edit := range map[string]func(r *IdentityRecord){
		"signature": func(r *IdentityRecord) {
			c := proto.CloneOf(r.Cards[0])
			c.Signature[0] ^= 1
			r.Cards = []*wirev1.Signed{c}
		},
		"another identity": func(r *IdentityRecord) { r.Cards = p.chain.Signed(0) },
		"no cards":         func(r *IdentityRecord) { r.Cards = nil },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t)
			m.learn(bundle(o.chain, nil), 0)
			r := m.shelf.records[o.chain.Address()]
			edit(&r)
			m.shelf.records[o.chain.Address()] = r
			m.reopen()
			if _, err := m.known.Identity(t.Context(), o.chain.Address()); message.CodeOf(err) != message.Internal {
				t.Errorf("got %v", err)
			}
			m.learn(bundle(o.chain, nil), message.Internal)
		})
	}
}

// The cache stays bounded, and what has left it is read again.
func TestCacheIsBounded(t *testing.T) {
	o, m := newOwner(t, "a"), newMemory(t)
	for n := range maxKnown {
		var a message.Address
		copy(a[:], bytes.Repeat([]byte{byte(n), byte(n >> 8), 1}, 8))
		m.known.cache[a] = knownEntry{}
	}
	m.learn(bundle(o.chain, nil), 0)
	if len(m.known.cache) != maxKnown {
		t.Errorf("%d entries", len(m.known.cache))
	}
	m.holds(o.chain, nil)
}
