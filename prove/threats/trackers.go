package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func trackerRows() []row {
	return []row{
		{"K1", "a tracker that hands out false keys, a false server or a forged route is not believed", falseAnswers},
		{"K2", "a route that is older than what was seen is refused by tracker, server and client", rollback},
		{"K3", "a tracker that repeats an old answer is refused, and the higher pair of two trackers counts", freeze},
		{"K4", "two stories under one pair are a conflict, two branches a disagreement that nobody seals to", splitView},
		{"K5", "a tracker that denies somebody is outvoted by another, and passed by asking a host by name", denial},
		{"K6", "a name that a tracker gives to somebody else is a warning and never a switch", remapped},
		{"K7", "a tracker does not hear which person asks: the own server's cache answers, and what is confirmed beside it is asked by nobody", lookupsAreShared},
		{"K8", "a tracker lists nobody, whatever it is asked", enumeration},
		{"K9", "identities without a server's word are refused, and one server's newcomers are limited", freeIdentities},
		{"K10", "a statement from the future is refused", future},
	}
}

// truth is what the town's tracker says about somebody, for liars to begin with.
func (t *town) truth(ctx context.Context, a message.Address) (*message.Answer, error) {
	return t.ask(ctx, t.hill, a)
}

// looked is how a client that asks one tracker alone finds somebody.
func (t *town) looked(ctx context.Context, reference string, whom string) (string, error) {
	return t.visitor().adctl(ctx, "lookup", whom, "--tracker", reference, "--json")
}

func falseAnswers(ctx context.Context, t *town) error {
	var f findings
	o, err := t.outlaw(message.RoleTracker)
	if err != nil {
		return err
	}
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	ann, eve := both[0], both[1]
	true1, err := t.truth(ctx, ann.Address())
	if err != nil {
		return err
	}
	false1, err := t.truth(ctx, eve.Address())
	if err != nil {
		return err
	}
	forged := *ann.Identity
	stolen := ann.Identity.Route.Signed
	forged.Route = &message.Route{Signed: &wirev1.Signed{Body: stolen.GetBody(), Key: eve.Keys.Signer.Public().Bytes(), Signature: eve.Keys.Signer.Sign("route", stolen.GetBody())}}
	altered := bytes.Clone(ann.Keys.Chain.Signed(0)[0].GetBody())
	altered[len(altered)-1] ^= 1
	lies := map[string]*wirev1.Signed{
		"another one's cards": o.answer(message.Answer{Query: message.Query{Address: ann.Address()}, Found: true, Subject: false1.Subject, Servers: false1.Servers}),
		"a route that another signed": state("answer", &wirev1.Answer{Tracker: o.keys.Address().Bytes(), Time: time.Now().UnixMilli(), Address: ann.Address().Bytes(), Found: true,
			Subject: forged.Wire()}, o.keys.Signer),
		"altered cards": state("answer", &wirev1.Answer{Tracker: o.keys.Address().Bytes(), Time: time.Now().UnixMilli(), Address: ann.Address().Bytes(), Found: true,
			Subject: &wirev1.Identity{Cards: []*wirev1.Signed{{Body: altered, Key: ann.Keys.Chain.Signed(0)[0].GetKey(), Signature: ann.Keys.Chain.Signed(0)[0].GetSignature()}}}}, o.keys.Signer),
		"an answer that another signed": state("answer", &wirev1.Answer{Tracker: o.keys.Address().Bytes(), Time: time.Now().UnixMilli(), Address: ann.Address().Bytes(), Found: true,
			Subject: true1.Subject.Wire()}, eve.Keys.Signer),
		"the answer to another question": o.answer(message.Answer{Query: message.Query{Address: eve.Address()}, Found: true, Subject: true1.Subject, Servers: true1.Servers}),
	}
	var says *wirev1.Signed
	o.answers = func(context.Context, message.Query) *wirev1.Signed { return says }
	for what, lie := range lies {
		says = lie
		out, err := t.looked(ctx, o.reference, ann.Address().String())
		f.must(exits(err) > 1 && out == "", "%s: exit %d, printed %q", what, exits(err), out)
	}
	says = o.answer(message.Answer{Query: message.Query{Address: ann.Address()}, Found: true, Subject: true1.Subject, Servers: true1.Servers})
	out, err := t.looked(ctx, o.reference, ann.Address().String())
	f.must(err == nil && strings.Contains(out, t.toOne.url), "the control: the truth is not believed: %v, %q", err, out)
	return f.all()
}

// moved is somebody's route to another server, of a higher pair.
func moved(p *proof.Person, pair uint64, to *proof.Person) (*message.Identity, error) {
	service := to.Identity.Route.Services[0]
	ticket := service.Ticket
	if p != to {
		ticket = nil
	}
	r, err := route(p.Keys, pair, time.Now(), message.Service{Purpose: message.PurposeAny, Server: service.Server, Ticket: ticket})
	return &message.Identity{Chain: p.Keys.Chain, Route: r}, err
}

func rollback(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	old, err := t.truth(ctx, ann.Address())
	if err != nil {
		return err
	}
	// A client sees the second pair, and hears of the first afterwards.
	second, err := moved(ann, 2, ann)
	if err != nil {
		return err
	}
	f.fine(t.publish(ctx, t.hill, second.Wire(), ann.Host.Wire()), "the second pair")
	f.refused(t.publish(ctx, t.hill, ann.Identity.Wire(), ann.Host.Wire()), message.Stale, "the first pair, published again")
	o, err := t.outlaw(message.RoleTracker)
	if err != nil {
		return err
	}
	new1, err := t.truth(ctx, ann.Address())
	if err != nil {
		return err
	}
	f.must(new1.Subject.Route.Pair.Route == 2, "the tracker has pair %d", new1.Subject.Route.Pair.Route)
	says := new1
	o.answers = func(context.Context, message.Query) *wirev1.Signed {
		return o.answer(message.Answer{Query: message.Query{Address: ann.Address()}, Found: true, Subject: says.Subject, Servers: says.Servers})
	}
	v := t.visitor()
	first, err := v.list(ctx, "lookup", ann.Address().String(), "--tracker", o.reference)
	f.must(err == nil && len(first) == 1, "the control: the second pair is not taken: %v", err)
	says = old
	again, err := v.list(ctx, "lookup", ann.Address().String(), "--tracker", o.reference)
	f.must(err != nil || len(again) == 1 && again[0]["expires"] == first[0]["expires"], "the client went back: %v, before %v", again, first)
	// The server that was told of the second pair goes on with it.
	_, err = ann.Peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: second.Wire(), Trackers: []string{t.hill.reference}})
	f.fine(err, "announce the second pair")
	_, err = ann.Peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: ann.Identity.Wire(), Trackers: []string{t.hill.reference}})
	f.refused(err, message.Stale, "the first pair, announced again")
	return f.all()
}

func freeze(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	o, err := t.outlaw(message.RoleTracker)
	if err != nil {
		return err
	}
	old, err := t.truth(ctx, ann.Address())
	if err != nil {
		return err
	}
	var age time.Duration
	o.answers = func(context.Context, message.Query) *wirev1.Signed {
		return o.answer(message.Answer{Time: time.Now().Add(-age), Query: message.Query{Address: ann.Address()}, Found: true, Subject: old.Subject, Servers: old.Servers})
	}
	_, err = t.looked(ctx, o.reference, ann.Address().String())
	f.must(err == nil, "the control: a fresh answer is not believed: %v", err)
	age = 11 * time.Minute
	out, err := t.looked(ctx, o.reference, ann.Address().String())
	f.must(exits(err) > 1 && out == "", "an answer of eleven minutes ago is believed: %q, %v", out, err)
	// It freezes at the first pair, with fresh times; another knows the second.
	age = 0
	second, err := route(ann.Keys, 2, time.Now().Add(time.Minute), ann.Identity.Route.Services...)
	if err != nil {
		return err
	}
	next := &message.Identity{Chain: ann.Keys.Chain, Route: second}
	f.fine(t.publish(ctx, t.hill, next.Wire(), ann.Host.Wire()), "the second pair")
	seen, err := t.visitor().list(ctx, "lookup", ann.Address().String(), "--tracker", o.reference, "--tracker", t.hill.reference)
	f.must(err == nil && len(seen) == 1 && seen[0]["expires"] == second.Expires.UTC().Format(time.RFC3339), "of two trackers the older was taken: %v %v, want %v", seen, err, second.Expires.UTC())
	return f.all()
}

func splitView(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	other, err := route(ann.Keys, 1, time.Now().Add(time.Second), ann.Identity.Route.Services...)
	if err != nil {
		return err
	}
	f.refused(t.publish(ctx, t.hill, (&message.Identity{Chain: ann.Keys.Chain, Route: other}).Wire(), ann.Host.Wire()), message.Conflict, "another route under the same pair")
	kept, err := t.truth(ctx, ann.Address())
	f.must(err == nil && kept.Subject.Route.ID == ann.Identity.Route.ID, "the first one did not stay: %v", err)
	// Two next cards, each by the same rotation key, shown to one tracker each.
	left, err := replaced(ann.Keys, ann.Keys.Rotation[0], time.Now())
	if err != nil {
		return err
	}
	right, err := replaced(ann.Keys, ann.Keys.Rotation[0], time.Now().Add(time.Second))
	if err != nil {
		return err
	}
	sides := []*outlaw{}
	for _, k := range []*message.Keyring{left, right} {
		r, err := route(k, 2, time.Now(), ann.Identity.Route.Services...)
		if err != nil {
			return err
		}
		o, err := t.outlaw(message.RoleTracker)
		if err != nil {
			return err
		}
		id := &message.Identity{Chain: k.Chain, Route: r, FirstSeen: []time.Time{time.Now().Add(-48 * time.Hour), time.Now().Add(-24 * time.Hour)}}
		o.answers = func(_ context.Context, q message.Query) *wirev1.Signed {
			if q.Address != ann.Address() {
				a, err := t.truth(ctx, q.Address)
				if err != nil {
					return nil
				}
				return o.answer(message.Answer{Query: q, Found: true, Subject: a.Subject, Servers: a.Servers})
			}
			s := id.Wire()
			s.FirstSeen = []int64{id.FirstSeen[0].UnixMilli(), id.FirstSeen[1].UnixMilli()}
			return state("answer", &wirev1.Answer{Tracker: o.keys.Address().Bytes(), Time: time.Now().UnixMilli(), Address: q.Address.Bytes(), Found: true, Subject: s, Servers: []*wirev1.Identity{ann.Host.Wire()}}, o.keys.Signer)
		}
		sides = append(sides, o)
	}
	out, err := t.looked(ctx, sides[0].reference, ann.Address().String())
	f.must(err == nil && !strings.Contains(out, `"disagreement":true`), "the control: one side alone is not believed: %v %q", err, out)
	v := t.visitor()
	out, err = v.adctl(ctx, "lookup", ann.Address().String(), "--json", "--tracker", sides[0].reference, "--tracker", sides[1].reference)
	f.must(strings.Contains(out, `"disagreement":true`) || exits(err) == 4, "two branches are no disagreement: %q, %v", out, err)
	sender, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	_, err = sender.adctl(ctx, "lookup", ann.Address().String(), "--tracker", sides[0].reference, "--tracker", sides[1].reference)
	f.must(err == nil || exits(err) == 4, "lookup: %v", err)
	note, err := t.file("split", "sealed to whom?")
	if err != nil {
		return err
	}
	_, err = sender.adctl(ctx, "send", "--to", ann.Address().String(), note, "--tracker", sides[0].reference, "--tracker", sides[1].reference)
	f.must(exits(err) == 4, "sealed to an address about which trackers disagree: %v", err)
	return f.all()
}

// replaced is an identity after a rotation key has named a new device and boxes.
func replaced(k *message.Keyring, by crypto.SigningKey, at time.Time) (*message.Keyring, error) {
	fresh, err := proof.Keyring(message.RoleUser)
	if err != nil {
		return nil, err
	}
	head := k.Chain.Head()
	card, err := message.SignCard(message.CardDraft{
		Rotation: head.Rotation, Signers: []crypto.VerifyKey{fresh.Signer.Public()}, Boxes: []crypto.Box{fresh.Boxes[0].Public(), fresh.Boxes[1].Public()}, Time: at, Role: message.RoleUser,
	}, head, by)
	if err != nil {
		return nil, err
	}
	out := &message.Keyring{Rotation: k.Rotation, Signer: fresh.Signer, Boxes: fresh.Boxes}
	out.Chain, err = k.Chain.Extend(crypto.Single{}, []*wirev1.Signed{card})
	return out, err
}

func denial(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	o, err := t.outlaw(message.RoleTracker)
	if err != nil {
		return err
	}
	o.answers = func(_ context.Context, q message.Query) *wirev1.Signed { return o.answer(message.Answer{Query: q}) }
	_, err = t.looked(ctx, o.reference, ann.Address().String())
	f.must(exits(err) == 3, "the control: alone, the liar is not heard: %v", err)
	_, err = t.visitor().adctl(ctx, "lookup", ann.Address().String(), "--tracker", o.reference, "--tracker", t.hill.reference)
	f.fine(err, "with an honest tracker beside the liar")
	_, err = t.visitor().adctl(ctx, "lookup", ann.Address().String()+"@@"+strings.TrimPrefix(t.toHill.url, "https://"), "--tracker", o.reference)
	f.fine(err, "asking one host")
	return f.all()
}

func remapped(ctx context.Context, t *town) error {
	var f findings
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	o, err := t.outlaw(message.RoleTracker)
	if err != nil {
		return err
	}
	whose := both[0]
	o.answers = func(_ context.Context, q message.Query) *wirev1.Signed {
		who := q.Address
		var name *message.NameRecord
		if q.Name != "" {
			who = whose.Address()
			if name, err = message.SignName(message.NameRecord{Tracker: o.keys.Address(), Name: q.Name, Address: who, Time: time.Now()}, o.keys.Signer); err != nil {
				return nil
			}
		}
		a, err := t.truth(ctx, who)
		if err != nil {
			return nil
		}
		return o.answer(message.Answer{Query: q, Found: true, Subject: a.Subject, Servers: a.Servers, Name: name})
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(o.reference, "https://"), "#")
	v := t.visitor()
	out, err := v.adctl(ctx, "lookup", "ann@"+host, "--tracker", o.reference, "--json")
	f.must(err == nil && strings.Contains(out, both[0].Address().String()), "the control: the name is not resolved: %v %q", err, out)
	whose = both[1]
	out, err = v.adctl(ctx, "lookup", "ann@"+host, "--tracker", o.reference)
	var said *exitError
	f.must(exits(err) == 4 && out == "" && errors.As(err, &said) && strings.Contains(said.said, both[1].Address().String()), "a name changed hands: exit %d, %q, %v", exits(err), out, err)
	return f.all()
}

func lookupsAreShared(ctx context.Context, t *town) error {
	var f findings
	bob, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	ann, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	who := bob.Address().Bytes()
	neighbour, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	if _, err := neighbour.Peer.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{Address: who}}}); err != nil {
		return err
	}
	before := t.toHill.exchanges("/Lookup", who)
	note, err := t.file("shared", "who asks?")
	if err != nil {
		return err
	}
	if _, err := ann.adctl(ctx, "send", "--to", bob.Address().String(), note); err != nil {
		return err
	}
	asked := t.toOne.exchanges("/Lookup", who)
	f.must(len(asked) > 0, "the control: the own server was not asked")
	own, err := message.ParseReference(t.one.reference)
	if err != nil {
		return err
	}
	theirs, err := message.ParseReference(t.two.reference)
	if err != nil {
		return err
	}
	asks := func(all []*exchange) (by map[message.Address]int) {
		by = map[message.Address]int{}
		for _, e := range all {
			if header := e.header.Get("Authorization"); header != "" {
				a, err := message.ParseAccess(header)
				f.must(err == nil && (a.From == own.Address || a.From == theirs.Address), "the tracker was told who asks: %v, %v", a, err)
				if err == nil {
					by[a.From]++
				}
			}
		}
		return by
	}
	was, is := asks(before), asks(t.toHill.exchanges("/Lookup", who))
	f.must(was[own.Address] > 0 && is[own.Address] == was[own.Address], "the own server asked %d times, and %d times before", is[own.Address], was[own.Address])
	return f.all()
}

func enumeration(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	p, _, err := peer(ctx, t.nobody, t.hill.reference)
	if err != nil {
		return err
	}
	whole := ann.Address().Bytes()
	for name, q := range map[string]*wirev1.Query{
		"a prefix": {Address: whole[:8]}, "all but a byte": {Address: whole[:len(whole)-1]}, "a byte more": {Address: append(bytes.Clone(whole), 0)}, "zeros": {Address: make([]byte, len(whole))},
		"a name of stars": {Name: "*"}, "a percent": {Name: "%"}, "a name in SQL": {Name: "' or 1=1 --"}, "an empty host": {Host: "*"},
	} {
		res, err := p.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{q}})
		if err != nil {
			continue
		}
		for _, r := range res.GetResults() {
			for _, s := range r.GetAnswers() {
				f.must(!bytes.Contains(s.GetBody(), whole), "%s: the answer tells of somebody", name)
			}
		}
	}
	res, err := p.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{Address: whole}}})
	f.must(err == nil && len(res.GetResults()) == 1 && bytes.Contains(res.GetResults()[0].GetAnswers()[0].GetBody(), whole), "the control: the exact question is not answered: %v", err)
	for _, path := range []string{"/airdispatch.v1.Tracker/List", "/airdispatch.v1.Tracker/Changes", "/airdispatch.v1.Directory/Search", "/airdispatch.v1.Directory/List", "/addresses", "/"} {
		status, body, err := t.get(ctx, t.toHill.url+path)
		f.must(err == nil && status == 404 && !bytes.Contains(body, whole), "%s: %d, %v", path, status, err)
	}
	return f.all()
}

func freeIdentities(ctx context.Context, t *town) error {
	var f findings
	o, err := t.outlaw(message.RoleServer)
	if err != nil {
		return err
	}
	ann, err := o.citizen(ctx)
	if err != nil {
		return fmt.Errorf("the control: a server's own user: %w", err)
	}
	k, err := proof.Keyring(message.RoleUser)
	if err != nil {
		return err
	}
	another, err := message.SignTicket(o.keys.Address(), ann.Address(), time.Now(), time.Now().Add(time.Hour), o.keys.Signer)
	if err != nil {
		return err
	}
	own, err := message.SignTicket(o.keys.Address(), k.Address(), time.Now(), time.Now().Add(time.Hour), k.Signer)
	if err != nil {
		return err
	}
	for name, ticket := range map[string]*message.Ticket{"somebody else's ticket": another, "a ticket of one's own": own} {
		id := &message.Identity{Chain: k.Chain}
		if id.Route, err = route(k, 1, time.Now(), message.Service{Purpose: message.PurposeAny, Server: o.keys.Address(), Ticket: ticket}); err != nil {
			continue // it cannot even be written down
		}
		f.must(t.publish(ctx, t.hill, id.Wire(), o.identity.Wire()) != nil, "%s was taken", name)
	}
	none := &wirev1.Route{Address: k.Address().Bytes(), CardId: cardID(k), Seq: 1, Time: time.Now().UnixMilli(), Expires: time.Now().Add(time.Hour).UnixMilli(),
		Services: []*wirev1.Service{{Purpose: wirev1.Purpose_PURPOSE_ANY, Server: o.keys.Address().Bytes()}}}
	id := &wirev1.Identity{Cards: k.Chain.Signed(0), Route: state("route", none, k.Signer)}
	f.must(t.publish(ctx, t.hill, id, o.identity.Wire()) != nil, "a route without a ticket was taken")
	vale, err := t.serve(ctx, spec{program: "adtrackd", name: "vale", env: []string{"AD_LIMITS__SERVER_BURST=5", "AD_LIMITS__SERVER_PER_MINUTE=1"}})
	if err != nil {
		return err
	}
	taken, refused := 0, 0
	for range 12 {
		p, err := o.citizen(ctx)
		if err != nil {
			return err
		}
		switch err := t.publish(ctx, vale, p.Identity.Wire(), o.identity.Wire()); {
		case err == nil:
			taken++
		case errors.Is(err, message.RateLimited):
			refused++
		default:
			return err
		}
	}
	f.must(taken > 0 && taken <= 6 && refused >= 6, "%d newcomers of one server were taken, %d refused", taken, refused)
	return f.all()
}

// cardID is the id of the newest card.
func cardID(k *message.Keyring) []byte {
	id := k.Chain.Head().ID
	return id[:]
}

func future(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	for n, ahead := range []time.Duration{9 * time.Minute, 11 * time.Minute} {
		r, err := route(ann.Keys, uint64(n+2), time.Now().Add(ahead), ann.Identity.Route.Services...)
		if err != nil {
			return err
		}
		err = t.publish(ctx, t.hill, (&message.Identity{Chain: ann.Keys.Chain, Route: r}).Wire(), ann.Host.Wire())
		if n == 0 {
			f.fine(err, "the control: nine minutes ahead")
		} else {
			f.refused(err, message.Clock, "a route eleven minutes ahead")
		}
	}
	o, err := t.outlaw(message.RoleServer)
	if err != nil {
		return err
	}
	for _, ahead := range []time.Duration{9 * time.Minute, 11 * time.Minute} {
		paper, err := crypto.RandomBytes(crand.Reader, 32)
		if err != nil {
			return err
		}
		k, err := message.NewKeyring(message.RoleUser, paper, time.Now().Add(ahead), crand.Reader)
		if err != nil {
			return err
		}
		err = o.shows(ctx, k.Chain.Signed(0)[0], k.Signer)
		f.must((err == nil) == (ahead < message.MaxAhead), "a card of %s ahead: %v", ahead, err)
	}
	return f.all()
}
