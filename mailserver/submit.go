package mailserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Submit keeps versions of the caller's messages: new ones, edits and recalls.
func (s *Server) Submit(ctx context.Context, req *wirev1.SubmitRequest) (*wirev1.SubmitResponse, error) {
	owner, err := s.writer(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(req.GetSubmissions()); n < 1 || n > maxItems {
		return nil, fmt.Errorf("mailserver: submit: %d submissions, 1 to %d: %w", n, maxItems, message.Invalid)
	}
	chain, err := s.chain(ctx, owner)
	if err != nil {
		return nil, err
	}
	return &wirev1.SubmitResponse{Results: s.submit(ctx, s.check(chain, req.GetSubmissions()))}, nil
}

// checked is one submission as far as it can be judged by itself.
type checked struct {
	sub store.Submission
	err error
}

// check verifies submissions of one author, their signatures as one batch. The
// cheap checks come first.
func (s *Server) check(author *message.Chain, ws []*wirev1.Submission) []checked {
	now := time.Now()
	return spread(ws, checkedTogether, func(ws []*wirev1.Submission) []checked {
		out := make([]checked, len(ws))
		var claims []message.HeadClaim
		var places []int
		for n, w := range ws {
			claim, err := s.claim(author, w, &out[n].sub)
			if out[n].err = err; err == nil {
				claims, places = append(claims, claim), append(places, n)
			}
		}
		heads, errs := message.VerifyHeads(s.c.Verifier, claims, slices.Repeat([]*message.Chain{author}, len(claims)))
		for i, n := range places {
			if out[n].err = errs[i]; errs[i] == nil {
				out[n].err = checkBody(heads[i], ws[n], now, &out[n].sub)
			}
		}
		return out
	})
}

// claim is the cheap part of a check: everything before the signature.
func (s *Server) claim(author *message.Chain, w *wirev1.Submission, sub *store.Submission) (message.HeadClaim, error) {
	var none message.HeadClaim
	if err := s.rates.submits.take(author.Address(), 1); err != nil {
		return none, err
	}
	claim, err := message.ParseHead(w.GetHead())
	if err != nil {
		return none, err
	}
	if claim.From() != author.Address() {
		return none, fmt.Errorf("mailserver: submit: a message of %s: %w", claim.From().Short(), message.Denied)
	}
	if sub.Blobs, err = parseBlobs(w.GetBlobs()); err != nil {
		return none, err
	}
	if len(w.GetPayload()) > message.MaxPayload {
		return none, fmt.Errorf("mailserver: submit: payload: %w", message.TooLarge)
	}
	return claim, nil
}

// checkBody checks what a verified head says against what came with it, and
// fills the submission in.
func checkBody(h *message.Head, w *wirev1.Submission, now time.Time, sub *store.Submission) error {
	if err := message.NotAhead(h.Time, now); err != nil {
		return err
	}
	if h.Tombstone() && len(sub.Blobs)+len(w.GetSlots()) != 0 {
		return fmt.Errorf("mailserver: submit: a tombstone has no slots and no blobs: %w", message.Invalid)
	}
	if h.Expired(now) && !h.Tombstone() {
		return fmt.Errorf("mailserver: submit: %w", message.Expired)
	}
	if err := h.CheckSlots(w.GetSlots()); err != nil {
		return err
	}
	if err := h.CheckPayload(w.GetPayload()); err != nil {
		return err
	}
	sub.Head, sub.Slots, sub.Payload, sub.Now = h, w.GetSlots(), w.GetPayload(), now
	return nil
}

// parseBlobs reads the blobs beside a head.
func parseBlobs(ws []*wirev1.BlobRef) ([]store.BlobRef, error) {
	if len(ws) > message.MaxBlobs {
		return nil, fmt.Errorf("mailserver: %d blobs, at most %d: %w", len(ws), message.MaxBlobs, message.TooLarge)
	}
	if len(ws) == 0 {
		return nil, nil
	}
	var out []store.BlobRef
	seen := make(map[message.ID]bool, len(ws))
	for _, w := range ws {
		id, err := message.IDFromBytes(w.GetHash())
		if err != nil {
			return nil, err
		}
		if seen[id] || w.GetSize() > message.MaxBlob {
			return nil, fmt.Errorf("mailserver: blob of %d bytes, or twice: %w", w.GetSize(), message.Invalid)
		}
		seen[id] = true
		out = append(out, store.BlobRef{ID: id, Size: int64(w.GetSize())})
	}
	return out, nil
}

// wireBlobs is the form to send.
func wireBlobs(refs []store.BlobRef) []*wirev1.BlobRef {
	var out []*wirev1.BlobRef
	for _, r := range refs {
		out = append(out, &wirev1.BlobRef{Hash: r.ID[:], Size: uint64(r.Size)})
	}
	return out
}

// submit keeps what was checked, in order, and signs receipts for what is kept.
func (s *Server) submit(ctx context.Context, items []checked) []*wirev1.SubmitResult {
	results := make([]*wirev1.SubmitResult, len(items))
	var subs []store.Submission
	var places []int
	newest := make(map[message.Ref]*message.Head)
	for n, item := range items {
		current, err := item.sub.Head, item.err
		if err == nil {
			current, err = s.succeed(ctx, &item.sub, newest)
		}
		if err != nil {
			results[n] = &wirev1.SubmitResult{Refusal: message.Refusal(err, time.Now())}
			if errors.Is(err, message.Conflict) && current != nil {
				results[n].Current = current.Signed
			}
			continue
		}
		newest[item.sub.Head.Ref()] = item.sub.Head
		subs, places = append(subs, item.sub), append(places, n)
	}
	if len(subs) == 0 {
		return results
	}
	kept := s.c.Store.Outgoing.Submit(ctx, subs)
	signed := spread(pair(subs, kept), signedTogether, each(func(p pairOf[store.Submission, store.SubmitResult]) *wirev1.SubmitResult {
		return s.submitted(p.a.Head, p.b)
	}))
	for n, place := range places {
		results[place] = signed[n]
	}
	s.afterSubmit(ctx, subs, kept)
	return results
}

// succeed decides whether a version may follow what is there: as kept, or as
// accepted earlier in the same batch. The store compares once more in its
// transaction. With an error it returns the head that stands, where there is one.
func (s *Server) succeed(ctx context.Context, sub *store.Submission, newest map[message.Ref]*message.Head) (*message.Head, error) {
	h := sub.Head
	if h.Version == 1 {
		return nil, h.CheckFirst()
	}
	prev, ok := newest[h.Ref()]
	if !ok {
		versions, err := s.c.Store.Outgoing.Versions(ctx, h.Ref())
		if errors.Is(err, message.NotFound) {
			return nil, h.CheckFirst()
		}
		if err != nil {
			return nil, err
		}
		size := proto.Size(h.Signed)
		for _, v := range versions {
			if v.ID == h.ID {
				// Kept already: the store gives the same receipt.
				return nil, nil
			}
			size += proto.Size(v.Head)
		}
		if size > maxHistory {
			return nil, fmt.Errorf("mailserver: submit: heads of %d bytes together: %w", size, message.TooLarge)
		}
		if prev, err = s.kept(ctx, versions[len(versions)-1].Head); err != nil {
			return nil, err
		}
	}
	sub.UnlessFetched = h.Tombstone() && prev.Terms == message.Final
	return prev, prev.CheckNext(h)
}

// kept is a head out of the own store, verified again: what it says decides
// what may follow.
func (s *Server) kept(ctx context.Context, signed *wirev1.Signed) (*message.Head, error) {
	claim, err := message.ParseHead(signed)
	if err != nil {
		return nil, err
	}
	chain, err := s.chain(ctx, claim.From())
	if err != nil {
		return nil, err
	}
	return claim.VerifyKept(s.c.Verifier, chain)
}

// submitted is the answer about one version.
func (s *Server) submitted(h *message.Head, r store.SubmitResult) *wirev1.SubmitResult {
	if r.Err != nil {
		return &wirev1.SubmitResult{Refusal: s.refusal("submit", r.Err), Current: r.Current}
	}
	receipt, err := s.receipt(message.ReceiptSubmitted, h.ID, message.Address{}, r.Accepted)
	if err != nil {
		return &wirev1.SubmitResult{Refusal: s.refusal("submit", err)}
	}
	return &wirev1.SubmitResult{Receipt: receipt}
}

// receipt signs the server's promise.
func (s *Server) receipt(kind message.ReceiptKind, id message.ID, reader message.Address, at store.Accepted) (*wirev1.Signed, error) {
	r, err := message.SignReceipt(message.Receipt{
		Issuer: s.address, Kind: kind, ID: id, AcceptedAt: at.At, Epoch: at.Epoch, LogSeq: at.Seq, For: reader,
	}, s.c.Keyring.Signer)
	if err != nil {
		return nil, err
	}
	return r.Signed, nil
}

// refusal is what the peer sees of err; a fault of this server's is logged.
func (s *Server) refusal(verb string, err error) *wirev1.Refusal {
	if message.CodeOf(err) == message.Internal {
		s.c.Log.Error(verb, "err", err)
	}
	return message.Refusal(err, time.Now())
}

// afterSubmit wakes whom the new versions concern.
func (s *Server) afterSubmit(ctx context.Context, subs []store.Submission, kept []store.SubmitResult) {
	wake := false
	for n, sub := range subs {
		if kept[n].Err != nil {
			continue
		}
		if sub.Head.Audience == message.Public {
			s.hub.wakeFor(topic{address: sub.Head.From, posts: true}, kept[n].Accepted.Seq)
			continue
		}
		wake = true
		if err := s.befriend(ctx, sub.Head.From, sub.Head.To); err != nil {
			s.c.Log.Error("submit: accept the recipients", "err", err)
		}
	}
	if wake {
		s.c.Courier.Wake()
	}
}

// befriend accepts those to whom the owner writes: an answer from them belongs
// into the inbox. A verdict that the owner gave stays.
func (s *Server) befriend(ctx context.Context, owner message.Address, to []message.Address) error {
	changes := make(map[message.Address]store.Verdict)
	for _, a := range to {
		if _, done := s.friends.GetIfPresent([2]message.Address{owner, a}); done || a == owner {
			continue
		}
		v, err := s.c.Store.Policies.Verdict(ctx, owner, a)
		if err != nil {
			return err
		}
		if v == store.Stranger {
			changes[a] = store.Allow
		}
		s.friends.Set([2]message.Address{owner, a}, true)
	}
	if len(changes) == 0 {
		return nil
	}
	err := s.c.Store.Policies.SetVerdicts(ctx, owner, changes)
	if errors.Is(err, message.Quota) {
		return nil
	}
	return err
}

// SubmitStream is Submit without waiting. Results come in order.
func (s *Server) SubmitStream(ctx context.Context, stream *connect.BidiStream[wirev1.Submission, wirev1.SubmitResult]) error {
	owner, err := s.writer(ctx)
	if err != nil {
		return err
	}
	return pipeline(ctx, stream.Receive, stages[*wirev1.Submission, []checked, *wirev1.SubmitResult]{
		check: func(ctx context.Context, ws []*wirev1.Submission) ([]checked, error) {
			// A card that the owner announces meanwhile counts from then on.
			chain, err := s.chain(ctx, owner)
			if err != nil {
				return nil, err
			}
			return s.check(chain, ws), nil
		},
		keep: func(ctx context.Context, items []checked) []*wirev1.SubmitResult { return s.submit(ctx, items) },
		send: stream.Send,
	})
}
