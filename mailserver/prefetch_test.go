package mailserver

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// fullTasks are due and cannot be claimed, as where the disk is full.
type fullTasks struct {
	store.Tasks
	claims int
}

// Claim fails.
func (f *fullTasks) Claim(context.Context, store.TaskKind, time.Time, time.Duration, int) ([]store.Task, error) {
	f.claims++
	return nil, message.StorageFull
}

// NextDue is long past.
func (f *fullTasks) NextDue(context.Context, store.TaskKind) (time.Time, error) {
	return time.Now().Add(-time.Hour), nil
}

// TestPrefetchWaits: a full disk is not asked ten times a second, each time with
// a line in the log, and is asked again soon after there is room.
func TestPrefetchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks := &fullTasks{}
		s := &Server{c: Config{Store: &store.Mail{Tasks: tasks}, Log: slog.New(slog.DiscardHandler)}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.prefetching(ctx)
		if tasks.claims < 10 || tasks.claims > 60 {
			t.Fatalf("claimed %d times in a minute", tasks.claims)
		}
	})
}
