package tracker_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"airdispatch/crypto"
	"airdispatch/message"
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

// TestModel compares a tracker with what it shall be: a map from addresses to
// the highest pair ever offered, where the first of a pair stays.
func TestModel(t *testing.T) {
	const cards, routes, variants = 3, 3, 2
	users := []grown{grow(t, cards), grow(t, cards)}
	var all [][][][]*message.Identity // by user, card, route, variant
	for _, u := range users {
		var byCard [][][]*message.Identity
		for c := range cards {
			var byRoute [][]*message.Identity
			for s := range routes {
				var byVariant []*message.Identity
				for v := range variants {
					byVariant = append(byVariant, u.at(t, c, uint64(s), v))
				}
				byRoute = append(byRoute, byVariant)
			}
			byCard = append(byCard, byRoute)
		}
		all = append(all, byCard)
	}
	rapid.Check(t, func(rt *rapid.T) {
		s, k, _ := local(t, inMemory)
		held := make(map[int]*message.Identity)
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(rt *rapid.T) {
				u := rapid.IntRange(0, len(users)-1).Draw(rt, "user")
				i := all[u][rapid.IntRange(0, cards-1).Draw(rt, "card")][rapid.IntRange(0, routes-1).Draw(rt, "route")][rapid.IntRange(0, variants-1).Draw(rt, "variant")]
				_, err := publish(t, s, publication(i, users[u].host.host))
				mine := held[u]
				switch {
				case mine == nil || i.Pair().Compare(mine.Pair()) > 0:
					if err != nil {
						rt.Fatalf("a higher pair %v: %v", i.Pair(), err)
					}
					held[u] = i
				case i.Pair().Compare(mine.Pair()) < 0:
					if !errors.Is(err, message.Stale) {
						rt.Fatalf("the lower pair %v: %v, want stale", i.Pair(), err)
					}
				case i.Route.ID == mine.Route.ID:
					if err != nil {
						rt.Fatalf("the same again: %v", err)
					}
				default:
					if !errors.Is(err, message.Conflict) {
						rt.Fatalf("another under the pair %v: %v, want conflict", i.Pair(), err)
					}
				}
			},
			"lookup": func(rt *rapid.T) {
				u := rapid.IntRange(0, len(users)-1).Draw(rt, "user")
				a := opened(t, s, k, message.Query{Address: users[u].chains[0].Address()})
				mine := held[u]
				if a.Found != (mine != nil) {
					rt.Fatalf("found %t, want %t", a.Found, mine != nil)
				}
				if a.Found && (a.Subject.Route.ID != mine.Route.ID || a.Subject.Chain.Len() != mine.Chain.Len()) {
					rt.Fatalf("pair %v, want %v", a.Subject.Pair(), mine.Pair())
				}
			},
		})
	})
}
