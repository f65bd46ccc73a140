package tracker

import (
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"airdispatch/message"
)

// Limits of a Server. Zero fields take the defaults; negative ones are no limit.
type Limits struct {
	// PublishPerMinute and PublishBurst bound the publications of one address:
	// a client that moves publishes a few times a year.
	PublishPerMinute, PublishBurst int
	// ServerPerMinute and ServerBurst bound the new users that one mail server
	// brings; identities are free, so a server answers for those it hosts.
	ServerPerMinute, ServerBurst int
	// NetworkPerSecond and NetworkBurst bound the publications and claims that
	// come from one network: an IPv4 address, or an IPv6 /64. A mail server
	// publishes for all its accounts.
	NetworkPerSecond, NetworkBurst int
	// LookupsPerSecond and LookupBurst bound the queries from one network.
	LookupsPerSecond, LookupBurst int
	// Names is how many names one address may have.
	Names int
}

// maxLimiters bounds each table of limiters. Whoever falls out of it begins
// with a full burst again, so it is far larger than a minute of honest callers.
const maxLimiters = 50_000

// filled puts the defaults in.
func (l Limits) filled() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.PublishPerMinute, 10},
		{&l.PublishBurst, 30},
		{&l.ServerPerMinute, 600},
		{&l.ServerBurst, 10_000},
		{&l.NetworkPerSecond, 50},
		{&l.NetworkBurst, 2000},
		{&l.LookupsPerSecond, 2000},
		{&l.LookupBurst, 20_000},
		{&l.Names, 5},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}

// limiters count who asked how often. Safe for concurrent use.
type limiters struct {
	ofAddress *table[message.Address]
	ofServer  *table[message.Address]
	publish   *table[netip.Prefix]
	lookup    *table[netip.Prefix]
}

func newLimiters(l Limits) *limiters {
	return &limiters{
		ofAddress: newTable[message.Address](rate.Limit(l.PublishPerMinute)/60, l.PublishBurst),
		ofServer:  newTable[message.Address](rate.Limit(l.ServerPerMinute)/60, l.ServerBurst),
		publish:   newTable[netip.Prefix](rate.Limit(l.NetworkPerSecond), l.NetworkBurst),
		lookup:    newTable[netip.Prefix](rate.Limit(l.LookupsPerSecond), l.LookupBurst),
	}
}

// publishOf reports whether a may be published once more.
func (l *limiters) publishOf(a message.Address) bool { return l.ofAddress.allow(a, 1) }

// newAt reports whether a server may bring one more user.
func (l *limiters) newAt(server message.Address) bool { return l.ofServer.allow(server, 1) }

// publishFrom reports whether n publications may come from a network.
func (l *limiters) publishFrom(p netip.Prefix, n int) bool { return l.publish.allow(p, n) }

// lookupFrom reports whether n queries may come from a network.
func (l *limiters) lookupFrom(p netip.Prefix, n int) bool { return l.lookup.allow(p, n) }

// table is one limiter for each key, bounded.
type table[K comparable] struct {
	limit rate.Limit
	burst int
	cache *otter.Cache[K, *rate.Limiter]
}

// newTable makes a table, or nil, which allows everything, for a negative limit.
func newTable[K comparable](limit rate.Limit, burst int) *table[K] {
	if limit < 0 || burst < 0 {
		return nil
	}
	return &table[K]{limit: limit, burst: burst, cache: bounded[K, *rate.Limiter](maxLimiters)}
}

// allow takes n from the key's limiter, and reports whether they were there.
func (t *table[K]) allow(key K, n int) bool {
	if t == nil {
		return true
	}
	l, ok := t.cache.ComputeIfAbsent(key, func() (*rate.Limiter, bool) { return rate.NewLimiter(t.limit, t.burst), false })
	return !ok || l.AllowN(time.Now(), n)
}

// bounded makes a cache that does its housekeeping in the calls themselves, so
// that no goroutine belongs to it.
func bounded[K comparable, V any](size int) *otter.Cache[K, V] {
	return otter.Must(&otter.Options[K, V]{MaximumSize: size, Executor: func(fn func()) { fn() }})
}
