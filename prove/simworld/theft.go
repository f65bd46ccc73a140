package simworld

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// theft is that somebody takes all keys that lie on somebody's device, gives the
// address another card and has its mail come elsewhere, until the owner takes the
// paper key out of the drawer.
type theft struct {
	victim, thief *Person
	// settled is when all trackers had the owner's new card; zero before.
	settled time.Time
}

// plan chooses who is robbed, and when.
func (w *World) plan() {
	dice := w.dice("theft")
	victim := w.people[dice.IntN(len(w.people))]
	if victim == w.rogue.person {
		return
	}
	w.bus.Post(time.Duration(dice.Int64N(int64(10*time.Minute))), "theft", func() string {
		if !w.living {
			return "too late"
		}
		w.theft = &theft{victim: victim}
		if err := w.steal(dice); err != nil {
			w.blame("the theft goes wrong: %v", err)
		}
		w.bus.Post(time.Minute+time.Duration(dice.Int64N(int64(10*time.Minute))), "recovery", func() string {
			w.recover()
			return victim.name
		})
		return victim.name
	})
}

// successor makes the keyring that follows a genesis card, under a card that key
// signs: new keys all over, with the old boxes kept.
func successor(was *message.Keyring, paper crypto.VerifyKey, key crypto.SigningKey, r *chance) (*message.Keyring, error) {
	k := &message.Keyring{}
	rotation, err := crypto.NewSigningKey(r)
	if err != nil {
		return nil, err
	}
	if k.Signer, err = crypto.NewSigningKey(r); err != nil {
		return nil, err
	}
	k.Rotation = []crypto.SigningKey{rotation}
	var public []crypto.Box
	for _, kind := range []crypto.BoxKind{crypto.BoxHybrid, crypto.BoxNaCl} {
		b, err := crypto.NewBoxKey(kind, r)
		if err != nil {
			return nil, err
		}
		k.Boxes, public = append(k.Boxes, b), append(public, b.Public())
	}
	k.Boxes = append(k.Boxes, was.Boxes...)
	genesis, _ := was.Chain.At(0)
	card, err := message.SignCard(message.CardDraft{
		Rotation: []crypto.VerifyKey{paper, rotation.Public()}, Signers: []crypto.VerifyKey{k.Signer.Public()}, Boxes: public,
		Time: time.Now(), Role: message.RoleUser,
	}, genesis, key)
	if err != nil {
		return nil, err
	}
	k.Chain, err = message.OpenChain(crypto.Single{}, []*wirev1.Signed{was.Chain.Signed(0)[0], card})
	return k, err
}

// steal has the thief move in.
func (w *World) steal(dice *rand.Rand) (err error) {
	v := w.theft.victim
	r := &chance{seed: w.Seed, who: "thief"}
	p := &Person{
		world: w, n: -1, name: "thief", place: w.bus.Place("thief", ip(200)), rand: r, server: w.servers[dice.IntN(len(w.servers))], seen: map[message.Ref]shown{},
	}
	p.goal = p.server
	own, err := crypto.NewSigningKey(r)
	if err != nil {
		return err
	}
	if p.keyring, err = successor(v.keyring, own.Public(), v.keyring.Rotation[0], r); err != nil {
		return err
	}
	if p.db, err = sql.Open("sqlite3", ":memory:"); err != nil {
		return err
	}
	p.db.SetMaxOpenConns(1)
	if err := p.open(); err != nil {
		return err
	}
	w.theft.thief = p
	w.does(p, "moves the stolen address", time.Second, func(ctx context.Context) error { return p.register(ctx) })
	return nil
}

// recover gives the address to its owner again.
func (w *World) recover() {
	v := w.theft.victim
	paper, err := crypto.SigningKeyFromSeed(v.paper)
	if err != nil {
		w.blame("the paper key is none: %v", err)
		return
	}
	k, err := successor(v.keyring, paper.Public(), paper, v.rand)
	if err != nil {
		w.blame("no recovery: %v", err)
		return
	}
	v.place.Crash()
	v.keyring, v.unsettled = k, true
	w.bus.Post(time.Second, v.name+" starts with new keys", func() string {
		v.reopen()
		w.does(v, "takes the address back", time.Second, v.register)
		return "runs"
	})
}

// robbed reports whether a letter is one that the theft may have cost: it is from
// or for the victim, and older than the end of it.
func (w *World) robbed(l *letter, reader *Person) bool {
	if w.theft == nil || (l.author != w.theft.victim && reader != w.theft.victim) {
		return false
	}
	return w.theft.settled.IsZero() || l.first.Before(w.theft.settled)
}

// righted holds everybody to the owner's branch, which a higher key signed.
func (w *World) righted() {
	if w.theft == nil {
		return
	}
	want := w.theft.victim.keyring.Chain.Head().ID
	for _, h := range w.trackers {
		if h == w.rogue.host {
			continue
		}
		r, err := h.records.Identities.Identity(w.ctx, w.theft.victim.keyring.Address())
		if err != nil {
			w.blame("I6: %s: the stolen address: %v", h.name, err)
			continue
		}
		chain, err := message.OpenChain(crypto.Single{}, r.Cards)
		if err != nil || chain.Head().ID != want {
			w.blame("I6: %s does not hold the owner's card a day after: %v", h.name, err)
		}
	}
}

// probe has somebody write to the one who was robbed, a few hours after.
func (w *World) probe() {
	if w.theft == nil {
		return
	}
	w.theft.settled = time.Now()
	v := w.theft.victim
	p := w.people[(v.n+1)%len(w.people)]
	if p == w.rogue.person {
		p = w.people[(v.n+2)%len(w.people)]
	}
	w.does(p, "writes to who was robbed", time.Minute, func(ctx context.Context) error {
		l := w.letter(&letter{author: p, to: []*Person{v}, terms: message.Revisable})
		d := client.Draft{Subject: "is it you", Body: w.text(l), To: []string{v.keyring.Address().String()}}
		if _, err := p.client.Accept(ctx, d.To[0]); err != nil {
			w.count("accepts: " + code(err))
		}
		sent, err := p.client.Send(ctx, d)
		w.promised(l, d.Body, sent, err)
		if err != nil && p.server != w.rogue.host {
			w.blame("I11: nobody can write to who was robbed: %v", err)
		}
		return err
	})
}
