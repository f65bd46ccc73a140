package passer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"airdispatch/crypto"
	"airdispatch/message"
)

// Account is who logs in under a name.
type Account struct {
	// Name is what others call it by.
	Name string
	// Address is whom it acts for.
	Address message.Address
	// Secret is the hash of its secret; see HashSecret.
	Secret [32]byte
	// Suspended accounts are not let in.
	Suspended bool
}

// Accounts says who may log in, and who may call whom. It may be asked concurrently.
type Accounts interface {
	// Account is the account of a name. Errors: message.NotFound.
	Account(ctx context.Context, name string) (Account, error)
	// MayCall says whether clients of one address may call those of another; every
	// error is the same refusal.
	MayCall(ctx context.Context, from, to message.Address) error
}

// refusal is why a client was not let in, in words that it is told. They are the same for
// a name that is not there and for a wrong secret.
type refusal string

// Error is the words.
func (r refusal) Error() string { return string(r) }

// The refusals.
const (
	refusedForm      = refusal("the first message is malformed")
	refusedFirst     = refusal("the first message must be Auth")
	refusedSecret    = refusal("wrong name or secret")
	refusedGuesses   = refusal("too many wrong secrets; try again later")
	refusedSuspended = refusal("the account is suspended")
	refusedFull      = refusal("too many clients")
	refusedFault     = refusal("unavailable; try again later")
)

// How many wrong secrets are heard: from one network, for one name from networks that it
// has not logged in from, and from one that it has; at once, and one more after a while.
const (
	guessesOfNetwork, guessesOfName, guessesOfFriend = 10, 30, 10
	guessEvery                                       = 10 * time.Second
)

// maxGuessers bounds each table; who falls out begins anew.
const maxGuessers = 20_000

// friend is a network from which a name has logged in.
type friend struct {
	name    string
	network netip.Prefix
}

// guesses counts wrong secrets. Whoever has logged in before is counted apart, so that
// others, in the same network or for the same name, cannot lock them out. Safe for
// concurrent use.
type guesses struct {
	networks *otter.Cache[netip.Prefix, *rate.Limiter]
	names    *otter.Cache[string, *rate.Limiter]
	friends  *otter.Cache[friend, *rate.Limiter]
}

func newGuesses() *guesses {
	return &guesses{
		networks: table[netip.Prefix](), names: table[string](), friends: table[friend](),
	}
}

// table is a bounded map that does its housekeeping in the calls themselves, so that no
// goroutine belongs to it.
func table[K comparable]() *otter.Cache[K, *rate.Limiter] {
	return otter.Must(&otter.Options[K, *rate.Limiter]{MaximumSize: maxGuessers, Executor: func(fn func()) { fn() }})
}

// limiters are what a wrong secret would be counted by.
func (g *guesses) limiters(f friend) []*rate.Limiter {
	if l, ok := g.friends.GetIfPresent(f); ok {
		return []*rate.Limiter{l}
	}
	return []*rate.Limiter{limiter(g.networks, f.network, guessesOfNetwork), limiter(g.names, f.name, guessesOfName)}
}

// limiter finds or makes one.
func limiter[K comparable](t *otter.Cache[K, *rate.Limiter], k K, burst int) *rate.Limiter {
	l, _ := t.ComputeIfAbsent(k, func() (*rate.Limiter, bool) { return rate.NewLimiter(rate.Every(guessEvery), burst), false })
	return l
}

// befriend remembers that a name has logged in from a network.
func (g *guesses) befriend(f friend) { limiter(g.friends, f, guessesOfFriend) }

// login finds out who somebody is by their first message. Errors: a refusal.
func (s *Server) login(ctx context.Context, network netip.Prefix, m Message) (Account, error) {
	if m.Meta != MetaAuth {
		return Account{}, refusedFirst
	}
	f := friend{m.OtherClient, network}
	counters := s.guesses.limiters(f)
	now := time.Now()
	for _, l := range counters {
		if l.TokensAt(now) < 1 {
			return Account{}, refusedGuesses
		}
	}
	a, err := s.c.Accounts.Account(ctx, m.OtherClient)
	if err != nil && !errors.Is(err, message.NotFound) {
		s.c.Log.ErrorContext(ctx, "passer: account not read", "error", err)
		return Account{}, refusedFault
	}
	// Compared also where there is no such name, so that it takes as long.
	if fits := crypto.Same(a.Secret, HashSecret(m.Data)); err != nil || !fits || a.Name != m.OtherClient {
		for _, l := range counters {
			l.AllowN(now, 1)
		}
		return Account{}, refusedSecret
	}
	s.guesses.befriend(f)
	if a.Suspended {
		return Account{}, refusedSuspended
	}
	return a, nil
}

// networkOf is the IPv4 address or IPv6 /64 that a connection comes from; what has
// neither, as in a simulation, is one network.
func networkOf(c net.Conn) netip.Prefix {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := ap.Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
