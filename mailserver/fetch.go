package mailserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Fetch brings messages to their reader through this server: the caller's own
// from its own store, all others from their authors' servers. What comes is
// verified; where the origin cannot be asked, a copy that was fetched before
// serves.
func (s *Server) Fetch(ctx context.Context, req *wirev1.FetchRequest) (*wirev1.FetchResponse, error) {
	acc, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	owner := acc.Address
	if n := len(req.GetItems()); n < 1 || n > maxFetchItems {
		return nil, fmt.Errorf("mailserver: fetch: %d items, 1 to %d: %w", n, maxFetchItems, message.Invalid)
	}
	if err := s.rates.calls.take(owner, 1); err != nil {
		return nil, err
	}
	results := make([]*wirev1.Pulled, len(req.GetItems()))
	byAuthor := make(map[message.Address][]*want)
	var authors []message.Address
	for n, item := range req.GetItems() {
		ref, err := parseRef(item.GetFrom(), item.GetMid())
		if err != nil {
			return nil, err
		}
		if byAuthor[ref.From] == nil {
			authors = append(authors, ref.From)
		}
		byAuthor[ref.From] = append(byAuthor[ref.From], &want{n: n, ref: ref, after: item.GetAfterVersion()})
	}
	var group sync.WaitGroup
	for author, wants := range byAuthor {
		group.Go(func() {
			if author == owner {
				s.fetchOwn(ctx, wants)
			} else {
				s.fetchFrom(ctx, owner, author, wants)
			}
		})
	}
	group.Wait()
	size := 0
	var all []*want
	for _, wants := range byAuthor {
		all = append(all, wants...)
	}
	for _, w := range all {
		results[w.n] = s.fetched(w)
	}
	for n, r := range results {
		// What was pulled and does not fit is kept as a copy; asked for again, it
		// comes from there.
		if size += proto.Size(r); n > 0 && size > answerBudget-identityBudget {
			size -= proto.Size(r)
			results[n] = &wirev1.Pulled{Refusal: s.refusal("fetch", fmt.Errorf("mailserver: fetch: no room in this answer: %w", message.TooLarge))}
			continue
		}
		s.taken(ctx, owner, all, n)
	}
	return &wirev1.FetchResponse{Results: results, Identities: s.bundles(ctx, authors)}, nil
}

// want is one message that a reader wants, and what became of it.
type want struct {
	n     int
	ref   message.Ref
	after uint64
	// got has all heads of the message, oldest first; got.Version is the newest.
	got  store.Copy
	own  bool
	kept bool
	err  error
}

// fetched is the answer about one message.
func (s *Server) fetched(w *want) *wirev1.Pulled {
	if w.err != nil {
		return &wirev1.Pulled{Refusal: s.refusal("fetch", w.err)}
	}
	p := &wirev1.Pulled{KeptCopy: w.kept}
	if w.got.Version <= w.after {
		return p
	}
	// Versions count from one, so the head of version n is the n-th.
	p.Heads = w.got.Heads[min(w.after, uint64(len(w.got.Heads))):]
	p.Slot, p.Payload, p.Blobs = w.got.Slot, w.got.Payload, wireBlobs(w.got.Blobs)
	return p
}

// taken marks that a device has the copy behind the n-th result.
func (s *Server) taken(ctx context.Context, owner message.Address, all []*want, n int) {
	for _, w := range all {
		if w.n != n || w.err != nil || w.own || w.got.Taken || w.got.Version == 0 {
			continue
		}
		if err := s.c.Store.Copies.TakeCopy(ctx, owner, w.ref, w.got.Version); err != nil && !errors.Is(err, message.NotFound) {
			s.c.Log.Error("fetch: take copy", "err", err)
		}
	}
}

// fetchOwn reads the caller's own messages from its own store. An author takes
// no mark.
func (s *Server) fetchOwn(ctx context.Context, wants []*want) {
	q := store.ServeQuery{Now: time.Now()}
	for _, w := range wants {
		q.Items = append(q.Items, store.ServeItem{Ref: w.ref})
	}
	for n, got := range s.c.Store.Outgoing.Serve(ctx, q) {
		w, versions := wants[n], got.Versions
		if w.err = got.Err; w.err != nil {
			continue
		}
		p := pulledOf(versions, w.ref.From)
		newest := versions[len(versions)-1]
		if d, err := describe(newest.Head); err != nil || d.expired(q.Now) {
			w.err = errors.Join(err, fmt.Errorf("mailserver: fetch: %w", message.Expired))
			continue
		}
		w.own = true
		w.got = store.Copy{Ref: w.ref, Version: newest.Number, Heads: p.Heads, Slot: p.Slot, Payload: p.Payload, Blobs: newest.Blobs}
	}
}

// fetchFrom pulls messages of one author for an owner, and falls back to copies.
// What the servers that are known cannot give is asked for once more where the
// trackers say that the author is now.
func (s *Server) fetchFrom(ctx context.Context, owner, author message.Address, wants []*want) {
	for _, w := range wants {
		c, err := s.c.Store.Copies.Copy(ctx, owner, w.ref)
		if err == nil {
			w.got = c
		} else if !errors.Is(err, message.NotFound) {
			s.c.Log.Error("fetch: copy", "err", err)
		}
	}
	o, err := s.origin(ctx, author, false)
	missing := wants
	if err == nil {
		missing = s.pull(ctx, owner, o, wants)
	} else {
		fail(wants, err)
	}
	if len(missing) > 0 {
		fresh, err := s.origin(ctx, author, true)
		if err == nil && !sameOrigin(o, fresh) {
			s.pull(ctx, owner, fresh, missing)
		}
	}
	for _, w := range wants {
		s.fallBack(ctx, owner, w)
	}
}

// sameOrigin reports whether two look-ups found the same cards and servers.
func sameOrigin(a, b origin) bool {
	if a.author == nil || len(a.servers) != len(b.servers) || a.author.Chain.Head().ID != b.author.Chain.Head().ID {
		return false
	}
	for n := range a.servers {
		if a.servers[n].Address() != b.servers[n].Address() || a.servers[n].Pair() != b.servers[n].Pair() {
			return false
		}
	}
	return true
}

// fail gives all the same error.
func fail(wants []*want, err error) {
	for _, w := range wants {
		w.err = err
	}
}

// fallBack serves the kept copy where the origin could not be asked or does not
// have the message any more; never of a message that is known to be recalled or
// over, and never where something is wrong with what the origin gave.
func (s *Server) fallBack(ctx context.Context, owner message.Address, w *want) {
	if w.err == nil || w.got.Version == 0 {
		return
	}
	switch message.CodeOf(w.err) {
	case message.Unavailable, message.NotFound, message.RateLimited, message.Internal, message.StorageFull, message.TooLarge:
	default:
		return
	}
	newest := w.got.Heads[len(w.got.Heads)-1]
	if d, err := describe(newest); err != nil || d.expired(time.Now()) {
		w.err = fmt.Errorf("mailserver: fetch: %w", message.Expired)
		return
	}
	if e, err := s.c.Store.Incoming.Entry(ctx, owner, w.ref); err == nil && e.Head != nil && e.Version > w.got.Version {
		if d, err := describe(e.Head); err == nil && d.tombstone {
			w.err = fmt.Errorf("mailserver: fetch: %w", message.Recalled)
			return
		}
	}
	w.err, w.kept = nil, true
}

// pull asks an origin's servers, the next one for what one does not have or where
// it cannot be reached, and returns what could not be had.
func (s *Server) pull(ctx context.Context, owner message.Address, o origin, wants []*want) []*want {
	left := wants
	var away error
	for _, server := range o.servers {
		err := s.pullAll(ctx, owner, o, server, left)
		if err != nil {
			fail(left, err)
			if !errors.Is(err, message.Unavailable) {
				break
			}
			away = err
			continue
		}
		if left = absent(left); len(left) == 0 {
			break
		}
	}
	if away != nil {
		// Perhaps the one that was not reached has it.
		fail(absent(left), away)
	}
	var missing []*want
	for _, w := range wants {
		switch message.CodeOf(w.err) {
		case message.Unavailable, message.NotFound, message.NeedBundle:
			if w.err != nil {
				missing = append(missing, w)
			}
		}
	}
	return missing
}

// absent are those that a server does not have.
func absent(wants []*want) []*want {
	var out []*want
	for _, w := range wants {
		if errors.Is(w.err, message.NotFound) {
			out = append(out, w)
		}
	}
	return out
}

// pullAll pulls from one server, in as many calls as its answers need. The
// error is that of a call; those of single messages are theirs.
func (s *Server) pullAll(ctx context.Context, owner message.Address, o origin, server *message.Identity, wants []*want) error {
	for len(wants) > 0 {
		items := make([]*wirev1.FetchItem, 0, len(wants))
		for _, w := range wants {
			items = append(items, &wirev1.FetchItem{From: w.ref.From.Bytes(), Mid: w.ref.MID.Bytes(), AfterVersion: w.got.Version})
		}
		pulled, err := s.ask(ctx, server, owner, items)
		if err != nil {
			return err
		}
		var again []*want
		for n, w := range wants {
			w.err = message.OpenRefusal(pulled[n].GetRefusal())
			if errors.Is(w.err, message.TooLarge) && n > 0 {
				again = append(again, w)
				continue
			}
			if w.err == nil {
				w.err = s.accept(ctx, owner, o.author, w, pulled[n])
			}
		}
		wants = again
	}
	return nil
}

// accept verifies what was pulled, keeps it and has the receipt brought back.
func (s *Server) accept(ctx context.Context, owner message.Address, author *message.Identity, w *want, p *wirev1.Pulled) error {
	if len(p.GetHeads()) == 0 {
		if w.got.Version == 0 {
			return fmt.Errorf("mailserver: fetch: no heads: %w", message.Unavailable)
		}
		return nil
	}
	heads, err := s.verifyHeads(ctx, owner, author, w, p.GetHeads())
	if err != nil {
		return err
	}
	newest, now := heads[len(heads)-1], time.Now()
	if err := newest.CheckPayload(p.GetPayload()); err != nil {
		return err
	}
	if err := checkSlot(newest, p.GetSlot(), owner); err != nil {
		return err
	}
	blobs, err := parseBlobs(p.GetBlobs())
	if err != nil {
		return err
	}
	if newest.Expired(now) && !newest.Tombstone() {
		return fmt.Errorf("mailserver: fetch: %w", message.Expired)
	}
	got := store.Copy{Ref: w.ref, Version: newest.Version, Slot: p.GetSlot(), Payload: p.GetPayload(), Blobs: blobs, At: now}
	got.Heads = append(got.Heads, w.got.Heads...)
	got.Heads = append(got.Heads, p.GetHeads()...)
	w.got = got
	if newest.Audience == message.Public {
		return nil
	}
	if !newest.Tombstone() {
		if err := s.tellFetched(ctx, owner, newest, now); err != nil {
			return err
		}
	}
	err = s.c.Store.Copies.PutCopy(ctx, owner, got)
	// Without an entry, or without room, the reader still gets it.
	if errors.Is(err, message.NotFound) || errors.Is(err, message.Quota) {
		return nil
	}
	return err
}

// tellFetched has the signed word that owner's server has a version brought to
// its author.
func (s *Server) tellFetched(ctx context.Context, owner message.Address, h *message.Head, now time.Time) error {
	receipt, err := s.receipt(message.ReceiptFetched, h.ID, owner, store.Accepted{At: now})
	if err != nil {
		return err
	}
	if err := s.c.Store.Tasks.AddTasks(ctx, []store.Task{receiptTask(h.Ref(), h.Version, receipt, now)}); err != nil {
		return err
	}
	s.c.Courier.Wake()
	return nil
}

// verifyHeads verifies heads that follow those that are known: each is the
// author's and may follow the one before. The newest must be signed by a device
// that is the author's now, unless its alert was taken when it was.
func (s *Server) verifyHeads(ctx context.Context, owner message.Address, author *message.Identity, w *want, signed []*wirev1.Signed) ([]*message.Head, error) {
	if w.got.Version+uint64(len(signed)) > message.MaxVersions {
		return nil, fmt.Errorf("mailserver: fetch: %d heads: %w", len(signed), message.TooLarge)
	}
	var alertID message.ID
	if e, err := s.c.Store.Incoming.Entry(ctx, owner, w.ref); err == nil && e.Head != nil {
		if claim, err := message.ParseHead(e.Head); err == nil {
			alertID = claim.ID()
		}
	}
	var prev *message.Head
	if n := len(w.got.Heads); n > 0 {
		var err error
		if prev, err = s.kept(ctx, w.got.Heads[n-1]); err != nil {
			return nil, err
		}
	}
	var heads []*message.Head
	for n, sig := range signed {
		claim, err := message.ParseHead(sig)
		if err != nil {
			return nil, err
		}
		if claim.From() != w.ref.From || claim.MID() != w.ref.MID {
			return nil, fmt.Errorf("mailserver: fetch: another message: %w", message.BadSignature)
		}
		verify := claim.Verify
		if n < len(signed)-1 || claim.ID() == alertID {
			verify = claim.VerifyKept
		}
		h, err := verify(s.c.Verifier, author.Chain)
		if err != nil {
			return nil, err
		}
		if err := follows(prev, h); err != nil {
			return nil, fmt.Errorf("mailserver: fetch: %w", errors.Join(err, message.Conflict))
		}
		if h.Audience == message.Private && !h.Addressed(owner) {
			return nil, fmt.Errorf("mailserver: fetch: not addressed to the reader: %w", message.BadSignature)
		}
		heads, prev = append(heads, h), h
	}
	return heads, nil
}

// follows reports whether h may follow prev, or begin a message.
func follows(prev, h *message.Head) error {
	if prev == nil {
		return h.CheckFirst()
	}
	return prev.CheckNext(h)
}
