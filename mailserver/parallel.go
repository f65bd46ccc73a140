package mailserver

import (
	"runtime"
	"sync"
)

// parallel maps items, all at the same time, in order. One item costs no
// goroutine. The bounds of a call bound the goroutines; signatures that are
// checked at the same time are checked as one batch.
func parallel[In, Out any](items []In, f func(In) Out) []Out {
	out := make([]Out, len(items))
	if len(items) == 1 {
		out[0] = f(items[0])
		return out
	}
	var group sync.WaitGroup
	for n, item := range items {
		group.Go(func() { out[n] = f(item) })
	}
	group.Wait()
	return out
}

// spread maps items in order, in one run for each processor and none shorter
// than least: for what computes and waits for nobody. A goroutine for each item
// would grow a stack for each, and a batch of signatures wake each one.
func spread[In, Out any](items []In, least int, f func([]In) []Out) []Out {
	runs := min(runtime.GOMAXPROCS(0), len(items)/least)
	if runs < 2 {
		return f(items)
	}
	out := make([]Out, len(items))
	var group sync.WaitGroup
	for n := range runs {
		from, to := n*len(items)/runs, (n+1)*len(items)/runs
		group.Go(func() { copy(out[from:to], f(items[from:to])) })
	}
	group.Wait()
	return out
}

const (
	// checkedTogether is the shortest run of signatures to check: below it, a
	// batch loses more than a second processor gains.
	checkedTogether = 64
	// signedTogether is the shortest run of receipts to sign, about 0.1 ms.
	signedTogether = 4
)

// each makes a map of items out of one of an item, for spread.
func each[In, Out any](f func(In) Out) func([]In) []Out {
	return func(items []In) []Out {
		out := make([]Out, len(items))
		for n, item := range items {
			out[n] = f(item)
		}
		return out
	}
}

// pairOf is two values that belong together.
type pairOf[A, B any] struct {
	a A
	b B
}

// pair joins two lists of one length.
func pair[A, B any](as []A, bs []B) []pairOf[A, B] {
	out := make([]pairOf[A, B], len(as))
	for n := range as {
		out[n] = pairOf[A, B]{as[n], bs[n]}
	}
	return out
}
