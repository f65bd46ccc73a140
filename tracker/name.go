package tracker

import (
	"context"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Claim gives a name to the caller's address, if nobody has it and it is not
// reserved. The same claim again is answered in the same way. The caller must
// have published a route, so that names cost at least a mail server's ticket.
func (s *Server) Claim(ctx context.Context, r *wirev1.ClaimRequest) (*wirev1.ClaimResponse, error) {
	if !s.limiters.publishFrom(rpc.Remote(ctx, s.c.Proxied), 1) {
		return nil, fmt.Errorf("tracker: claim: from one network: %w", message.RateLimited)
	}
	if err := message.CheckUserName(r.GetName()); err != nil {
		return nil, err
	}
	a, err := s.callers.Caller(ctx, rpc.Authorization(ctx), s.chain)
	if err != nil {
		return nil, err
	}
	if !s.limiters.publishOf(a) {
		return nil, fmt.Errorf("tracker: claim by %s: %w", a.Short(), message.RateLimited)
	}
	if err := s.mayClaim(ctx, a); err != nil {
		return nil, err
	}
	if s.reserved(r.GetName()) {
		return nil, fmt.Errorf("tracker: claim %s: reserved: %w", r.GetName(), message.NameTaken)
	}
	claim := store.NameClaim{Name: r.GetName(), Address: a, Time: time.Now()}
	if err := s.c.Store.Names.ClaimName(ctx, claim, s.nameLimit()); err != nil {
		return nil, err
	}
	s.answers.drop(nameMark(r.GetName()))
	record, err := s.name(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	return &wirev1.ClaimResponse{Record: record.Signed}, nil
}

// mayClaim refuses addresses without a route, and those not served here.
func (s *Server) mayClaim(ctx context.Context, a message.Address) error {
	i, err := s.identity(ctx, a)
	if err != nil {
		return err
	}
	if i.Route == nil {
		return message.Need(a)
	}
	return s.admit(ctx, i)
}

// nameLimit is how many names an address may have.
func (s *Server) nameLimit() int {
	if s.c.Limits.Names < 0 {
		return 1 << 30
	}
	return s.c.Limits.Names
}

// name is the record of a name, signed by the tracker's present key with the
// time of the claim.
func (s *Server) name(ctx context.Context, name string) (*message.NameRecord, error) {
	claim, err := s.c.Store.Names.Name(ctx, name)
	if err != nil {
		return nil, err
	}
	return message.SignName(message.NameRecord{Tracker: s.address, Name: claim.Name, Address: claim.Address, Time: claim.Time}, s.c.Keyring.Signer)
}
