// Package simnet is a network in one process that does one thing at a time.
//
// Whoever has something to bring to somebody else hands it to the Bus as an
// operation: a request, a piece of an answer, the word that somebody has gone.
// An operation has a moment at which it is due and a key that says what it is,
// and both depend on nothing but the seed and what is brought: two runs that ask
// the same find the same delays and the same accidents, in whatever order
// goroutines came to run. One goroutine delivers, in a testing/synctest bubble:
// it waits until everybody is idle, delivers the one operation that is due
// first, and waits again (Run).
//
// The network carries HTTP exchanges and no bytes of TLS: a Carrier takes the
// place of net/http's transport in rpc.Config. It resolves the host, holds the
// address to rpc.Guard, shows the host's certificate to the proof that TLS would
// have used, and hands the request to the host's handler. Requests arrive whole;
// answers come in pieces, and may end in the middle.
//
// What goes wrong, and how often, the Weather says: delay, and with it a new
// order, a request that comes twice, a connection that is reset before, in the
// middle of or after a request, or that falls silent. Links can be cut, and
// places crash (Place.Crash): then everybody who waits for them hears of it, and
// what still runs there reaches nobody any more.
//
// Everything that is delivered goes into the Trace, whose sum is the same for
// two runs that were the same.
package simnet

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"testing/synctest"
	"time"
)

// Bus brings everything to everybody, one operation at a time.
type Bus struct {
	seed  uint64
	trace Trace

	// posted wakes Run when there is something new.
	posted chan struct{}

	// mu guards what follows.
	mu        sync.Mutex
	queue     queue
	seen      map[string]uint64
	places    map[string]*Place
	cut       map[[2]string]bool
	weather   Weather
	delivered int
	refused   int
	perturb   bool
	open      int
	sees      func(from, to string, bytes []byte)
}

// New makes a network without anybody in it. The trace may be nil.
func New(seed uint64, t Trace) *Bus {
	return &Bus{
		seed: seed, trace: t, posted: make(chan struct{}, 1), seen: map[string]uint64{},
		places: map[string]*Place{}, cut: map[[2]string]bool{},
	}
}

// Trace takes a line for everything that is delivered.
type Trace interface {
	// Line takes one.
	Line(at time.Time, what string)
}

// operation is something to be delivered.
type operation struct {
	due time.Time
	key string
	n   uint64
	// counts: it is something that goes over the network.
	counts bool
	// do delivers it and says what came of it.
	do func() string
}

// queue is all that is to be delivered, as a heap.
type queue []*operation

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	switch {
	case !a.due.Equal(b.due):
		return a.due.Before(b.due)
	case a.key != b.key:
		return a.key < b.key
	}
	return a.n < b.n
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *queue) Push(x any) { *q = append(*q, x.(*operation)) }

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return x
}

// Luck is a number that depends on the seed and on these words alone.
func (b *Bus) Luck(words ...any) Luck {
	h := sha256.New()
	fmt.Fprintln(h, append([]any{b.seed}, words...)...)
	sum := h.Sum(nil)
	return Luck{binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])}
}

// Luck is what one drew.
type Luck [2]uint64

// Share is the draw as a number from 0 up to 1.
func (l Luck) Share() float64 { return float64(l[0]>>11) / (1 << 53) }

// Among is the draw as one of n.
func (l Luck) Among(n int) int { return int(l[1] % uint64(n)) }

// Within is the draw as a duration from 0 up to d.
func (l Luck) Within(d time.Duration) time.Duration { return time.Duration(l[1] % uint64(d)) }

// Post has do done after a while, by whoever runs the bus, in a moment when all
// others are idle. The key says what it is, the same in every run; do returns
// what came of it, for the trace.
func (b *Bus) Post(after time.Duration, key string, do func() string) {
	b.post(time.Now().Add(after), key, false, do)
}

func (b *Bus) post(due time.Time, key string, counts bool, do func() string) {
	b.mu.Lock()
	if b.perturb && counts {
		b.perturb, due = false, due.Add(1)
	}
	b.seen[key]++
	heap.Push(&b.queue, &operation{due: due, key: key, n: b.seen[key], counts: counts, do: do})
	b.mu.Unlock()
	select {
	case b.posted <- struct{}{}:
	default:
	}
}

// Run delivers until done says so, looked at when everybody is idle, or ctx ends.
func (b *Bus) Run(ctx context.Context, done func() bool) {
	for {
		synctest.Wait()
		if ctx.Err() != nil || done() {
			return
		}
		wait, any := b.step()
		if any {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-b.posted:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// idle is how long Run sleeps at most.
const idle = time.Hour

// step delivers the operation that is due, or tells how long there is none.
func (b *Bus) step() (wait time.Duration, any bool) {
	b.mu.Lock()
	if len(b.queue) == 0 {
		b.mu.Unlock()
		return idle, false
	}
	if left := time.Until(b.queue[0].due); left > 0 {
		b.mu.Unlock()
		return left, false
	}
	o := heap.Pop(&b.queue).(*operation)
	if o.counts {
		b.delivered++
	}
	b.mu.Unlock()
	said := o.do()
	if b.trace != nil {
		b.trace.Line(time.Now(), fmt.Sprintf("%s #%d: %s", o.key, o.n, said))
	}
	return 0, true
}

// Perturb has one operation, the next that counts, come a nanosecond later: for
// those who want to know whether that would be seen.
func (b *Bus) Perturb() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.perturb = true
}

// Delivered is how many operations of the network there were.
func (b *Bus) Delivered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.delivered
}

// Refused is how many times somebody wanted to go to an address that the guard
// refuses.
func (b *Bus) Refused() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// Open is how many exchanges are under way.
func (b *Bus) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// Set changes the weather.
func (b *Bus) Set(w Weather) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.weather = w
}

// Watch has f see all that is carried, as an attacker on every wire would who
// could read TLS: it sees what servers see, not what is sealed in it.
func (b *Bus) Watch(f func(from, to string, bytes []byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sees = f
}

// Cut breaks the link between two places until Mend: what is under way is lost.
func (b *Bus) Cut(x, y string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut[link(x, y)] = true
}

// Mend undoes Cut.
func (b *Bus) Mend(x, y string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.cut, link(x, y))
}

// MendAll undoes every Cut.
func (b *Bus) MendAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.cut)
}

func (b *Bus) isCut(x, y string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cut[link(x, y)]
}

func link(x, y string) [2]string {
	if y < x {
		x, y = y, x
	}
	return [2]string{x, y}
}
