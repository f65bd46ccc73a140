package mailserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// alertsCost is what one Alerts call takes of its caller's rate beyond a pull's:
// a page looks through all that is held for its reader.
const alertsCost = 4

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
	seq, err := after(req.GetAfter(), place)
	if err != nil {
		return nil, err
	}
	items, more, err := s.c.Store.Inquiries.Held(ctx, store.HeldQuery{To: reader, After: seq, Limit: limit})
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
