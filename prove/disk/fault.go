package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"

	"airdispatch/message"
	"airdispatch/prove/promise"
	"airdispatch/prove/simdisk"
)

// calls are how many there are in the scenario: enough for some checkpoints.
const calls = 40

// checkpoint is after how many pages the WAL goes into the file here.
const checkpoint = 16

// way is a way for one operation of the disk to fail.
type way struct {
	name  string
	fault simdisk.Fault
	// on says that all later ones fail too, until somebody has made room.
	on bool
}

// ways are all of them.
func ways() []way {
	return []way{
		{"an error", simdisk.Broken, false}, {"no room", simdisk.Full, false}, {"half a write", simdisk.Short, false},
		{"errors from then on", simdisk.Broken, true}, {"no room from then on", simdisk.Full, true},
	}
}

// faulty is the scenario on one disk.
type faulty struct {
	promise.Life
	way way
	// at is the operation that fails; 0 is none.
	at int
	// struck is what failed, met that something did since the last look.
	struck simdisk.Event
	hits   int
	r      *rand.Rand
}

// simulated is what a number of faults came to.
type simulated struct {
	// operations is how many the scenario has when nothing fails.
	operations, count int
	// noticed is in how many something went wrong.
	noticed    int
	violations []string
}

// faults makes the k-th operation fail in every way, for up to n values of k,
// all of them where n allows.
func faults(ctx context.Context, m *simdisk.Machine, n int, seed uint64, ways []way) (simulated, error) {
	pool, err := promise.NewPool(rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		return simulated{}, err
	}
	begin := func(w way, at int) *faulty {
		return &faulty{
			Life: promise.Life{Machine: m, Disk: simdisk.New(), Work: pool.NewWork(false)}, way: w, at: at, r: rand.New(rand.NewPCG(seed, 1)),
		}
	}
	whole := begin(way{}, 0)
	whole.run(ctx)
	if found := whole.Found(); len(found) > 0 {
		return simulated{}, fmt.Errorf("the scenario fails without a fault: %v", found)
	}
	sim := simulated{operations: whole.at}
	var work []*faulty
	step := max(1, (sim.operations+n-1)/n)
	for at := 1 + int(seed%uint64(step)); at <= sim.operations; at += step {
		for _, w := range ways {
			work = append(work, begin(w, at))
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	next := func() *faulty {
		mu.Lock()
		defer mu.Unlock()
		if sim.count == len(work) || ctx.Err() != nil {
			return nil
		}
		sim.count++
		return work[sim.count-1]
	}
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for f := next(); f != nil; f = next() {
				f.run(ctx)
				f.Disk = nil // thousands of them would not fit
			}
		})
	}
	all.Wait()
	for _, f := range work {
		for _, v := range f.Found() {
			sim.violations = append(sim.violations, fmt.Sprintf("operation %d, %s (%+v): %s", f.at, f.way.name, f.struck, v))
		}
		if len(f.Found()) > 0 {
			sim.noticed++
		}
	}
	return sim, ctx.Err()
}

// arm lets the operation fail.
func (f *faulty) arm() {
	f.Disk.Arm(func(e simdisk.Event) simdisk.Fault {
		if f.at == 0 || e.N < f.at || e.N > f.at && !f.way.on {
			return simdisk.None
		}
		if f.hits++; e.N == f.at {
			f.struck = e
		}
		return f.way.fault
	})
}

// heal lets everything happen again.
func (f *faulty) heal() { f.Disk.Arm(nil) }

// run goes through the scenario: opening a new store, calls, a look while the
// disk is broken, the same and other calls after, the end in order; then the
// power goes, for what a failed sync took with it, and the store is opened
// again.
func (f *faulty) run(ctx context.Context) {
	f.arm()
	setting := simdisk.Setting{Checkpoint: checkpoint}
	if err := f.Open(ctx, setting); err != nil {
		f.expected("open", err)
		f.heal()
		if err := f.Open(ctx, setting); err != nil {
			f.Blame("does not open once the disk is well: %v", err)
			return
		}
	}
	f.act(ctx)
	if err := f.Close(); err != nil {
		f.expected("close", err)
	}
	if f.at == 0 {
		f.at = f.Disk.Count()
	}
	f.heal()
	f.Disk = f.Disk.Loss(f.r)
	if err := f.Open(ctx, setting); err != nil {
		f.Blame("does not open after the power was gone: %v", err)
		return
	}
	f.Look(ctx)
	if err := f.Close(); err != nil {
		f.Blame("does not close: %v", err)
	}
}

// act makes the calls. One that fails is made again once the disk is well.
func (f *faulty) act(ctx context.Context) {
	for n := range calls + 1 {
		call := func() error {
			if n == 0 {
				return f.Work.Settle(ctx, f.Server)
			}
			return f.Work.Act(ctx, f.Server, f.r, 0, 1)
		}
		err := call()
		if err == nil {
			continue
		}
		f.expected("call", err)
		if err := f.Work.Check(ctx, f.Server, true); err != nil {
			f.Blame("does not read while the disk is broken: %v", err)
		}
		f.heal()
		if err := call(); err != nil {
			f.Blame("does not write once the disk is well: %v", err)
			return
		}
	}
}

// expected takes an error for what it is: the disk's, and told as such, or one
// too many.
func (f *faulty) expected(verb string, err error) {
	switch {
	case f.hits == 0:
		f.Blame("%s fails for no reason: %v", verb, err)
	case verb == "call" && f.struck.Kind == simdisk.Write && f.way.fault != simdisk.Broken && !errors.Is(err, message.StorageFull):
		f.Blame("no room is told as %v", err)
	case f.way.fault == simdisk.Broken && errors.Is(err, message.StorageFull):
		f.Blame("an error is told as no room: %v", err)
	}
}
