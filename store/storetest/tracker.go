package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// directory is what trackers and mail servers both keep.
type directory struct {
	identities store.Identities
	listings   store.Listings
	log        store.Log
}

// RunTracker holds a tracker's store to its contracts.
func RunTracker(t *testing.T, open func(t *testing.T) *store.Tracker) {
	runDirectory(t, func(t *testing.T) directory {
		s := open(t)
		return directory{s.Identities, s.Listings, s.Log}
	})
	for name, run := range map[string]func(*testing.T, store.Names){
		"a name has one owner":               testNameOwner,
		"an address has so many names":       testNameLimit,
		"a name is claimed once by many":     testNameRace,
		"names honour their context":         testNameContext,
		"a name nobody claimed is not found": testNameUnknown,
	} {
		t.Run("names/"+name, func(t *testing.T) { run(t, open(t).Names) })
	}
}

func runDirectory(t *testing.T, open func(t *testing.T) directory) {
	for name, run := range map[string]func(*testing.T, directory){
		"identities/come back as they were put":         testIdentityRoundTrip,
		"identities/are replaced by revision":           testIdentityRevision,
		"identities/one of many writers wins":           testIdentityRace,
		"identities/values are not shared":              testIdentityShared,
		"evidence/is kept once, in order, and 16":       testEvidence,
		"listings/replace and remove":                   testListings,
		"log/rises and never goes back":                 testLogRises,
		"log/an epoch is raised":                        testLogEpoch,
		"log/many take different places":                testLogRace,
		"context/a call that was given up does nothing": testContext,
	} {
		t.Run(name, func(t *testing.T) { run(t, open(t)) })
	}
}

// record is an identity as it would be put first.
func record(t *testing.T, name string) *store.IdentityRecord {
	t.Helper()
	p := person(t, name)
	return &store.IdentityRecord{
		Address: p.Address(), Cards: p.keys.Chain.Signed(0), FirstSeen: []time.Time{noon()}, Route: &wirev1.Signed{Body: []byte("route"), Key: []byte("k")},
		RouteID: message.ID{1, 2, 3}, Pair: message.Pair{Card: 4, Route: 5}, Expires: noon().Add(time.Hour), Updated: noon().Add(1234567 * time.Nanosecond),
	}
}

func sameRecord(t *testing.T, got, want *store.IdentityRecord) {
	t.Helper()
	if got.Address != want.Address || got.RouteID != want.RouteID || got.Pair != want.Pair || got.Revision != want.Revision {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if !got.Expires.Equal(want.Expires) || !got.Updated.Equal(want.Updated.Truncate(time.Millisecond)) || got.Updated.Location() != time.UTC {
		t.Fatalf("times: got %v, %v, want %v, %v to the millisecond, in UTC", got.Expires, got.Updated, want.Expires, want.Updated)
	}
	if !proto.Equal(got.Route, want.Route) || !slices.EqualFunc(got.Cards, want.Cards, sameStatement) || !slices.EqualFunc(got.FirstSeen, want.FirstSeen, time.Time.Equal) {
		t.Fatalf("statements: got %+v, want %+v", got, want)
	}
}

func sameStatement(a, b *wirev1.Signed) bool { return proto.Equal(a, b) }

func testIdentityRoundTrip(t *testing.T, d directory) {
	ctx := context.Background()
	r := record(t, "ann")
	_, err := d.identities.Identity(ctx, r.Address)
	refused(t, "an unknown identity", err, message.NotFound)
	done(t, "put", d.identities.PutIdentity(ctx, r))
	got, err := d.identities.Identity(ctx, r.Address)
	done(t, "identity", err)
	want := *r
	want.Revision = 1
	sameRecord(t, got, &want)

	far := record(t, "far")
	far.Pair = message.Pair{Card: 1, Route: 1<<64 - 1}
	done(t, "put the highest route", d.identities.PutIdentity(ctx, far))
	got, err = d.identities.Identity(ctx, far.Address)
	if done(t, "identity", err); got.Pair != far.Pair {
		t.Fatalf("the pair is %v, want %v", got.Pair, far.Pair)
	}

	bare := record(t, "bob")
	bare.Route, bare.RouteID, bare.Expires = nil, message.ID{}, time.Time{}
	done(t, "put without a route", d.identities.PutIdentity(ctx, bare))
	got, err = d.identities.Identity(ctx, bare.Address)
	done(t, "identity", err)
	if got.Route != nil || !got.Expires.IsZero() || got.RouteID != (message.ID{}) {
		t.Fatalf("got a route: %+v", got)
	}
}

func testIdentityRevision(t *testing.T, d directory) {
	ctx := context.Background()
	r := record(t, "ann")
	_, err := d.identities.Revision(ctx, r.Address)
	refused(t, "the revision of nothing", err, message.NotFound)
	r.Revision = 1
	refused(t, "revision 1 of nothing", d.identities.PutIdentity(ctx, r), message.Conflict)
	r.Revision = 0
	done(t, "first", d.identities.PutIdentity(ctx, r))
	refused(t, "first again", d.identities.PutIdentity(ctx, r), message.Conflict)
	r.Revision, r.Pair = 1, message.Pair{Card: 9}
	done(t, "second", d.identities.PutIdentity(ctx, r))
	r.Pair = message.Pair{Card: 10}
	refused(t, "second again", d.identities.PutIdentity(ctx, r), message.Conflict)
	n, err := d.identities.Revision(ctx, r.Address)
	if done(t, "revision", err); n != 2 {
		t.Fatalf("revision %d, want 2", n)
	}
	got, err := d.identities.Identity(ctx, r.Address)
	done(t, "identity", err)
	if got.Revision != 2 || got.Pair.Card != 9 {
		t.Fatalf("got revision %d, card %d, want 2, 9: a refused put changes nothing", got.Revision, got.Pair.Card)
	}
}

func testIdentityRace(t *testing.T, d directory) {
	r := record(t, "ann")
	errs := together(8, func(int) error { return d.identities.PutIdentity(context.Background(), r) })
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, message.Conflict) {
			t.Fatal(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d of 8 puts of one revision succeeded, want 1", won)
	}
}

func testIdentityShared(t *testing.T, d directory) {
	ctx := context.Background()
	r := record(t, "ann")
	done(t, "put", d.identities.PutIdentity(ctx, r))
	want := proto.CloneOf(r.Cards[0])
	r.Cards[0].Body[0]++
	got, err := d.identities.Identity(ctx, r.Address)
	done(t, "identity", err)
	got.Cards[0].Body[1]++
	got.FirstSeen[0] = time.Time{}
	again, err := d.identities.Identity(ctx, r.Address)
	done(t, "identity", err)
	if !proto.Equal(again.Cards[0], want) || !again.FirstSeen[0].Equal(noon()) {
		t.Fatal("a change of a value that was handed in or out reached the store")
	}
}

func testEvidence(t *testing.T, d directory) {
	ctx := context.Background()
	about := person(t, "ann").Address()
	word := func(n int) *wirev1.Signed { return &wirev1.Signed{Body: []byte{byte(n)}} }
	none, err := d.identities.Evidence(ctx, about)
	if err != nil || len(none) != 0 {
		t.Fatalf("got %v, %v, want none", none, err)
	}
	for n := range 20 {
		for range 2 {
			done(t, "add", d.identities.AddEvidence(ctx, about, "route", word(n), word(n+100)))
		}
		done(t, "add the other way round", d.identities.AddEvidence(ctx, about, "route", word(n+100), word(n)))
	}
	got, err := d.identities.Evidence(ctx, about)
	done(t, "evidence", err)
	if len(got) != 16 {
		t.Fatalf("%d pairs are kept, want 16", len(got))
	}
	for n, pair := range got {
		if !proto.Equal(pair[0], word(n)) || !proto.Equal(pair[1], word(n+100)) {
			t.Fatalf("pair %d: got %v", n, pair)
		}
	}
	other, err := d.identities.Evidence(ctx, person(t, "bob").Address())
	if err != nil || len(other) != 0 {
		t.Fatalf("about somebody else: got %v, %v", other, err)
	}
}

func testListings(t *testing.T, d directory) {
	ctx := context.Background()
	a, b := person(t, "ann").Address(), person(t, "bob").Address()
	for _, l := range []store.Listing{store.Unlisted, store.Allowed, store.Refused, store.Allowed} {
		done(t, "set", d.listings.SetListing(ctx, a, l))
		got, err := d.listings.Listing(ctx, a)
		if err != nil || got != l {
			t.Fatalf("got %v, %v, want %v", got, err, l)
		}
	}
	done(t, "set", d.listings.SetListing(ctx, b, store.Refused))
	all, err := d.listings.Listed(ctx)
	if err != nil || len(all) != 2 || all[a] != store.Allowed || all[b] != store.Refused {
		t.Fatalf("got %v, %v", all, err)
	}
	done(t, "remove", d.listings.SetListing(ctx, a, store.Unlisted))
	all, err = d.listings.Listed(ctx)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %v, %v, want one", all, err)
	}
}

func testLogRises(t *testing.T, d directory) {
	ctx := context.Background()
	last, err := d.log.Place(ctx)
	done(t, "place", err)
	for range 5 {
		p, err := d.log.Advance(ctx)
		done(t, "advance", err)
		now, err := d.log.Place(ctx)
		done(t, "place", err)
		if p.Seq <= last.Seq || p.Epoch != last.Epoch || now != p {
			t.Fatalf("after %v came %v, and the log stands at %v", last, p, now)
		}
		last = p
	}
}

func testLogEpoch(t *testing.T, d directory) {
	ctx := context.Background()
	before, err := d.log.Advance(ctx)
	done(t, "advance", err)
	done(t, "raise", d.log.RaiseEpoch(ctx))
	now, err := d.log.Place(ctx)
	done(t, "place", err)
	after, err := d.log.Advance(ctx)
	done(t, "advance", err)
	if now.Epoch != before.Epoch+1 || after.Epoch != now.Epoch || after.Seq <= before.Seq {
		t.Fatalf("from %v over %v to %v", before, now, after)
	}
}

func testLogRace(t *testing.T, d directory) {
	var mu sync.Mutex
	seen := make(map[uint64]bool)
	errs := together(8, func(int) error {
		last := uint64(0)
		for range 20 {
			p, err := d.log.Advance(context.Background())
			if err != nil {
				return err
			}
			mu.Lock()
			twice := seen[p.Seq]
			seen[p.Seq] = true
			mu.Unlock()
			if twice || p.Seq <= last {
				return errors.New("a place was given twice, or went back")
			}
			last = p.Seq
		}
		return nil
	})
	done(t, "advance", errors.Join(errs...))
}

func testContext(t *testing.T, d directory) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := record(t, "ann")
	if err := d.identities.PutIdentity(ctx, r); !errors.Is(err, context.Canceled) {
		t.Fatalf("put: got %v, want the context's error", err)
	}
	if _, err := d.identities.Identity(ctx, r.Address); !errors.Is(err, context.Canceled) {
		t.Fatalf("identity: got %v, want the context's error", err)
	}
	_, err := d.identities.Identity(context.Background(), r.Address)
	refused(t, "after a put that was given up", err, message.NotFound)
}

// together runs n calls at once and returns their errors.
func together(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
	}
	wg.Wait()
	return errs
}

func testNameOwner(t *testing.T, n store.Names) {
	ctx := context.Background()
	a, b := person(t, "ann").Address(), person(t, "bob").Address()
	c := store.NameClaim{Name: "ann", Address: a, Time: noon()}
	done(t, "claim", n.ClaimName(ctx, c, 1))
	later := c
	later.Time = noon().Add(time.Hour)
	done(t, "the same claim, at the limit", n.ClaimName(ctx, later, 1))
	refused(t, "another's", n.ClaimName(ctx, store.NameClaim{Name: "ann", Address: b, Time: noon()}, 5), message.NameTaken)
	got, err := n.Name(ctx, "ann")
	if err != nil || got != c {
		t.Fatalf("got %+v, %v, want %+v", got, err, c)
	}
}

func testNameLimit(t *testing.T, n store.Names) {
	ctx := context.Background()
	a := person(t, "ann").Address()
	for _, name := range []string{"one", "two"} {
		done(t, "claim", n.ClaimName(ctx, store.NameClaim{Name: name, Address: a, Time: noon()}, 2))
	}
	refused(t, "a third", n.ClaimName(ctx, store.NameClaim{Name: "three", Address: a, Time: noon()}, 2), message.Quota)
	_, err := n.Name(ctx, "three")
	refused(t, "the refused name", err, message.NotFound)
	done(t, "another address", n.ClaimName(ctx, store.NameClaim{Name: "three", Address: person(t, "bob").Address(), Time: noon()}, 2))
}

func testNameRace(t *testing.T, n store.Names) {
	var owners []message.Address
	for _, name := range []string{"ann", "bob", "cyd", "dan"} {
		owners = append(owners, person(t, name).Address())
	}
	errs := together(len(owners), func(i int) error {
		return n.ClaimName(context.Background(), store.NameClaim{Name: "x", Address: owners[i], Time: noon()}, 1)
	})
	got, err := n.Name(context.Background(), "x")
	done(t, "name", err)
	for i, err := range errs {
		if (err == nil) != (owners[i] == got.Address) || err != nil && !errors.Is(err, message.NameTaken) {
			t.Fatalf("claim %d: %v, and the owner is %s", i, err, got.Address.Short())
		}
	}
}

func testNameContext(t *testing.T, n store.Names) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := n.Name(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
}

func testNameUnknown(t *testing.T, n store.Names) {
	_, err := n.Name(context.Background(), "nobody")
	refused(t, "an unknown name", err, message.NotFound)
}
