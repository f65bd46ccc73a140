package simworld

import (
	"context"
	"log/slog"
	"strings"
)

// words takes what somebody's client logs, for the little of it that a run has to
// know, and passes it on.
type words struct {
	slog.Handler
	person *Person
}

// Enabled takes everything.
func (words) Enabled(context.Context, slog.Level) bool { return true }

// Handle notes that the person has moved without having heard the old server out:
// what lay there from strangers, the person does not know of.
func (s words) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the old server does not tell") {
		s.person.deaf = true
	}
	if !s.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return s.Handler.Handle(ctx, r)
}
