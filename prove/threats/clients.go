package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func clientRows() []row {
	return []row{
		{"C1", "malformed and huge statements are refused one by one, and the server goes on", malformed},
		{"C2", "a signature that was made for one kind of statement counts for no other", crossKind},
		{"C3", "a letter that is passed on as if it had been written to somebody else is not taken", forwarded},
		{"C4", "somebody else's ciphertext under one's own name opens for nobody", resigned},
		{"C5", "cards with keys under which anything verifies are refused", weakKeys},
		{"C6", "one ciphertext under two keys opens for one of its readers alone", twoKeys},
		{"C7", "a flood of strangers' alerts stays within its caps, and a block ends it", flood},
		{"C8", "nobody joins without an invitation where one is needed, nor twice by one, and many strangers of one server share its cap", sybils},
		{"C9", "a full account and a full disk refuse what is new and go on reading", filled},
		{"C10", "what must not stay is gone when the operator suspends or removes its author", takenDown},
		{"C11", "a private message that one may not have looks like one that is not there", guessed},
		{"C12", "uploads at the same moment do not pass the quota together", raced},
		{"C13", "a message has at most a thousand versions, and only the newest is announced", edits},
	}
}

func malformed(ctx context.Context, t *town) error {
	var f findings
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	good, err := letter(ann.Keys, nil, "well formed", bob.Keys.Chain)
	if err != nil {
		return err
	}
	sign := func(body []byte) *wirev1.Signed {
		return &wirev1.Signed{Body: body, Key: ann.Keys.Signer.Public().Bytes(), Signature: ann.Keys.Signer.Sign("head", body)}
	}
	bad := map[string]*wirev1.Signed{
		"nothing": {}, "noise": sign([]byte("\xff\xff\xff\xff")), "a head of 9 KiB": sign(bytes.Repeat([]byte("\x7a\x00"), 4500)), "a length of 2^63": sign([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),
		"a signature of one byte": {Body: good.Head.Signed.GetBody(), Key: good.Head.Signed.GetKey(), Signature: []byte{1}}, "a key of one byte": {Body: good.Head.Signed.GetBody(), Key: []byte{1}, Signature: good.Head.Signed.GetSignature()},
		"a hundred recipients": head(&wirev1.Binding{From: ann.Address().Bytes(), CardId: cardID(ann.Keys), Mid: good.Head.MID.Bytes(), Version: 1, Time: time.Now().UnixMilli(), Kind: wirev1.Kind_KIND_CONTENT,
			Audience: wirev1.Audience_AUDIENCE_PRIVATE, Suite: 1, Contract: wirev1.Contract_CONTRACT_REVISABLE, To: repeated(bob.Address().Bytes(), 100)}, good.Payload, good.Head.Commit[:], ann.Keys.Signer),
	}
	for what, s := range bad {
		_, refusals, err := submits(ctx, ann, &wirev1.Submission{Head: s, Slots: good.Slots, Payload: good.Payload}, submission(good))
		f.must(err == nil && refusals[0] != nil, "%s was taken: %v", what, err)
		f.must(err == nil && refusals[1] == nil, "%s took a good one with it: %v", what, err)
	}
	_, _, err = submits(ctx, ann, &wirev1.Submission{Head: good.Head.Signed, Slots: good.Slots, Payload: make([]byte, 5<<20)})
	f.must(err != nil, "a call of 5 MiB was taken")
	_, refusals, err := submits(ctx, ann, &wirev1.Submission{Head: good.Head.Signed, Slots: good.Slots, Payload: make([]byte, 2<<20)})
	f.must(err != nil || refusals[0] != nil, "a payload of 2 MiB was taken")
	_, err = ann.Peer.Mailbox().Account(ctx, &wirev1.AccountRequest{})
	f.fine(err, "the control: the server goes on")
	return f.all()
}

// repeated is the same bytes many times.
func repeated(b []byte, n int) (out [][]byte) {
	for range n {
		out = append(out, b)
	}
	return out
}

func crossKind(ctx context.Context, t *town) error {
	var f findings
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	l, err := letter(ann.Keys, nil, "what kind?", bob.Keys.Chain)
	if err != nil {
		return err
	}
	body := l.Head.Signed.GetBody()
	for _, kind := range []string{"card", "route", "ticket", "name", "access", "receipt", "answer", "offer", "hello"} {
		s := &wirev1.Signed{Body: body, Key: l.Head.Signed.GetKey(), Signature: ann.Keys.Signer.Sign(kind, body)}
		_, refusals, err := submits(ctx, ann, &wirev1.Submission{Head: s, Slots: l.Slots, Payload: l.Payload})
		f.must(err == nil && errors.Is(refusals[0], message.BadSignature), "signed as %q, a head is refused with %v, %v", kind, refusals, err)
	}
	w := &wirev1.Access{From: ann.Address().Bytes(), CardId: cardID(ann.Keys), Audience: ann.Host.Address().Bytes(), Time: time.Now().UnixMilli(), Expires: time.Now().Add(time.Minute).UnixMilli()}
	f.fine(t.account(ctx, t.toOne.url, spelled(state("access", w, ann.Keys.Signer))), "the control: an access")
	for _, kind := range []string{"head", "receipt", "route"} {
		f.must(t.account(ctx, t.toOne.url, spelled(state(kind, w, ann.Keys.Signer))) != nil, "signed as %s, an access is good", kind)
	}
	_, err = submit(ctx, ann, l)
	f.fine(err, "the control: a head")
	return f.all()
}

func forwarded(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	carol, err := t.moves(ctx, t.two)
	if err != nil {
		return err
	}
	// Bob's server is the outlaw's: mallory got a letter and passes it on.
	l, err := letter(s.mallory.Keys, nil, "for bob alone", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	slot := proto.Clone(slotOf(l, s.bob.address)).(*wirev1.Slot)
	slot.Address = carol.address.Bytes()
	results, err := s.o.alert(ctx, t.two, s.mallory, &wirev1.AlertItem{To: carol.address.Bytes(), Head: l.Head.Signed, Slot: slot}, &wirev1.AlertItem{To: s.bob.address.Bytes(), Head: l.Head.Signed, Slot: slotOf(l, s.bob.address)})
	if err != nil {
		return err
	}
	f.refused(message.OpenRefusal(results[0].GetRefusal()), message.NotAccepted, "a letter to somebody else")
	f.fine(message.OpenRefusal(results[1].GetRefusal()), "the control: to whom it was written")
	in, err := carol.inbox(ctx)
	f.must(err == nil && has(in, l.Head.Ref()) == 0, "it is in the inbox of somebody to whom it was not written: %v", err)
	return f.all()
}

func resigned(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	// Ann writes to mallory and bob; mallory knows the content key.
	l, err := letter(ann.Keys, nil, "ann wrote this", s.mallory.Keys.Chain, s.bob.keys.Chain)
	if err != nil {
		return err
	}
	raw := &wirev1.Head{}
	if err := proto.Unmarshal(l.Head.Signed.GetBody(), raw); err != nil {
		return err
	}
	ctx1 := crypto.Hash("ctx", raw.GetBinding())
	cek, err := s.mallory.Keys.Boxes[0].Open(ctx1[:], slotOf(l, s.mallory.Address()).GetSealed())
	if err != nil {
		return err
	}
	box, _ := s.bob.keys.Chain.Head().Box()
	id := box.ID()
	for what, commit := range map[string]func(*wirev1.Binding) []byte{
		"with ann's commitment": func(*wirev1.Binding) []byte { return raw.GetCommit() },
		"with a commitment of his own": func(b *wirev1.Binding) []byte {
			key, err := crypto.ContentKeyFromBytes(cek)
			if err != nil {
				return nil
			}
			binding, err := proto.Marshal(b)
			if err != nil {
				return nil
			}
			_, c := key.Derive(crypto.Hash("ctx", binding))
			return c[:]
		},
	} {
		mid, err := message.NewMID(time.Now(), crand.Reader)
		if err != nil {
			return err
		}
		b := &wirev1.Binding{From: s.mallory.Address().Bytes(), CardId: cardID(s.mallory.Keys), Mid: mid.Bytes(), Version: 1, Time: time.Now().UnixMilli(), Kind: wirev1.Kind_KIND_CONTENT,
			Audience: wirev1.Audience_AUDIENCE_PRIVATE, To: [][]byte{s.bob.address.Bytes()}, Suite: 1, Contract: wirev1.Contract_CONTRACT_REVISABLE}
		h := head(b, l.Payload, commit(b), s.mallory.Keys.Signer)
		w := &wirev1.Head{}
		if err := proto.Unmarshal(h.GetBody(), w); err != nil {
			return err
		}
		ctx2 := crypto.Hash("ctx", w.GetBinding())
		sealed, err := box.Seal(crand.Reader, ctx2[:], cek)
		if err != nil {
			return err
		}
		slot := &wirev1.Slot{Address: s.bob.address.Bytes(), Box: id[:], Sealed: sealed}
		s.o.serves(&wirev1.Pulled{Heads: []*wirev1.Signed{h}, Slot: slot, Payload: l.Payload})
		results, err := s.o.alert(ctx, t.two, s.mallory, &wirev1.AlertItem{To: s.bob.address.Bytes(), Head: h, Slot: slot})
		if err != nil {
			return err
		}
		f.fine(message.OpenRefusal(results[0].GetRefusal()), "the control: the alert looks good")
		out, err := s.reads(ctx, message.Ref{From: s.mallory.Address(), MID: mid})
		f.must(exits(err) == 6 && out == "", "%s: exit %d, shown %q", what, exits(err), out)
	}
	return f.all()
}

func weakKeys(ctx context.Context, t *town) error {
	var f findings
	o, err := t.outlaw(message.RoleServer)
	if err != nil {
		return err
	}
	k, err := proof.Keyring(message.RoleUser)
	if err != nil {
		return err
	}
	identityPoint := append([]byte{1}, make([]byte, 31)...)
	order2 := append(bytes.Repeat([]byte{0xec}, 1), append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...)
	nonCanonical := append(bytes.Repeat([]byte{0xee}, 1), append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...)
	base := &wirev1.Card{}
	if err := proto.Unmarshal(k.Chain.Signed(0)[0].GetBody(), base); err != nil {
		return err
	}
	shown := func(change func(*wirev1.Card)) error {
		w := proto.Clone(base).(*wirev1.Card)
		change(w)
		return o.shows(ctx, state("card", w, k.Rotation[0]), k.Signer)
	}
	for what, change := range map[string]func(*wirev1.Card){
		"the identity point as a device": func(c *wirev1.Card) { c.Signers = append(c.Signers, keyAs(c.Signers[0], identityPoint)) },
		"a point of order 2":             func(c *wirev1.Card) { c.Signers = append(c.Signers, keyAs(c.Signers[0], order2)) },
		"a key that is not canonical":    func(c *wirev1.Card) { c.Signers = append(c.Signers, keyAs(c.Signers[0], nonCanonical)) },
		"zeros as a rotation key":        func(c *wirev1.Card) { c.Rotation[0] = keyAs(c.Rotation[0], make([]byte, 32)) },
		"a box of zeros":                 func(c *wirev1.Card) { c.Boxes[1].Key = make([]byte, len(c.Boxes[1].Key)) },
		"a box of order 8":               func(c *wirev1.Card) { c.Boxes[1].Key = append([]byte{1}, make([]byte, len(c.Boxes[1].Key)-1)...) },
	} {
		f.refused(shown(change), message.Invalid, what)
	}
	f.fine(shown(func(c *wirev1.Card) { c.Time++ }), "the control: a good card")
	return f.all()
}

// keyAs is raw key bytes in the form of another key: some forms begin with what
// sort of key it is.
func keyAs(form, raw []byte) []byte {
	return append(bytes.Clone(form[:len(form)-len(raw)]), raw...)
}

func twoKeys(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	carol, err := t.moves(ctx, t.two)
	if err != nil {
		return err
	}
	l, err := letter(s.mallory.Keys, nil, "the same for both", s.bob.keys.Chain, carol.keys.Chain)
	if err != nil {
		return err
	}
	// Carol's slot holds another key, under which the ciphertext says something else.
	raw := &wirev1.Head{}
	if err := proto.Unmarshal(l.Head.Signed.GetBody(), raw); err != nil {
		return err
	}
	binding := crypto.Hash("ctx", raw.GetBinding())
	box, _ := carol.keys.Chain.Head().Box()
	id := box.ID()
	sealed, err := box.Seal(crand.Reader, binding[:], bytes.Repeat([]byte{7}, 32))
	if err != nil {
		return err
	}
	other := &wirev1.Slot{Address: carol.address.Bytes(), Box: id[:], Sealed: sealed}
	for _, who := range []struct {
		h     *home
		slot  *wirev1.Slot
		opens bool
	}{{s.bob, slotOf(l, s.bob.address), true}, {carol, other, false}} {
		s.o.serves(&wirev1.Pulled{Heads: []*wirev1.Signed{l.Head.Signed}, Slot: who.slot, Payload: l.Payload})
		results, err := s.o.alert(ctx, t.two, s.mallory, &wirev1.AlertItem{To: who.h.address.Bytes(), Head: l.Head.Signed, Slot: who.slot})
		if err != nil {
			return err
		}
		f.fine(message.OpenRefusal(results[0].GetRefusal()), "the alert")
		out, err := scene{s.o, s.mallory, who.h}.reads(ctx, l.Head.Ref())
		f.must((err == nil && bytes.Contains([]byte(out), []byte("the same"))) == who.opens, "opens: %v, %q", err, out)
		f.must(who.opens || exits(err) == 6, "another key: exit %d", exits(err))
	}
	return f.all()
}

// waiting are the requests of a mailbox.
func waiting(ctx context.Context, p *proof.Person) (n int, err error) {
	after := &wirev1.Cursor{}
	for {
		res, err := p.Peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{After: after, Limit: 500})
		if err != nil {
			return n, err
		}
		for _, e := range res.GetEntries() {
			if e.GetFolder() == wirev1.Folder_FOLDER_REQUESTS && !e.GetDeleted() {
				n++
			}
		}
		if after = res.GetNext(); !res.GetMore() {
			return n, nil
		}
	}
}

func flood(ctx context.Context, t *town) error {
	var f findings
	o, err := t.outlaw(message.RoleServer)
	if err != nil {
		return err
	}
	mallory, err := o.citizen(ctx)
	if err != nil {
		return err
	}
	bob, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	for n := range 12 {
		l, err := letter(mallory.Keys, nil, fmt.Sprintf("offer %d", n), bob.Keys.Chain)
		if err != nil {
			return err
		}
		_ = o.tells(ctx, t.two, mallory, l, bob.Address()) // beyond the cap it may be refused
	}
	n, err := waiting(ctx, bob)
	f.must(err == nil && n > 0 && n <= 5, "%d requests of one sender wait: %v", n, err)
	if _, err := bob.Peer.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: mallory.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_BLOCK}}}); err != nil {
		return err
	}
	l, err := letter(mallory.Keys, nil, "one more", bob.Keys.Chain)
	if err != nil {
		return err
	}
	f.refused(o.tells(ctx, t.two, mallory, l, bob.Address()), message.NotAccepted, "after the block")
	return f.all()
}

func sybils(ctx context.Context, t *town) error {
	var f findings
	closed, err := t.serve(ctx, spec{program: "admaild", name: "closed", init: []string{"--accounts", "invite", "--tracker", t.hill.reference}, env: quick})
	if err != nil {
		return err
	}
	_, err = t.moves(ctx, closed)
	f.must(exits(err) == 4, "somebody joined without an invitation: %v", err)
	token, err := t.run(ctx, closed.dir, "admaild", "invite", "--uses", "1", "--dir", closed.dir)
	if err != nil {
		return err
	}
	_, err = t.moves(ctx, closed, "--invite", trimmed(token))
	f.fine(err, "the control: with an invitation")
	_, err = t.moves(ctx, closed, "--invite", trimmed(token))
	f.must(exits(err) == 4, "somebody joined by a used invitation: %v", err)
	// Many senders of one server share its cap.
	o, err := t.outlaw(message.RoleServer)
	if err != nil {
		return err
	}
	bob, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	for range 45 {
		mallory, err := o.citizen(ctx)
		if err != nil {
			return err
		}
		var items []*wirev1.AlertItem
		for range 5 {
			l, err := letter(mallory.Keys, nil, "one of many", bob.Keys.Chain)
			if err != nil {
				return err
			}
			items = append(items, &wirev1.AlertItem{To: bob.Address().Bytes(), Head: l.Head.Signed, Slot: slotOf(l, bob.Address())})
		}
		if _, err := o.alert(ctx, t.two, mallory, items...); err != nil {
			return err
		}
	}
	n, err := waiting(ctx, bob)
	f.must(err == nil && n > 100 && n <= 200, "%d requests of one server wait: %v", n, err)
	return f.all()
}

// limited is a server with a small quota.
func (t *town) limited(ctx context.Context, name string, env ...string) (*server, error) {
	return t.serve(ctx, spec{program: "admaild", name: name, init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: append(append([]string{}, quick...), env...)})
}

func filled(ctx context.Context, t *town) error {
	var f findings
	s, err := t.limited(ctx, "small", "AD_LIMITS__ACCOUNT_BYTES=200000", "AD_LIMITS__RESERVE_BYTES=1000000000000000000")
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, s)
	if err != nil {
		return err
	}
	var last *message.Sealed
	var refusal error
	for range 20 {
		l, err := letter(ann.Keys, nil, string(bytes.Repeat([]byte("x"), 30_000)), ann.Keys.Chain)
		if err != nil {
			return err
		}
		if _, refusal = submit(ctx, ann, l); refusal != nil {
			break
		}
		last = l
	}
	f.refused(refusal, message.Quota, "more than fits")
	if last == nil {
		return errors.Join(f.all(), errors.New("the control: nothing fits"))
	}
	res, err := ann.Peer.Exchange().Pull(ctx, &wirev1.PullRequest{For: ann.Address().Bytes(), Items: []*wirev1.FetchItem{{From: ann.Address().Bytes(), Mid: last.Head.MID.Bytes()}}})
	f.must(err == nil && len(res.GetResults()) == 1 && len(res.GetResults()[0].GetPayload()) > 0, "what fits is not read: %v", err)
	// An attachment would not leave the reserve of free space; a letter does.
	h, err := t.moves(ctx, s)
	if err != nil {
		return err
	}
	long, err := t.file("reserve", string(bytes.Repeat([]byte("word "), 10_000)))
	if err != nil {
		return err
	}
	note, err := t.file("small note", "a small letter")
	if err != nil {
		return err
	}
	_, err = h.adctl(ctx, "send", "--to", ann.Address().String(), "--attach", long, note)
	f.must(exits(err) != 0, "an attachment was taken on a full disk")
	_, err = h.adctl(ctx, "send", "--to", ann.Address().String(), note)
	f.fine(err, "the control: a letter on the full disk")
	return f.all()
}

func takenDown(ctx context.Context, t *town) error {
	var f findings
	s, err := t.limited(ctx, "tidy")
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, s)
	if err != nil {
		return err
	}
	n, err := notice(ann.Keys, nil, "rant", "must not stay")
	if err != nil {
		return err
	}
	if _, err := submit(ctx, ann, n); err != nil {
		return err
	}
	reads := func() bool {
		out, err := t.visitor().adctl(ctx, "read", ann.Address().String()+"::rant", "--tracker", t.hill.reference)
		return err == nil && bytes.Contains([]byte(out), []byte("must not stay"))
	}
	f.must(reads(), "the control: the post is not there")
	if _, err := t.run(ctx, s.dir, "admaild", "user", "suspend", ann.Address().String(), "--dir", s.dir); err != nil {
		return err
	}
	next, err := notice(ann.Keys, n.Head, "rant", "again")
	if err != nil {
		return err
	}
	_, err = submit(ctx, ann, next)
	f.refused(err, message.Denied, "a post of somebody who is suspended")
	if _, err := t.run(ctx, s.dir, "admaild", "user", "remove", ann.Address().String(), "--yes", "--dir", s.dir); err != nil {
		return err
	}
	f.must(!reads(), "the post is still there")
	return f.all()
}

func guessed(ctx context.Context, t *town) error {
	var f findings
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	eve, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	l, err := letter(ann.Keys, nil, "between us", bob.Keys.Chain)
	if err != nil {
		return err
	}
	if _, err := submit(ctx, ann, l); err != nil {
		return err
	}
	pull := func(who *proof.Person, mid []byte) *wirev1.Pulled {
		res, err := who.Peer.Exchange().Pull(ctx, &wirev1.PullRequest{For: who.Address().Bytes(), Items: []*wirev1.FetchItem{{From: ann.Address().Bytes(), Mid: mid}}})
		if err != nil || len(res.GetResults()) != 1 {
			return nil
		}
		if r := res.GetResults()[0].GetRefusal(); r != nil {
			r.ServerTime = 0
		}
		return res.GetResults()[0]
	}
	absent := bytes.Clone(l.Head.MID.Bytes())
	absent[15] ^= 1
	there, gone := pull(eve, l.Head.MID.Bytes()), pull(eve, absent)
	f.must(there != nil && proto.Equal(there, gone) && there.GetRefusal().GetReason() == wirev1.Reason_REASON_NOT_FOUND, "forbidden and absent differ: %v, %v", there, gone)
	f.fine(until(ctx, "the alert", func() bool {
		res, err := bob.Peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{})
		return err == nil && len(res.GetEntries()) > 0
	}), "the control")
	got, err := bob.Peer.Mailbox().Fetch(ctx, &wirev1.FetchRequest{Items: []*wirev1.FetchItem{{From: ann.Address().Bytes(), Mid: l.Head.MID.Bytes()}}})
	f.must(err == nil && len(got.GetResults()) == 1 && len(got.GetResults()[0].GetPayload()) > 0, "the control: the reader does not get it: %v", err)
	a, err := message.NewMID(time.Now(), crand.Reader)
	if err != nil {
		return err
	}
	b, err := message.NewMID(time.Now(), crand.Reader)
	f.must(err == nil && !bytes.Equal(a.Bytes()[6:], b.Bytes()[6:]), "two numbers are alike: %v", err)
	return f.all()
}

func raced(ctx context.Context, t *town) error {
	var f findings
	s, err := t.limited(ctx, "racing", "AD_LIMITS__ACCOUNT_BYTES=200000")
	if err != nil {
		return err
	}
	both, err := t.people(ctx, s, t.one)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	var all sync.WaitGroup
	var taken, refused atomic.Int32
	for range 20 {
		l, err := letter(ann.Keys, nil, string(bytes.Repeat([]byte("x"), 30_000)), bob.Keys.Chain)
		if err != nil {
			return err
		}
		all.Go(func() {
			if _, err := submit(ctx, ann, l); err == nil {
				taken.Add(1)
			} else if errors.Is(err, message.Quota) {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	f.must(taken.Load() > 0 && taken.Load() <= 6 && taken.Load()+refused.Load() == 20, "%d of 20 were taken, %d refused", taken.Load(), refused.Load())
	a, err := ann.Peer.Mailbox().Account(ctx, &wirev1.AccountRequest{})
	f.must(err == nil && a.GetBytesUsed() <= a.GetBytesLimit() && a.GetMessagesUsed() == uint64(taken.Load()), "the account has %d of %d bytes in %d messages, %v", a.GetBytesUsed(), a.GetBytesLimit(), a.GetMessagesUsed(), err)
	return f.all()
}

func edits(ctx context.Context, t *town) error {
	var f findings
	s, err := t.limited(ctx, "patient")
	if err != nil {
		return err
	}
	both, err := t.people(ctx, t.one, s)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	var batch []*wirev1.Submission
	var prev *message.Head
	for n := range message.MaxVersions {
		v, err := notice(ann.Keys, prev, "page", fmt.Sprint(n))
		if err != nil {
			return err
		}
		prev = v.Head
		if batch = append(batch, submission(v)); len(batch) == 100 {
			_, refusals, err := submits(ctx, ann, batch...)
			if err != nil || errors.Join(refusals...) != nil {
				return errors.Join(append(refusals, err)...)
			}
			batch = nil
		}
	}
	raw := &wirev1.Binding{From: ann.Address().Bytes(), CardId: cardID(ann.Keys), Mid: prev.MID.Bytes(), Version: message.MaxVersions + 1, Prev: prev.ID[:], Time: time.Now().UnixMilli(), Kind: wirev1.Kind_KIND_CONTENT,
		Audience: wirev1.Audience_AUDIENCE_PUBLIC, Contract: wirev1.Contract_CONTRACT_REVISABLE, Name: "page"}
	_, refusals, err := submits(ctx, ann, &wirev1.Submission{Head: head(raw, []byte("more"), nil, ann.Keys.Signer), Payload: []byte("more")})
	f.must(err == nil && refusals[0] != nil, "version %d was taken: %v", message.MaxVersions+1, err)
	// Twenty edits while the reader's server is down are one alert.
	s.kill()
	var sealed *message.Sealed
	var standing *message.Head
	for n := range 20 {
		if sealed, err = letter(ann.Keys, standing, fmt.Sprintf("edit %d", n), bob.Keys.Chain); err != nil {
			return err
		}
		if _, err := submit(ctx, ann, sealed); err != nil {
			return err
		}
		standing = sealed.Head
	}
	if err := t.start(s); err != nil {
		return err
	}
	bob.Client.Close()
	var versions []uint64
	f.fine(until(ctx, "the alert", func() bool {
		versions = nil
		res, err := bob.Peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{})
		if err != nil {
			return false
		}
		for _, e := range res.GetEntries() {
			if h, err := message.ParseHead(e.GetHead()); err == nil {
				versions = append(versions, h.Version())
			}
		}
		return len(versions) > 0
	}), "edits")
	f.must(len(versions) == 1 && versions[0] == 20, "versions %v were announced", versions)
	return f.all()
}
