package crypto

import (
	"runtime"
	"sync"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/cache"
)

const (
	// batchLimit caps one batch: beyond 256 the gain per signature is below a tenth while everybody in the batch waits longer.
	batchLimit = 256

	// cachedKeys caps the cache of decompressed keys, about 2 KiB each, so that strangers with fresh keys cannot grow it.
	cachedKeys = 4096
)

// Check is one signature to be judged: was Body signed under Kind by Key?
type Check struct {
	Key       VerifyKey // Key is whose signature it should be.
	Kind      string    // Kind is what the verifier expects; it is never taken from the bytes received.
	Body      []byte    // Body is the signed bytes as received.
	Signature []byte    // Signature is what came with them.
}

// Verifier judges signatures by the rule of ZIP-215. Implementations are safe for concurrent use and all give the same
// verdict, alone or in a batch.
type Verifier interface {
	// Verify reports whether the signature of c is good.
	Verify(c Check) bool
	// VerifyAll reports it for each check, in order.
	VerifyAll(cs []Check) []bool
}

// zip215 returns the one rule: cofactored equation, any spelling of points, canonical scalar. Ed25519 verifiers differ on
// rare crafted signatures, and batch equations are always cofactored; with this rule both kinds of check agree.
func zip215() *ed25519.Options {
	return &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}
}

// Single verifies one signature after the other and keeps nothing. It is for tools that check a handful, and the yardstick
// for Batch.
type Single struct{}

// Verify reports whether the signature of c is good.
func (Single) Verify(c Check) bool {
	return validKind(c.Kind) &&
		ed25519.VerifyWithOptions(c.Key[:], appendSigned(nil, c.Kind, c.Body), c.Signature, zip215())
}

// VerifyAll reports for each check whether its signature is good.
func (s Single) VerifyAll(cs []Check) []bool {
	good := make([]bool, len(cs))
	for i, c := range cs {
		good[i] = s.Verify(c)
	}
	return good
}

// Batch verifies together whatever is in flight. It has no goroutine of its own: as many callers as there are processors
// lead, each with one batch; the others queue, and a leader that is done hands all that has queued to the first in the
// queue. So an idle server answers at once, and a busy one fills its batches by itself.
type Batch struct {
	keys    *cache.Verifier // has its own lock
	scratch sync.Pool       // of *workspace

	mu      sync.Mutex
	limit   int        // leaders at most
	leaders int        // guarded by mu; below limit only while queue is empty
	queue   []*request // guarded by mu
}

// request is one caller's checks on their way through a batch.
type request struct {
	checks []Check
	good   []bool
	wake   chan bool // true: lead the next batch, with these checks in it; false: the verdict is in
}

// workspace is what one batch needs and the next can use again.
type workspace struct {
	batch  *ed25519.BatchVerifier
	signed []byte
}

// NewVerifier returns a verifier for a server: batched, with a bounded cache of decompressed keys.
func NewVerifier() *Batch {
	return &Batch{
		keys:  cache.NewVerifier(cache.NewLRUCache(cachedKeys)),
		limit: runtime.GOMAXPROCS(0),
		scratch: sync.Pool{New: func() any {
			return &workspace{batch: ed25519.NewBatchVerifierWithCapacity(batchLimit)}
		}},
	}
}

// Verify reports whether the signature of c is good, waiting for the batch that it joins.
func (b *Batch) Verify(c Check) bool { return b.VerifyAll([]Check{c})[0] }

// VerifyAll reports for each check whether its signature is good. One call is one entry in the queue.
func (b *Batch) VerifyAll(cs []Check) []bool {
	if len(cs) == 0 {
		return nil
	}
	r := &request{checks: cs, good: make([]bool, len(cs))}
	b.mu.Lock()
	if b.leaders < b.limit {
		b.leaders++
		b.mu.Unlock()
		b.lead(r)
		return r.good
	}
	r.wake = make(chan bool, 1)
	b.queue = append(b.queue, r)
	b.mu.Unlock()
	if leads := <-r.wake; leads {
		b.lead(r)
	}
	return r.good
}

// lead judges the leader's own checks and what has queued, wakes those who wait for it, and passes the lead on.
func (b *Batch) lead(own *request) {
	defer b.passOn()
	// Whoever is ready to run gets the processor first: on a busy server these are callers with more checks, and without
	// this nearly every batch is a batch of one. On an idle one it costs nothing.
	runtime.Gosched()
	batch := append([]*request{own}, b.take(batchLimit-len(own.checks))...)
	w := b.scratch.Get().(*workspace)
	defer b.scratch.Put(w)
	b.judge(w, batch)
	for _, r := range batch[1:] {
		r.wake <- false
	}
}

// take removes requests of at most limit checks from the head of the queue.
func (b *Batch) take(limit int) []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.queue) && len(b.queue[n].checks) <= limit {
		limit -= len(b.queue[n].checks)
		n++
	}
	taken := b.queue[:n:n]
	b.drop(n)
	return taken
}

// drop forgets the first n requests of the queue; mu is held.
func (b *Batch) drop(n int) {
	if b.queue = b.queue[n:]; len(b.queue) == 0 {
		b.queue = nil // lets go of the verdicts behind it
	}
}

// passOn makes the first caller in the queue the next leader, or ends the lead when nobody waits.
func (b *Batch) passOn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.leaders--
		return
	}
	next := b.queue[0]
	b.drop(1)
	next.wake <- true
}

// judge fills in the verdicts of a batch, batchLimit checks at a time.
func (b *Batch) judge(w *workspace, batch []*request) {
	if first := batch[0]; len(batch) == 1 && len(first.checks) == 1 { // the batch equation only pays from two on
		c := &first.checks[0]
		first.good[0] = validKind(c.Kind) &&
			b.keys.VerifyWithOptions(c.Key[:], appendSigned(nil, c.Kind, c.Body), c.Signature, zip215())
		return
	}
	verdicts := make([]*bool, 0, batchLimit)
	for _, r := range batch {
		for i := range r.checks {
			if c := &r.checks[i]; validKind(c.Kind) {
				w.signed = appendSigned(w.signed[:0], c.Kind, c.Body)
				b.keys.AddWithOptions(w.batch, c.Key[:], w.signed, c.Signature, zip215())
				verdicts = append(verdicts, &r.good[i])
			}
			if len(verdicts) == batchLimit {
				w.settle(verdicts)
				verdicts = verdicts[:0]
			}
		}
	}
	w.settle(verdicts)
	if cap(w.signed) > 64<<10 {
		w.signed = nil
	}
}

// settle verifies what has been added, finds the bad ones if there are any, and empties the workspace. The weights of the
// batch equation come from the system's randomness: whoever could foresee them could let two bad signatures cancel out.
func (w *workspace) settle(verdicts []*bool) {
	if len(verdicts) == 0 {
		return
	}
	_, good := w.batch.Verify(nil)
	for i, v := range verdicts {
		*v = good[i]
	}
	w.batch.Reset()
}
