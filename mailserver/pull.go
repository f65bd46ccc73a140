package mailserver

import (
	"context"
	"fmt"
	"net/netip"
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
	reader, err := s.pullReader(ctx, asker{rpc.Authorization(ctx), s.remote(ctx)}, req.GetFor(), req.GetIdentities())
	if err != nil {
		return nil, err
	}
	answers := s.serveAll(ctx, req.GetItems(), reader)
	resp := &wirev1.PullResponse{}
	var reports []store.Report
	for _, p := range answers {
		if p.err != nil {
			resp.Results = append(resp.Results, &wirev1.Pulled{Refusal: s.refusal("pull", p.err)})
			continue
		}
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

// asker is who pulls: what proves the name, and where the call comes from.
type asker struct {
	header string
	remote netip.Prefix
}

// pullReader is whom the caller may read for; zero for nobody, who gets public
// messages and is counted by the network. Errors: message.NeedBundle,
// message.RateLimited, message.NotFound for a caller who does not speak for the
// reader.
func (s *Server) pullReader(ctx context.Context, who asker, of []byte, identities []*wirev1.Identity) (message.Address, error) {
	var nobody message.Address
	if len(of) == 0 {
		return nobody, s.rates.strangers.take(who.remote, 1)
	}
	reader, err := message.AddressFromBytes(of)
	if err != nil {
		return nobody, err
	}
	b, err := s.bundle(identities)
	if err != nil {
		return nobody, err
	}
	caller, err := b.caller(ctx, who.header)
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
	err    error
}

// due is one message that a reader may have.
type due struct {
	ref    message.Ref
	after  uint64
	newest uint64
	about  description
	size   int
	err    error
}

// serveAll hands out messages: it looks first which of them the reader may have
// and which fit into one answer, and serves all of these at the same time, so
// that their marks share a commit. The first always fits.
func (s *Server) serveAll(ctx context.Context, items []*wirev1.FetchItem, reader message.Address) []pulledItem {
	left := answerBudget
	found := make([]due, len(items))
	for n, item := range items {
		d := s.look(ctx, item, reader)
		if d.err == nil && n > 0 && d.size > left {
			d.err = fmt.Errorf("mailserver: pull: no room in this answer: %w", message.TooLarge)
		}
		if d.err == nil {
			left -= d.size
		}
		found[n] = d
	}
	return parallel(found, func(d due) pulledItem { return s.serve(ctx, d, reader) })
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

// look finds out whether reader may have a message, and how many bytes it will
// be at most.
func (s *Server) look(ctx context.Context, item *wirev1.FetchItem, reader message.Address) due {
	d := due{after: item.GetAfterVersion()}
	if d.ref, d.err = parseRef(item.GetFrom(), item.GetMid()); d.err != nil {
		return d
	}
	versions, about, err := s.allowed(ctx, d.ref, reader)
	if err == nil && about.expired(time.Now()) {
		err = fmt.Errorf("mailserver: pull: %w", message.Expired)
	}
	if err != nil {
		d.err = err
		return d
	}
	d.about, d.newest = about, versions[len(versions)-1].Number
	d.size = about.payload + message.MaxSlot
	for _, v := range versions {
		if v.Number > d.after {
			d.size += proto.Size(v.Head) + 8
		}
	}
	return d
}

// serve hands out one message. The mark that it was handed out is committed
// before its bytes are in anybody's hands.
func (s *Server) serve(ctx context.Context, d due, reader message.Address) pulledItem {
	if d.err != nil {
		return pulledItem{err: d.err}
	}
	mark, now := reader, time.Now()
	if d.about.public {
		mark = message.Address{}
	}
	got, err := s.c.Store.Outgoing.Serve(ctx, d.ref, mark, d.after, now)
	if err != nil {
		return pulledItem{err: err}
	}
	out := pulledItem{wire: pulledOf(got, reader)}
	what := serving{d.ref, reader, d.newest}
	if _, had := s.served.GetIfPresent(what); len(got) > 0 && !d.about.public && !d.about.tombstone && !had {
		s.served.Set(what, true)
		out.report = &store.Report{Ref: d.ref, To: reader, Version: d.newest, State: store.Served, Time: now}
	}
	return out
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
