package mailserver

import (
	"context"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxTrackers is how many trackers one account may announce: its owner's few,
// not a list of places to connect to.
const maxTrackers = 8

// Announce takes the owner's newest cards, route and trackers. The server shows
// itself to trackers that it did not know.
func (s *Server) Announce(ctx context.Context, req *wirev1.AnnounceRequest) (*wirev1.AnnounceResponse, error) {
	b, err := s.bundle([]*wirev1.Identity{req.GetIdentity()})
	if err != nil {
		return nil, err
	}
	a, err := b.announcer(ctx)
	if err != nil {
		return nil, err
	}
	refs, err := parseTrackers(req.GetTrackers())
	if err != nil {
		return nil, err
	}
	peers, err := parsePeers(req.GetAsk())
	if err != nil {
		return nil, err
	}
	i, err := s.c.Known.Learn(ctx, &wirev1.Identity{Cards: req.GetIdentity().GetCards(), Route: req.GetIdentity().GetRoute()}, time.Now())
	if err != nil {
		return nil, err
	}
	s.forget(a)
	if i.Route == nil {
		return nil, fmt.Errorf("mailserver: announce: no route: %w", message.Invalid)
	}
	if err := s.c.Store.Accounts.ChangeAccount(ctx, a, store.AccountChange{Trackers: req.GetTrackers()}); err != nil {
		return nil, err
	}
	if len(refs) > 0 {
		s.c.Resolver.AddTrackers(refs...)
		nudge(s.publish)
	}
	if err := s.askPeers(ctx, a, peers); err != nil {
		return nil, err
	}
	return &wirev1.AnnounceResponse{}, nil
}

// announcer is the owner who calls, with an account here. The Access may be
// signed under the very card that came along.
func (b *bundle) announcer(ctx context.Context) (message.Address, error) {
	a, err := b.caller(ctx, rpc.Authorization(ctx))
	if err != nil {
		return a, err
	}
	if _, err := b.s.active(ctx, a); err != nil {
		return a, err
	}
	if !b.has(a) {
		return a, fmt.Errorf("mailserver: announce: another identity: %w", message.Invalid)
	}
	return a, b.s.rates.calls.take(a, 1)
}

// parseTrackers reads references.
func parseTrackers(texts []string) ([]message.Reference, error) {
	if len(texts) > maxTrackers {
		return nil, fmt.Errorf("mailserver: %d trackers, at most %d: %w", len(texts), maxTrackers, message.TooLarge)
	}
	var refs []message.Reference
	for _, text := range texts {
		r, err := message.ParseReference(text)
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	return refs, nil
}

// maxAsk is how many senders one announcement names.
const maxAsk = 1000

// parsePeers reads addresses of senders.
func parsePeers(raw [][]byte) ([]message.Address, error) {
	if len(raw) > maxAsk {
		return nil, fmt.Errorf("mailserver: ask %d senders, at most %d: %w", len(raw), maxAsk, message.TooLarge)
	}
	var peers []message.Address
	for _, b := range raw {
		a, err := message.AddressFromBytes(b)
		if err != nil {
			return nil, err
		}
		peers = append(peers, a)
	}
	return peers, nil
}

// askPeers has the servers of senders asked what they hold for an owner.
func (s *Server) askPeers(ctx context.Context, owner message.Address, peers []message.Address) error {
	if len(peers) == 0 {
		return nil
	}
	now := time.Now()
	var qs []store.Inquiry
	for _, p := range peers {
		qs = append(qs, store.Inquiry{Owner: owner, Peer: p, Queued: now, Due: now})
	}
	if err := s.c.Store.Inquiries.AddInquiries(ctx, qs); err != nil {
		return err
	}
	nudge(s.inquiries)
	return nil
}

// Leave closes the account and erases what it held.
func (s *Server) Leave(ctx context.Context, _ *wirev1.LeaveRequest) (*wirev1.LeaveResponse, error) {
	a, err := s.owner(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.c.Store.Accounts.RemoveAccount(ctx, a); err != nil {
		return nil, err
	}
	s.forget(a)
	s.c.Log.Info("left", "account", a.Short())
	return &wirev1.LeaveResponse{}, nil
}
