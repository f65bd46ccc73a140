package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"airdispatch/message"
)

// SQLite's primary result codes that matter here.
const (
	codeCorrupt    = 11
	codeFull       = 13
	codeTooBig     = 18
	codeConstraint = 19
	codeMismatch   = 20
	codeRange      = 25
	codeNotADB     = 26
)

// A fault is an error of the database, not a decision about what was asked.
type fault struct{ cause error }

// Error is the cause's text.
func (f *fault) Error() string { return f.cause.Error() }

// Unwrap is the cause.
func (f *fault) Unwrap() error { return f.cause }

// faulty makes a fault of a database's error; nil stays nil.
func faulty(err error) error {
	if err == nil {
		return nil
	}
	return &fault{err}
}

// ofStorage reports whether err spoils the transaction that it happened in:
// every fault but those that only say that one statement's values do not fit.
func ofStorage(err error) bool {
	f, ok := errors.AsType[*fault](err)
	return ok && !slices.Contains([]int{codeTooBig, codeConstraint, codeMismatch, codeRange}, resultCode(f.cause))
}

// wrap says what was being done, and gives the errors of the database that a
// caller must tell apart their code.
func wrap(verb string, err error) error {
	f, ok := errors.AsType[*fault](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return fmt.Errorf("sqlite: %s: %w", verb, err)
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("sqlite: %s: %w", verb, f.cause)
	case full(f.cause):
		return fmt.Errorf("sqlite: %s: %w: %w", verb, f.cause, message.StorageFull)
	case resultCode(f.cause) == codeCorrupt || resultCode(f.cause) == codeNotADB:
		return fmt.Errorf("sqlite: %s: the file is damaged; stop, and restore a backup: %w", verb, f.cause)
	}
	return fmt.Errorf("sqlite: %s: %w", verb, f.cause)
}

// full reports whether there was no room on the disk; by the text where the
// driver tells no codes.
func full(err error) bool {
	return resultCode(err) == codeFull || strings.Contains(err.Error(), "database or disk is full")
}
