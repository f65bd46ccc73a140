// Power takes the power from under the real store, again and again, and holds
// it to every call that had returned.
//
// A life is a simulated disk (see simdisk) with the store of a mail server or of
// a tracker on it, opened as the commands open theirs. One to three callers
// submit, edit, recall, serve, take alerts in, mark, publish and claim names (see
// promise); at a random operation of the disk the power goes: what was not
// synced is lost, torn or kept, bytes and names of files alike. Some losses come
// while the store opens, recovers or makes its tables, some while it closes, and
// checkpoints come more often than in the product, so that losses meet them.
// Then the store is opened on what is left, and must show everything that was
// promised, in the life so far, nothing that nobody wrote, no half of a call,
// and no damage that SQLite's integrity_check or the foreign keys see. What
// the open calls left is taken for promised, and the life goes on, up to the
// next loss.
//
// Two controls run in every invocation, over the same code: a store that syncs
// less (synchronous=NORMAL) and a disk that lies about its syncs. Both must
// break promises, or the proof is worth nothing. Not covered: the files beside
// the database (blobs and keys), which lie on the real file system, and the
// driver of the commands, whose SQLite is the same library by another
// compiler.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"

	"airdispatch/prove/promise"
	"airdispatch/prove/proof"
	"airdispatch/prove/simdisk"
)

const (
	// full is how many losses the figure stands on.
	full = 20_000
	// lifetime is how many losses one disk goes through at most.
	lifetime = 12
	// controls is how many lives each control has.
	controls = 40
	// span is among how many operations of the disk the power goes.
	span = 400
)

func main() {
	proof.Main(proof.Part{Name: "power", Full: full, Run: run})
}

// bench is what all lives share.
type bench struct {
	machine *simdisk.Machine
	pool    *promise.Pool
	// made are disks on which somebody has opened a store, and closed it.
	made map[bool]beginning

	mu         sync.Mutex
	losses     int
	wanted     int
	receipts   int
	violations []string
}

// beginning is a disk and what was promised on it.
type beginning struct {
	disk *simdisk.Disk
	work *promise.Work
}

// again is the same disk and the same promises, for another life.
func (b beginning) again() beginning { return beginning{b.disk.Clone(), b.work.Fork()} }

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	b := &bench{machine: simdisk.NewMachine("power", o.Dir), made: map[bool]beginning{}, wanted: o.N}
	var err error
	if b.pool, err = promise.NewPool(rand.New(rand.NewPCG(o.Seed, 0))); err != nil {
		return proof.Figure{}, err
	}
	for _, tracker := range []bool{false, true} {
		if b.made[tracker], err = b.begin(ctx, tracker); err != nil {
			return proof.Figure{}, err
		}
	}
	careless := b.control(ctx, o.Seed, func(l *life) { l.careless = true })
	lying := b.control(ctx, o.Seed, func(l *life) { l.Disk.Lie() })
	var all sync.WaitGroup
	for n := range runtime.GOMAXPROCS(0) {
		all.Go(func() { b.live(ctx, o, uint64(n+1)) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return proof.Figure{}, ctx.Err()
	}
	f := proof.Figure{Violations: b.violations}
	lost := 0
	for _, v := range b.violations {
		if strings.Contains(v, "lost: ") {
			lost++
		}
	}
	f.Words = fmt.Sprintf("%d losses, %d receipts, %d lost, %d other violations, controls caught: NORMAL %d of %d, lying disk %d of %d",
		b.losses, b.receipts, lost, len(b.violations)-lost, careless, controls, lying, controls)
	if careless == 0 {
		f.Violations = append(f.Violations, "the control with synchronous=NORMAL lost nothing")
	}
	if lying == 0 {
		f.Violations = append(f.Violations, "the control with a disk that lies lost nothing")
	}
	return f, nil
}

// begin makes a store on a new disk, and ends it in order.
func (b *bench) begin(ctx context.Context, tracker bool) (beginning, error) {
	l := b.life(rand.New(rand.NewPCG(0, 0)), beginning{simdisk.New(), b.pool.NewWork(tracker)})
	l.Tracker = tracker
	if err := l.Open(ctx, l.setting(0)); err != nil {
		return beginning{}, err
	}
	if err := errors.Join(l.Work.Settle(ctx, l.Server), l.Close()); err != nil {
		return beginning{}, err
	}
	return beginning{l.Disk, l.Work}, nil
}

// life begins one.
func (b *bench) life(r *rand.Rand, from beginning) *life {
	return &life{Life: promise.Life{Machine: b.machine, Disk: from.disk, Work: from.work}, bench: b, r: r}
}

// live lives life after life, until there were enough losses.
func (b *bench) live(ctx context.Context, o proof.Options, stream uint64) {
	for n := uint64(0); b.more(ctx); n++ {
		r := rand.New(rand.NewPCG(o.Seed, n<<8|stream))
		tracker := r.IntN(5) == 0
		from := beginning{simdisk.New(), b.pool.NewWork(tracker)}
		if r.IntN(6) != 0 {
			from = b.made[tracker].again()
		}
		l := b.life(r, from)
		l.Tracker, l.name = tracker, fmt.Sprintf("life %d of stream %d", n, stream)
		l.run(ctx)
		b.count(o, l)
	}
}

// more reports whether another loss is wanted.
func (b *bench) more(ctx context.Context) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return ctx.Err() == nil && b.losses < b.wanted
}

// lose counts a loss; false says that there were enough.
func (b *bench) lose() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.losses >= b.wanted {
		return false
	}
	b.losses++
	return true
}

// count adds what a life came to.
func (b *bench) count(o proof.Options, l *life) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.receipts / 20_000
	b.receipts += l.Work.Receipts()
	for _, v := range l.Found() {
		b.violations = append(b.violations, l.name+": "+v)
	}
	if b.receipts/20_000 > before {
		fmt.Fprintf(o.Said, "power: %d losses, %d receipts, %d violations\n", b.losses, b.receipts, len(b.violations))
	}
}

// control lives lives of one loss each with something wrong, and tells in how
// many of them a promise was broken.
func (b *bench) control(ctx context.Context, seed uint64, spoil func(l *life)) (caught int) {
	for n := range uint64(controls) {
		r := rand.New(rand.NewPCG(seed, 1<<63|n))
		l := b.life(r, b.made[false].again())
		l.control = true
		spoil(l)
		l.run(ctx)
		if len(l.Found()) > 0 {
			caught++
		}
	}
	return caught
}

// life is one store and the disk below it.
type life struct {
	promise.Life
	*bench
	r                 *rand.Rand
	name              string
	careless, control bool
}

// setting opens the store with checkpoints after some pages.
func (l *life) setting(checkpoint int) simdisk.Setting {
	return simdisk.Setting{Checkpoint: checkpoint, Careless: l.careless}
}
