package main

import (
	"context"
	"math/rand/v2"
	"sync"

	"airdispatch/prove/simdisk"
)

// run goes through losses, and looks once more at the end.
func (l *life) run(ctx context.Context) {
	losses := lifetime
	if l.control {
		losses = 1
	}
	for n := 0; n < losses && len(l.Found()) == 0 && !l.Work.Done() && ctx.Err() == nil; n++ {
		if !l.control && !l.lose() {
			break
		}
		l.once(ctx)
		l.Disk = l.Disk.Loss(l.r)
	}
	if len(l.Found()) > 0 || ctx.Err() != nil {
		return
	}
	if err := l.Open(ctx, l.setting(0)); err != nil {
		l.Blame("does not open: %v", err)
		return
	}
	l.Look(ctx)
	if err := l.Close(); err != nil {
		l.Blame("does not close: %v", err)
	}
}

// once opens the store, holds it to its promises, works, and has the power go
// at some operation; or at the end of all, when the store has closed.
func (l *life) once(ctx context.Context) {
	early := l.r.IntN(4) == 0 && !l.control
	if early {
		l.strike(60)
	}
	if err := l.Open(ctx, l.setting([]int{0, 8, 32, 128}[l.r.IntN(4)])); err != nil {
		if !l.Disk.Dead() {
			l.Blame("does not open: %v", err)
		}
		return
	}
	if !early {
		l.Look(ctx)
		if len(l.Found()) > 0 {
			_ = l.Close() // what is wrong was said
			return
		}
		l.strike(span)
	}
	l.act(ctx)
	if err := l.Close(); err != nil && !l.Disk.Dead() {
		l.Blame("does not close: %v", err)
	}
}

// strike has the power go at one of the next operations.
func (l *life) strike(within int) {
	at := l.Disk.Count() + 1 + l.r.IntN(within)
	l.Disk.Arm(func(e simdisk.Event) simdisk.Fault {
		if e.N >= at {
			return simdisk.Dead
		}
		return simdisk.None
	})
}

// act has callers ask until the power goes or they have asked enough.
func (l *life) act(ctx context.Context) {
	if !l.Tracker {
		if err := l.Work.Settle(ctx, l.Server); err != nil {
			l.refused(err)
			return
		}
	}
	callers, calls := 1+l.r.IntN(3), 1+l.r.IntN(20)
	if l.control {
		calls = span
	}
	var all sync.WaitGroup
	errs := make([]error, callers)
	for n := range callers {
		r := rand.New(rand.NewPCG(l.r.Uint64(), uint64(n)))
		all.Go(func() {
			for range calls {
				if errs[n] = l.Work.Act(ctx, l.Server, r, n, callers); errs[n] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			l.refused(err)
		}
	}
}

// refused takes an error for what it is: the disk's, or one too many.
func (l *life) refused(err error) {
	if !l.Disk.Dead() {
		l.Blame("refused: %v", err)
	}
}
