package mailserver

import (
	"context"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Acknowledge takes OPENED receipts that the caller's device signed, and has
// them brought to the authors' servers.
func (s *Server) Acknowledge(ctx context.Context, req *wirev1.AcknowledgeRequest) (*wirev1.AcknowledgeResponse, error) {
	owner, err := s.writer(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(req.GetItems()); n > maxItems {
		return nil, fmt.Errorf("mailserver: %d receipts, at most %d: %w", n, maxItems, message.TooLarge)
	}
	if err := s.rates.calls.take(owner, 1); err != nil {
		return nil, err
	}
	chain, err := s.chain(ctx, owner)
	if err != nil {
		return nil, err
	}
	var tasks []store.Task
	now := time.Now()
	for _, w := range req.GetItems() {
		ref, err := parseRef(w.GetFrom(), w.GetMid())
		if err != nil {
			return nil, err
		}
		r, err := message.OpenReceipt(s.c.Verifier, chain, w.GetReceipt())
		if err != nil {
			return nil, err
		}
		if r.Kind != message.ReceiptOpened || r.For != owner || w.GetVersion() < 1 || w.GetVersion() > message.MaxVersions {
			return nil, fmt.Errorf("mailserver: acknowledge: not an opened receipt of the caller: %w", message.Invalid)
		}
		tasks = append(tasks, receiptTask(ref, w.GetVersion(), w.GetReceipt(), now))
	}
	if err := s.c.Store.Tasks.AddTasks(ctx, tasks); err != nil {
		return nil, err
	}
	s.c.Courier.Wake()
	return &wirev1.AcknowledgeResponse{}, nil
}

// receiptTask has a receipt brought to the author of a message.
func receiptTask(ref message.Ref, version uint64, receipt *wirev1.Signed, now time.Time) store.Task {
	return store.Task{Kind: store.TaskReceipt, Ref: ref, Version: version, Peer: ref.From, Receipt: receipt, Queued: now, Due: now}
}
