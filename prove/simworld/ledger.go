package simworld

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"airdispatch/client"
	"airdispatch/message"
	"airdispatch/store"
)

// mark is in the body of every private message; nothing but a home may show it.
const mark = "CANARY"

// said is something that somebody wrote, or tried to: the text of one version.
type said struct {
	letter *letter
	text   string
}

// letter is one message with all its versions.
type letter struct {
	n      int
	author *Person
	to     []*Person
	public bool
	terms  message.Terms
	until  time.Time
	ref    message.Ref
	// kept has what the author holds a receipt for, by version.
	kept map[uint64]promise
	// first is when it was begun.
	first time.Time
	// over is when the receipt for its tombstone came.
	over time.Time
	// unsure: something about it was asked for, and no answer came.
	unsure bool
}

// promise is a receipt for a version, and which server gave it.
type promise struct {
	id        message.ID
	text      string
	tombstone bool
	by        *Host
}

// newest is the newest version that was promised; 0 for none.
func (l *letter) newest() (n uint64) {
	for v := range l.kept {
		n = max(n, v)
	}
	return n
}

// ledger is all that was said, and what was promised about it.
type ledger struct {
	letters []*letter
	said    map[string]*said
	byRef   map[message.Ref]*letter
}

// letter begins a new one.
func (w *World) letter(l *letter) *letter {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.n, l.kept, l.first = len(w.ledger.letters), map[uint64]promise{}, time.Now()
	w.ledger.letters = append(w.ledger.letters, l)
	return l
}

// text makes one for a version, unlike all others.
func (w *World) text(l *letter) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := mark
	if l.public {
		kind = "PUBLIC"
	}
	t := fmt.Sprintf("%s-%d-%d", kind, w.Seed, len(w.ledger.said))
	w.ledger.said[t] = &said{letter: l, text: t}
	return strings.Repeat(t+" ", 4)
}

// wrote finds what a body says.
func (w *World) wrote(body string) *said {
	first, _, _ := strings.Cut(body, " ")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ledger.said[first]
}

// promised notes receipts. text is that of all of them.
func (w *World) promised(l *letter, body string, sent []*client.Sent, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.unsure = l.unsure || err != nil
	for _, s := range sent {
		if s == nil {
			continue
		}
		if !l.ref.From.IsZero() && l.ref != s.Head.Ref() {
			w.violations = append(w.violations, fmt.Sprintf("one draft became two messages: %s and %s", l.ref, s.Head.Ref()))
		}
		l.ref = s.Head.Ref()
		w.ledger.byRef[l.ref] = l
		if was, ok := l.kept[s.Head.Version]; ok && was.id != s.Head.ID {
			w.violations = append(w.violations, fmt.Sprintf("I4: two versions %d of %s were promised", s.Head.Version, l.ref))
		}
		p := promise{id: s.Head.ID, text: body, tombstone: s.Head.Tombstone(), by: l.author.server}
		l.kept[s.Head.Version] = p
		if p.tombstone && l.over.IsZero() {
			l.over = time.Now()
			w.recalled[l.ref] = true
		}
		w.counts["receipts"]++
	}
}

// mine are the letters of somebody that stand, oldest first.
func (p *Person) mine(good func(*letter) bool) []*letter {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	var out []*letter
	for _, l := range p.world.ledger.letters {
		if l.author == p && len(l.kept) > 0 && good(l) {
			out = append(out, l)
		}
	}
	return out
}

// shown is one message as somebody saw it.
type shown struct {
	version, content uint64
}

// look holds all that a person's client shows to what was said. It is called
// when the person is not doing anything else.
func (p *Person) look(ctx context.Context) error {
	w := p.world
	p.asked = p.asked[:0]
	times := map[message.Ref]int{}
	bodies := map[string]message.Ref{}
	for _, q := range []client.InboxQuery{{}, {Requests: true}, {Archive: true}} {
		items, err := p.client.Inbox(ctx, q)
		if err != nil {
			return err
		}
		for _, i := range items {
			times[i.Ref]++
			p.judge(i)
			if i.Content == nil {
				continue
			}
			body, _ := i.Content.Body()
			if other, ok := bodies[body]; ok && other != i.Ref {
				w.blame("I3: %s sees one letter as two: %s and %s", p.name, other, i.Ref)
			}
			bodies[body] = i.Ref
		}
		if q.Requests {
			pushy := 0
			for _, i := range items {
				p.asked = append(p.asked, i.Ref.From)
				if i.Ref.From == w.outcast {
					pushy++
				}
			}
			if pushy > crowd*len(p.lived) && !p.tainted {
				w.blame("I10: %s has %d requests of one stranger", p.name, pushy)
			}
		}
	}
	for ref, n := range times {
		if n > 1 {
			w.blame("I3: %s sees %s %d times", p.name, ref, n)
		}
	}
	return nil
}

// judge holds one message to what was said and to what was seen before.
func (p *Person) judge(i *client.Item) {
	w := p.world
	was := p.seen[i.Ref]
	// What is over, or was taken back before it was read, is erased.
	erased := i.Shown == 0 && (i.Head.Tombstone() || i.Head.Terms == message.Ephemeral)
	if i.Head.Version < was.version || i.Shown < was.content && !erased {
		w.blame("I4: %s saw version %d (content of %d) of %s and now sees %d (%d)", p.name, was.version, was.content, i.Ref, i.Head.Version, i.Shown)
	}
	p.seen[i.Ref] = shown{i.Head.Version, i.Shown}
	if i.Content == nil {
		return
	}
	body, _ := i.Content.Body()
	s := w.wrote(body)
	switch {
	case s == nil:
		w.blame("I2: %s sees in %s what nobody wrote: %.40q", p.name, i.Ref, body)
	case s.letter.author.keyring.Address() != i.Ref.From:
		w.blame("I2: %s sees words of %s as those of %s", p.name, s.letter.author.name, i.Ref.From.Short())
	case !s.letter.public && !slices.Contains(s.letter.to, p):
		w.blame("I8: %s sees a letter of %s to others", p.name, s.letter.author.name)
	}
}

// visible is how a message stands in a person's home; nil where it is not.
func (p *Person) visible(ctx context.Context, ref message.Ref) (found *client.Item, times int, err error) {
	for _, q := range []client.InboxQuery{{}, {Requests: true}, {Archive: true}} {
		items, err := p.client.Inbox(ctx, q)
		if err != nil {
			return nil, 0, err
		}
		for _, i := range items {
			if i.Ref == ref {
				found, times = i, times+1
			}
		}
	}
	return found, times, nil
}

// strangers accept whoever wrote to them.
func (p *Person) welcome(ctx context.Context) error {
	who := slices.Clone(p.asked)
	slices.SortFunc(who, func(a, b message.Address) int { return cmp.Compare(a.String(), b.String()) })
	for _, a := range slices.Compact(who) {
		if a == p.world.outcast {
			continue
		}
		if err := p.client.SetVerdict(ctx, a, store.Allow); err != nil {
			return err
		}
	}
	return nil
}
