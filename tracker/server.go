package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// Config is what a Server is made of. Keyring, Identity, Store and Verifier
// are required.
type Config struct {
	// Keyring holds the tracker's own keys.
	Keyring *message.Keyring
	// Identity is the tracker's own cards and route, as it describes itself.
	Identity func() *message.Identity
	Store    *store.Tracker
	Verifier crypto.Verifier
	// Rand is kept for statements that need randomness; none does so far.
	Rand io.Reader
	// Private serves listed addresses and those hosted by listed servers only.
	Private bool
	// Proxied says that calls come through a proxy on this machine, which names
	// the asker's address in X-Forwarded-For.
	Proxied bool
	// Reserved names, beside those that are always reserved.
	Reserved []string
	Limits   Limits
	// Log may be nil.
	Log *slog.Logger
}

// Server keeps routes and names. It answers the services Directory and
// Tracker. Safe for concurrent use.
type Server struct {
	c        Config
	address  message.Address
	known    *store.Known
	callers  *rpc.Callers
	answers  *answers
	limiters *limiters
	log      *slog.Logger
	counts   counts
}

// Counters is what a Server has done since it was made.
type Counters struct {
	// Published and Refused count publications, Lookups queries, and Signed the
	// answers among them that had to be signed anew.
	Published, Refused, Lookups, Signed uint64
}

// counts is Counters while they change.
type counts struct{ published, refused, lookups, signed atomic.Uint64 }

// Counters is what the Server has done so far.
func (s *Server) Counters() Counters {
	return Counters{
		Published: s.counts.published.Load(), Refused: s.counts.refused.Load(),
		Lookups: s.counts.lookups.Load(), Signed: s.counts.signed.Load(),
	}
}

var (
	_ wirev1connect.DirectoryHandler = (*Server)(nil)
	_ wirev1connect.TrackerHandler   = (*Server)(nil)
)

// New makes a Server; it starts nothing.
func New(c Config) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.filled()
	return &Server{
		c: c, address: c.Keyring.Address(), log: c.Log,
		known:    store.NewKnown(c.Store.Identities, c.Verifier),
		callers:  rpc.NewCallers(c.Keyring.Address(), c.Verifier),
		answers:  newAnswers(),
		limiters: newLimiters(c.Limits),
	}
}

// Mount answers on s.
func (s *Server) Mount(m *rpc.Server) {
	m.Mount(wirev1connect.NewDirectoryHandler(s, rpc.Options(s.log)...))
	m.Mount(wirev1connect.NewTrackerHandler(s, rpc.Options(s.log)...))
}

// caller is who is asking, if that is anybody whom this tracker serves.
// Errors: those of rpc.Callers.Caller, and message.Denied. None of them depends
// on what is asked for, so they tell nothing about it.
func (s *Server) caller(ctx context.Context) (message.Address, error) {
	a, err := s.callers.Caller(ctx, rpc.Authorization(ctx), s.chain)
	if err != nil {
		return a, err
	}
	i, err := s.identity(ctx, a)
	if err != nil {
		return a, err
	}
	return a, s.admit(ctx, i)
}

// chain finds the chain of a caller, the tracker itself included.
func (s *Server) chain(ctx context.Context, a message.Address) (*message.Chain, error) {
	i, err := s.identity(ctx, a)
	if err != nil {
		return nil, err
	}
	return i.Chain, nil
}

// identity is what is known of a, whoever may see it.
func (s *Server) identity(ctx context.Context, a message.Address) (*message.Identity, error) {
	if a == s.address {
		return s.c.Identity(), nil
	}
	return s.known.Identity(ctx, a)
}

// admit refuses, with message.Denied, an identity that the operator refused,
// and at a private tracker one that neither is on the list nor is hosted by a
// server on it. Its tickets must have been verified.
func (s *Server) admit(ctx context.Context, i *message.Identity) error {
	if i.Address() == s.address {
		return nil
	}
	listing, err := s.c.Store.Listings.Listing(ctx, i.Address())
	if err != nil {
		return err
	}
	switch {
	case listing == store.Refused:
		return fmt.Errorf("tracker: %s is refused: %w", i.Address().Short(), message.Denied)
	case listing == store.Allowed || !s.c.Private:
		return nil
	}
	if i.Route != nil {
		for _, service := range i.Route.Services {
			listing, err := s.c.Store.Listings.Listing(ctx, service.Server)
			if err != nil {
				return err
			}
			if listing == store.Allowed {
				return nil
			}
		}
	}
	return fmt.Errorf("tracker: %s is not on the list: %w", i.Address().Short(), message.Denied)
}

// receipt promises that the statement id is kept, at a place in the log.
func (s *Server) receipt(id message.ID, place store.Place, now time.Time) (*wirev1.Signed, error) {
	r, err := message.SignReceipt(message.Receipt{
		Issuer: s.address, Kind: message.ReceiptPublished, ID: id, AcceptedAt: now, Epoch: place.Epoch, LogSeq: place.Seq,
	}, s.c.Keyring.Signer)
	if err != nil {
		return nil, fmt.Errorf("tracker: receipt: %w", err)
	}
	return r.Signed, nil
}

// reservedNames are given to nobody: whoever had one could pass for the
// operator, or for a part of the service.
var reservedNames = []string{
	"abuse", "account", "accounts", "admin", "administrator", "airdispatch", "anonymous", "billing", "contact",
	"dns", "everyone", "ftp", "help", "hostmaster", "info", "mail", "mailer-daemon", "me", "news", "nobody",
	"noreply", "no-reply", "null", "official", "operator", "postmaster", "privacy", "register", "root", "sales",
	"security", "server", "service", "smtp", "staff", "status", "support", "sysadmin", "system", "team", "test",
	"tracker", "usenet", "user", "webmaster", "www",
}

// reserved reports whether name is given to nobody.
func (s *Server) reserved(name string) bool {
	return slices.Contains(reservedNames, name) || slices.Contains(s.c.Reserved, name)
}

// absent reports whether err says that there is nothing.
func absent(err error) bool { return errors.Is(err, message.NotFound) }
