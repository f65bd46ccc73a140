package mailserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

const (
	// prefetchLease is how long a claimed fetch may take before another may.
	prefetchLease = 2 * time.Minute
	// prefetchBatch is how many are claimed at once.
	prefetchBatch = 64
	// prefetchTries is how often a fetch is tried: over about two days. After
	// that the owner's own read is the next.
	prefetchTries = 16
	// idlePoll bounds every sleep of the goroutines of Run.
	idlePoll = time.Minute
	// faultWait is how long a fault of the store is waited out before the next try.
	faultWait = 2 * time.Second
)

// prefetching pulls for owners what accepted senders sent, when it is due.
func (s *Server) prefetching(ctx context.Context) {
	for ctx.Err() == nil {
		tasks, err := s.c.Store.Tasks.Claim(ctx, store.TaskPrefetch, time.Now(), prefetchLease, prefetchBatch)
		if err != nil && ctx.Err() == nil {
			s.c.Log.Error("prefetch: claim", "err", err)
		}
		if len(tasks) > 0 {
			s.prefetchAll(ctx, tasks)
			continue
		}
		wait := idlePoll
		if due, err := s.c.Store.Tasks.NextDue(ctx, store.TaskPrefetch); err == nil {
			wait = min(wait, max(time.Until(due), 100*time.Millisecond))
		}
		if err != nil {
			// What is due stays due; on a full disk ten lines a second about it are no help.
			wait = max(wait, faultWait)
		}
		if !pause(ctx, wait, s.prefetch) {
			return
		}
	}
}

// prefetchAll works on claimed tasks, grouped by reader and author so that one
// pull brings many.
func (s *Server) prefetchAll(ctx context.Context, tasks []store.Task) {
	groups := make(map[[2]message.Address][]store.Task)
	for _, t := range tasks {
		key := [2]message.Address{t.Peer, t.Ref.From}
		groups[key] = append(groups[key], t)
	}
	var group sync.WaitGroup
	// mu guards outcomes.
	var mu sync.Mutex
	var outcomes []store.Outcome
	for key, tasks := range groups {
		group.Go(func() {
			out := s.prefetchFrom(ctx, key[0], key[1], tasks)
			mu.Lock()
			defer mu.Unlock()
			outcomes = append(outcomes, out...)
		})
	}
	group.Wait()
	// Settled also when ctx has just ended: what was fetched is fetched.
	if err := s.c.Store.Tasks.Settle(context.WithoutCancel(ctx), outcomes); err != nil {
		s.c.Log.Error("prefetch: settle", "err", err)
	}
}

// prefetchFrom pulls messages of one author for one reader.
func (s *Server) prefetchFrom(ctx context.Context, owner, author message.Address, tasks []store.Task) []store.Outcome {
	wants := make([]*want, 0, len(tasks))
	for n, t := range tasks {
		wants = append(wants, &want{n: n, ref: t.Ref})
	}
	if author == owner {
		s.fetchOwn(ctx, wants)
	} else {
		s.fetchFrom(ctx, owner, author, wants)
	}
	now := time.Now()
	var out []store.Outcome
	for n, t := range tasks {
		o := store.Outcome{ID: t.ID, Version: t.Version, Noticed: t.Noticed, Done: true}
		if w := wants[n]; (w.err != nil && s.tryAgain(w.err)) || w.kept {
			o.Done = t.Attempts+1 >= prefetchTries
			o.Retry = now.Add(s.backoff.Delay(t.Attempts + 1))
		}
		out = append(out, o)
	}
	return out
}

// tryAgain reports whether a fetch may succeed later.
func (s *Server) tryAgain(err error) bool {
	return errors.Is(err, message.Unavailable) || errors.Is(err, message.RateLimited) || errors.Is(err, message.NeedBundle) ||
		message.CodeOf(err) == message.Internal || errors.Is(err, message.StorageFull)
}
