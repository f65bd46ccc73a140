package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Incoming is a call that arrived.
type Incoming struct {
	// From is the caller as the relay has verified it; Secure proves it.
	From     message.Address
	Protocol string
	// Bundle is the caller's cards, if it sent them. They prove themselves.
	Bundle *wirev1.Identity

	line *Line
	id   ID
}

// Accept takes the call.
func (in *Incoming) Accept() *Stream {
	s := newStream(in.line, in.id, in.From, in.Protocol)
	in.line.mu.Lock()
	defer in.line.mu.Unlock()
	if in.line.over {
		s.why = Gone
		return s
	}
	in.line.streams[in.id] = s
	in.line.say(answerFrame(in.id, 0))
	return s
}

// Refuse does not.
func (in *Incoming) Refuse(why Reason) {
	in.line.mu.Lock()
	defer in.line.mu.Unlock()
	in.line.say(answerFrame(in.id, why))
}

// say queues a frame; the caller holds mu. Of answers, which others ask for, so many wait and no
// more; of the rest there are only as many as this end has connections.
func (l *Line) say(f *wirev1.LiveFrame) {
	if len(l.queue) < maxQueued || f.GetAnswer() == nil {
		l.queue = append(l.queue, f)
	}
	l.nudge()
}

// carry writes to a socket, has it read, and returns when it breaks.
func (l *Line) carry(ctx context.Context, ws *websocket.Conn) error {
	// What was closed is still brought after ctx has ended, for a while.
	hard, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() {
		timer := time.NewTimer(drainFor)
		defer timer.Stop()
		select {
		case <-timer.C:
			cut()
		case <-hard.Done():
		}
	})()
	l.attach()
	read := make(chan error, 1)
	go func() { read <- l.listen(ctx, hard, ws) }()
	ended, err := l.write(ctx, hard, ws, read)
	if err == nil {
		_ = ws.Close(websocket.StatusNormalClosure, "") // all was said
	}
	_ = ws.CloseNow() // as above
	cut()
	if !ended {
		<-read
	}
	l.detach()
	if err == nil {
		return errLineOver
	}
	return err
}

// attach makes a new socket the line's: what is served is said again, and every
// stream says what it has.
func (l *Line) attach() {
	l.mu.Lock()
	var all []*Stream
	for _, s := range l.streams {
		all = append(all, s)
	}
	serves := l.serves
	l.mu.Unlock()
	var frames []*wirev1.LiveFrame
	if serves {
		frames = append(frames, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: l.c.Protocols}}})
	}
	for _, s := range all {
		if f := s.attach(); f != nil {
			frames = append(frames, f)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(frames, l.queue...)
	l.heard = time.Now()
	l.isUp = true
	close(l.up)
}

// detach ends the calls that a broken socket leaves without an answer.
func (l *Line) detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isUp = false
	l.up = make(chan struct{})
	l.queue, l.lost = nil, time.Now()
	l.answerAll(Gone)
}

// write sends what there is to say. ended reports whether read has told its error;
// err is nil when the line is over.
func (l *Line) write(ctx, hard context.Context, ws *websocket.Conn, read <-chan error) (ended bool, err error) {
	ping := time.NewTicker(rpc.HeartbeatEvery)
	defer ping.Stop()
	quiet := time.NewTimer(rpc.HeartbeatEvery)
	defer quiet.Stop()
	over := ctx.Done()
	var o outlet
	for {
		for f := l.next(&o); f != nil; f = l.next(&o) {
			if err := sendFrame(hard, ws, &o, f); err != nil {
				return false, err
			}
		}
		left := l.unused()
		if left <= 0 || over == nil && l.empty() {
			return false, nil
		}
		quiet.Reset(left)
		select {
		case <-l.wake:
		case err := <-read:
			return true, err
		case <-hard.Done():
			return false, nil
		case <-over:
			over = nil
			l.breakOff()
		case now := <-ping.C:
			if err := l.check(now); err != nil {
				return false, err
			}
		case <-quiet.C:
		}
	}
}

// next is the next frame: what the line has to say, and then the streams in turn.
func (l *Line) next(o *outlet) *wirev1.LiveFrame {
	for {
		l.mu.Lock()
		if len(l.queue) > 0 {
			f := l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			l.mu.Unlock()
			return f
		}
		if f := o.held; f != nil {
			o.held = nil
			l.mu.Unlock()
			return f
		}
		if len(l.busy) == 0 {
			l.mu.Unlock()
			return nil
		}
		s := l.busy[0]
		l.busy[0] = nil
		l.busy = l.busy[1:]
		s.queued = false
		l.mu.Unlock()
		f, more := s.pull(nil, o)
		if more {
			l.ready(s)
		}
		l.reap(s)
		// What a stream says may be true only after what was queued meanwhile.
		o.held = f
	}
}

// reap forgets a stream that is over.
func (l *Line) reap(s *Stream) {
	done, away, broken := s.done(), s.hasLeft(), s.Err() == Broken
	l.mu.Lock()
	defer l.mu.Unlock()
	if !done || l.streams[s.id] != s {
		return
	}
	delete(l.streams, s.id)
	l.used = time.Now()
	switch {
	case broken:
		l.say(closeFrame(s.id, Broken, 0))
	case away:
		l.say(closeFrame(s.id, Gone, 0)) // what the ends said to each other, the relay has not heard
	}
	l.nudge()
}

// empty reports whether nothing is left to bring.
func (l *Line) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.streams) == 0 && len(l.queue) == 0
}

// unused is how long the line may still be without use; a line that serves is
// never without.
func (l *Line) unused() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serves || len(l.streams)+l.users+len(l.queue)+len(l.places) > 0 {
		return rpc.HeartbeatEvery
	}
	left := l.c.Linger - time.Since(l.used)
	l.over = left <= 0 // so that nobody begins a call now
	return left
}

// breakOff ends what was not closed, because the line is to end.
func (l *Line) breakOff() {
	l.mu.Lock()
	var all []*Stream
	for _, s := range l.streams {
		all = append(all, s)
	}
	l.answerAll(Gone)
	l.mu.Unlock()
	for _, s := range all {
		if s.Err() != nil {
			continue // it was closed, and is being brought to its end
		}
		s.fail(Gone)
		l.mu.Lock()
		delete(l.streams, s.id)
		l.say(closeFrame(s.id, Gone, 0))
		l.mu.Unlock()
	}
}

// errSilent says that a server was not heard of.
var errSilent = errors.New("nothing heard for " + rpc.HeartbeatPatience.String())

// check looks whether the server is there, and gives up on streams that were
// closed a while ago and whose other end takes nothing, or that came back to the relay
// and whose other end does not. Quiet streams give back the room that they had when they were busy.
func (l *Line) check(now time.Time) error {
	l.mu.Lock()
	var all []*Stream
	for _, s := range l.streams {
		all = append(all, s)
	}
	silent := now.Sub(l.heard) > rpc.HeartbeatPatience
	l.say(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}})
	l.mu.Unlock()
	for _, s := range all {
		s.rest()
		waits := s.Err() != nil || s.isReturning()
		l.mu.Lock()
		if !waits {
			s.closedAt = time.Time{}
			l.mu.Unlock()
			continue
		}
		if s.closedAt.IsZero() {
			s.closedAt = now
		}
		late := now.Sub(s.closedAt) > ResumeFor
		if late {
			delete(l.streams, s.id)
			l.say(closeFrame(s.id, Gone, 0))
		}
		l.mu.Unlock()
		if late {
			s.fail(Gone)
		}
	}
	if silent {
		return fmt.Errorf("relay: %w: %w", message.Unavailable, errSilent)
	}
	return nil
}

// listen takes the frames of a socket until it breaks.
func (l *Line) listen(ctx, hard context.Context, ws *websocket.Conn) error {
	var i intake
	for {
		f, err := readFrame(hard, &i, ws)
		if err != nil {
			return err
		}
		if err := l.take(ctx, f); err != nil {
			return err
		}
	}
}

// take does what a frame says.
func (l *Line) take(ctx context.Context, f *wirev1.LiveFrame) error {
	l.mu.Lock()
	l.heard = time.Now()
	l.mu.Unlock()
	switch frame := f.GetKind().(type) {
	case *wirev1.LiveFrame_Refusal:
		return fmt.Errorf("relay: %w", message.OpenRefusal(frame.Refusal))
	case *wirev1.LiveFrame_Serving:
		if l.c.OnServing != nil {
			l.c.OnServing()
		}
	case *wirev1.LiveFrame_Call:
		l.called(ctx, frame.Call)
	case *wirev1.LiveFrame_Answer:
		l.answered(frame.Answer)
	case *wirev1.LiveFrame_Data:
		if s := l.stream(frame.Data.GetConnection()); s != nil {
			if s.data(frame.Data, nil) {
				l.ready(s)
			}
			l.reap(s)
		}
	case *wirev1.LiveFrame_Credit:
		if s := l.stream(frame.Credit.GetConnection()); s != nil {
			s.credit(frame.Credit.GetConsumed())
			l.ready(s)
		}
	case *wirev1.LiveFrame_Resume:
		if s := l.stream(frame.Resume.GetConnection()); s != nil {
			s.resume(frame.Resume.GetReceived())
			l.ready(s)
		}
	case *wirev1.LiveFrame_Close:
		if s := l.stream(frame.Close.GetConnection()); s != nil && !s.outlives(frame.Close) {
			s.close(frame.Close)
			l.ready(s)
			l.reap(s)
		}
	case *wirev1.LiveFrame_Direct:
		l.turned(frame.Direct)
	}
	return nil
}

// stream finds a stream.
func (l *Line) stream(id []byte) *Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams[ID(id)]
}

// called has a call handled, or refuses it.
func (l *Line) called(ctx context.Context, w *wirev1.LiveCall) {
	in := &Incoming{Protocol: w.GetProtocol(), Bundle: w.GetBundle(), line: l, id: ID(w.GetConnection())}
	var err error
	in.From, err = message.AddressFromBytes(w.GetFrom())
	if err != nil || l.c.OnCall == nil || l.stream(w.GetConnection()) != nil {
		in.Refuse(Broken)
		return
	}
	select {
	case l.places <- struct{}{}:
	default:
		in.Refuse(Busy)
		return
	}
	l.calls.Go(func() {
		l.c.OnCall(ctx, in)
		<-l.places
		l.nudge()
	})
}

// answered gives a call its answer.
func (l *Line) answered(w *wirev1.LiveAnswer) {
	id := ID(w.GetConnection())
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pending[id]
	if p == nil {
		return
	}
	delete(l.pending, id)
	if w.GetReason() != wirev1.LiveReason_LIVE_REASON_UNSPECIFIED {
		p.answer <- answered{why: reasonOf(w.GetReason())}
		return
	}
	s := newStream(l, id, p.to, p.protocol)
	l.streams[id] = s
	p.answer <- answered{stream: s}
}
