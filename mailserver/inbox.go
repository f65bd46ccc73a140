package mailserver

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	maxInbox     = 1000
	defaultInbox = 100
	// maxSeq is the highest number that a log can reach: databases keep numbers
	// with a sign.
	maxSeq = 1<<63 - 1
)

// after is the place that a cursor means: zero where it comes from another
// epoch, before a restore. Errors: message.Invalid for one that no log reaches.
func after(c *wirev1.Cursor, now store.Place) (uint64, error) {
	if c.GetSeq() > maxSeq {
		return 0, fmt.Errorf("mailserver: cursor %d: %w", c.GetSeq(), message.Invalid)
	}
	if c.GetEpoch() != now.Epoch {
		return 0, nil
	}
	return c.GetSeq(), nil
}

// cursor is a place as it travels.
func cursor(epoch, seq uint64) *wirev1.Cursor { return &wirev1.Cursor{Epoch: epoch, Seq: seq} }

// pageSize is the number of items that a caller asked for, within bounds.
func pageSize(asked uint32, standard, most int) (int, error) {
	if asked == 0 {
		return standard, nil
	}
	if int64(asked) > int64(most) {
		return 0, fmt.Errorf("mailserver: a page of %d, at most %d: %w", asked, most, message.Invalid)
	}
	return int(asked), nil
}

// Inbox lists what changed since a cursor, with the senders' bundles. A page
// ends early where it would grow too large for one answer.
func (s *Server) Inbox(ctx context.Context, req *wirev1.InboxRequest) (*wirev1.InboxResponse, error) {
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
	entries, more, err := s.c.Store.Incoming.Entries(ctx, owner, seq, limit)
	if err != nil {
		return nil, err
	}
	resp := &wirev1.InboxResponse{More: more, Entries: make([]*wirev1.Entry, 0, len(entries))}
	// Memory for all of a page at once: it leaves as one answer.
	wires := make([]wirev1.Entry, len(entries))
	var senders []message.Address
	var sender []byte
	size := 0
	for n := range entries {
		e, w := &entries[n], &wires[n]
		if n == 0 || e.Ref.From != entries[n-1].Ref.From {
			sender = e.Ref.From.Bytes()
		}
		fillEntry(w, e, sender)
		if size += proto.Size(w); size > answerBudget-identityBudget && len(resp.Entries) > 0 {
			resp.More = true
			break
		}
		resp.Entries, seq = append(resp.Entries, w), e.Seq
		if e.Head != nil && (len(senders) == 0 || senders[len(senders)-1] != e.Ref.From) {
			senders = append(senders, e.Ref.From)
		}
	}
	resp.Next = cursor(place.Epoch, seq)
	resp.Identities = s.bundles(ctx, senders)
	return resp, nil
}

// fillEntry makes w what travels of e, whose sender is from. They share memory.
func fillEntry(w *wirev1.Entry, e *store.Entry, from []byte) {
	w.Seq, w.Head, w.Slot, w.Folder, w.Read, w.Deleted = e.Seq, e.Head, e.Slot, wirev1.Folder(e.Folder), e.Read, e.Deleted
	if e.Notice != nil {
		w.Notice = &wirev1.Notice{
			Mid: e.Notice.MID.Bytes(), Version: e.Notice.Version, To: e.Notice.To.Bytes(),
			Reason: wirev1.Reason(e.Notice.Reason), Time: e.Notice.Time.UnixMilli(),
		}
		return
	}
	w.From, w.Mid = from, e.Ref.MID[:]
	if !e.Arrived.IsZero() {
		w.Arrived = e.Arrived.UnixMilli()
	}
}

// bundles are the identities of some addresses, each once, as far as they are
// known and fit. Who gets fewer than he needs looks the others up.
func (s *Server) bundles(ctx context.Context, of []message.Address) []*wirev1.Identity {
	var out []*wirev1.Identity
	seen := make(map[message.Address]bool)
	size := 0
	for _, a := range of {
		if seen[a] {
			continue
		}
		seen[a] = true
		w := s.bundleOf(ctx, a)
		if w == nil {
			continue
		}
		if size += proto.Size(w); size > identityBudget {
			break
		}
		out = append(out, w)
	}
	return out
}

// bundleOf is what is known of a, to pass on; nil where that is nothing. When
// this server first saw the cards is no answer of a tracker, and stays here.
func (s *Server) bundleOf(ctx context.Context, a message.Address) *wirev1.Identity {
	i := s.c.Identity()
	if a != s.address {
		var err error
		if i, err = s.c.Known.Identity(ctx, a); err != nil {
			return nil
		}
	}
	w := i.Wire()
	w.FirstSeen = nil
	return w
}
