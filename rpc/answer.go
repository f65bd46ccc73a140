package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"airdispatch/message"
)

// callDeadline bounds a unary call at its server, whatever the caller says.
const callDeadline = 60 * time.Second

// Options are for every Connect handler of the house: calls bounded by
// message.MaxCall, nothing compressed, a deadline, and refusals instead of errors.
// An error that wraps a message.Code becomes that code; every other error, and a
// panic, is logged and becomes message.Internal. A nil log keeps nothing.
func Options(log *slog.Logger) []connect.HandlerOption {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return []connect.HandlerOption{
		codecs(),
		connect.WithReadMaxBytes(message.MaxCall),
		connect.WithSendMaxBytes(message.MaxCall),
		connect.WithCompression("gzip", nil, nil),
		connect.WithInterceptors(&answerer{log: log}),
	}
}

// vitals is what the handlers and the server of a call know of each other; it
// travels in the context, since handlers are made before their server.
type vitals struct {
	draining context.Context // ends when the server is to stop
	panics   atomic.Uint64
}

type vitalsKey struct{}

// vitalsOf finds the vitals of the call that ctx belongs to, or empty ones.
func vitalsOf(ctx context.Context) *vitals {
	if v, ok := ctx.Value(vitalsKey{}).(*vitals); ok {
		return v
	}
	return &vitals{draining: context.Background()}
}

// answerer is Connect's interceptor of every handler.
type answerer struct{ log *slog.Logger }

// WrapUnary is for calls with one request and one answer.
func (a *answerer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (res connect.AnyResponse, err error) {
		timed, cancel := bounded(ctx, callDeadline)
		defer cancel()
		defer func() {
			if thrown := recover(); thrown != nil {
				res, err = nil, a.caught(ctx, req.Spec().Procedure, thrown)
			}
			err = a.refuse(ctx, req.Spec().Procedure, err)
		}()
		return next(timed, req)
	}
}

// bounded bounds ctx, unless the other end of the call, or whoever makes it, has
// set an earlier deadline: most have, and a second timer would only cost.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// WrapStreamingClient is not for handlers.
func (a *answerer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler is for streams: they end when the server drains, with
// Unavailable, so that whoever listens comes back to its successor.
func (a *answerer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) (err error) {
		draining := vitalsOf(ctx).draining
		stream, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(draining, cancel)()
		defer func() {
			if thrown := recover(); thrown != nil {
				err = a.caught(ctx, conn.Spec().Procedure, thrown)
			}
			if err != nil && draining.Err() != nil && ctx.Err() == nil {
				err = message.Unavailable
			}
			err = a.refuse(ctx, conn.Spec().Procedure, err)
		}()
		return next(stream, conn)
	}
}

// caught turns a panic into an error.
func (a *answerer) caught(ctx context.Context, procedure string, thrown any) error {
	if thrown == http.ErrAbortHandler {
		panic(thrown) // net/http's way to drop a connection
	}
	vitalsOf(ctx).panics.Add(1)
	a.log.ErrorContext(ctx, "panic in a handler", "procedure", procedure, "panic", thrown, "stack", string(debug.Stack()))
	return errCaught
}

// errCaught stands for a panic that was logged already.
var errCaught = errors.New("rpc: panic in a handler")

// refuse is the way out for every error of a handler.
func (a *answerer) refuse(ctx context.Context, procedure string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		err = a.reduce(ctx, procedure, err)
	} else {
		err = message.Unavailable // the caller has gone; nobody reads this
	}
	return refusal(err, time.Now())
}

// reduce returns err where it wraps a code, and else the code that it amounts to.
func (a *answerer) reduce(ctx context.Context, procedure string, err error) error {
	if c, ok := errors.AsType[message.Code](err); ok && c.Known() {
		if c == message.Internal {
			a.log.ErrorContext(ctx, "call failed", "procedure", procedure, "error", err)
		}
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("rpc: %w", message.Unavailable)
	}
	// What Connect itself says while a stream is received: bad bytes, too many
	// bytes, an end in the middle.
	if c, ok := errors.AsType[*connect.Error](err); ok {
		if code := codeFromConnect(c.Code()); code != message.Internal {
			return code
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return message.Invalid
	}
	if !errors.Is(err, errCaught) {
		a.log.ErrorContext(ctx, "call failed", "procedure", procedure, "error", err)
	}
	return message.Internal
}
