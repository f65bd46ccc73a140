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
	return &wirev1.PullResponse{Results: s.serveAll(ctx, req.GetItems(), reader)}, nil
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

// serveAll hands out messages, all with one reading and one commit of their
// marks: those that the reader may have and that fit into one answer. The first
// always fits.
func (s *Server) serveAll(ctx context.Context, items []*wirev1.FetchItem, reader message.Address) []*wirev1.Pulled {
	out := make([]*wirev1.Pulled, len(items))
	q := store.ServeQuery{Items: make([]store.ServeItem, 0, len(items)), Reader: reader, Now: time.Now()}
	places := make([]int, 0, len(items))
	for n, item := range items {
		ref, err := parseRef(item.GetFrom(), item.GetMid())
		if err != nil {
			out[n] = &wirev1.Pulled{Refusal: s.refusal("pull", err)}
			continue
		}
		q.Items, places = append(q.Items, store.ServeItem{Ref: ref, After: item.GetAfterVersion()}), append(places, n)
	}
	left, sizes := answerBudget, make([]int, len(q.Items))
	q.May = func(i int, heads []store.Version) error {
		left += sizes[i] // asked again: what it would have taken before
		sizes[i] = 0
		size, err := mayPull(q.Items[i], heads, reader, q.Now)
		if err == nil && places[i] > 0 && size > left {
			err = fmt.Errorf("mailserver: pull: no room in this answer: %w", message.TooLarge)
		}
		if err == nil {
			sizes[i] = size
			left -= size
		}
		return err
	}
	for i, got := range s.c.Store.Outgoing.Serve(ctx, q) {
		if got.Err != nil {
			out[places[i]] = &wirev1.Pulled{Refusal: s.refusal("pull", got.Err)}
			continue
		}
		out[places[i]] = pulledOf(got.Versions, reader)
	}
	return out
}

// mayPull finds out whether reader may have a message whose newest head is the
// last, and how many bytes it will be at most. Errors: message.NotFound,
// message.Expired.
func mayPull(item store.ServeItem, heads []store.Version, reader message.Address, now time.Time) (int, error) {
	d, err := describe(heads[len(heads)-1].Head)
	if err != nil {
		return 0, err
	}
	if err := d.open(item.Ref, reader); err != nil {
		return 0, err
	}
	if d.expired(now) {
		return 0, fmt.Errorf("mailserver: pull: %w", message.Expired)
	}
	size := d.payload + message.MaxSlot
	for _, v := range heads {
		if v.Number > item.After {
			size += proto.Size(v.Head) + 8
		}
	}
	return size, nil
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
	return versions, d, d.open(ref, reader)
}

// open reports whether reader may have the message. Errors: message.NotFound,
// as for a message that is not there.
func (d description) open(ref message.Ref, reader message.Address) error {
	if d.public || d.addressed(reader) {
		return nil
	}
	return fmt.Errorf("mailserver: pull %s: not for the caller: %w", ref.From.Short(), message.NotFound)
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
