package simworld

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/simnet"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// asker is how the rogue asks: as whom, and from where.
type asker struct {
	keyring *message.Keyring
	place   *simnet.Place
	rand    *chance
	own     *message.Identity
}

// asker is the rogue's own voice.
func (w *World) asker(ctx context.Context) asker {
	if p := w.rogue.person; p != nil {
		own, err := p.server.kept.identity(ctx, p.keyring.Address())
		if err != nil {
			own = &message.Identity{Chain: p.keyring.Chain}
		}
		return asker{p.keyring, p.place, p.rand, own}
	}
	h := w.rogue.host
	return asker{h.keyring, h.place, h.rand, h.identity}
}

// sneak does one thing that must not work, and blames whoever lets it.
func (w *World) sneak(ctx context.Context, dice *rand.Rand) string {
	a := w.asker(ctx)
	client := rpc.NewClient(rpc.Config{Dial: noDial, Carrier: a.place.Carrier(), Verifier: crypto.Single{}, Keyring: a.keyring})
	defer client.Close()
	switch n := dice.IntN(6); {
	case n < 3:
		return w.snoop(ctx, a, client, dice)
	case n < 4 && w.rogue.person != nil:
		return w.backdate(ctx, a, client, dice)
	case n < 5 && w.rogue.person != nil:
		return w.contradict(ctx, a, client, dice)
	case w.rogue.person != nil:
		return w.flood(ctx, dice)
	}
	return w.equivocate(ctx, a, client, dice)
}

// snoop pulls a letter that is for others (I8).
func (w *World) snoop(ctx context.Context, a asker, c *rpc.Client, dice *rand.Rand) string {
	var others []*letter
	w.mu.Lock()
	for _, l := range w.ledger.letters {
		if l.public || len(l.kept) == 0 || !w.trusted(l.kept[l.newest()].by, append(slices.Clone(l.to), l.author)...) {
			continue
		}
		others = append(others, l)
	}
	w.mu.Unlock()
	if len(others) == 0 {
		return "nothing to see"
	}
	l := others[dice.IntN(len(others))]
	h := l.kept[l.newest()].by
	peer, err := c.Peer(h.identity)
	if err != nil {
		return code(err)
	}
	readers := [][]byte{nil, a.keyring.Address().Bytes(), l.to[0].keyring.Address().Bytes(), l.author.keyring.Address().Bytes()}
	said := ""
	for n, reader := range readers {
		resp, err := peer.Exchange().Pull(ctx, &wirev1.PullRequest{
			For: reader, Items: []*wirev1.FetchItem{{From: l.ref.From.Bytes(), Mid: l.ref.MID.Bytes()}}, Identities: []*wirev1.Identity{a.own.Wire()},
		})
		for _, r := range resp.GetResults() {
			if len(r.GetPayload()) > 0 || len(r.GetHeads()) > 0 || r.GetSlot() != nil {
				w.blame("I8: %s gave a letter of %s to a stranger, asked in way %d", h.name, l.author.name, n)
			}
		}
		said += code(err) + " "
	}
	resp, err := peer.Exchange().Alerts(ctx, &wirev1.AlertsRequest{For: l.to[0].keyring.Address().Bytes(), Identities: []*wirev1.Identity{a.own.Wire()}})
	if len(resp.GetItems()) > 0 {
		w.blame("I8: %s lists the alerts of %s to a stranger", h.name, l.to[0].name)
	}
	return "snoops: " + said + code(err)
}

// publishes brings a route to a tracker and returns its word.
func publishes(ctx context.Context, c *rpc.Client, t *Host, own *message.Identity, server *message.Identity) error {
	peer, err := c.Peer(t.identity)
	if err != nil {
		return err
	}
	resp, err := peer.Tracker().Publish(ctx, &wirev1.PublishRequest{Publications: []*wirev1.Publication{{Subject: own.Wire(), Servers: []*wirev1.Identity{server.Wire()}}}})
	if err != nil {
		return err
	}
	if len(resp.GetResults()) != 1 {
		return message.Unavailable
	}
	return message.OpenRefusal(resp.GetResults()[0].GetRefusal())
}

// record is what a tracker holds of an address.
func (h *Host) record(ctx context.Context, a message.Address) *store.IdentityRecord {
	r, err := h.records.Identities.Identity(ctx, a)
	if err != nil {
		return nil
	}
	return r
}

// rival is another route of the rogue under a number.
func (a asker) rival(was *message.Route, number uint64) (*message.Identity, error) {
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: number}, Time: time.Now(), Expires: time.Now().Add(24 * time.Hour), Services: was.Services,
	}, a.keyring.Chain, a.keyring.Signer)
	return &message.Identity{Chain: a.keyring.Chain, Route: route}, err
}

// backdate offers a tracker a route below the one that it holds (I6).
func (w *World) backdate(ctx context.Context, a asker, c *rpc.Client, dice *rand.Rand) string {
	t := w.trackers[dice.IntN(len(w.trackers))]
	if a.own.Route == nil {
		return "no route"
	}
	held := t.record(ctx, a.keyring.Address())
	if held == nil || held.Pair.Route < 1 {
		return "nothing held"
	}
	older, err := a.rival(a.own.Route, held.Pair.Route-1)
	if err != nil {
		return code(err)
	}
	err = publishes(ctx, c, t, older, w.rogue.person.server.identity)
	if now := t.record(ctx, a.keyring.Address()); err == nil || now == nil || now.Pair.Compare(held.Pair) < 0 {
		w.blame("I6: %s took a route below the one that it had: %v", t.name, err)
	}
	return "backdates: " + code(err)
}

// contradict offers a tracker another route under the same number: what is held
// stays, and both are evidence (I9).
func (w *World) contradict(ctx context.Context, a asker, c *rpc.Client, dice *rand.Rand) string {
	t := w.trackers[dice.IntN(len(w.trackers))]
	held := t.record(ctx, a.keyring.Address())
	if held == nil || held.Route == nil || a.own.Route == nil {
		return "nothing held"
	}
	other, err := a.rival(a.own.Route, held.Pair.Route)
	if err != nil {
		return code(err)
	}
	err = publishes(ctx, c, t, other, w.rogue.person.server.identity)
	if message.CodeOf(err) != message.Conflict {
		if !refused(err) && err != nil {
			return "contradicts: " + code(err)
		}
		if now := t.record(ctx, a.keyring.Address()); now != nil && now.Pair == held.Pair && now.RouteID != held.RouteID {
			w.blame("I9: %s took a second route under the same number", t.name)
		}
		return "contradicts: " + code(err)
	}
	w.count("contradictions")
	pairs, evidenceErr := t.records.Identities.Evidence(ctx, a.keyring.Address())
	if evidenceErr != nil || len(pairs) == 0 {
		w.blame("I9: %s refused a contradiction and kept no evidence: %v", t.name, evidenceErr)
	}
	for _, pair := range pairs {
		for _, s := range pair {
			if _, err := message.OpenRoute(crypto.Single{}, a.keyring.Chain, s); err != nil {
				w.blame("I9: the evidence that %s kept does not verify: %v", t.name, err)
			}
		}
	}
	return "contradicts: " + code(err)
}

// crowd is how many letters of one stranger a person may find among the requests, of each server
// that the person has moved to: a server counts what came to it.
const crowd = 5

// flood writes to somebody again and again who never answers (I10).
func (w *World) flood(ctx context.Context, dice *rand.Rand) string {
	p := w.rogue.person
	if p.floods == nil {
		p.floods = w.people[dice.IntN(len(w.people))]
	}
	if p.floods == p || p.client == nil {
		return "nobody to flood"
	}
	for range 3 {
		l := w.letter(&letter{author: p, to: []*Person{p.floods}, terms: message.Revisable})
		if err := p.write(ctx, l); err != nil {
			return "floods: " + code(err)
		}
	}
	return "floods"
}

// equivocate brings two letters under one name to one reader (I9). Its author is
// the server itself, which nobody takes for a person: so nothing of it may be
// shown, and the second must not take the place of the first.
func (w *World) equivocate(ctx context.Context, a asker, c *rpc.Client, dice *rand.Rand) string {
	p := w.people[dice.IntN(len(w.people))]
	if !w.trusted(p.server, p) || !p.server.up {
		return "no reader"
	}
	if own, err := p.server.kept.identity(ctx, a.keyring.Address()); err == nil {
		a.own = own
	}
	mid, err := message.NewMID(time.Now(), a.rand)
	if err != nil {
		return code(err)
	}
	peer, err := c.Peer(p.server.identity)
	if err != nil {
		return code(err)
	}
	said := "equivocates:"
	for n := range 2 {
		content := &message.Content{}
		content.Set(message.TypeText, fmt.Appendf(nil, "a lie %d", n))
		sealed, err := message.Seal(message.Draft{
			Author: a.keyring.Chain, MID: mid, Time: time.Now(), Audience: message.Private, Terms: message.Revisable, Content: content, Readers: []*message.Chain{p.keyring.Chain},
		}, a.keyring.Signer, a.rand)
		if err != nil {
			return code(err)
		}
		resp, err := peer.Exchange().Alert(ctx, &wirev1.AlertRequest{
			Items: []*wirev1.AlertItem{{To: p.keyring.Address().Bytes(), Head: sealed.Head.Signed, Slot: sealed.Slots[0]}}, Identities: []*wirev1.Identity{a.own.Wire()},
		})
		for _, r := range resp.GetResults() {
			if r.GetReceipt() != nil {
				w.blame("I2: %s took a letter that a server wrote in its own name", p.server.name)
			}
		}
		said += " " + code(err)
	}
	return said
}
