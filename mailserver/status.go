package mailserver

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Status tells how far one message of the caller's has come, for each recipient.
func (s *Server) Status(ctx context.Context, req *wirev1.StatusRequest) (*wirev1.StatusResponse, error) {
	owner, err := s.owner(ctx)
	if err != nil {
		return nil, err
	}
	mid, err := message.MIDFromBytes(req.GetMid())
	if err != nil {
		return nil, err
	}
	ref := message.Ref{From: owner, MID: mid}
	versions, err := s.c.Store.Outgoing.Versions(ctx, ref)
	if err != nil {
		return nil, err
	}
	resp := &wirev1.StatusResponse{}
	for _, v := range versions {
		resp.Heads = append(resp.Heads, v.Head)
	}
	resp.Deliveries, err = s.deliveries(ctx, ref)
	return resp, err
}

// deliveries of a message, as they travel; none of a public one.
func (s *Server) deliveries(ctx context.Context, ref message.Ref) ([]*wirev1.Delivery, error) {
	all, err := s.c.Store.Deliveries.Deliveries(ctx, ref)
	if err != nil {
		return nil, err
	}
	var out []*wirev1.Delivery
	for _, d := range all {
		out = append(out, &wirev1.Delivery{
			To: d.To.Bytes(), State: wirev1.DeliveryState(d.State), Version: d.Version, Time: wireTime(d.Time), Reason: wirev1.Reason(d.Reason),
			Attempts: uint32(d.Attempts), NextAttempt: wireTime(d.NextAttempt), Overdue: d.Overdue, Receipts: d.Receipts,
		})
	}
	return out, nil
}

// wireTime is milliseconds, 0 for no time.
func wireTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Sent lists the caller's own messages since a cursor.
func (s *Server) Sent(ctx context.Context, req *wirev1.SentRequest) (*wirev1.SentResponse, error) {
	owner, err := s.owner(ctx)
	if err != nil {
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
	items, more, err := s.c.Store.Outgoing.List(ctx, store.ListQuery{From: owner, After: seq, Limit: limit})
	if err != nil {
		return nil, err
	}
	resp := &wirev1.SentResponse{More: more}
	size := 0
	for _, item := range items {
		w := &wirev1.SentItem{Seq: item.Seq}
		for _, v := range item.Versions {
			w.Heads = append(w.Heads, v.Head)
		}
		if w.Deliveries, err = s.deliveries(ctx, item.Ref); err != nil {
			return nil, err
		}
		if size += proto.Size(w); size > answerBudget && len(resp.Items) > 0 {
			resp.More = true
			break
		}
		resp.Items, seq = append(resp.Items, w), item.Seq
	}
	resp.Next = cursor(place.Epoch, seq)
	return resp, nil
}
