package mailserver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxRules bounds the changes of one call.
const maxRules = 1000

// Policy changes the caller's verdicts about senders, and tells all of them.
func (s *Server) Policy(ctx context.Context, req *wirev1.PolicyRequest) (*wirev1.PolicyResponse, error) {
	owner, err := s.owner(ctx)
	if err != nil {
		return nil, err
	}
	if len(req.GetRules()) > 0 {
		if err := s.setRules(ctx, owner, req.GetRules()); err != nil {
			return nil, err
		}
	}
	verdicts, err := s.c.Store.Policies.Verdicts(ctx, owner)
	if err != nil {
		return nil, err
	}
	resp := &wirev1.PolicyResponse{}
	for a, v := range verdicts {
		w := wirev1.Verdict_VERDICT_ALLOW
		if v == store.Block {
			w = wirev1.Verdict_VERDICT_BLOCK
		}
		resp.Rules = append(resp.Rules, &wirev1.Rule{Address: a.Bytes(), Verdict: w})
	}
	slices.SortFunc(resp.Rules, func(a, b *wirev1.Rule) int { return slices.Compare(a.Address, b.Address) })
	return resp, nil
}

func (s *Server) setRules(ctx context.Context, owner message.Address, rules []*wirev1.Rule) error {
	if _, err := s.writer(ctx); err != nil {
		return err
	}
	if len(rules) > maxRules {
		return fmt.Errorf("mailserver: %d rules, at most %d: %w", len(rules), maxRules, message.TooLarge)
	}
	changes := make(map[message.Address]store.Verdict, len(rules))
	for _, r := range rules {
		a, err := message.AddressFromBytes(r.GetAddress())
		if err != nil {
			return err
		}
		switch r.GetVerdict() {
		case wirev1.Verdict_VERDICT_ALLOW:
			changes[a] = store.Allow
		case wirev1.Verdict_VERDICT_BLOCK:
			changes[a] = store.Block
		case wirev1.Verdict_VERDICT_NONE:
			changes[a] = store.Stranger
		default:
			return fmt.Errorf("mailserver: policy: verdict %d: %w", r.GetVerdict(), message.Invalid)
		}
		// Writing to somebody accepts them; a verdict taken back is taken back
		// until the owner writes again.
		s.friends.Invalidate([2]message.Address{owner, a})
	}
	if err := s.c.Store.Policies.SetVerdicts(ctx, owner, changes); err != nil {
		return err
	}
	// Entries may have moved from the requests to the inbox.
	s.hub.wake(topic{address: owner})
	return nil
}

// Account tells limits and use.
func (s *Server) Account(ctx context.Context, _ *wirev1.AccountRequest) (*wirev1.AccountResponse, error) {
	acc, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	place, err := s.c.Store.Log.Place(ctx)
	if err != nil {
		return nil, err
	}
	return &wirev1.AccountResponse{
		BytesUsed: uint64(acc.BytesUsed), BytesLimit: uint64(acc.BytesLimit), MessagesUsed: uint64(acc.MessagesUsed), MessagesLimit: uint64(acc.MessagesLimit),
		Suspended: acc.Suspended, Now: cursor(place.Epoch, place.Seq), ServerTime: time.Now().UnixMilli(),
	}, nil
}
