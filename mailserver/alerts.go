package mailserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// alertsCost is what one Alerts call takes of its caller's rate: it looks
// through all accounts.
const alertsCost = 20

// Alerts lists what this server holds for a recipient since a cursor: after an
// outage, a restore or a move. The caller is the recipient, or a server in the
// recipient's route.
func (s *Server) Alerts(ctx context.Context, req *wirev1.AlertsRequest) (*wirev1.AlertsResponse, error) {
	reader, err := s.pullReader(ctx, asker{rpc.Authorization(ctx), s.remote(ctx)}, req.GetFor(), req.GetIdentities())
	if err != nil {
		return nil, err
	}
	if reader.IsZero() {
		return nil, fmt.Errorf("mailserver: alerts: for nobody: %w", message.Invalid)
	}
	if err := s.rates.calls.take(reader, alertsCost); err != nil {
		return nil, err
	}
	limit, err := pageSize(req.GetLimit(), defaultInbox, maxInbox)
	if err != nil {
		return nil, err
	}
	place, err := s.c.Store.Log.Place(ctx)
	if err != nil {
		return nil, err
	}
	seq := after(req.GetAfter(), place)
	items, more, err := s.heldFor(ctx, reader, seq, limit)
	if err != nil {
		return nil, err
	}
	resp := &wirev1.AlertsResponse{More: more}
	var senders []message.Address
	size := 0
	for _, item := range items {
		w, err := alertItem(item, reader, time.Now())
		if errors.Is(err, message.Expired) {
			seq = item.Seq
			continue
		}
		if err != nil {
			return nil, err
		}
		if size += proto.Size(w); size > answerBudget-identityBudget && len(resp.Items) > 0 {
			resp.More = true
			break
		}
		resp.Items, seq = append(resp.Items, w), item.Seq
		senders = append(senders, item.Ref.From)
	}
	resp.Next = cursor(place.Epoch, seq)
	resp.Identities = s.bundles(ctx, senders)
	return resp, nil
}

// heldFor is a page of what all authors here have for a reader. Places in the
// log are the server's, so the pages of single authors merge into one.
func (s *Server) heldFor(ctx context.Context, reader message.Address, seq uint64, limit int) ([]store.ListItem, bool, error) {
	const page = 500
	var all []store.ListItem
	more := false
	for last := (message.Address{}); ; {
		accounts, err := s.c.Store.Accounts.Accounts(ctx, last, page)
		if err != nil {
			return nil, false, err
		}
		for _, a := range accounts {
			last = a.Address
			items, rest, err := s.c.Store.Outgoing.List(ctx, store.ListQuery{From: a.Address, To: reader, After: seq, Limit: limit})
			if err != nil {
				return nil, false, err
			}
			all, more = append(all, items...), more || rest
		}
		if len(all) > limit {
			slices.SortFunc(all, bySeq)
			all, more = all[:limit], true
		}
		if len(accounts) < page {
			slices.SortFunc(all, bySeq)
			return all, more, nil
		}
	}
}

// bySeq orders by place in the log.
func bySeq(a, b store.ListItem) int { return cmp.Compare(a.Seq, b.Seq) }

// alertItem is the newest version of a message as an alert. Errors:
// message.Expired.
func alertItem(item store.ListItem, reader message.Address, now time.Time) (*wirev1.AlertItem, error) {
	if len(item.Versions) == 0 {
		return nil, message.Expired
	}
	newest := item.Versions[len(item.Versions)-1]
	d, err := describe(newest.Head)
	if err != nil {
		return nil, err
	}
	if d.expired(now) {
		return nil, message.Expired
	}
	return &wirev1.AlertItem{To: reader.Bytes(), Head: newest.Head, Slot: pulledOf(item.Versions[len(item.Versions)-1:], reader).Slot}, nil
}
