package mailserver

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"airdispatch/message"
	"airdispatch/rpc"
)

// Limits of a Server. Zero fields take the default, negative ones are no limit.
type Limits struct {
	// Bytes and Messages of a new account: 10 GiB, 100,000. The bytes hold an
	// attachment of 5 GiB.
	Bytes, Messages int64
	// SubmitsPerSecond and SubmitBurst bound what one account submits: 100, 5,000.
	SubmitsPerSecond, SubmitBurst int
	// AlertsPerSecond and AlertBurst bound what one other server brings: 1,000, 20,000.
	AlertsPerSecond, AlertBurst int
	// CallsPerSecond and CallBurst bound the other calls of one address: 200, 4,000.
	CallsPerSecond, CallBurst int
	// NetworkPerSecond and NetworkBurst bound what comes from one network, an IPv4
	// address or an IPv6 /64, without a name: 50, 1,000. Behind one address there
	// may be a whole village that reads what is public.
	NetworkPerSecond, NetworkBurst int
	// Watchers in all, and of one address: 20,000 and 16.
	Watchers, WatchersPerAddress int
	// PrefetchJitter is the longest wait before what an accepted sender sent is
	// fetched: 10 min. The wait hides when the owner reads.
	PrefetchJitter time.Duration
	// CopiesFor is how long a copy stays after a device took it: 30 days.
	CopiesFor time.Duration
	// ReserveBytes is the free space that uploads of blobs leave on the disk: 1 GiB.
	// What it is for is small: submissions, alerts, marks, and the database's log.
	ReserveBytes int64
}

// filled puts the defaults in.
func (l Limits) filled() Limits {
	fill(&l.Bytes, 10<<30)
	fill(&l.Messages, 100_000)
	fill(&l.SubmitsPerSecond, 100)
	fill(&l.SubmitBurst, 5_000)
	fill(&l.AlertsPerSecond, 1_000)
	fill(&l.AlertBurst, 20_000)
	fill(&l.CallsPerSecond, 200)
	fill(&l.CallBurst, 4_000)
	fill(&l.NetworkPerSecond, 50)
	fill(&l.NetworkBurst, 1_000)
	fill(&l.Watchers, 20_000)
	fill(&l.WatchersPerAddress, 16)
	fill(&l.PrefetchJitter, 10*time.Minute)
	fill(&l.CopiesFor, 30*24*time.Hour)
	fill(&l.ReserveBytes, 1<<30)
	return l
}

func fill[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// The caps of what strangers can put into one mailbox (requests): so many
// senders cannot bury the mail of one, and one origin not that of others.
const (
	requestsPerSender  = 5
	requestsPerOrigin  = 200
	requestsPerMailbox = 1000
)

// What one call may carry.
const (
	maxItems      = 256
	maxFetchItems = 64
	maxIdentities = 512
	// answerBudget is how many bytes of items go into one answer, so that with
	// everything around them it stays below message.MaxCall.
	answerBudget = message.MaxCall - 512<<10
	// identityBudget is how many of those may be bundles.
	identityBudget = 1 << 20
	// maxHistory bounds the heads of one message together: all of them must fit
	// into one answer beside the largest payload.
	maxHistory = 2 << 20
)

// rates count who asked how often. Safe for concurrent use.
type rates struct {
	submits, alerts, calls *table[message.Address]
	// strangers are those who ask without a name; where a connection has no IP
	// address, as in a simulation, all of them are one.
	strangers *table[netip.Prefix]
}

func newRates(l Limits) *rates {
	return &rates{
		submits:   newTable(l.SubmitsPerSecond, l.SubmitBurst, message.Address.Short),
		alerts:    newTable(l.AlertsPerSecond, l.AlertBurst, message.Address.Short),
		calls:     newTable(l.CallsPerSecond, l.CallBurst, message.Address.Short),
		strangers: newTable(l.NetworkPerSecond, l.NetworkBurst, netip.Prefix.String),
	}
}

// maxLimiters bounds each table; who falls out begins with a full burst again.
const maxLimiters = 50_000

// table is one limiter for each key; nil allows everything.
type table[K comparable] struct {
	limit rate.Limit
	burst int
	// name is a key in a refusal.
	name  func(K) string
	cache *otter.Cache[K, *rate.Limiter]
}

func newTable[K comparable](perSecond, burst int, name func(K) string) *table[K] {
	if perSecond < 0 || burst < 0 {
		return nil
	}
	return &table[K]{limit: rate.Limit(perSecond), burst: burst, name: name, cache: bounded[K, *rate.Limiter](maxLimiters)}
}

// take takes n from k's limiter. Errors: message.RateLimited.
func (t *table[K]) take(k K, n int) error {
	if t == nil {
		return nil
	}
	l, _ := t.cache.ComputeIfAbsent(k, func() (*rate.Limiter, bool) { return rate.NewLimiter(t.limit, t.burst), false })
	if l.AllowN(time.Now(), n) {
		return nil
	}
	return fmt.Errorf("mailserver: %s: %w", t.name(k), message.RateLimited)
}

// remote is the network that a call comes from.
func (s *Server) remote(ctx context.Context) netip.Prefix { return rpc.Remote(ctx, s.c.Proxied) }

// pullsPerOrigin is how many pulls go to one server at a time: one that hands
// out slowly holds up its own mail and not much memory here.
const pullsPerOrigin = 2

// gates lets a few at a time through for each address. Safe for concurrent use.
type gates struct {
	width int
	// mu guards open.
	mu   sync.Mutex
	open map[message.Address]*gate
}

// gate is the places of one address, and how many hold or wait for one.
type gate struct {
	places chan struct{}
	users  int
}

func newGates(width int) *gates {
	return &gates{width: width, open: make(map[message.Address]*gate)}
}

// enter waits for a place; leave gives it back.
func (g *gates) enter(ctx context.Context, a message.Address) (leave func(), err error) {
	g.mu.Lock()
	e, ok := g.open[a]
	if !ok {
		e = &gate{places: make(chan struct{}, g.width)}
		g.open[a] = e
	}
	e.users++
	g.mu.Unlock()
	done := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if e.users--; e.users == 0 {
			delete(g.open, a)
		}
	}
	select {
	case e.places <- struct{}{}:
		return func() { <-e.places; done() }, nil
	case <-ctx.Done():
		done()
		return nil, fmt.Errorf("mailserver: wait for %s: %w", a.Short(), message.Unavailable)
	}
}
