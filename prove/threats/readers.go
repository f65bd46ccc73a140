package main

import (
	"context"
	"strings"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func readerRows() []row {
	return []row{
		{"R1", "a private message that is not encrypted cannot be handed in, and what is handed in names no word of it", plainPrivate},
		{"R2", "a reader's server that swallows an alert leaves it at alerted, and never makes it fetched", swallowed},
		{"R4", "receipts that a reader's server makes up, or signs for others, are not believed", madeUpReceipts},
		{"R5", "a server that shows its owner an older or emptier mailbox takes nothing away from what was read", emptied},
	}
}

func plainPrivate(ctx context.Context, t *town) error {
	var f findings
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	l, err := letter(ann.Keys, nil, "not for the server", bob.Keys.Chain)
	if err != nil {
		return err
	}
	f.must(!strings.Contains(string(l.Payload), "not for the server"), "the payload has the text")
	clear := []byte("clear text")
	for what, suite := range map[string]uint32{"no suite": 0, "an unknown suite": 99} {
		b := &wirev1.Binding{From: ann.Address().Bytes(), CardId: cardID(ann.Keys), Mid: l.Head.MID.Bytes(), Version: 1, Time: time.Now().UnixMilli(), Kind: wirev1.Kind_KIND_CONTENT,
			Audience: wirev1.Audience_AUDIENCE_PRIVATE, To: [][]byte{bob.Address().Bytes()}, Suite: suite, Contract: wirev1.Contract_CONTRACT_REVISABLE}
		_, refusals, err := submits(ctx, ann, &wirev1.Submission{Head: head(b, clear, nil, ann.Keys.Signer), Payload: clear, Slots: l.Slots})
		f.must(err == nil && refusals[0] != nil, "a private message with %s was taken: %v", what, err)
	}
	_, err = submit(ctx, ann, l)
	f.fine(err, "the control: an encrypted one")
	return f.all()
}

func swallowed(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	ann, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	s.o.alerts = s.o.swallows(s.o.keys)
	note, err := t.file("swallowed", "does it arrive?")
	if err != nil {
		return err
	}
	id, err := ann.adctl(ctx, "send", "--to", s.mallory.Address().String(), note)
	if err != nil {
		return err
	}
	state := func() string {
		out, err := ann.list(ctx, "status", strings.TrimSpace(id))
		if err != nil || len(out) != 1 {
			return "unknown"
		}
		all, ok := out[0]["recipients"].([]any)
		if !ok || len(all) != 1 {
			return "unknown"
		}
		one, _ := all[0].(map[string]any)
		word, _ := one["state"].(string)
		return word
	}
	f.fine(until(ctx, "the alert", func() bool { return state() == "alerted" }), "the control: the state is "+state())
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	f.must(state() == "alerted", "what nobody fetched is %s", state())
	return f.all()
}

// swallows takes every alert, with a receipt signed by a key, and forgets it.
func (o *outlaw) swallows(by *message.Keyring) func(*wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
	return func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
		res := &wirev1.AlertResponse{}
		for n, item := range req.GetItems() {
			claim, err := message.ParseHead(item.GetHead())
			if err != nil {
				return nil, err
			}
			to, err := message.AddressFromBytes(item.GetTo())
			if err != nil {
				return nil, err
			}
			r, err := message.SignReceipt(message.Receipt{Issuer: o.keys.Address(), Kind: message.ReceiptAlerted, ID: claim.ID(), For: to, AcceptedAt: time.Now(), Epoch: 1, LogSeq: uint64(n + 1)}, by.Signer)
			if err != nil {
				return nil, err
			}
			res.Results = append(res.Results, &wirev1.AlertResult{Receipt: r.Signed})
		}
		return res, nil
	}
}

func madeUpReceipts(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	stranger, err := t.outlaw(message.RoleServer)
	if err != nil {
		return err
	}
	l, err := letter(ann.Keys, nil, "who has it?", s.mallory.Keys.Chain)
	if err != nil {
		return err
	}
	s.o.mu.Lock()
	s.o.alerts = s.o.swallows(stranger.keys) // receipts in its name, by another key
	s.o.mu.Unlock()
	if _, err := submit(ctx, ann, l); err != nil {
		return err
	}
	state := func() wirev1.DeliveryState {
		res, err := ann.Peer.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: l.Head.MID.Bytes()})
		if err != nil || len(res.GetDeliveries()) != 1 {
			return -1
		}
		return res.GetDeliveries()[0].GetState()
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	f.must(state() == wirev1.DeliveryState_DELIVERY_STATE_QUEUED, "a receipt by another key: %s", state())
	s.o.mu.Lock()
	s.o.alerts = s.o.swallows(s.o.keys)
	s.o.mu.Unlock()
	f.fine(until(ctx, "a good receipt", func() bool { return state() == wirev1.DeliveryState_DELIVERY_STATE_ALERTED }), "the control")
	// Receipts that say fetched and opened, by those who may not say so.
	one, _, err := peer(ctx, stranger.client, t.one.reference)
	if err != nil {
		return err
	}
	two, _, err := peer(ctx, s.o.client, t.one.reference)
	if err != nil {
		return err
	}
	for what, made := range map[string]struct {
		r  message.Receipt
		by *message.Keyring
	}{
		"fetched, by a server that is not the reader's": {message.Receipt{Issuer: stranger.keys.Address(), Kind: message.ReceiptFetched}, stranger.keys},
		"opened, by the reader's server":                {message.Receipt{Issuer: s.o.keys.Address(), Kind: message.ReceiptOpened}, s.o.keys},
		"opened, in the reader's name by the server":    {message.Receipt{Issuer: s.mallory.Address(), Kind: message.ReceiptOpened}, s.o.keys},
	} {
		made.r.ID, made.r.For, made.r.AcceptedAt = l.Head.ID, s.mallory.Address(), time.Now()
		r, err := message.SignReceipt(made.r, made.by.Signer)
		if err != nil {
			continue // it cannot even be written down
		}
		for _, p := range []interface {
			Receipts(context.Context, *wirev1.ReceiptsRequest) (*wirev1.ReceiptsResponse, error)
		}{one.Exchange(), two.Exchange()} {
			_, _ = p.Receipts(ctx, &wirev1.ReceiptsRequest{Items: []*wirev1.Acknowledgement{{From: ann.Address().Bytes(), Mid: l.Head.MID.Bytes(), Version: 1, Receipt: r.Signed}},
				Identities: []*wirev1.Identity{s.mallory.Identity.Wire(), s.o.identity.Wire(), stranger.identity.Wire()}})
		}
		f.must(state() == wirev1.DeliveryState_DELIVERY_STATE_ALERTED, "%s: the state is %s", what, state())
	}
	r, err := message.SignReceipt(message.Receipt{Issuer: s.o.keys.Address(), Kind: message.ReceiptFetched, ID: l.Head.ID, For: s.mallory.Address(), AcceptedAt: time.Now()}, s.o.keys.Signer)
	if err != nil {
		return err
	}
	res, err := two.Exchange().Receipts(ctx, &wirev1.ReceiptsRequest{Items: []*wirev1.Acknowledgement{{From: ann.Address().Bytes(), Mid: l.Head.MID.Bytes(), Version: 1, Receipt: r.Signed}},
		Identities: []*wirev1.Identity{s.mallory.Identity.Wire(), s.o.identity.Wire()}})
	f.must(err == nil && state() == wirev1.DeliveryState_DELIVERY_STATE_FETCHED, "the control: fetched, by the reader's server: %v %v, %s", res, err, state())
	return f.all()
}

func emptied(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	bob, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	l, err := letter(ann.Keys, nil, "keep this", bob.keys.Chain)
	if err != nil {
		return err
	}
	if _, err := submit(ctx, ann, l); err != nil {
		return err
	}
	f.fine(until(ctx, "the letter", func() bool {
		in, err := bob.inbox(ctx)
		return err == nil && has(in, l.Head.Ref()) == 1
	}), "the control")
	out, err := bob.adctl(ctx, "read", l.Head.Ref().String())
	f.must(err == nil && strings.Contains(out, "keep this"), "the control: %v %q", err, out)
	// From now on the owner's server denies that there is anything.
	t.toOne.hookFor(bob.address, "/Inbox", func([]byte) []byte { return nil })
	t.toOne.hookFor(bob.address, "/Fetch", func([]byte) []byte { return nil })
	in, err := bob.inbox(ctx)
	if err == nil {
		f.must(has(in, l.Head.Ref()) == 1, "an empty mailbox took away what was there: %v", in)
	}
	kept, err := bob.list(ctx, "inbox", "--requests", "--offline")
	more, err2 := bob.list(ctx, "inbox", "--offline")
	f.must(err == nil && err2 == nil && has(append(kept, more...), l.Head.Ref()) == 1, "it is not kept: %v %v", kept, err)
	out, _ = bob.adctl(ctx, "read", l.Head.Ref().String(), "--offline")
	f.must(strings.Contains(out, "keep this"), "the text is gone: %q", out)
	return f.all()
}
