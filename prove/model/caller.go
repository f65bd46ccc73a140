package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// moveIn makes a person with an account, messages and a route.
func (h *story) moveIn(ctx context.Context, n int) error {
	p, err := h.site.town.Join(ctx, h.site.mail.Reference)
	if err != nil {
		return err
	}
	o := &owner{Person: p}
	h.owners = append(h.owners, o)
	for m := range messagesEach {
		s, err := post(p, nil)
		if err != nil {
			return err
		}
		out, err := hand(ctx, p, p.Peer, s)
		if err != nil || out != done {
			return fmt.Errorf("the first version: %s: %w", out, err)
		}
		first := s.Head.ID.String()
		r := &register{name: fmt.Sprintf("message %d of person %d", m, n), first: first, model: swaps(first)}
		o.messages, o.drafted = append(o.messages, r), append(o.drafted, s.Head)
		h.registers = append(h.registers, r)
	}
	first := p.Identity.Route
	o.route = &register{name: fmt.Sprintf("route of person %d", n), first: first.ID.String(), model: rises(standing{first.Pair.Route, first.ID.String()})}
	h.registers = append(h.registers, o.route)
	return nil
}

// post makes a public message, or its next version. Each has words of its own, so
// that no two versions are one statement.
func post(p *proof.Person, prev *message.Head) (*message.Sealed, error) {
	d := message.Draft{
		Author: p.Keys.Chain, Prev: prev, Time: time.Now(), Terms: message.Revisable, Audience: message.Public, Content: &message.Content{},
	}
	d.Content.Set(message.TypeMarkdown, []byte(crand.Text()))
	if prev == nil {
		var err error
		if d.MID, err = message.NewMID(d.Time, crand.Reader); err != nil {
			return nil, err
		}
	}
	return message.Seal(d, p.Keys.Signer, crand.Reader)
}

// hand submits a version once.
func hand(ctx context.Context, p *proof.Person, at *rpc.Peer, s *message.Sealed) (outcome, error) {
	res, err := at.Mailbox().Submit(ctx, &wirev1.SubmitRequest{Submissions: []*wirev1.Submission{{Head: s.Head.Signed, Slots: s.Slots, Payload: s.Payload}}})
	if err != nil {
		return silent(ctx, err)
	}
	if len(res.GetResults()) != 1 {
		return unknown, fmt.Errorf("submit: %d results", len(res.GetResults()))
	}
	err = message.OpenRefusal(res.GetResults()[0].GetRefusal())
	if errors.Is(err, message.Conflict) {
		return refused, nil
	}
	if err != nil {
		return silent(ctx, err)
	}
	r, err := message.OpenReceipt(crypto.Single{}, p.Host.Chain, res.GetResults()[0].GetReceipt())
	if err == nil && r.ID != s.Head.ID {
		err = errors.New("the receipt is for something else")
	}
	return done, err
}

// silent is the outcome of a call that failed for want of an answer; any other
// failure is an error.
func silent(ctx context.Context, err error) (outcome, error) {
	code := message.CodeOf(err)
	if ctx.Err() != nil || code == message.Unavailable || code == message.Internal {
		return unknown, nil
	}
	return unknown, err
}

// caller is one of the clients: a device of one person, and one of those who ask
// the tracker.
type caller struct {
	h       *story
	n       int
	dice    *rand.Rand
	owner   *owner
	wires   *wires
	rpc     *rpc.Client
	mail    *rpc.Peer
	tracker *rpc.Peer
	// known is the newest version of each message that the caller has seen.
	known []*message.Head
	// mine is what the caller handed in before.
	mine []handed
	// seen is the highest number of each person's route that the caller met.
	seen []uint64
}

// handed is a version that was handed in, of the register with this number.
type handed struct {
	register int
	sealed   *message.Sealed
}

// client makes a client with connections of its own.
func (h *story) client(n int, dice *rand.Rand) (*caller, error) {
	o := h.owners[n%people]
	c := &caller{h: h, n: n, dice: dice, owner: o, wires: newWires(), known: append([]*message.Head(nil), o.drafted...), seen: make([]uint64, people)}
	c.rpc = rpc.NewClient(rpc.Config{Dial: c.wires.Dial, Verifier: h.site.town.Verifier, Keyring: o.Keys})
	h.callers = append(h.callers, c)
	var err error
	if c.mail, err = c.rpc.Peer(o.Host); err != nil {
		return nil, err
	}
	c.tracker, err = c.rpc.Peer(h.site.known)
	return c, err
}

// work makes all calls of a client.
func (c *caller) work(ctx context.Context) error {
	for range callsEach {
		c.h.site.running(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := c.call(ctx); err != nil {
			return fmt.Errorf("client %d: %w", c.n, err)
		}
		c.h.calls.Add(1)
	}
	return nil
}

// call makes one call; every tenth is soon given up.
func (c *caller) call(ctx context.Context) error {
	limit := 20 * time.Second
	if c.dice.IntN(10) == 0 {
		limit = time.Duration(c.dice.IntN(3000)) * time.Microsecond
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch n := c.dice.IntN(10); {
	case n < 3:
		return c.swap(ctx, c.dice.IntN(messagesEach))
	case n < 5:
		return c.read(ctx, c.dice.IntN(messagesEach))
	case n < 8:
		return c.publish(ctx, c.dice.IntN(people))
	default:
		return c.lookup(ctx, c.dice.IntN(people))
	}
}

// swap hands in a version after the newest that the client knows; now and then
// one that it handed in before.
func (c *caller) swap(ctx context.Context, m int) error {
	var s *message.Sealed
	if len(c.mine) > 0 && c.dice.IntN(6) == 0 {
		again := c.mine[c.dice.IntN(len(c.mine))]
		m, s = again.register, again.sealed
	} else {
		var err error
		if s, err = post(c.owner.Person, c.known[m]); err != nil {
			return err
		}
		c.mine = append(c.mine, handed{m, s})
	}
	from := c.h.now()
	out, err := hand(ctx, c.owner.Person, c.mail, s)
	if err != nil {
		return err
	}
	c.owner.messages[m].add(c.n, input{prev: s.Head.Prev.String(), next: s.Head.ID.String()}, output{outcome: out}, from, c.h.now())
	if out == done && s.Head.Version > c.known[m].Version {
		c.known[m] = s.Head
	}
	return nil
}

// read reads all versions of a message.
func (c *caller) read(ctx context.Context, m int) error {
	from := c.h.now()
	res, err := c.mail.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: c.owner.drafted[m].MID.Bytes()})
	to := c.h.now()
	if err != nil {
		_, err = silent(ctx, err)
		return err
	}
	var ids []string
	var newest *message.Head
	for _, w := range res.GetHeads() {
		if newest, err = message.OpenHead(c.h.site.town.Verifier, c.owner.Keys.Chain, w); err != nil {
			return err
		}
		ids = append(ids, newest.ID.String())
	}
	c.owner.messages[m].add(c.n, input{read: true}, output{shows: strings.Join(ids, " ")}, from, to)
	if newest != nil {
		c.known[m] = newest
	}
	return nil
}

// publish offers a route with a number about as high as any that the client has met.
func (c *caller) publish(ctx context.Context, person int) error {
	o := c.h.owners[person]
	seq := max(1, c.seen[person]+uint64(c.dice.IntN(4))) - uint64(c.dice.IntN(2))
	held := o.Identity.Route
	// One number and two times are two routes.
	r, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: seq}, Time: held.Time.Add(-time.Duration(c.n) * time.Second), Expires: held.Expires, Services: held.Services,
	}, o.Keys.Chain, o.Keys.Signer)
	if err != nil {
		return err
	}
	c.seen[person] = max(c.seen[person], seq)
	id := &message.Identity{Chain: o.Keys.Chain, Route: r}
	from := c.h.now()
	out, err := c.offer(ctx, &wirev1.Publication{Subject: id.Wire(), Servers: []*wirev1.Identity{o.Host.Wire()}})
	if err != nil {
		return err
	}
	o.route.add(c.n, input{seq: seq, next: r.ID.String()}, output{outcome: out}, from, c.h.now())
	return nil
}

// offer publishes once.
func (c *caller) offer(ctx context.Context, p *wirev1.Publication) (outcome, error) {
	res, err := c.tracker.Tracker().Publish(ctx, &wirev1.PublishRequest{Publications: []*wirev1.Publication{p}})
	if err != nil {
		return silent(ctx, err)
	}
	if len(res.GetResults()) != 1 {
		return unknown, fmt.Errorf("publish: %d results", len(res.GetResults()))
	}
	switch err = message.OpenRefusal(res.GetResults()[0].GetRefusal()); {
	case err == nil:
		return done, nil
	case errors.Is(err, message.Conflict):
		return refused, nil
	case errors.Is(err, message.Stale):
		return lower, nil
	}
	return silent(ctx, err)
}

// lookup asks for a route.
func (c *caller) lookup(ctx context.Context, person int) error {
	o := c.h.owners[person]
	q := message.Query{Address: o.Address()}
	from := c.h.now()
	res, err := c.tracker.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{q.Wire()}})
	to := c.h.now()
	if err == nil && len(res.GetResults()) == 1 {
		err = message.OpenRefusal(res.GetResults()[0].GetRefusal())
	}
	if err != nil {
		_, err = silent(ctx, err)
		return err
	}
	if len(res.GetResults()) != 1 || len(res.GetResults()[0].GetAnswers()) != 1 {
		return errors.New("look-up: not one answer")
	}
	a, err := message.OpenAnswer(c.h.site.town.Verifier, c.h.site.known.Chain, res.GetResults()[0].GetAnswers()[0], q, time.Now())
	if err != nil {
		return err
	}
	shows := output{}
	if a.Found && a.Subject.Route != nil {
		shows.shows = a.Subject.Route.ID.String()
		c.seen[person] = max(c.seen[person], a.Subject.Route.Pair.Route)
	}
	o.route.add(c.n, input{read: true}, shows, from, to)
	return nil
}
