package mailserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// AccountsPolicy says who may join.
type AccountsPolicy int

// The policies. Whom the operator refused joins under none of them, whom the
// operator allowed under each.
const (
	// ByInvite: with an invitation.
	ByInvite AccountsPolicy = iota
	// Open: anybody.
	Open
	// ByList: whom the operator allowed.
	ByList
)

// ParseAccounts reads open, invite or list.
func ParseAccounts(s string) (AccountsPolicy, error) {
	for _, p := range []AccountsPolicy{ByInvite, Open, ByList} {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("mailserver: accounts %q: open, invite or list: %w", s, message.Invalid)
}

// String is the policy in a word.
func (p AccountsPolicy) String() string {
	switch p {
	case Open:
		return "open"
	case ByList:
		return "list"
	}
	return "invite"
}

// ticketLife is how long a server promises to host an address; clients renew
// long before.
const ticketLife = 365 * 24 * time.Hour

// maxInvite bounds an invitation's token.
const maxInvite = 200

// InviteHash is what is kept of an invitation, so that a stolen database opens
// nothing.
func InviteHash(token string) [32]byte { return crypto.Hash("invite", []byte(token)) }

// Join opens an account, or renews the ticket of one. The caller is verified
// with the cards that came along; nothing is kept before it is admitted.
func (s *Server) Join(ctx context.Context, req *wirev1.JoinRequest) (*wirev1.JoinResponse, error) {
	b, err := s.bundle([]*wirev1.Identity{req.GetIdentity()})
	if err != nil {
		return nil, err
	}
	a, err := b.caller(ctx, rpc.Authorization(ctx))
	if err != nil {
		return nil, err
	}
	i, err := b.identity(ctx, a)
	if err != nil {
		return nil, err
	}
	if !b.has(a) || i.Chain.Head().Role != message.RoleUser {
		return nil, fmt.Errorf("mailserver: join: not the cards of a user who calls: %w", message.Invalid)
	}
	if err := s.rates.calls.take(a, 1); err != nil {
		return nil, err
	}
	now := time.Now()
	if err := s.admit(ctx, a, req.GetInvite(), now); err != nil {
		return nil, err
	}
	if err := b.keep(ctx, a); err != nil {
		return nil, err
	}
	t, err := message.SignTicket(s.address, a, now, now.Add(ticketLife), s.c.Keyring.Signer)
	if err != nil {
		return nil, err
	}
	s.c.Log.Info("joined", "account", a.Short())
	return &wirev1.JoinResponse{Ticket: t.Signed, Server: s.c.Identity().Wire()}, nil
}

// admit decides whether a may have an account, and makes it.
func (s *Server) admit(ctx context.Context, a message.Address, invite string, now time.Time) error {
	listing, err := s.c.Store.Listings.Listing(ctx, a)
	if err != nil {
		return err
	}
	if listing == store.Refused {
		return fmt.Errorf("mailserver: join: %s is refused: %w", a.Short(), message.Denied)
	}
	acc, err := s.c.Store.Accounts.Account(ctx, a)
	if err == nil {
		if acc.Suspended {
			return fmt.Errorf("mailserver: join: %s is suspended: %w", a.Short(), message.Denied)
		}
		return nil
	}
	if !errors.Is(err, message.NotFound) {
		return err
	}
	var use *store.InviteUse
	if listing != store.Allowed && s.c.Accounts != Open {
		if s.c.Accounts == ByList || invite == "" || len(invite) > maxInvite {
			return fmt.Errorf("mailserver: join: %s by %s: %w", a.Short(), s.c.Accounts, message.Denied)
		}
		use = &store.InviteUse{Token: InviteHash(invite), Now: now}
	}
	return s.c.Store.Accounts.Join(ctx, store.Account{
		Address: a, Joined: now, BytesLimit: max(s.c.Limits.Bytes, 0), MessagesLimit: max(s.c.Limits.Messages, 0),
	}, use)
}

// hosts reports whether an account's owner has mail brought here: the newest route
// that is known says so, or none is known. Whoever brings mail for one who has
// moved has an old route, and is to look it up again. Errors: message.Stale.
func (s *Server) hosts(ctx context.Context, a message.Address) error {
	i, err := s.c.Known.Identity(ctx, a)
	if errors.Is(err, message.NotFound) || (err == nil && (i.Route == nil || i.Route.Serves(s.address, message.PurposeInbox))) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("mailserver: %s has moved: %w", a.Short(), message.Stale)
}
