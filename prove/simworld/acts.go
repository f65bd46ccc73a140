package simworld

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"airdispatch/client"
	"airdispatch/message"
)

// after is called when an act has ended.
func (w *World) after(p *Person) {
	if w.living && p.n >= 0 {
		w.next(p)
	}
}

// pause is the longest that a person does nothing.
const pause = 4 * time.Minute

// next has a person do the next thing, after a while.
func (w *World) next(p *Person) {
	dice := w.dice(fmt.Sprintf("%s act %d", p.name, p.acts))
	after := time.Duration(dice.Int64N(int64(pause)))
	total := 0
	acts := p.repertoire(dice)
	for _, a := range acts {
		total += a.weight
	}
	n := dice.IntN(total)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			w.does(p, a.what, after, a.do)
			return
		}
	}
}

// act is something that people do, and how often.
type act struct {
	what   string
	weight int
	do     func(context.Context) error
}

// repertoire is all of it.
func (p *Person) repertoire(dice *rand.Rand) []act {
	return []act{
		{"sends", 30, func(ctx context.Context) error { return p.send(ctx, dice) }},
		{"reads", 34, p.read},
		{"edits", 9, func(ctx context.Context) error { return p.edit(ctx, dice) }},
		{"recalls", 5, func(ctx context.Context) error { return p.recall(ctx, dice) }},
		{"asks how far", 3, func(ctx context.Context) error { return p.status(ctx, dice) }},
		{"posts", 3, func(ctx context.Context) error { return p.post(ctx) }},
		{"reads posts", 3, func(ctx context.Context) error { return p.posts(ctx, dice) }},
		{"tries again", 8, p.again},
		{"moves", 2, func(ctx context.Context) error { return p.move(ctx, dice) }},
		{"registers again", p.eager(), p.register},
	}
}

// eager is how much a person wants to register again: more where something of it
// did not work.
func (p *Person) eager() int {
	if p.unsettled {
		return 15
	}
	return 1
}

// send writes to one to three people.
func (p *Person) send(ctx context.Context, dice *rand.Rand) error {
	w := p.world
	l := &letter{author: p}
	for range 1 + dice.IntN(4)/2 {
		// Most letters go to the few whom one knows.
		to := w.people[(p.n+1+dice.IntN(4))%len(w.people)]
		if dice.IntN(4) == 0 {
			to = w.people[dice.IntN(len(w.people))]
		}
		l.to = append(l.to, to)
	}
	d := client.Draft{Subject: "a letter"}
	switch dice.IntN(10) {
	case 0:
		l.terms = message.Final
	case 1:
		l.terms, l.until = message.Ephemeral, p.now().Add(time.Minute+time.Duration(dice.Int64N(int64(10*time.Minute))))
	default:
		l.terms = message.Revisable
	}
	d.Terms, d.Expires = l.terms, l.until
	w.letter(l)
	d.Body = w.text(l)
	if dice.IntN(20) == 0 {
		d.Body += strings.Repeat("and so on ", 2000)
	}
	err := p.dispatch(ctx, l, d)
	if w.Control == Twice && err == nil {
		err = p.dispatch(ctx, w.letter(&letter{author: p, to: l.to, terms: l.terms, until: l.until}), d)
	}
	return err
}

// write sends a letter as it is.
func (p *Person) write(ctx context.Context, l *letter) error {
	return p.dispatch(ctx, l, client.Draft{Subject: "a letter", Body: p.world.text(l)})
}

// dispatch sends a letter and notes what was promised.
func (p *Person) dispatch(ctx context.Context, l *letter, d client.Draft) error {
	for _, to := range l.to {
		d.To = append(d.To, to.keyring.Address().String())
	}
	sent, err := p.client.Send(ctx, d)
	p.world.promised(l, d.Body, sent, err)
	return err
}

// read brings the inbox up to date, and reads what is new.
func (p *Person) read(ctx context.Context) error {
	if _, err := p.client.Sync(ctx); err != nil {
		return err
	}
	if err := p.client.FetchNew(ctx); err != nil {
		return err
	}
	items, err := p.client.Inbox(ctx, client.InboxQuery{Unread: true, Limit: 3})
	if err != nil {
		return err
	}
	for _, i := range items {
		if _, err := p.client.Read(ctx, i.Ref, client.ReadOptions{Opened: true}); err != nil {
			p.world.count("reads one: " + code(err))
		}
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	return p.welcome(ctx)
}

// edit writes another version of an own letter.
func (p *Person) edit(ctx context.Context, dice *rand.Rand) error {
	mine := p.mine(func(l *letter) bool { return l.over.IsZero() })
	if len(mine) == 0 {
		return nil
	}
	l := mine[dice.IntN(len(mine))]
	body := p.world.text(l)
	sent, err := p.client.Edit(ctx, l.ref, client.Revision{Body: &body})
	p.world.promised(l, body, []*client.Sent{sent}, err)
	if errors.Is(err, message.Contract) || errors.Is(err, message.Recalled) || errors.Is(err, message.Expired) {
		return nil
	}
	return err
}

// recall takes an own letter back.
func (p *Person) recall(ctx context.Context, dice *rand.Rand) error {
	mine := p.mine(func(l *letter) bool { return l.over.IsZero() })
	if len(mine) == 0 {
		return nil
	}
	l := mine[dice.IntN(len(mine))]
	sent, err := p.client.Recall(ctx, l.ref)
	p.world.promised(l, "", []*client.Sent{sent}, err)
	return err
}

// status asks how far a letter has come.
func (p *Person) status(ctx context.Context, dice *rand.Rand) error {
	mine := p.mine(func(l *letter) bool { return !l.public })
	if len(mine) == 0 {
		return nil
	}
	_, err := p.client.Status(ctx, mine[dice.IntN(len(mine))].ref)
	return err
}

// post publishes something.
func (p *Person) post(ctx context.Context) error {
	l := p.world.letter(&letter{author: p, public: true, terms: message.Revisable})
	body := p.world.text(l)
	sent, err := p.client.Send(ctx, client.Draft{Public: true, Subject: "a post", Body: body})
	p.world.promised(l, body, sent, err)
	return err
}

// posts reads what somebody published.
func (p *Person) posts(ctx context.Context, dice *rand.Rand) error {
	a := p.world.people[dice.IntN(len(p.world.people))].keyring.Address()
	if err := p.client.SyncPosts(ctx, a); err != nil {
		return err
	}
	items, err := p.client.Posts(ctx, a)
	for _, i := range items {
		p.judge(i)
	}
	return err
}

// again sends what could not be sent.
func (p *Person) again(ctx context.Context) (failed error) {
	drafts, err := p.client.Drafts(ctx)
	if err != nil {
		return err
	}
	for _, d := range drafts {
		s := p.world.wrote(d.Body)
		if s == nil && strings.HasPrefix(d.Body, "a letter into the dark") {
			if err := p.client.DeleteDraft(ctx, d.ID); err != nil {
				return err
			}
			continue
		}
		if s == nil {
			p.world.blame("I2: %s has a draft that nobody wrote: %.40q", p.name, d.Body)
			continue
		}
		sent, err := p.client.SendDraft(ctx, d.ID)
		p.world.promised(s.letter, d.Body, sent, err)
		hopeless := errors.Is(err, message.Conflict) || errors.Is(err, message.Recalled) || errors.Is(err, message.Expired) || errors.Is(err, message.Contract)
		if hopeless {
			err = p.client.DeleteDraft(ctx, d.ID)
		}
		if errors.Is(err, message.Disagreement) {
			failed = err // of somebody who was robbed; the next may be to somebody else
			continue
		}
		if err != nil {
			return err
		}
	}
	return failed
}

// move opens an account at another server.
func (p *Person) move(ctx context.Context, dice *rand.Rand) error {
	if !p.unsettled {
		p.goal = p.world.servers[dice.IntN(len(p.world.servers))]
	}
	return p.register(ctx)
}
