package mailserver

import (
	"context"

	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// doorkeeper is the Authorizer of the relay: who signed an Access may call, who has
// an account may be called, but not by those whom the owner has blocked.
type doorkeeper struct{ s *Server }

// Authorize verifies the Access; the asker's cards may have come along.
func (d doorkeeper) Authorize(ctx context.Context, a relay.Asking) (message.Address, error) {
	var offered []*wirev1.Identity
	if a.Bundle != nil {
		offered = append(offered, a.Bundle)
	}
	b, err := d.s.bundle(offered)
	if err != nil {
		return message.Address{}, err
	}
	from, err := b.caller(ctx, a.Authorization)
	if err != nil {
		return message.Address{}, err
	}
	return from, d.s.rates.calls.take(from, 1)
}

// MayServe is for active accounts.
func (d doorkeeper) MayServe(ctx context.Context, a message.Address) error {
	_, err := d.s.active(ctx, a)
	return err
}

// MayCall is for everybody who is not blocked, towards accounts that are active.
func (d doorkeeper) MayCall(ctx context.Context, from, to message.Address) error {
	if err := d.s.rates.calls.take(from, 1); err != nil {
		return err
	}
	if _, err := d.s.active(ctx, to); err != nil {
		return err
	}
	v, err := d.s.c.Store.Policies.Verdict(ctx, to, from)
	if err == nil && v == store.Block {
		err = message.Denied
	}
	return err
}

// forget drops what rests on the cards of an address as they were: verified
// headers, and sockets, which come back with the cards of today.
func (s *Server) forget(a message.Address) {
	s.callers.Forget(a)
	s.live.Drop(a)
}
