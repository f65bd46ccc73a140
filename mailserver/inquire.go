package mailserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// inquiryLease is how long a claimed question may take before it is asked
	// again: a few pages, each with the deadline of a pull.
	inquiryLease = 5 * time.Minute
	// inquiryBatch is how many are claimed at once, inquirers how many of them
	// are asked at the same time.
	inquiryBatch, inquirers = 64, 8
	// inquiryPage is how many heads one call brings; inquiryPages how many calls
	// are made before others have their turn, inquiryMost how many in all. A
	// server that always has one more page is not asked for ever.
	inquiryPage, inquiryPages, inquiryMost = 256, 8, 4096
	// inquirySettles is when a question is asked a last time: longer after a move
	// than a look-up may be used again, so that what was brought to the server
	// before is found as well.
	inquirySettles = 2 * message.AnswerFresh
	// inquiryGiveUp is how long servers that do not answer are asked.
	inquiryGiveUp = 5 * 24 * time.Hour
	// inquiryLookups bounds the look-ups of authors whose bundles did not come
	// along with one page.
	inquiryLookups = 32
)

// inquiring asks other servers what they hold for owners here, when that is
// due: after a restore, and after an owner has come from elsewhere.
func (s *Server) inquiring(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		at, hold := time.Now(), inquiryLease
		if first {
			// Nobody works any more on what the last run had claimed when it died.
			at = at.Add(inquiryLease)
		}
		qs, err := s.c.Store.Inquiries.ClaimInquiries(ctx, at, hold, inquiryBatch)
		if err != nil && ctx.Err() == nil {
			s.c.Log.Error("inquiries: claim", "err", err)
		}
		if len(qs) > 0 {
			s.inquireAll(ctx, qs)
			continue
		}
		wait := idlePoll
		if due, err := s.c.Store.Inquiries.NextInquiry(ctx); err == nil {
			wait = min(wait, max(time.Until(due), 100*time.Millisecond))
		}
		if !pause(ctx, wait, s.inquiries) {
			return
		}
	}
}

// inquireAll asks claimed questions, some at the same time.
func (s *Server) inquireAll(ctx context.Context, qs []store.Inquiry) {
	var group sync.WaitGroup
	places := make(chan struct{}, inquirers)
	for _, q := range qs {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			err := s.inquire(ctx, &q)
			s.settleInquiry(ctx, &q, err)
		})
	}
	group.Wait()
}

// settleInquiry writes down what became of a question: it is over, goes on, or is
// asked again later.
func (s *Server) settleInquiry(ctx context.Context, q *store.Inquiry, err error) {
	now := time.Now()
	switch {
	case q.Done:
	case ctx.Err() != nil:
		q.Due = now
	case err == nil:
		q.Attempts = 0
	case s.tryAgain(err) || errors.Is(err, message.Clock) || errors.Is(err, message.Disagreement):
		q.Attempts++
		q.Due = now.Add(s.backoff.Delay(q.Attempts))
		q.Done = now.Sub(q.Queued) > inquiryGiveUp
	default:
		q.Done = true
	}
	if err != nil {
		s.c.Log.Info("inquiry", "owner", q.Owner.Short(), "peer", q.Peer.Short(), "err", err)
	}
	// Also when ctx has just ended: what was asked is asked.
	if err := s.c.Store.Inquiries.SettleInquiries(context.WithoutCancel(ctx), []store.Inquiry{*q}); err != nil {
		s.c.Log.Error("inquiries: settle", "err", err)
	}
}

// inquire asks one question. Of a sender it finds the servers; a server it asks,
// page after page, and writes down after each how far it came.
func (s *Server) inquire(ctx context.Context, q *store.Inquiry) error {
	if _, err := s.c.Store.Accounts.Account(ctx, q.Owner); err != nil {
		q.Done = errors.Is(err, message.NotFound)
		return err
	}
	peer, err := s.inquiryPeer(ctx, q)
	if err != nil {
		return err
	}
	if peer.Chain.Head().Role != message.RoleServer {
		return s.inquireServers(ctx, q)
	}
	for range inquiryPages {
		more, err := s.inquirePage(ctx, peer, q)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
		if err := s.c.Store.Inquiries.SettleInquiries(ctx, []store.Inquiry{*q}); err != nil {
			return err
		}
	}
	q.Due = time.Now()
	return nil
}

// inquiryPeer is who is to be asked: as the trackers say, and where they cannot
// be asked as it is remembered.
func (s *Server) inquiryPeer(ctx context.Context, q *store.Inquiry) (*message.Identity, error) {
	if q.Peer == s.address {
		return s.c.Identity(), nil
	}
	find := s.c.Resolver.Lookup
	if q.Attempts > 0 {
		find = s.c.Resolver.Fresh
	}
	f, err := find(ctx, q.Peer)
	if err == nil {
		return f.Subject, nil
	}
	if i, knownErr := s.c.Known.Identity(ctx, q.Peer); knownErr == nil {
		return i, nil
	}
	return nil, err
}

// inquireServers puts, in place of the question to a sender, one to each of the
// sender's servers.
func (s *Server) inquireServers(ctx context.Context, q *store.Inquiry) error {
	o, err := s.origin(ctx, q.Peer, true)
	if err != nil && !errors.Is(err, message.NotFound) {
		var knownErr error
		if o, knownErr = s.knownOrigin(ctx, q.Peer); knownErr != nil {
			return err
		}
		err = nil
	}
	if err != nil {
		return err
	}
	var qs []store.Inquiry
	for _, server := range o.servers {
		qs = append(qs, store.Inquiry{Owner: q.Owner, Peer: server.Address(), Queued: q.Queued, Due: time.Now()})
	}
	q.Done = true
	return s.c.Store.Inquiries.AddInquiries(ctx, qs)
}

// inquirePage reads one page of what a server holds for an owner, and takes it in
// as alerts. more says that there is another page now.
func (s *Server) inquirePage(ctx context.Context, server *message.Identity, q *store.Inquiry) (more bool, err error) {
	resp, err := s.askHeld(ctx, server, q)
	if err != nil {
		return false, err
	}
	next := store.Place{Epoch: resp.GetNext().GetEpoch(), Seq: resp.GetNext().GetSeq()}
	if next.Epoch > maxSeq || next.Seq > maxSeq || resp.GetMore() && next.Epoch == q.After.Epoch && next.Seq <= q.After.Seq {
		return false, fmt.Errorf("mailserver: inquiry: the log of %s does not go on: %w", server.Address().Short(), message.Invalid)
	}
	if err := s.takeHeld(ctx, q.Owner, server.Address(), resp); err != nil {
		return false, err
	}
	q.After = next
	q.Pages++
	if q.Pages >= inquiryMost {
		return false, fmt.Errorf("mailserver: inquiry: %d pages of %s: %w", q.Pages, server.Address().Short(), message.TooLarge)
	}
	if resp.GetMore() {
		q.Due = time.Now().Add(inquiryLease)
		return true, nil
	}
	q.Due = q.Queued.Add(inquirySettles)
	q.Done = !time.Now().Before(q.Due)
	return false, nil
}

// askHeld makes one call.
func (s *Server) askHeld(ctx context.Context, server *message.Identity, q *store.Inquiry) (*wirev1.AlertsResponse, error) {
	var resp *wirev1.AlertsResponse
	err := s.visit(ctx, server, q.Owner, func(ctx context.Context, at *rpc.Peer, identities []*wirev1.Identity) (err error) {
		resp, err = at.Exchange().Alerts(ctx, &wirev1.AlertsRequest{
			For: q.Owner.Bytes(), After: cursor(q.After.Epoch, q.After.Seq), Limit: inquiryPage, Identities: identities,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mailserver: alerts of %s: %w", server.Address().Short(), err)
	}
	return resp, nil
}

// takeHeld takes heads in that a server was asked for, under the same rules as
// those that it brings: what is not for the owner, not by an author for whom the
// server speaks, or beyond the caps of the requests is passed over. An error says
// that the page is to be asked for again.
func (s *Server) takeHeld(ctx context.Context, owner, origin message.Address, resp *wirev1.AlertsResponse) error {
	if n := len(resp.GetItems()); n > inquiryPage {
		return fmt.Errorf("mailserver: inquiry: %d items: %w", n, message.TooLarge)
	}
	b, err := s.bundle(resp.GetIdentities())
	if err != nil {
		return err
	}
	in := &intake{bundle: b, origin: origin}
	in.alerts = s.judgeHeld(ctx, in, owner, resp.GetItems())
	in.learn(ctx)
	var alerts []store.Alert
	for _, a := range in.alerts {
		if a.err == nil {
			alerts = append(alerts, a.alert)
		} else {
			s.c.Log.Debug("inquiry: not taken", "owner", owner.Short(), "origin", origin.Short(), "err", a.err)
		}
	}
	if len(alerts) == 0 {
		return ctx.Err()
	}
	kept := s.c.Store.Incoming.Alert(ctx, alerts)
	s.afterAlerts(alerts, kept)
	for _, k := range kept {
		if k.Err != nil && s.tryAgain(k.Err) {
			return k.Err
		}
	}
	return nil
}

// judgeHeld verifies items as alerts for the owner. Authors whose bundles did not
// come along are looked up.
func (s *Server) judgeHeld(ctx context.Context, in *intake, owner message.Address, items []*wirev1.AlertItem) []alerted {
	js := make([]judged, len(items))
	for n, item := range items {
		j := judged{item: item}
		if j.to, j.err = message.AddressFromBytes(item.GetTo()); j.err == nil && j.to != owner {
			j.err = fmt.Errorf("mailserver: inquiry: for %s: %w", j.to.Short(), message.NotAccepted)
		}
		if j.err == nil {
			j.claim, j.err = message.ParseHead(item.GetHead())
		}
		if j.err == nil {
			j.who = s.recipient(ctx, owner, j.claim.From())
		}
		js[n] = j
	}
	now, lookups := time.Now(), 0
	out := s.judge(ctx, in, js, now)
	for n := range out {
		if !errors.Is(out[n].err, message.NeedBundle) {
			continue
		}
		if from := js[n].claim.From(); !in.bundle.has(from) && lookups < inquiryLookups {
			lookups++
			if f, err := s.c.Resolver.Lookup(ctx, from); err == nil {
				in.bundle.add(f.Subject)
			}
		}
		out[n] = s.judge(ctx, in, js[n:n+1], now)[0]
	}
	return out
}

// add puts an identity that was looked up beside those that came along.
func (b *bundle) add(i *message.Identity) {
	w := i.Wire()
	w.FirstSeen = nil
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offered[i.Address()] = w
	delete(b.opened, i.Address())
	delete(b.held, i.Address())
}
