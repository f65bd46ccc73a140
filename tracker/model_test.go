package tracker_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/sqlite"
	"airdispatch/store/storetest"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// grown is an identity at each of its cards, and its server.
type grown struct {
	signer crypto.SigningKey
	host   hosted
	chains []*message.Chain
}

// grow makes an identity with a number of cards.
func grow(t *testing.T, cards int) grown {
	t.Helper()
	k := newKeys(t, message.RoleUser)
	g := grown{signer: k.Signer, host: newHosted(t), chains: []*message.Chain{k.Chain}}
	for len(g.chains) < cards {
		last := g.chains[len(g.chains)-1]
		head := last.Head()
		card := must[*wirev1.Signed](t)(message.SignCard(message.CardDraft{
			Rotation: head.Rotation, Signers: head.Signers, Boxes: head.Boxes, Time: time.Now(), Role: head.Role,
		}, head, k.Rotation[0]))
		g.chains = append(g.chains, must[*message.Chain](t)(last.Extend(crypto.Single{}, []*wirev1.Signed{card})))
	}
	return g
}

// at is the identity at a card, with a route; two routes under one number
// differ in their variant.
func (g grown) at(t *testing.T, card int, seq uint64, variant int) *message.Identity {
	t.Helper()
	now := time.Now().Truncate(time.Millisecond)
	ticket := must[*message.Ticket](t)(message.SignTicket(g.host.server.Address(), g.chains[card].Address(), now, now.Add(time.Hour), g.host.server.Signer))
	r := must[*message.Route](t)(message.SignRoute(message.Route{
		Pair: message.Pair{Route: seq}, Time: now.Add(-time.Duration(variant+1) * time.Minute), Expires: now.Add(time.Hour),
		Services: []message.Service{{Purpose: message.PurposeAny, Server: ticket.Server, Ticket: ticket}},
	}, g.chains[card], g.signer))
	return &message.Identity{Chain: g.chains[card], Route: r}
}

// cast is the people of the model, and their identities at each card, route and
// variant.
type cast struct {
	users []grown
	all   [][][][]*message.Identity
}

// Of each identity there are so many cards, routes and variants of a route.
const someCards, someRoutes, someVariants = 3, 3, 2

func newCast(t *testing.T) *cast {
	t.Helper()
	c := &cast{users: []grown{grow(t, someCards), grow(t, someCards)}}
	for _, u := range c.users {
		var byCard [][][]*message.Identity
		for card := range someCards {
			var byRoute [][]*message.Identity
			for seq := range someRoutes {
				var byVariant []*message.Identity
				for v := range someVariants {
					byVariant = append(byVariant, u.at(t, card, uint64(seq), v))
				}
				byRoute = append(byRoute, byVariant)
			}
			byCard = append(byCard, byRoute)
		}
		c.all = append(c.all, byCard)
	}
	return c
}

// modelled is a tracker and what it shall be: a map from addresses to the highest
// pair ever offered, where the first of a pair stays, one of names, and one of
// those whom the operator refuses.
type modelled struct {
	*cast
	t    *testing.T
	keys *message.Keyring
	path string

	server *tracker.Server
	store  *store.Tracker
	end    func() error

	held    map[int]*message.Identity
	names   map[string]int
	refused map[int]bool
}

// restart opens the store, if need be after closing it, and serves from it anew.
func (m *modelled) restart(rt *rapid.T) {
	if m.end != nil {
		if err := m.end(); err != nil {
			rt.Fatal(err)
		}
	}
	file, err := sqlite.File(m.path)
	if err != nil {
		rt.Fatal(err)
	}
	kept, data, err := sqlite.OpenTracker(m.t.Context(), file)
	if err != nil {
		rt.Fatal(err)
	}
	m.store, m.end = kept, func() error { return errors.Join(data.Close(), file.Close()) }
	own := serverRoute(m.t, m.keys, 1, somewhere)
	m.server = tracker.New(tracker.Config{
		Keyring: m.keys, Identity: func() *message.Identity { return own }, Store: kept, Verifier: crypto.NewVerifier(), Rand: rand.Reader, Limits: unlimited,
	})
}

func (m *modelled) user(rt *rapid.T) int {
	return rapid.IntRange(0, len(m.users)-1).Draw(rt, "user")
}

func (m *modelled) publish(rt *rapid.T) {
	u := m.user(rt)
	i := m.all[u][rapid.IntRange(0, someCards-1).Draw(rt, "card")][rapid.IntRange(0, someRoutes-1).Draw(rt, "route")][rapid.IntRange(0, someVariants-1).Draw(rt, "variant")]
	_, err := publish(m.t, m.server, publication(i, m.users[u].host.host))
	mine := m.held[u]
	var want error
	switch {
	case m.refused[u]:
		want = message.Denied
	case mine == nil || i.Pair().Compare(mine.Pair()) > 0:
		m.held[u] = i
	case i.Pair().Compare(mine.Pair()) < 0:
		want = message.Stale
	case i.Route.ID != mine.Route.ID:
		want = message.Conflict
	}
	if !errors.Is(err, want) {
		rt.Fatalf("user %d offers %v: %v, want %v", u, i.Pair(), err, want)
	}
}

func (m *modelled) lookup(rt *rapid.T) {
	u := m.user(rt)
	a := opened(m.t, m.server, m.keys, message.Query{Address: m.users[u].chains[0].Address()})
	mine := m.held[u]
	if want := mine != nil && !m.refused[u]; a.Found != want {
		rt.Fatalf("user %d: found %t, want %t", u, a.Found, want)
	}
	if a.Found && (a.Subject.Route.ID != mine.Route.ID || a.Subject.Chain.Len() != mine.Chain.Len()) {
		rt.Fatalf("user %d: pair %v, want %v", u, a.Subject.Pair(), mine.Pair())
	}
}

// claim gives a name away: to the first who asks, and so many to one.
func (m *modelled) claim(rt *rapid.T) {
	const most = 2
	u, name := m.user(rt), rapid.SampledFrom([]string{"ann", "bob", "cyd", "dan"}).Draw(rt, "name")
	err := m.store.Names.ClaimName(m.t.Context(), store.NameClaim{Name: name, Address: m.users[u].chains[0].Address(), Time: time.Now()}, most)
	owner, taken := m.names[name]
	has := 0
	for _, o := range m.names {
		if o == u {
			has++
		}
	}
	var want error
	switch {
	case taken && owner != u:
		want = message.NameTaken
	case !taken && has >= most:
		want = message.Quota
	default:
		m.names[name] = u
	}
	if !errors.Is(err, want) {
		rt.Fatalf("user %d claims %s: %v, want %v", u, name, err, want)
	}
}

// list has the operator refuse a user, or not any more; a tracker that runs reads
// that when it answers anew, so it is started again.
func (m *modelled) list(rt *rapid.T) {
	u, l := m.user(rt), store.Unlisted
	if m.refused[u] = rapid.Bool().Draw(rt, "refused"); m.refused[u] {
		l = store.Refused
	}
	if err := m.store.Listings.SetListing(m.t.Context(), m.users[u].chains[0].Address(), l); err != nil {
		rt.Fatal(err)
	}
	m.restart(rt)
}

// named reads all names.
func (m *modelled) named(rt *rapid.T) {
	for _, name := range []string{"ann", "bob", "cyd", "dan"} {
		c, err := m.store.Names.Name(m.t.Context(), name)
		owner, taken := m.names[name]
		if taken != (err == nil) || taken && c.Address != m.users[owner].chains[0].Address() {
			rt.Fatalf("%s is %v, %v, want user %d, %t", name, c, err, owner, taken)
		}
	}
}

// TestModel compares a tracker, and its store when it is opened again, with plain
// maps.
func TestModel(t *testing.T) {
	if err := storetest.FewSequences(15); err != nil {
		t.Fatal(err)
	}
	c, dir, runs := newCast(t), t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &modelled{
			cast: c, t: t, keys: newKeys(t, message.RoleTracker), path: filepath.Join(dir, fmt.Sprint(runs)),
			held: make(map[int]*message.Identity), names: make(map[string]int), refused: make(map[int]bool),
		}
		m.restart(rt)
		defer func() { _ = m.end() }()
		rt.Repeat(map[string]func(*rapid.T){
			"": m.lookup, "publish": m.publish, "publish more": m.publish, "publish again": m.publish, "claim": m.claim, "list": m.list, "restart": m.restart, "names": m.named,
		})
	})
}
