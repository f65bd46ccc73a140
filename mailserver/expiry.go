package mailserver

import (
	"context"
	"time"
)

const (
	// expireEvery is how often messages that are over are erased at the source.
	expireEvery = time.Minute
	// expireBatch is how many at once: the writer is not held up for long.
	expireBatch = 500
	// collectEvery is how often blobs that nothing uses are looked for.
	collectEvery = time.Hour
	// blobGrace is how old a reservation must be: time enough to upload and send.
	blobGrace = 24 * time.Hour
	// collectBatch is how many blobs are erased while new reservations wait.
	collectBatch = 50
)

// expiring erases what is over: ephemeral messages here, and copies.
func (s *Server) expiring(ctx context.Context) {
	for {
		s.expire(ctx)
		if !pause(ctx, expireEvery, nil) {
			return
		}
	}
}

func (s *Server) expire(ctx context.Context) {
	now := time.Now()
	steps := map[string]func() (int, error){
		"messages": func() (int, error) { return s.c.Store.Outgoing.Expire(ctx, now, expireBatch) },
		"copies": func() (int, error) {
			return s.c.Store.Copies.DropCopies(ctx, now.Add(-max(s.c.Limits.CopiesFor, 0)), now, expireBatch)
		},
	}
	for what, step := range steps {
		for ctx.Err() == nil {
			n, err := step()
			if err != nil && ctx.Err() == nil {
				s.c.Log.Error("expire", "what", what, "err", err)
			}
			if err != nil || n < expireBatch {
				break
			}
		}
	}
}

// collectingBlobs erases blobs that no message uses.
func (s *Server) collectingBlobs(ctx context.Context) {
	for {
		for s.collect(ctx) == collectBatch && ctx.Err() == nil {
		}
		if !pause(ctx, collectEvery, nil) {
			return
		}
	}
}

// collect erases one batch and tells how many there were.
func (s *Server) collect(ctx context.Context) int {
	s.collecting.Lock()
	defer s.collecting.Unlock()
	ids, err := s.c.Store.BlobIndex.Unused(ctx, time.Now().Add(-blobGrace), collectBatch)
	if err != nil {
		if ctx.Err() == nil {
			s.c.Log.Error("collect blobs", "err", err)
		}
		return 0
	}
	for _, id := range ids {
		if err := s.c.Store.Blobs.Remove(ctx, id); err != nil {
			s.c.Log.Error("collect blobs", "err", err)
		}
	}
	return len(ids)
}
