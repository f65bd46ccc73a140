package mailserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"airdispatch/courier"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Alert takes heads in for the addresses hosted here. Each item has a result of
// its own.
func (s *Server) Alert(ctx context.Context, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
	in, err := s.intake(ctx, req)
	if err != nil {
		return nil, err
	}
	return &wirev1.AlertResponse{Results: s.takeIn(ctx, in)}, nil
}

// AlertStream is Alert without waiting. Results come in order.
func (s *Server) AlertStream(ctx context.Context, stream *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error {
	return pipeline(ctx, stream.Receive, stages[*wirev1.AlertRequest, []*intake, *wirev1.AlertResponse]{
		check: func(ctx context.Context, reqs []*wirev1.AlertRequest) ([]*intake, error) {
			var ins []*intake
			for _, req := range reqs {
				in, err := s.intake(ctx, req)
				if err != nil {
					return nil, err
				}
				ins = append(ins, in)
			}
			return ins, nil
		},
		keep: func(ctx context.Context, ins []*intake) []*wirev1.AlertResponse {
			return s.takeInAll(ctx, ins)
		},
		send: stream.Send,
	})
}

// intake is one call's alerts, each judged by itself.
type intake struct {
	bundle *bundle
	origin message.Address
	alerts []alerted
}

// alerted is one alert that is to be kept, or why it is not taken.
type alerted struct {
	alert store.Alert
	err   error
}

// recipient is what an intake needs to know about one recipient and sender.
type recipient struct {
	hosted  bool
	verdict store.Verdict
	err     error
}

// judged is one item of a call as far as it was read.
type judged struct {
	item  *wirev1.AlertItem
	to    message.Address
	claim message.HeadClaim
	who   recipient
	err   error
}

// intake verifies the items of one call. What concerns several of them (who
// calls, which accounts there are, what their owners think of the senders) is
// looked up once.
func (s *Server) intake(ctx context.Context, req *wirev1.AlertRequest) (*intake, error) {
	if n := len(req.GetItems()); n < 1 || n > maxItems {
		return nil, fmt.Errorf("mailserver: alert: %d items, 1 to %d: %w", n, maxItems, message.Invalid)
	}
	b, err := s.bundle(req.GetIdentities())
	if err != nil {
		return nil, err
	}
	origin, err := b.caller(ctx, rpc.Authorization(ctx))
	if err != nil {
		return nil, err
	}
	if err := s.brings(origin, len(req.GetItems())); err != nil {
		return nil, err
	}
	in := &intake{bundle: b, origin: origin}
	known := make(map[[2]message.Address]recipient)
	now := time.Now()
	// First what needs the store, one after the other; then the signatures,
	// together.
	items := make([]judged, len(req.GetItems()))
	for n, item := range req.GetItems() {
		j := judged{item: item}
		if j.to, j.err = message.AddressFromBytes(item.GetTo()); j.err == nil {
			j.claim, j.err = message.ParseHead(item.GetHead())
		}
		if j.err == nil {
			key := [2]message.Address{j.to, j.claim.From()}
			who, ok := known[key]
			if !ok {
				who = s.recipient(ctx, j.to, j.claim.From())
				known[key] = who
			}
			j.who = who
		}
		items[n] = j
	}
	in.alerts = spread(items, checkedTogether, func(items []judged) []alerted {
		return s.judge(ctx, in, items, now)
	})
	return in, nil
}

// brings counts what a server brings. What this one brings to itself its own
// accounts have sent, and was counted then; were it counted again, the letters of
// quiet people would wait behind a neighbour's storm.
func (s *Server) brings(origin message.Address, n int) error {
	if origin == s.address {
		return nil
	}
	return s.rates.alerts.take(origin, n)
}

// judge checks alerts, their signatures as one batch, and places them.
func (s *Server) judge(ctx context.Context, in *intake, items []judged, now time.Time) []alerted {
	out := make([]alerted, len(items))
	var claims []message.HeadClaim
	var authors []*message.Chain
	var places []int
	for n, j := range items {
		author, err := (*message.Chain)(nil), j.err
		if err == nil {
			author, err = in.bundle.author(ctx, in.origin, j.claim, j.to)
		}
		if out[n].err = err; err == nil {
			claims, authors, places = append(claims, j.claim), append(authors, author), append(places, n)
		}
	}
	heads, errs := message.VerifyHeads(s.c.Verifier, claims, authors)
	for i, n := range places {
		j, h, err := items[n], heads[i], errs[i]
		if err != nil {
			err = in.bundle.unverified(j.claim, err)
		} else {
			err = checkSlot(h, j.item.GetSlot(), j.to)
		}
		if err == nil {
			err = message.NotAhead(h.Time, now)
		}
		if err == nil {
			// Only now: were it earlier, what is asked for to check an alert would
			// tell whether the address is hosted here, and whom its owner blocks.
			err = j.who.err
		}
		if err != nil {
			out[n] = alerted{err: err}
			continue
		}
		out[n] = s.place(store.Alert{To: j.to, Head: h, Slot: j.item.GetSlot(), Origin: in.origin, Now: now}, j.who.verdict)
	}
	return out
}

// recipient looks up whether an address is hosted here and what its owner
// thinks of the sender.
func (s *Server) recipient(ctx context.Context, to, from message.Address) recipient {
	acc, err := s.c.Store.Accounts.Account(ctx, to)
	if err == nil && acc.Suspended {
		err = fmt.Errorf("mailserver: alert: recipient is suspended: %w", message.NotAccepted)
	}
	if err == nil {
		err = s.hosts(ctx, to)
	}
	if err != nil {
		return recipient{err: err}
	}
	if from == to {
		return recipient{hosted: true, verdict: store.Allow}
	}
	v, err := s.c.Store.Policies.Verdict(ctx, to, from)
	if err == nil && v == store.Block {
		err = fmt.Errorf("mailserver: alert: blocked: %w", message.NotAccepted)
	}
	return recipient{hosted: true, verdict: v, err: err}
}

// author is the chain to verify an alert with, when it is addressed to its
// recipient and the server that brings it speaks for the author.
func (b *bundle) author(ctx context.Context, origin message.Address, claim message.HeadClaim, to message.Address) (*message.Chain, error) {
	if !claim.Addressed(to) {
		return nil, fmt.Errorf("mailserver: alert: not addressed to %s: %w", to.Short(), message.NotAccepted)
	}
	ok, err := b.speaks(ctx, origin, claim.From(), message.PurposeOutbox)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("mailserver: alert: %s does not speak for %s: %w", origin.Short(), claim.From().Short(), message.NotAccepted)
	}
	author, err := b.identity(ctx, claim.From())
	if err != nil {
		return nil, err
	}
	return author.Chain, nil
}

// unverified is why an alert's head was not verified: cards that came along and
// do not do are not asked for again.
func (b *bundle) unverified(claim message.HeadClaim, err error) error {
	if errors.Is(err, message.NeedBundle) && b.has(claim.From()) {
		return fmt.Errorf("mailserver: alert: %w", message.NotAccepted)
	}
	return err
}

// checkSlot refuses a slot that is not the reader's, is there with a tombstone,
// or is missing without.
func checkSlot(h *message.Head, slot *wirev1.Slot, reader message.Address) error {
	if h.Tombstone() || h.Audience == message.Public {
		if slot != nil {
			return fmt.Errorf("mailserver: a slot where there is nothing to open: %w", message.Invalid)
		}
		return nil
	}
	if slot == nil {
		return fmt.Errorf("mailserver: no slot: %w", message.Invalid)
	}
	a, err := message.AddressFromBytes(slot.GetAddress())
	if err != nil {
		return err
	}
	if a != reader {
		return fmt.Errorf("mailserver: the slot of %s: %w", a.Short(), message.Invalid)
	}
	return message.CheckSlot(slot)
}

// place decides where an alert goes: to the inbox, and to be fetched soon, where
// the owner has accepted the sender; else to the requests, within caps.
func (s *Server) place(a store.Alert, v store.Verdict) alerted {
	if a.Head.Expired(a.Now) && !a.Head.Tombstone() {
		return alerted{err: fmt.Errorf("mailserver: alert: over: %w", message.NotAccepted)}
	}
	a.Folder = store.Inbox
	if v != store.Allow {
		a.Folder = store.Requests
		a.Caps = store.Caps{PerSender: requestsPerSender, PerOrigin: requestsPerOrigin, PerMailbox: requestsPerMailbox}
	} else if !a.Head.Tombstone() {
		a.PrefetchAt = a.Now.Add(courier.Jitter(s.c.Rand, max(s.c.Limits.PrefetchJitter, 0)))
	}
	return alerted{alert: a}
}

// takeIn keeps the alerts of one call and answers each.
func (s *Server) takeIn(ctx context.Context, in *intake) []*wirev1.AlertResult {
	return s.takeInAll(ctx, []*intake{in})[0].GetResults()
}

// takeInAll keeps the alerts of several calls in one go.
func (s *Server) takeInAll(ctx context.Context, ins []*intake) []*wirev1.AlertResponse {
	var alerts []store.Alert
	for _, in := range ins {
		in.learn(ctx)
		for _, a := range in.alerts {
			if a.err == nil {
				alerts = append(alerts, a.alert)
			}
		}
	}
	var kept []store.AlertResult
	if len(alerts) > 0 {
		kept = s.c.Store.Incoming.Alert(ctx, alerts)
	}
	s.afterAlerts(alerts, kept)
	var out []*wirev1.AlertResponse
	for _, in := range ins {
		results := make([]pairOf[alerted, store.AlertResult], len(in.alerts))
		for n, a := range in.alerts {
			results[n].a = a
			if a.err == nil {
				results[n].b, kept = kept[0], kept[1:]
			}
		}
		out = append(out, &wirev1.AlertResponse{Results: spread(results, signedTogether, each(s.alertResult))})
	}
	return out
}

// learn keeps the bundles of those whose alerts are about to be taken: they
// verify this mail later, and show where to pull it from.
func (in *intake) learn(ctx context.Context) {
	failed := make(map[message.Address]error)
	done := make(map[message.Address]bool)
	keep := func(a message.Address) error {
		if !done[a] {
			done[a], failed[a] = true, in.bundle.keep(ctx, a)
		}
		return failed[a]
	}
	for n, a := range in.alerts {
		if a.err != nil {
			continue
		}
		if err := errors.Join(keep(a.alert.Head.From), keep(in.origin)); err != nil {
			in.alerts[n].err = err
		}
	}
}

// alertResult is the answer about one alert.
func (s *Server) alertResult(r pairOf[alerted, store.AlertResult]) *wirev1.AlertResult {
	err := r.a.err
	if err == nil {
		err = r.b.Err
	}
	var receipt *wirev1.Signed
	if err == nil {
		receipt, err = s.receipt(message.ReceiptAlerted, r.a.alert.Head.ID, r.a.alert.To, r.b.Accepted)
	}
	if err != nil {
		s.c.Log.Debug("alert not taken", "err", err)
		return &wirev1.AlertResult{Refusal: s.refusal("alert", notTaken(err))}
	}
	return &wirev1.AlertResult{Receipt: receipt}
}

// notTaken hides why an alert was not taken: whether the address is hosted here,
// blocks the sender or is full is nobody's business. What only the bringer can
// mend, or what may pass, stays as it is.
func notTaken(err error) error {
	switch message.CodeOf(err) {
	case message.NeedBundle, message.Clock, message.RateLimited, message.StorageFull, message.Unavailable, message.Internal, message.Stale:
		return err
	}
	return message.NotAccepted
}

// afterAlerts wakes the recipients' devices and the prefetch.
func (s *Server) afterAlerts(alerts []store.Alert, kept []store.AlertResult) {
	fetch := false
	for n, a := range alerts {
		if kept[n].Err == nil {
			s.hub.wakeFor(topic{address: a.To}, kept[n].Accepted.Seq)
			fetch = fetch || !a.PrefetchAt.IsZero()
		}
	}
	if fetch {
		nudge(s.prefetch)
	}
}
