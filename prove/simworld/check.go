package simworld

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/simnet"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// rounds are when, after everything was mended, people look after their mail.
func rounds() []time.Duration {
	return []time.Duration{time.Minute, time.Hour, 7 * time.Hour, 14 * time.Hour}
}

// heal mends everything, lets a day pass, and holds all to their word.
func (w *World) heal() error {
	w.bus.Set(simnet.Weather{})
	w.bus.MendAll()
	for _, p := range w.people {
		p.place.Clock.Set(0)
	}
	for _, h := range w.hosts() {
		h.place.Clock.Set(0)
		if h.kept != nil {
			h.kept.disk.Arm(nil)
		}
		if !h.up {
			w.up(h)
		}
	}
	healed := time.Now()
	w.bus.Run(w.ctx, w.still)
	w.bus.MendAll() // what was cut by a trouble that had begun
	for n, at := range rounds() {
		for i, p := range w.people {
			w.does(p, "looks after everything", time.Until(healed.Add(at))+time.Duration(i)*7*time.Second, func(ctx context.Context) error {
				// Who was told that a tracker did not take it tries again.
				if p.unsettled {
					if err := p.register(ctx); err != nil {
						return err
					}
				}
				return errors.Join(p.again(ctx), p.read(ctx))
			})
		}
		w.bus.Run(w.ctx, w.still)
		if n == 2 {
			w.probe()
		}
	}
	w.rest(time.Until(healed.Add(24 * time.Hour)))
	for i, p := range w.people {
		w.does(p, "is asked", time.Duration(i)*time.Second, p.account)
	}
	w.bus.Run(w.ctx, w.still)
	for _, h := range w.servers {
		w.honoured(h)
		if err := h.kept.check(w.ctx); err != nil {
			w.blame("%s: %v", h.name, err)
		}
		if h.kept.disk.Holds([]byte(mark)) {
			w.blame("I7: the disk of %s has a private text", h.name)
		}
	}
	w.righted()
	w.ordered()
	return nil
}

// standing is where somebody's identity stands at a host.
type standing struct {
	cards []message.ID
	pair  message.Pair
}

// ordered holds every host to the highest card and route that it has ever held of
// anybody (I6). Only the address that was stolen may change its branch.
func (w *World) ordered() {
	for _, h := range w.hosts() {
		if h == w.rogue.host || !h.up {
			continue
		}
		var ids store.Identities
		if h.kept != nil {
			ids = h.kept.mail.Identities
		} else {
			ids = h.records.Identities
		}
		for _, p := range w.people {
			r, err := ids.Identity(w.ctx, p.keyring.Address())
			if err != nil {
				continue
			}
			now := standing{pair: r.Pair}
			for _, c := range r.Cards {
				now.cards = append(now.cards, cardID(c))
			}
			at := [2]string{h.name, p.name}
			was, ok := w.held[at]
			w.held[at] = now
			if !ok || w.theft != nil && w.theft.victim == p {
				continue
			}
			if len(now.cards) < len(was.cards) || now.pair.Compare(was.pair) < 0 {
				w.blame("I6: %s held %v of %s and now holds %v", h.name, was.pair, p.name, now.pair)
			}
			for n, c := range was.cards {
				if n < len(now.cards) && now.cards[n] != c {
					w.blame("I6: %s changed the branch of %s", h.name, p.name)
				}
			}
		}
	}
}

// cardID tells cards apart.
func cardID(s *wirev1.Signed) message.ID { return message.ID(crypto.Sum(s.GetBody())) }

// rest lets time pass.
func (w *World) rest(d time.Duration) {
	over := false
	w.bus.Post(d, "a day", func() string { over = true; return "is over" })
	w.bus.Run(w.ctx, func() bool { w.watch(); return over })
}

// honoured holds a server to every receipt that it gave (I1), and to what a
// recall means (I5).
func (w *World) honoured(h *Host) {
	w.mu.Lock()
	letters := w.ledger.letters
	w.mu.Unlock()
	for _, l := range letters {
		for n, p := range l.kept {
			if p.by != h || h == w.rogue.host {
				continue
			}
			w.count("receipts held to")
			versions, err := h.kept.mail.Outgoing.Versions(w.ctx, l.ref)
			if err != nil || uint64(len(versions)) < n || versions[n-1].ID != p.id {
				w.blame("I1: %s promised version %d of %s and does not have it: %v", h.name, n, l.ref, err)
			}
			if l.over.IsZero() {
				continue
			}
			served, err := store.ServeOne(w.ctx, h.kept.mail.Outgoing, store.ServeItem{Ref: l.ref}, message.Address{}, time.Now())
			for _, v := range served {
				if len(v.Payload)+len(v.Slots) > 0 {
					w.blame("I5: %s would serve %s, which was recalled: %v", h.name, l.ref, err)
				}
			}
		}
	}
}

// account is the last question to everybody: is all that was written there?
func (p *Person) account(ctx context.Context) error {
	w := p.world
	if _, err := p.client.Sync(ctx); err != nil && w.trusted(p.server, p) {
		w.blame("I11: %s cannot read the inbox a day after: %v", p.name, err)
		return err
	}
	if drafts, err := p.client.Drafts(ctx); err != nil || len(drafts) > 0 {
		for _, d := range drafts {
			if s := w.wrote(d.Body); s == nil || !w.owed(s.letter) {
				continue
			}
			w.blame("I11: %s could not send a draft within a day: %s", p.name, d.Trouble)
		}
	}
	for _, l := range w.ledger.letters {
		for _, to := range l.to {
			if to == p && len(l.kept) > 0 && w.trusted(l.kept[l.newest()].by, l.author, p) && !w.robbed(l, p) {
				p.holds(ctx, l)
			}
		}
	}
	return p.look(ctx)
}

// owed reports whether nobody who lies has a hand in a letter.
func (w *World) owed(l *letter) bool {
	for _, to := range l.to {
		if !w.trusted(l.author.server, l.author, to) || w.robbed(l, to) {
			return false
		}
	}
	return w.trusted(l.author.server, l.author)
}

// holds blames whatever is wrong with one letter at its reader.
func (p *Person) holds(ctx context.Context, l *letter) {
	w := p.world
	w.count("letters looked for")
	i, times, err := p.visible(ctx, l.ref)
	newest := l.newest()
	switch {
	case err != nil:
		w.blame("%s: %v", p.name, err)
		return
	case times == 0 && p.deaf && w.lies(ctx, p, l.ref):
		// The old server was away when its owner moved, and nobody else knows.
		w.count("letters at a server that was left")
		return
	case times == 0 && l.terms == message.Ephemeral:
		// It was over before it could be brought.
		return
	case times == 0:
		w.blame("I3: %s does not see %s, a letter of %s, version %d%s", p.name, l.ref, l.author.name, newest, w.told(ctx, l, p))
		return
	case l.terms == message.Ephemeral:
		// What is over is not brought any more.
		return
	case i.Head.Version < newest || i.Head.Version > newest && !l.unsure:
		w.blame("I3: %s sees version %d of %s, a letter of %s, and %d is the newest%s", p.name, i.Head.Version, l.ref, l.author.name, newest, w.told(ctx, l, p))
		return
	case i.Head.Version > newest || l.kept[newest].tombstone:
		return
	}
	if i.Trouble != "" {
		w.blame("I3: %s does not believe %s: %s", p.name, l.ref, i.Trouble)
		return
	}
	if i.Shown < newest {
		if err := p.fetch(ctx, l.ref); err != nil {
			w.blame("I3: %s cannot read %s, a letter of %s: %v", p.name, l.ref, l.author.name, err)
			return
		}
		i, _, _ = p.visible(ctx, l.ref)
	}
	if body, _ := i.Content.Body(); body != l.kept[newest].text {
		w.blame("I2: %s reads in version %d of %s %.40q, and not %.40q", p.name, newest, l.ref, body, l.kept[newest].text)
	}
}

// lies reports whether a message lies at a server that its reader has left.
func (w *World) lies(ctx context.Context, p *Person, ref message.Ref) bool {
	for _, h := range w.servers {
		if _, err := h.kept.mail.Incoming.Entry(ctx, p.keyring.Address(), ref); err == nil && h != p.server {
			return true
		}
	}
	return false
}

// told is what the author's server says about a letter that is missing.
func (w *World) told(ctx context.Context, l *letter, to *Person) string {
	h := l.kept[l.newest()].by
	ds, err := h.kept.mail.Deliveries.Deliveries(ctx, l.ref)
	if err != nil {
		return fmt.Sprintf(" (%s: %v)", h.name, err)
	}
	for _, d := range ds {
		if d.To == to.keyring.Address() {
			return fmt.Sprintf(" (%s: state %d, reason %v, attempts %d, next %s; the reader is at %s)", h.name, d.State, d.Reason, d.Attempts, time.Until(d.NextAttempt), to.server.name)
		}
	}
	return " (" + h.name + " knows of no delivery)"
}
