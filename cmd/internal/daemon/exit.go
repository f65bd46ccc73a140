package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"airdispatch/message"
)

// The exit codes of all programs (docs/operating.md, "Exit codes").
const (
	ExitDone         = 0
	ExitFailed       = 1
	ExitUsage        = 2
	ExitNotFound     = 3
	ExitRefused      = 4
	ExitUnreachable  = 5
	ExitVerification = 6
	ExitInterrupted  = 130
)

// errUsage marks an argument that cannot be right.
var errUsage = errors.New("usage")

// Usage makes an error that ends the program with ExitUsage: an argument that
// cannot be right.
func Usage(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// usageError is an error with its words as they are, marked as errUsage.
type usageError struct{ err error }

func (e *usageError) Error() string   { return e.err.Error() }
func (e *usageError) Unwrap() []error { return []error{e.err, errUsage} }

// refusals are the codes with which a peer says no.
var refusals = []message.Code{
	message.Stale, message.Conflict, message.NotAccepted, message.Denied, message.Unauthenticated, message.Clock,
	message.TooLarge, message.Quota, message.RateLimited, message.StorageFull, message.NameTaken, message.Unsupported,
}

// ExitCode is the code that a program ends with after err.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, errUsage):
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, message.NotFound):
		return ExitNotFound
	case errors.Is(err, message.Unavailable):
		return ExitUnreachable
	case errors.Is(err, message.BadSignature), errors.Is(err, errDamaged):
		return ExitVerification
	}
	for _, code := range refusals {
		if errors.Is(err, code) {
			return ExitRefused
		}
	}
	return ExitFailed
}

// complain says on w what happened, and returns the exit code.
func complain(w io.Writer, name string, err error) int {
	if err != nil {
		_, _ = fmt.Fprintf(w, "%s: %v\n", name, err)
	}
	return ExitCode(err)
}
