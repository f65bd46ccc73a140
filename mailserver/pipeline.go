package mailserver

import (
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// readAhead is how many items of a stream are read before the first is
	// answered, and so how many may share one commit.
	readAhead = 32
	// streamed is how many batches of a stream wait between two stages.
	streamed = 2
)

// stages are what a stream's items go through: checked in batches, kept one
// batch after the other, answered in order.
type stages[In, Checked, Out any] struct {
	check func(context.Context, []In) (Checked, error)
	keep  func(context.Context, Checked) []Out
	send  func(Out) error
}

// pipeline reads a stream ahead and takes whatever has come through the stages.
// It returns when the stream has ended and everything read was answered, or at
// the first error.
func pipeline[In, Checked, Out any](ctx context.Context, receive func() (In, error), st stages[In, Checked, Out]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	read := make(chan In, readAhead)
	checkedBatches := make(chan Checked, streamed)
	answers := make(chan []Out, streamed)
	var group sync.WaitGroup
	// The reader ends with the stream: when the handler returns, Receive fails.
	// It is not waited for, because until then it may not return.
	go func() {
		defer close(read)
		for {
			in, err := receive()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					cancel(err)
				}
				return
			}
			select {
			case read <- in:
			case <-ctx.Done():
				return
			}
		}
	}()
	group.Go(func() {
		defer close(checkedBatches)
		for batch := gather(ctx, read); batch != nil; batch = gather(ctx, read) {
			out, err := st.check(ctx, batch)
			if err != nil {
				cancel(err)
				return
			}
			select {
			case checkedBatches <- out:
			case <-ctx.Done():
				return
			}
		}
	})
	group.Go(func() {
		defer close(answers)
		for batch := range checkedBatches {
			select {
			case answers <- st.keep(ctx, batch):
			case <-ctx.Done():
				return
			}
		}
	})
	for batch := range answers {
		for _, out := range batch {
			if err := st.send(out); err != nil {
				cancel(err)
			}
		}
	}
	group.Wait()
	return context.Cause(ctx)
}

// gather takes what has been read, at least one; nil at the end.
func gather[T any](ctx context.Context, read <-chan T) []T {
	var batch []T
	select {
	case first, ok := <-read:
		if !ok {
			return nil
		}
		batch = append(batch, first)
	case <-ctx.Done():
		return nil
	}
	for len(batch) < readAhead {
		select {
		case next, ok := <-read:
			if !ok {
				return batch
			}
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}
