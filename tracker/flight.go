package tracker

import (
	"context"
	"sync"
)

// flights runs what several want at once for the first of them only. The work
// runs in the first caller and under its context, so no goroutine is left
// behind; if that caller gives up, one of those who wait takes over.
type flights[K comparable, V any] struct {
	// mu guards going; never held across the work.
	mu    sync.Mutex
	going map[K]*flight[V]
}

// flight is one piece of work; value and err are read after done is closed.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
	// left: the caller who did the work gave up, so the result says nothing.
	left bool
}

// do runs work under key, or waits for whoever does already.
func (f *flights[K, V]) do(ctx context.Context, key K, work func(context.Context) (V, error)) (V, error) {
	for {
		f.mu.Lock()
		other, ok := f.going[key]
		if !ok {
			break
		}
		f.mu.Unlock()
		select {
		case <-other.done:
			if !other.left {
				return other.value, other.err
			}
		case <-ctx.Done():
			var zero V
			return zero, ctx.Err()
		}
	}
	mine := &flight[V]{done: make(chan struct{}), left: true}
	if f.going == nil {
		f.going = make(map[K]*flight[V])
	}
	f.going[key] = mine
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.going, key)
		f.mu.Unlock()
		close(mine.done)
	}()
	mine.value, mine.err = work(ctx)
	mine.left = ctx.Err() != nil
	return mine.value, mine.err
}
