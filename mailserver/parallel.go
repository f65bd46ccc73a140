package mailserver

import "sync"

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
