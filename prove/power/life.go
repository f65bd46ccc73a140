package main

import (
	"context"
	"fmt"
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
	for n := 0; n < losses && len(l.found()) == 0 && !l.work.Done() && ctx.Err() == nil; n++ {
		if !l.control && !l.lose() {
			break
		}
		l.once(ctx)
		l.disk = l.disk.Loss(l.r)
	}
	if len(l.found()) > 0 || ctx.Err() != nil {
		return
	}
	if err := l.open(ctx, 0); err != nil {
		l.blame("does not open: %v", err)
		return
	}
	l.look(ctx)
	if err := l.close(); err != nil {
		l.blame("does not close: %v", err)
	}
}

// blame notes what went wrong beside the promises.
func (l *life) blame(format string, args ...any) {
	l.broken = append(l.broken, fmt.Sprintf(format, args...))
}

// once opens the store, holds it to its promises, works, and has the power go
// at some operation; or at the end of all, when the store has closed.
func (l *life) once(ctx context.Context) {
	early := l.r.IntN(4) == 0 && !l.control
	if early {
		l.strike(60)
	}
	if err := l.open(ctx, []int{0, 8, 32, 128}[l.r.IntN(4)]); err != nil {
		if !l.disk.Dead() {
			l.blame("does not open: %v", err)
		}
		return
	}
	if !early {
		l.look(ctx)
		if len(l.found()) > 0 {
			_ = l.close() // what is wrong was said
			return
		}
		l.strike(span)
	}
	l.act(ctx)
	if err := l.close(); err != nil && !l.disk.Dead() {
		l.blame("does not close: %v", err)
	}
}

// strike has the power go at one of the next operations.
func (l *life) strike(within int) {
	at := l.disk.Count() + 1 + l.r.IntN(within)
	l.disk.Arm(func(e simdisk.Event) simdisk.Fault {
		if e.N >= at {
			return simdisk.Dead
		}
		return simdisk.None
	})
}

// look holds an opened store to its promises, and to the file's own order.
func (l *life) look(ctx context.Context) {
	if err := l.work.Check(ctx, l.server, false); err != nil {
		l.blame("does not read: %v", err)
		return
	}
	if err := l.db.Check(ctx); err != nil {
		l.blame("%v", err)
	}
	var answer string
	if err := l.plugged.DB.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&answer); err != nil || answer != "ok" {
		l.blame("integrity_check: %s %v", answer, err)
	}
	if !l.tracker {
		if err := l.work.Again(ctx, l.server); err != nil {
			l.blame("%v", err)
		}
	}
}

// act has callers ask until the power goes or they have asked enough.
func (l *life) act(ctx context.Context) {
	if !l.tracker {
		if err := l.work.Settle(ctx, l.server); err != nil {
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
				if errs[n] = l.work.Act(ctx, l.server, r, n, callers); errs[n] != nil {
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
	if !l.disk.Dead() {
		l.blame("refused: %v", err)
	}
}
