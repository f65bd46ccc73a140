package mailserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// chain is what is known of a for checking an Access: the form that rpc asks for.
func (s *Server) chain(ctx context.Context, a message.Address) (*message.Chain, error) {
	if a == s.address {
		return s.c.Identity().Chain, nil
	}
	return s.c.Known.Chain(ctx, a)
}

// reader is the account of the owner who calls. Errors: message.Unauthenticated,
// message.NeedBundle, message.Denied where there is no account.
func (s *Server) reader(ctx context.Context) (store.Account, error) {
	return s.account(ctx, rpc.Authorization(ctx))
}

func (s *Server) account(ctx context.Context, header string) (store.Account, error) {
	a, err := s.callers.Caller(ctx, header, s.chain)
	if err != nil {
		return store.Account{}, err
	}
	return s.hosted(ctx, a)
}

// hosted is the account of a caller. Errors: message.Denied where there is none.
func (s *Server) hosted(ctx context.Context, a message.Address) (store.Account, error) {
	acc, err := s.c.Store.Accounts.Account(ctx, a)
	if errors.Is(err, message.NotFound) {
		return store.Account{}, fmt.Errorf("mailserver: %s has no account: %w", a.Short(), message.Denied)
	}
	return acc, err
}

// active is the account of a caller who may change something: one that is
// suspended can read and nothing else.
func (s *Server) active(ctx context.Context, a message.Address) (store.Account, error) {
	acc, err := s.hosted(ctx, a)
	if err == nil && acc.Suspended {
		err = fmt.Errorf("mailserver: %s is suspended: %w", a.Short(), message.Denied)
	}
	return acc, err
}

// owner is reader, counted against the account's rate.
func (s *Server) owner(ctx context.Context) (message.Address, error) {
	acc, err := s.reader(ctx)
	if err != nil {
		return message.Address{}, err
	}
	return acc.Address, s.rates.calls.take(acc.Address, 1)
}

// writer is the owner who calls and may change something.
func (s *Server) writer(ctx context.Context) (message.Address, error) {
	a, err := s.callers.Caller(ctx, rpc.Authorization(ctx), s.chain)
	if err != nil {
		return a, err
	}
	_, err = s.active(ctx, a)
	return a, err
}

// bundle holds the identities that came along with a call. They prove
// themselves, so they are used; what nobody here corresponds with is not kept,
// because anybody can make identities by the million. Safe for concurrent use.
type bundle struct {
	s *Server
	// mu guards what follows.
	mu      sync.Mutex
	offered map[message.Address]*wirev1.Identity
	// opened came along, or was learned from what came along; held was known here
	// before, and is read once for a call.
	opened, held map[message.Address]*message.Identity
}

// bundle reads which identities came along. Errors: message.TooLarge,
// message.Invalid.
func (s *Server) bundle(ws []*wirev1.Identity) (*bundle, error) {
	if len(ws) > maxIdentities {
		return nil, fmt.Errorf("mailserver: %d identities: %w", len(ws), message.TooLarge)
	}
	b := &bundle{
		s: s, offered: make(map[message.Address]*wirev1.Identity, len(ws)),
		opened: make(map[message.Address]*message.Identity), held: make(map[message.Address]*message.Identity),
	}
	for _, w := range ws {
		a, err := message.IdentityAddress(w)
		if err != nil {
			return nil, err
		}
		// When a stranger says it was first seen counts for nothing.
		b.offered[a] = &wirev1.Identity{Cards: w.GetCards(), Route: w.GetRoute()}
	}
	return b, nil
}

// has reports whether the identity of a came along.
func (b *bundle) has(a message.Address) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offered[a] != nil
}

// identity is what is known of a, together with what came along. Errors:
// message.NeedBundle where that is nothing.
func (b *bundle) identity(ctx context.Context, a message.Address) (*message.Identity, error) {
	if a == b.s.address {
		return b.s.c.Identity(), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i, ok := b.opened[a]; ok {
		return i, nil
	}
	if i, ok := b.held[a]; ok {
		return i, nil
	}
	w := b.offered[a]
	held, err := b.s.c.Known.Identity(ctx, a)
	if err != nil && !errors.Is(err, message.NotFound) {
		return nil, err
	}
	switch {
	case held == nil && w == nil:
		return nil, message.Need(a)
	case held == nil:
		if held, err = message.OpenIdentity(b.s.c.Verifier, w, nil); err != nil {
			return nil, err
		}
	case w != nil:
		if held, err = b.s.learn(ctx, w, held); err != nil {
			return nil, err
		}
	default:
		b.held[a] = held
		return held, nil
	}
	b.opened[a] = held
	return held, nil
}

// learn merges w into what is known. An older state, or one that contradicts
// what is known, changes nothing and is no error: held stands.
func (s *Server) learn(ctx context.Context, w *wirev1.Identity, held *message.Identity) (*message.Identity, error) {
	next, err := s.c.Known.Learn(ctx, &wirev1.Identity{Cards: w.GetCards(), Route: w.GetRoute()}, time.Now())
	if errors.Is(err, message.Stale) || errors.Is(err, message.Conflict) {
		if next != nil {
			return next, nil
		}
		return held, nil
	}
	if err != nil {
		return nil, err
	}
	if held == nil || next.Chain.Len() != held.Chain.Len() || next.Chain.Head().ID != held.Chain.Head().ID {
		s.forget(next.Address())
	}
	return next, nil
}

// keep remembers what came along about a, now that somebody here corresponds
// with it.
func (b *bundle) keep(ctx context.Context, a message.Address) error {
	b.mu.Lock()
	i, ok := b.opened[a]
	b.mu.Unlock()
	if !ok || a == b.s.address {
		return nil
	}
	_, err := b.s.learn(ctx, i.Wire(), nil)
	return err
}

// caller is who signed the call's Access. Its cards may have come along.
func (b *bundle) caller(ctx context.Context, header string) (message.Address, error) {
	return b.s.callers.Caller(ctx, header, func(ctx context.Context, a message.Address) (*message.Chain, error) {
		i, err := b.identity(ctx, a)
		if err != nil {
			return nil, err
		}
		return i.Chain, nil
	})
}

// speaks reports whether a server stands in the current route of an address for
// a purpose. Errors: message.NeedBundle where the route that is known here does
// not say so and none came along, because it may have changed.
func (b *bundle) speaks(ctx context.Context, server, of message.Address, p message.Purpose) (bool, error) {
	i, err := b.identity(ctx, of)
	if err != nil {
		return false, err
	}
	if i.Route != nil && i.Route.Serves(server, p) {
		return true, nil
	}
	if !b.has(of) {
		return false, message.Need(of)
	}
	return false, nil
}
