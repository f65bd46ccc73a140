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

// Handle notes that the person has moved and could not hear the old server out, or
// tell it: what lies there from strangers, or comes there from those who have not
// heard of the move, the person does not know of.
func (s words) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the old server ") {
		s.person.deaf = true
	}
	if !s.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return s.Handler.Handle(ctx, r)
}
