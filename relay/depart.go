package relay

import (
	"context"

	wirev1 "airdispatch/wire/airdispatch/v1"

	"time"
)

// way is how a stream goes. It begins at the relay, may leave it once for a leg, and
// comes back when that breaks. Guarded by the stream's mu.
type way struct {
	// leg carries the stream, where it is not nil.
	leg *leg
	// left: there was a leg. returning: it broke, and the other end has not said
	// yet what it has.
	left, returning bool
	// forgotten: the relay knows the connection no more, so there is no way back.
	forgotten bool
	// changed is closed, and another in its place, when a leg comes or goes.
	changed chan struct{}
}

// turn puts a leg, or none, in the place of the one before; the caller holds mu.
func (s *Stream) turn(g *leg) {
	s.way.leg = g
	close(s.way.changed)
	s.way.changed = make(chan struct{})
}

// Direct reports whether the stream goes without the relay.
func (s *Stream) Direct() bool {
	direct, _ := s.direction()
	return direct
}

func (s *Stream) direction() (direct bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.way.leg != nil, s.way.changed
}

// nudge wakes the leg's writer, and reports whether there is one.
func (s *Stream) nudge() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.way.leg == nil {
		return false
	}
	s.way.leg.nudge()
	return true
}

// hasLeft reports whether the relay has not seen all of the stream.
func (s *Stream) hasLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.way.left
}

func (s *Stream) isReturning() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.way.returning
}

// depart has the stream go on over a leg, from where the other end has everything.
// Not where it is over, or has had a leg before.
func (s *Stream) depart(g *leg, received uint64) bool {
	s.mu.Lock()
	if s.why != 0 || s.way.left || s.closed && s.over {
		s.mu.Unlock()
		return false
	}
	s.way.left = true
	s.turn(g)
	s.rewind(max(received, s.acked)) // the relay may have brought news since that was said
	s.line.tell(s.step(wirev1.LiveStep_LIVE_STEP_AWAY))
	s.mu.Unlock()
	g.nudge()
	return true
}

// step says to the relay where the stream goes; the caller holds mu until that is told, so
// that nothing which is true only afterwards comes before it.
func (s *Stream) step(step wirev1.LiveStep) *wirev1.LiveFrame {
	return directFrame(s.id, step, s.received, s.consumed)
}

// attach is what a new socket of the line begins with for this stream, if anything.
func (s *Stream) attach() *wirev1.LiveFrame {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.way.forgotten && s.way.leg != nil:
		return nil
	case s.way.leg != nil:
		return s.step(wirev1.LiveStep_LIVE_STEP_AWAY)
	case s.way.returning:
		return s.step(wirev1.LiveStep_LIVE_STEP_BACK)
	}
	return resumeFrame(s.id, s.received)
}

// comeBack has the stream wait for the other end at the relay, because its leg has
// broken. What the relay has forgotten has no way back.
func (s *Stream) comeBack(g *leg) {
	s.mu.Lock()
	if s.way.leg != g {
		s.mu.Unlock()
		return
	}
	s.turn(nil)
	if s.why != 0 || s.closed && s.over {
		s.mu.Unlock()
		return
	}
	if s.way.forgotten {
		s.gone()
		s.mu.Unlock()
		return
	}
	s.way.returning = true
	s.line.tell(s.step(wirev1.LiveStep_LIVE_STEP_BACK))
	s.mu.Unlock()
}

// gone ends a stream that nobody carries any more; the caller holds mu.
func (s *Stream) gone() {
	s.why = Gone
	if s.closing || s.over {
		s.why = Done // it was over before, for this end
	}
	s.out = fifo{}
	s.set(&s.write, time.Time{})
	s.announce()
}

// outlives reports whether a stream goes on although the relay says that it is over: what
// it says of a stream that has left it is only that there is no way back.
func (s *Stream) outlives(w *wirev1.LiveClose) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.way.leg == nil {
		return false
	}
	s.way.forgotten = s.way.forgotten || reasonOf(w.GetReason()) != Done
	return true
}

// turned takes the other end's word that it has come back to the relay. An end that
// is still away comes too; both send on from where the other has everything. What is said twice
// is done twice: the relay, too, has gone back to what was said last.
func (s *Stream) turned(w *wirev1.LiveDirect) {
	s.mu.Lock()
	if s.why != 0 {
		s.mu.Unlock()
		return
	}
	if w.GetStep() == wirev1.LiveStep_LIVE_STEP_BACK && !s.way.returning {
		s.line.tell(s.step(wirev1.LiveStep_LIVE_STEP_BACK_TOO))
	}
	g := s.way.leg
	if g != nil {
		s.turn(nil)
	}
	s.way.returning = false
	s.way.left = true // else a late leg would take it away again
	s.rewind(w.GetReceived())
	s.mu.Unlock()
	if g != nil {
		_ = g.raw.Close() // the other end has left it
	}
	s.credit(w.GetConsumed())
}

// last is what the writer of a leg says at the end, if anything, and whether it is
// the end.
func (s *Stream) last(g *leg) (f *wirev1.LiveFrame, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.way.leg != g || s.closed && s.over:
		return nil, true
	case s.why != 0:
		return closeFrame(s.id, s.why, 0), true
	}
	return nil, false
}

// tell queues a frame for the relay.
func (l *Line) tell(f *wirev1.LiveFrame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say(f)
}

// turned is told that the other end of a connection has come back to the relay.
func (l *Line) turned(w *wirev1.LiveDirect) {
	if w.GetStep() != wirev1.LiveStep_LIVE_STEP_BACK && w.GetStep() != wirev1.LiveStep_LIVE_STEP_BACK_TOO {
		return
	}
	s := l.stream(w.GetConnection())
	if s == nil {
		l.tell(closeFrame(ID(w.GetConnection()), Gone, 0))
		return
	}
	s.turned(w)
	l.ready(s)
	l.reap(s)
}

// letsGo reports whether the server lets connections leave it and come back.
func (l *Line) letsGo() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.direct
}

// spawn runs something that Run waits for.
func (l *Line) spawn(run func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return errLineOver
	}
	l.calls.Go(run)
	return nil
}

// port takes one of the places for open ports, if there is one.
func (l *Line) port() (release func(), ok bool) {
	select {
	case l.ports <- struct{}{}:
		return func() { <-l.ports }, true
	default:
		return nil, false
	}
}

// drain has legs bring what was written, for a while, when the line is to end and has
// no socket.
func (l *Line) drain() {
	l.breakOff()
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	for l.anyDirect() {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
	}
}

// anyDirect reports whether a stream goes without the relay.
func (l *Line) anyDirect() bool {
	l.mu.Lock()
	var all []*Stream
	for _, s := range l.streams {
		all = append(all, s)
	}
	l.mu.Unlock()
	for _, s := range all {
		if s.Direct() {
			return true
		}
	}
	return false
}
