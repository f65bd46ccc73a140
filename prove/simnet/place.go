package simnet

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"airdispatch/prove/simclock"
)

// Place is somewhere in the network: a machine that answers, or somebody who
// only asks.
type Place struct {
	bus  *Bus
	name string
	// IP is the place's address, which a guard looks at.
	IP netip.Addr
	// Clock is the clock of the machine.
	Clock *simclock.Clock

	// mu guards what follows.
	mu          sync.Mutex
	life        context.Context
	end         context.CancelFunc
	handler     http.Handler
	certificate *x509.Certificate
	exchanges   map[*exchange]uint64
	begun       uint64
}

// Place makes a place, under a host name and an address. Nobody answers there
// before Start.
func (b *Bus) Place(name string, ip netip.Addr) *Place {
	p := &Place{bus: b, name: name, IP: ip, Clock: simclock.New(), exchanges: map[*exchange]uint64{}}
	p.live()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places[name] = p
	return p
}

// Name is the place's host name.
func (p *Place) Name() string { return p.name }

func (p *Place) live() { p.life, p.end = context.WithCancel(context.Background()) }

// Life ends when the place crashes.
func (p *Place) Life() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

// Start has h answer there, with this certificate.
func (p *Place) Start(h http.Handler, certificate *x509.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler, p.certificate = h, certificate
}

// Stop has nobody answer any more; what is being answered goes on.
func (p *Place) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = nil
}

// Crash ends everything at the place: whoever waits for an answer sees the
// connection reset, and what still runs there is told by Life and reaches
// nobody. A new life begins with Start.
func (p *Place) Crash() {
	p.mu.Lock()
	p.handler = nil
	p.end()
	p.live()
	exchanges := p.exchanges
	p.exchanges = map[*exchange]uint64{}
	p.mu.Unlock()
	// In the order in which they came: where in memory they are says nothing.
	for _, x := range slices.SortedFunc(maps.Keys(exchanges), func(x, y *exchange) int { return cmp.Compare(exchanges[x], exchanges[y]) }) {
		x.crashed()
	}
}

// who answers there, by which certificate, until when.
func (p *Place) who() (http.Handler, *x509.Certificate, context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handler, p.certificate, p.life
}

func (p *Place) busy(x *exchange, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if yes {
		p.begun++
		p.exchanges[x] = p.begun
	} else {
		delete(p.exchanges, x)
	}
}

// Carrier is how somebody at the place reaches the others, for rpc.Config. It is
// good for this life of the place.
func (p *Place) Carrier() func(*tls.Config) http.RoundTripper {
	life := p.Life()
	return func(proof *tls.Config) http.RoundTripper { return &carrier{from: p, life: life, proof: proof} }
}

// at is the place of a host name; nil for none.
func (b *Bus) at(name string) *Place {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.places[name]
}
