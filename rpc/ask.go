package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect"

	"airdispatch/message"
)

const (
	// accessKept is how long one Access is used. It is good for ten minutes; the
	// rest is for calls under way and for clocks.
	accessKept = 8 * time.Minute
	// clockStep is the smallest correction of a clock that is worth another try.
	clockStep = 30 * time.Second
)

// access is what a client knows of asking one peer: the signed header, and how far
// the peer's clock is ahead. The correction is kept for this peer alone, so a peer
// that lies about the time can only spoil the Access that is for itself.
type access struct {
	mu     sync.Mutex
	header string
	until  time.Time
	ahead  time.Duration
}

// authorization is the header for a call now, empty for a client that is nobody.
func (p *Peer) authorization() (string, error) {
	k := p.client.config.Keyring
	if k == nil {
		return "", nil
	}
	p.access.mu.Lock()
	defer p.access.mu.Unlock()
	now := time.Now()
	if p.access.header != "" && now.Before(p.access.until) {
		return p.access.header, nil
	}
	header, err := message.SignAccess(k.Chain, p.Address(), now.Add(p.access.ahead), message.MaxAccessLife, k.Signer)
	if err != nil {
		return "", fmt.Errorf("rpc: %w", err)
	}
	p.access.header, p.access.until = header, now.Add(accessKept)
	return header, nil
}

// corrected reports whether err says that the peer's clock is another one than
// was thought, so that an Access by its clock may be accepted.
func (p *Peer) corrected(err error) bool {
	r, ok := errors.AsType[*message.Refused](err)
	if !ok || r.Code != message.Clock || r.ServerTime.IsZero() || p.client.config.Keyring == nil {
		return false
	}
	p.access.mu.Lock()
	defer p.access.mu.Unlock()
	ahead := time.Until(r.ServerTime)
	if (ahead - p.access.ahead).Abs() < clockStep {
		return false
	}
	p.access.ahead, p.access.header = ahead, ""
	return true
}

// asking is what happens to every call of a peer: the Access, the deadline, one
// more try with a corrected clock, patience, and errors that callers can decide by.
func (p *Peer) asking() connect.ClientOption {
	return connect.WithInterceptors(&asker{peer: p})
}

// asker is a peer as Connect's interceptor.
type asker struct{ peer *Peer }

// WrapUnary is for calls with one request and one answer.
func (a *asker) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		timed, cancel := bounded(ctx, a.peer.client.config.Timeout)
		defer cancel()
		res, err := a.once(timed, req, next)
		if err == nil {
			return res, nil
		}
		what := req.Spec().Procedure + " at " + a.peer.Address().Short()
		err = explain(timed, what, err)
		if a.peer.corrected(err) {
			res, err = a.once(timed, req, next)
			err = explain(timed, what, err)
		}
		if err != nil {
			return nil, err
		}
		return res, nil
	}
}

// once makes a call with this moment's Access.
func (a *asker) once(ctx context.Context, req connect.AnyRequest, next connect.UnaryFunc) (connect.AnyResponse, error) {
	header, err := a.peer.authorization()
	if err != nil {
		return nil, err
	}
	if header != "" {
		req.Header().Set("Authorization", header)
	}
	return next(ctx, req)
}

// WrapStreamingClient is for streams. They have no deadline; those that only
// receive are watched for silence.
func (a *asker) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		watched, cancel := context.WithCancelCause(ctx)
		carried := context.Context(watched)
		if spec.StreamType == connect.StreamTypeServer {
			carried = context.WithValue(watched, receivingKey{}, true)
		}
		s := &askedStream{
			StreamingClientConn: next(carried, spec), peer: a.peer, ctx: ctx, watched: watched, cancel: cancel,
			what: spec.Procedure + " at " + a.peer.Address().Short(),
		}
		var header string
		if header, s.failed = a.peer.authorization(); header != "" {
			s.RequestHeader().Set("Authorization", header)
		}
		s.patient = spec.StreamType == connect.StreamTypeServer
		return s
	}
}

// WrapStreamingHandler is not for clients.
func (a *asker) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// receivingKey marks the context of a stream that only receives.
type receivingKey struct{}

// errSilent is the cause with which patience ends a stream.
var errSilent = errors.New("nothing heard for " + HeartbeatPatience.String())

// askedStream is a stream whose errors are explained and whose silence is noticed.
type askedStream struct {
	connect.StreamingClientConn
	peer    *Peer
	ctx     context.Context // the caller's
	watched context.Context // ends also by impatience
	cancel  context.CancelCauseFunc
	what    string
	patient bool
	failed  error
}

// Send sends one message.
func (s *askedStream) Send(m any) error {
	if s.failed != nil {
		return s.failed
	}
	return s.explain(s.StreamingClientConn.Send(m))
}

// Receive waits for one message, of a stream that only receives no longer than
// HeartbeatPatience.
func (s *askedStream) Receive(m any) error {
	if s.patient {
		timer := time.AfterFunc(HeartbeatPatience, func() { s.cancel(errSilent) })
		defer timer.Stop()
	}
	err := s.explain(s.StreamingClientConn.Receive(m))
	if err != nil {
		s.cancel(nil)
	}
	return err
}

// CloseResponse ends the stream.
func (s *askedStream) CloseResponse() error {
	defer s.cancel(nil)
	return s.explain(s.StreamingClientConn.CloseResponse())
}

// explain is the room's explain, with what only this stream knows.
func (s *askedStream) explain(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if context.Cause(s.watched) == errSilent {
		return fmt.Errorf("rpc: %s: %w: %w", s.what, message.Unavailable, errSilent)
	}
	err = explain(s.ctx, s.what, err)
	s.peer.corrected(err) // the next stream, if there is one, starts with the right clock
	return err
}

// patientBody is the body of a plain answer; a server that stops in the middle
// of it is given up after HeartbeatPatience.
type patientBody struct {
	io.ReadCloser
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc
	// timer runs while somebody reads; a body of megabytes is thousands of reads.
	timer *time.Timer
}

// Read reads on, or fails with message.Unavailable.
func (b *patientBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(HeartbeatPatience, func() { b.cancel(errSilent) })
	} else {
		b.timer.Reset(HeartbeatPatience)
	}
	defer b.timer.Stop()
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if context.Cause(b.ctx) == errSilent {
		return n, fmt.Errorf("rpc: read body: %w: %w", message.Unavailable, errSilent)
	}
	return n, explain(b.parent, "read body", err)
}

// Close ends the exchange.
func (b *patientBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
