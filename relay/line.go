package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/coder/websocket"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// drainFor is how long a line that is to end brings what was written.
	drainFor = 5 * time.Second
	// openWithin bounds one try to open a socket, with everything that is asked for it.
	openWithin = 20 * time.Second
	// maxIncoming is how many calls a line handles at once; those beyond are Busy.
	maxIncoming = 64
	// reconnectMax is the longest wait between two tries to reach the server.
	reconnectMax = 5 * time.Second
)

// LineConfig is what a Line is made of.
type LineConfig struct {
	// Self is who one is.
	Self message.Address
	// Open opens a WebSocket to the server, with an Access; it is called again
	// whenever one breaks. See the function Open.
	Open func(ctx context.Context) (*Socket, error)
	// Corrected reports whether a refusal was about the clock and another try may
	// succeed; may be nil.
	Corrected func(error) bool
	// Bundle is one's own cards, for a server that asks for them; may be nil.
	Bundle *wirev1.Identity
	Rand   io.Reader
	// Protocols are what one serves, and OnCall takes the calls, each in a goroutine
	// that Run waits for. A line without protocols ends when nothing has used it for Linger.
	Protocols []string
	OnCall    func(ctx context.Context, in *Incoming)
	// OnServing, where not nil, is told each time calls begin to arrive.
	OnServing func()
	// Linger: see Protocols.
	Linger time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Line is a connection to one server that is made again whenever it breaks. Safe
// for concurrent use.
type Line struct {
	c       LineConfig
	session ID
	wake    chan struct{}
	ended   chan struct{}
	calls   sync.WaitGroup
	places  chan struct{} // for calls that are being handled
	ports   chan struct{} // for ports that wait for a caller

	// mu guards what follows. Streams' locks are not taken while it is held.
	mu      sync.Mutex
	up      chan struct{} // closed while there is a socket
	isUp    bool
	down    chan struct{} // closed, and another in its place, when a try to get one failed
	err     error         // why it ended, or why that try failed
	over    bool
	serves  bool
	direct  bool // the server lets connections leave it and come back
	users   int  // calls that are under way
	streams map[ID]*Stream
	pending map[ID]*pendingCall
	queue   []*wirev1.LiveFrame
	busy    []*Stream
	heard   time.Time
	lost    time.Time
	used    time.Time
}

// pendingCall is a call that waits for its answer.
type pendingCall struct {
	to       message.Address
	protocol string
	answer   chan answered
}

type answered struct {
	stream *Stream
	why    Reason
}

// errLineOver says that a line has ended.
var errLineOver = errors.New("relay: the line has ended")

// NewLine makes a line, which does nothing before Run.
func NewLine(c LineConfig) (*Line, error) {
	session, err := crypto.RandomBytes(c.Rand, len(ID{}))
	if err != nil {
		return nil, fmt.Errorf("relay: line: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Line{
		c: c, session: ID(session), wake: make(chan struct{}, 1), ended: make(chan struct{}), up: make(chan struct{}), down: make(chan struct{}),
		used: time.Now(), serves: len(c.Protocols) > 0,
		places: make(chan struct{}, maxIncoming), ports: make(chan struct{}, maxPorts), streams: map[ID]*Stream{}, pending: map[ID]*pendingCall{},
	}, nil
}

// Run keeps the line until ctx ends, the server refuses it, it cannot be
// reached the first time, or nothing uses it. When ctx ends, streams that were closed
// are brought to their end, and the others break with Gone.
func (l *Line) Run(ctx context.Context) (err error) {
	defer l.calls.Wait()
	defer func() { l.finish(err) }()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, reconnectMax
	for first := true; ; first = false {
		began := time.Now()
		ws, err := l.connect(ctx)
		if err == nil {
			err = l.carry(ctx, ws)
			if time.Since(began) > reconnectMax {
				wait.Reset()
			}
		} else if first {
			return err
		} else {
			l.missed(err)
		}
		switch {
		case ctx.Err() != nil:
			l.drain()
			return nil
		case errors.Is(err, errLineOver):
			return nil
		case refusedForGood(err):
			return err
		}
		l.c.Log.DebugContext(ctx, "relay: the socket broke", "error", err)
		if !l.worth() {
			return err
		}
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// missed tells the calls that wait for a socket that the server cannot be reached.
func (l *Line) missed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	close(l.down)
	l.down = make(chan struct{})
}

// refusedForGood reports whether a server said something that will not change
// by asking again.
func refusedForGood(err error) bool {
	for _, code := range []message.Code{message.Denied, message.Unauthenticated, message.NotFound, message.BadSignature, message.Unsupported, message.Clock, message.NeedBundle} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// worth reports whether anything is left to reconnect for, and breaks what has
// been away for too long.
func (l *Line) worth() bool {
	l.mu.Lock()
	var late []*Stream
	if time.Since(l.lost) > ResumeFor {
		for _, s := range l.streams {
			late = append(late, s)
		}
	}
	l.mu.Unlock()
	late = slices.DeleteFunc(late, (*Stream).Direct)
	l.mu.Lock()
	for _, s := range late {
		delete(l.streams, s.id)
	}
	worth := len(l.streams)+l.users > 0 || l.serves
	l.over = !worth // so that nobody begins a call now
	l.mu.Unlock()
	for _, s := range late {
		s.fail(Gone)
	}
	return worth
}

// Retire takes no more calls. The line ends when nothing uses it any more.
func (l *Line) Retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serves {
		l.serves = false
		l.say(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{}}})
	}
}

// connect opens a socket and says who one is.
func (l *Line) connect(ctx context.Context) (*websocket.Conn, error) {
	for tried := false; ; tried = true {
		opening, opened := context.WithTimeout(ctx, openWithin)
		ws, err := l.c.Open(opening)
		opened()
		if err != nil {
			return nil, err
		}
		ws.SetReadLimit(MaxFrame)
		hello, cancel := context.WithTimeout(ctx, helloWithin)
		err = l.hello(hello, ws)
		cancel()
		if err == nil {
			return ws, nil
		}
		_ = ws.CloseNow() // it is of no use
		if tried || l.c.Corrected == nil || !l.c.Corrected(err) {
			return nil, err
		}
	}
}

// hello says who one is, and shows one's cards if it must.
func (l *Line) hello(ctx context.Context, ws *websocket.Conn) error {
	w := &wirev1.LiveHello{Session: l.session[:]}
	for {
		if err := sendFrame(ctx, ws, &outlet{}, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Hello{Hello: w}}); err != nil {
			return err
		}
		f, err := readFrame(ctx, &intake{}, ws)
		if err != nil {
			return err
		}
		err = message.OpenRefusal(f.GetRefusal())
		switch {
		case f.GetWelcome() != nil:
			l.mu.Lock()
			l.direct = f.GetWelcome().GetDirect()
			l.mu.Unlock()
			return nil
		case err == nil:
			return fmt.Errorf("relay: hello: no welcome: %w", message.Invalid)
		case !errors.Is(err, message.NeedBundle) || w.Bundle != nil || l.c.Bundle == nil:
			return fmt.Errorf("relay: hello: %w", err)
		}
		w.Bundle = l.c.Bundle
	}
}

// sendFrame and readFrame are one frame on a socket of one's own, in the form
// that was negotiated.
func sendFrame(ctx context.Context, ws *websocket.Conn, o *outlet, f *wirev1.LiveFrame) error {
	kind, b, err := appendFrameTo(o.frame[:0], ws.Subprotocol() == Text, f)
	if err == nil {
		o.frame = b
		err = ws.Write(ctx, kind, b)
		o.rest()
	}
	if err != nil {
		return fmt.Errorf("relay: send: %w: %w", message.Unavailable, err)
	}
	return nil
}

func readFrame(ctx context.Context, i *intake, ws *websocket.Conn) (*wirev1.LiveFrame, error) {
	kind, b, err := i.next(ctx, ws)
	if err != nil {
		return nil, fmt.Errorf("relay: receive: %w: %w", message.Unavailable, err)
	}
	return parseFrame(kind == websocket.MessageText, b)
}

// Call asks for a connection. Errors: a Reason, what the server refuses, and
// message.Unavailable where it cannot be reached.
func (l *Line) Call(ctx context.Context, to message.Address, protocol string, bundle *wirev1.Identity) (*Stream, error) {
	if err := CheckProtocol(protocol); err != nil {
		return nil, err
	}
	random, err := crypto.RandomBytes(l.c.Rand, len(ID{}))
	if err != nil {
		return nil, fmt.Errorf("relay: call: %w", err)
	}
	id := ID(random)
	p := &pendingCall{to: to, protocol: protocol, answer: make(chan answered, 1)}
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	defer l.end()
	l.mu.Lock()
	l.pending[id] = p
	l.queue = append(l.queue, callFrame(&wirev1.LiveCall{Connection: id[:], To: to.Bytes(), Protocol: protocol, Bundle: bundle}))
	l.mu.Unlock()
	l.nudge()
	select {
	case a := <-p.answer:
		if a.why != 0 {
			return nil, fmt.Errorf("relay: call: %w", a.why)
		}
		return a.stream, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	delete(l.pending, id)
	l.queue = append(l.queue, closeFrame(id, Gone, 0))
	l.mu.Unlock()
	l.nudge()
	select {
	case a := <-p.answer: // it came in this moment
		if a.stream != nil {
			_ = a.stream.Close()
		}
	default:
	}
	return nil, fmt.Errorf("relay: call: %w", ctx.Err())
}

// begin waits until there is a socket.
func (l *Line) begin(ctx context.Context) error {
	l.mu.Lock()
	if l.over {
		defer l.mu.Unlock()
		return errors.Join(l.err, errLineOver)
	}
	l.users++
	up, down := l.up, l.down
	l.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-down:
		l.end()
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("relay: call: %w", l.err)
	case <-l.ended:
		l.end()
		l.mu.Lock()
		defer l.mu.Unlock()
		return errors.Join(l.err, errLineOver)
	case <-ctx.Done():
		l.end()
		return fmt.Errorf("relay: call: %w", ctx.Err())
	}
}

// end counts a call out.
func (l *Line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	l.used = time.Now()
}

// Ended reports whether err says no more than that the line is over, and another
// one may be made.
func Ended(err error) bool {
	return errors.Is(err, errLineOver)
}

// nudge wakes the writer.
func (l *Line) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// ready says that a stream has something to say.
func (l *Line) ready(s *Stream) {
	if s.nudge() {
		return
	}
	l.mu.Lock()
	if !s.queued && l.streams[s.id] == s {
		s.queued = true
		l.busy = append(l.busy, s)
	}
	l.mu.Unlock()
	l.nudge()
}

// finish ends everything.
func (l *Line) finish(err error) {
	l.mu.Lock()
	l.over, l.err = true, err
	var all []*Stream
	for _, s := range l.streams {
		all = append(all, s)
	}
	l.streams = map[ID]*Stream{}
	l.answerAll(Gone)
	l.mu.Unlock()
	close(l.ended)
	for _, s := range all {
		s.fail(Gone)
	}
}

// answerAll ends the calls that wait; the caller holds mu.
func (l *Line) answerAll(why Reason) {
	for id, p := range l.pending {
		delete(l.pending, id)
		p.answer <- answered{why: why}
	}
}
