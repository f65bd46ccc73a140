package relay

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// errCutOff says that a stream ended. It is not io.EOF, which crypto/tls takes for an
// end in order between two records: whether it was one, only the other end's
// close_notify says, which a reader finds before this.
var errCutOff = fmt.Errorf("relay: read: cut off before all was said: %w", Gone)

// Addr is an end of a connection: an address in the sense of the house.
type Addr struct{ Address message.Address }

// Network is "airdispatch".
func (Addr) Network() string { return "airdispatch" }

// String is the address.
func (a Addr) String() string { return a.Address.String() }

// Stream is bytes in both directions between two addresses, as the relay carries
// them: in the clear, so it is for Secure and for nobody else. Safe for concurrent
// use.
type Stream struct {
	line     *Line
	id       ID
	peer     message.Address
	protocol string

	// mu guards what follows. It is never held while line.mu is taken.
	mu   sync.Mutex
	cond *sync.Cond
	// in is what has come and was not read; its first byte has the offset consumed.
	in                           fifo
	received, consumed, credited uint64
	// out is what was written and is not known to be consumed; its first byte has the offset acked.
	out         fifo
	acked, next uint64
	// closing: Close was called, or the other end has closed. closed: that was said.
	// over: the other end has closed in order.
	closing, closed, over bool
	shutting              bool // Close is about to be called
	creditDue             bool
	// why is not 0 once the connection is over for a reason.
	why         Reason
	read, write deadline
	// ended is closed once the other end can neither say nor hear anything more.
	ended chan struct{}
	way   way

	// queued and closedAt are the line's, guarded by its mu: the stream is among those
	// that have something to say; since when it has waited to be over, or for the other end to come back to the relay.
	queued   bool
	closedAt time.Time
}

// deadline wakes who waits when it passes.
type deadline struct {
	timer  *time.Timer
	passed bool
	turn   int // tells a timer from one that was replaced while it was running
}

func newStream(l *Line, id ID, peer message.Address, protocol string) *Stream {
	s := &Stream{line: l, id: id, peer: peer, protocol: protocol, ended: make(chan struct{})}
	s.way.changed = make(chan struct{})
	s.cond = sync.NewCond(&s.mu)
	return s
}

// ID is the connection's name.
func (s *Stream) ID() ID { return s.id }

// Peer is the other end, as the relay says; Secure proves it.
func (s *Stream) Peer() message.Address { return s.peer }

// Protocol is what the connection was made for.
func (s *Stream) Protocol() string { return s.protocol }

// Read reads what has come.
func (s *Stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	for {
		switch {
		case s.closing:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case s.read.passed:
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case s.in.len() != 0:
			n := copy(b, s.in.bytes())
			s.in.drop(n)
			s.consumed += uint64(n)
			due := s.consumed-s.credited >= Window/4 && !s.over && s.why == 0
			s.creditDue = s.creditDue || due
			s.mu.Unlock()
			if due {
				s.line.ready(s)
			}
			return n, nil
		case s.why != 0 && s.why != Done:
			why := s.why
			s.mu.Unlock()
			return 0, fmt.Errorf("relay: read: %w", why)
		case s.over:
			s.mu.Unlock()
			return 0, errCutOff
		case len(b) == 0:
			s.mu.Unlock()
			return 0, nil
		}
		s.cond.Wait()
	}
}

// Write takes all of b at once, and never waits: whoever writes calls Room first.
// So TLS above it is never interrupted in the middle of a record.
func (s *Stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return 0, net.ErrClosed
	}
	if s.why == 0 && !s.over { // else nobody takes it any more, and Room has said so
		s.out.push(b)
	}
	s.mu.Unlock()
	s.line.ready(s)
	return len(b), nil
}

// writable says why nothing can be written; the caller holds mu.
func (s *Stream) writable() error {
	switch {
	case s.closing:
		return net.ErrClosed
	case s.why != 0:
		return fmt.Errorf("relay: write: %w", s.why)
	case s.over:
		return fmt.Errorf("relay: write: %w", Done)
	}
	return nil
}

// Room waits until there is room in the window to write something.
func (s *Stream) Room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.write.passed {
			return os.ErrDeadlineExceeded
		}
		if err := s.writable(); err != nil {
			return err
		}
		if s.shutting {
			return net.ErrClosed
		}
		if s.out.len() < Window {
			return nil
		}
		s.cond.Wait()
	}
}

// Close ends the stream in both directions. What was written is still brought, by
// the line, which keeps the stream until the other end has it all.
func (s *Stream) Close() error {
	s.mu.Lock()
	s.closing = true
	s.in = fifo{}
	s.set(&s.read, time.Time{})
	s.set(&s.write, time.Time{})
	s.cond.Broadcast()
	s.mu.Unlock()
	s.line.ready(s)
	return nil
}

// shut ends every Room.
func (s *Stream) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutting = true
	s.cond.Broadcast()
}

// isShut reports whether shut was called.
func (s *Stream) isShut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shutting
}

// announce wakes who waits, and says that the connection has ended where it has;
// the caller holds mu.
func (s *Stream) announce() {
	s.cond.Broadcast()
	if s.way.leg != nil {
		s.way.leg.nudge()
	}
	if s.why == 0 && !s.over {
		return
	}
	select {
	case <-s.ended:
	default:
		close(s.ended)
	}
}

// fail ends the stream at once, for a reason; the first one stays.
func (s *Stream) fail(why Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == 0 {
		s.why = why
	}
	s.out = fifo{}
	s.set(&s.write, time.Time{})
	s.announce()
}

// Err is why the connection is over; nil while it is not.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.why != 0:
		return s.why
	case s.over || s.closing:
		return Done
	}
	return nil
}

// LocalAddr is who one is.
func (s *Stream) LocalAddr() net.Addr { return Addr{s.line.c.Self} }

// RemoteAddr is the other end.
func (s *Stream) RemoteAddr() net.Addr { return Addr{s.peer} }

// SetDeadline sets both.
func (s *Stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// SetReadDeadline is for Read.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(&s.read, t)
	return nil
}

// SetWriteDeadline is for Room: a Write that has begun is never interrupted.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(&s.write, t)
	return nil
}

// set replaces a deadline; the caller holds mu.
func (s *Stream) set(d *deadline, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.turn++
	d.passed = false
	s.cond.Broadcast()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.turn == turn {
			d.passed = true
			s.cond.Broadcast()
		}
	})
}

// pull is the next frame to send, nil where there is nothing to say; more reports
// whether to ask again. The writers call it: the line's with nil, and a leg's. The frame is good until
// o is used again.
func (s *Stream) pull(g *leg, o *outlet) (f *wirev1.LiveFrame, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.acked + uint64(s.out.len())
	switch {
	case s.why != 0 || s.closed || s.way.leg != g || s.way.returning:
		return nil, false
	case s.creditDue && !s.over:
		s.creditDue = false
		s.credited = s.consumed
		return creditFrame(s.id, s.consumed), true
	case s.over:
		s.closed, s.out = true, fifo{}
		return closeFrame(s.id, Done, s.next), false
	case s.next < end && s.next < s.acked+Window:
		n := min(end-s.next, MaxData, s.acked+Window-s.next)
		at := s.next - s.acked
		o.data = append(o.data[:0], s.out.bytes()[at:at+n]...)
		f := dataFrame(s.id, s.next, o.data)
		s.next += n
		return f, s.next < end || s.closing
	case s.closing && s.next == end:
		s.closed = true
		return closeFrame(s.id, Done, s.next), false
	}
	return nil, false
}

// rest gives back what a quiet stream does not need.
func (s *Stream) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.rest()
	s.out.rest()
}

// done reports whether the line may forget the stream.
func (s *Stream) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why != 0 || s.closed && s.over
}

// data takes bytes of the other end, by a leg or, with nil, by the relay. What comes twice is
// passed over, and what a leg brings that was left: the other end was told what had come. It
// reports whether the other end should be told how far this one is.
func (s *Stream) data(w *wirev1.LiveData, g *leg) (due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := w.GetOffset() + uint64(len(w.GetBytes()))
	switch {
	case s.why != 0 || s.over || last <= s.received || g != nil && s.way.leg != g:
		return false
	case w.GetOffset() > s.received:
		s.why = Broken // a relay passes on what continues a stream, and nothing else
	case s.closing:
		// Nobody reads any more.
		s.received, s.consumed, s.in = last, last, fifo{}
		s.creditDue = s.creditDue || s.consumed-s.credited >= Window/4
		return s.creditDue
	case last > s.consumed+Window:
		s.why = Broken // it was never told to send so much
	default:
		s.in.push(w.GetBytes()[s.received-w.GetOffset():])
		s.received = last
	}
	s.announce()
	return false
}

// credit takes the other end's word for what it has consumed.
func (s *Stream) credit(consumed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != 0 || consumed <= s.acked {
		return
	}
	if consumed > s.acked+uint64(s.out.len()) {
		if !s.over {
			s.why = Broken
			s.announce()
		}
		return
	}
	s.out.drop(int(consumed - s.acked))
	s.acked = consumed
	s.next = max(s.next, s.acked)
	s.announce()
}

// resume sends on from where the other end has everything.
func (s *Stream) resume(received uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.way.leg == nil && !s.way.returning { // else only the other end knows
		s.rewind(received)
	}
}

// rewind is resume, whoever said it; the caller holds mu.
func (s *Stream) rewind(received uint64) {
	switch {
	case s.why != 0:
	case s.over:
		s.next, s.closed = received, false
	case received < s.acked || received > s.acked+uint64(s.out.len()):
		s.why = Broken
		s.announce()
	default:
		s.next, s.closed, s.creditDue = received, false, true
	}
}

// at is how much has come.
func (s *Stream) at() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

// close takes the other end's word that it has closed.
func (s *Stream) close(w *wirev1.LiveClose) {
	reason := reasonOf(w.GetReason())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.why != 0:
		return
	case reason != Done && !s.over:
		s.why = reason
		if s.closing {
			s.why = Done // it was over before, for this end
		}
		s.out = fifo{}
	case reason != Done:
		s.why = Done // it was over before
	case s.over:
		return // said again after a resume; this end's own word is still due
	case w.GetOffset() > s.received:
		s.why = Broken // a relay passes that on behind all that it ends
		s.out = fifo{}
	case w.GetOffset() < s.received:
		return // from before a resume
	default:
		s.over = true
		s.out = fifo{}
		s.set(&s.write, time.Time{})
	}
	s.announce()
}
