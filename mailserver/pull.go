package mailserver

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// serving is one version handed to one reader.
type serving struct {
	ref     message.Ref
	reader  message.Address
	version uint64
}

// Pull hands out messages that were submitted here: public ones to anybody,
// private ones to their recipients and to the servers in the recipients'
// routes. What is absent and what is not for the caller answer alike.
func (s *Server) Pull(ctx context.Context, req *wirev1.PullRequest) (*wirev1.PullResponse, error) {
	if n := len(req.GetItems()); n < 1 || n > maxFetchItems {
		return nil, fmt.Errorf("mailserver: pull: %d items, 1 to %d: %w", n, maxFetchItems, message.Invalid)
	}
	reader, err := s.pullReader(ctx, rpc.Authorization(ctx), req.GetFor(), req.GetIdentities())
	if err != nil {
		return nil, err
	}
	resp := &wirev1.PullResponse{}
	var reports []store.Report
	left := answerBudget
	for n, item := range req.GetItems() {
		p, err := s.serve(ctx, item, reader, left, n == 0)
		if err != nil {
			resp.Results = append(resp.Results, &wirev1.Pulled{Refusal: s.refusal("pull", err)})
			continue
		}
		left -= proto.Size(p.wire)
		resp.Results = append(resp.Results, p.wire)
		if p.report != nil {
			reports = append(reports, *p.report)
		}
	}
	if len(reports) > 0 {
		if err := s.c.Store.Deliveries.Report(ctx, reports); err != nil {
			s.c.Log.Error("pull: report", "err", err)
		}
	}
	return resp, nil
}

// pullReader is whom the caller may read for; zero for nobody, who gets public
// messages. Errors: message.NeedBundle, message.NotFound for a caller who does
// not speak for the reader.
func (s *Server) pullReader(ctx context.Context, header string, of []byte, identities []*wirev1.Identity) (message.Address, error) {
	var nobody message.Address
	if len(of) == 0 {
		return nobody, nil
	}
	reader, err := message.AddressFromBytes(of)
	if err != nil {
		return nobody, err
	}
	b, err := s.bundle(identities)
	if err != nil {
		return nobody, err
	}
	caller, err := b.caller(ctx, header)
	if err != nil {
		return nobody, err
	}
	if err := s.rates.calls.take(caller, 1); err != nil {
		return nobody, err
	}
	if caller == reader {
		return reader, nil
	}
	ok, err := b.speaks(ctx, caller, reader, message.PurposeInbox)
	if err != nil {
		return nobody, err
	}
	if !ok {
		return nobody, fmt.Errorf("mailserver: pull: %s does not speak for %s: %w", caller.Short(), reader.Short(), message.NotFound)
	}
	return reader, nil
}

// pulledItem is one answer, and what to report once it leaves.
type pulledItem struct {
	wire   *wirev1.Pulled
	report *store.Report
}

// allowed is the newest version of a message, if reader may have it. Errors:
// message.NotFound.
func (s *Server) allowed(ctx context.Context, ref message.Ref, reader message.Address) ([]store.Version, description, error) {
	versions, err := s.c.Store.Outgoing.Versions(ctx, ref)
	if err != nil {
		return nil, description{}, err
	}
	d, err := describe(versions[len(versions)-1].Head)
	if err != nil {
		return nil, d, err
	}
	if !d.public && !d.addressed(reader) {
		return nil, d, fmt.Errorf("mailserver: pull %s: not for the caller: %w", ref.From.Short(), message.NotFound)
	}
	return versions, d, nil
}

// serve hands out one message. The mark that it was handed out is committed
// before its bytes are in anybody's hands, and only once it is sure that they
// fit: with first it always does.
func (s *Server) serve(ctx context.Context, item *wirev1.FetchItem, reader message.Address, left int, first bool) (pulledItem, error) {
	var none pulledItem
	ref, err := parseRef(item.GetFrom(), item.GetMid())
	if err != nil {
		return none, err
	}
	versions, d, err := s.allowed(ctx, ref, reader)
	if err != nil {
		return none, err
	}
	now := time.Now()
	if d.expired(now) {
		return none, fmt.Errorf("mailserver: pull: %w", message.Expired)
	}
	newest := versions[len(versions)-1]
	size := d.payload + message.MaxSlot
	for _, v := range versions {
		if v.Number > item.GetAfterVersion() {
			size += proto.Size(v.Head) + 8
		}
	}
	if !first && size > left {
		return none, fmt.Errorf("mailserver: pull: no room in this answer: %w", message.TooLarge)
	}
	mark := reader
	if d.public {
		mark = message.Address{}
	}
	got, err := s.c.Store.Outgoing.Serve(ctx, ref, mark, item.GetAfterVersion(), now)
	if err != nil {
		return none, err
	}
	out := pulledItem{wire: pulledOf(got, reader)}
	what := serving{ref, reader, newest.Number}
	if _, had := s.served.GetIfPresent(what); len(got) > 0 && !d.public && !d.tombstone && !had {
		s.served.Set(what, true)
		out.report = &store.Report{Ref: ref, To: reader, Version: newest.Number, State: store.Served, Time: now}
	}
	return out, nil
}

// pulledOf is what a reader gets: all heads, and of the newest version the
// payload, the blobs and the reader's own slot. Stored bytes pass as they are.
func pulledOf(versions []store.Version, reader message.Address) *wirev1.Pulled {
	w := &wirev1.Pulled{}
	for _, v := range versions {
		w.Heads = append(w.Heads, v.Head)
	}
	if len(versions) == 0 {
		return w
	}
	newest := versions[len(versions)-1]
	w.Payload, w.Blobs = newest.Payload, wireBlobs(newest.Blobs)
	for _, slot := range newest.Slots {
		if a, err := message.AddressFromBytes(slot.GetAddress()); err == nil && a == reader {
			w.Slot = slot
		}
	}
	return w
}
