package mailserver

import (
	"context"
	"fmt"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxMarks bounds one call: a page of the inbox.
const maxMarks = maxInbox

// Mark changes the caller's own copies: read, archived, deleted.
func (s *Server) Mark(ctx context.Context, req *wirev1.MarkRequest) (*wirev1.MarkResponse, error) {
	owner, err := s.writer(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.rates.calls.take(owner, 1); err != nil {
		return nil, err
	}
	if n := len(req.GetItems()); n > maxMarks {
		return nil, fmt.Errorf("mailserver: %d marks, at most %d: %w", n, maxMarks, message.TooLarge)
	}
	var marks []store.Marking
	for _, w := range req.GetItems() {
		ref, err := parseRef(w.GetFrom(), w.GetMid())
		if err != nil {
			return nil, err
		}
		marks = append(marks, store.Marking{Ref: ref, Read: change(w.GetRead()), Archived: change(w.GetArchived()), Deleted: change(w.GetDeleted())})
	}
	if err := s.c.Store.Incoming.Mark(ctx, owner, marks); err != nil {
		return nil, err
	}
	// The owner's other devices show the same.
	s.hub.wake(topic{address: owner})
	return &wirev1.MarkResponse{}, nil
}

// change is a change as the store takes it; nil for none.
func change(c wirev1.Change) *bool {
	set := c == wirev1.Change_CHANGE_SET
	if !set && c != wirev1.Change_CHANGE_CLEAR {
		return nil
	}
	return &set
}

// parseRef reads which message is meant.
func parseRef(from, mid []byte) (ref message.Ref, err error) {
	if ref.From, err = message.AddressFromBytes(from); err != nil {
		return ref, err
	}
	ref.MID, err = message.MIDFromBytes(mid)
	return ref, err
}
