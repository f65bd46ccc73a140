package relay

import (
	"context"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// pair is a connection: ends[0] called ends[1].
type pair struct {
	id       ID
	ends     [2]end
	answered bool
	active   time.Time
}

// end is one side of a pair.
type end struct {
	seat *seat
	// attached is the socket that speaks for this end: the one that made the
	// connection, or took it up again.
	attached *socket
	// next is the offset of this end's stream that comes next; most is the furthest
	// that it ever was.
	next, most uint64
	// consumed is up to where this end has consumed the other's stream; crediting
	// says that the other is to be told.
	consumed  uint64
	crediting bool
	// closed says that this end has closed, in order.
	closed bool
	away   away
}

// late reports whether an end has been away for too long.
func (e *end) late(now time.Time) bool {
	if e.attached != nil {
		return false
	}
	t := e.seat
	// A socket that came back and did not take this connection up has as long again.
	return now.Sub(t.lost) > ResumeFor
}

// call looks for somebody who takes a call, and passes it on.
func (s *Server) call(ctx context.Context, k *socket, w *wirev1.LiveCall) error {
	id := ID(w.GetConnection())
	from := k.seat.address
	to, err := message.AddressFromBytes(w.GetTo())
	refused := err != nil || s.c.Authorizer.MayCall(ctx, from, to) != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	k.heard = time.Now()
	if k.seat.socket != k {
		return message.Stale
	}
	if len(k.out) >= maxQueued {
		return message.RateLimited
	}
	t, why := s.callee(k.seat, to, w.GetProtocol())
	switch {
	case s.pairs[id] != nil:
		why = Broken
	case refused:
		why = NotOnline // whoever is not to be reached is not there
	case t != nil && (over(len(s.pairs), s.c.Limits.Connections) || over(k.seat.person.pairs, s.c.Limits.ConnectionsPerAddress) ||
		over(t.person.pairs, s.c.Limits.ConnectionsPerAddress) || len(t.socket.out) >= maxQueued):
		why = Busy
	}
	if why != 0 {
		s.enqueue(k, item{frame: answerFrame(id, why)})
		return nil
	}
	p := &pair{id: id, active: time.Now()}
	p.ends = [2]end{{seat: k.seat, attached: k}, {seat: t, attached: t.socket}}
	s.pairs[id] = p
	for _, e := range p.ends {
		e.seat.pairs[p] = struct{}{}
		e.seat.person.pairs++
	}
	s.enqueue(t.socket, item{frame: callFrame(&wirev1.LiveCall{
		Connection: id[:], From: from.Bytes(), To: to.Bytes(), Protocol: w.GetProtocol(), Bundle: w.GetBundle(),
	})})
	return nil
}

// callee is the seat of an address that serves a protocol since the latest, but
// not the caller's own; the caller holds mu.
func (s *Server) callee(caller *seat, to message.Address, protocol string) (*seat, Reason) {
	p := s.people[to]
	if p == nil {
		return nil, NotOnline
	}
	var best *seat
	why := NotOnline
	for _, t := range p.seats {
		if t == caller || t.socket == nil || t.served == 0 {
			continue
		}
		if len(t.protocols) != 0 {
			why = UnknownProtocol
		}
		if _, ok := t.protocols[protocol]; ok && (best == nil || t.served > best.served) {
			best = t
		}
	}
	if best == nil {
		return nil, why
	}
	return best, 0
}

// side finds a connection and the end that speaks on socket k. A socket that is
// no end of it learns that there is no such connection.
func (s *Server) side(k *socket, connection []byte) (p *pair, me, other *end) {
	p = s.pairs[ID(connection)]
	if p != nil {
		for i := range p.ends {
			if p.ends[i].attached == k {
				return p, &p.ends[i], &p.ends[1-i]
			}
		}
	}
	if len(k.out) < maxQueued {
		s.enqueue(k, item{frame: closeFrame(ID(connection), Gone, 0)})
	}
	return nil, nil, nil
}

// answer passes on whether a call was taken.
func (s *Server) answer(k *socket, w *wirev1.LiveAnswer) {
	p, me, other := s.side(k, w.GetConnection())
	if p == nil || p.answered || me != &p.ends[1] {
		return
	}
	p.active = time.Now()
	if w.GetReason() != wirev1.LiveReason_LIVE_REASON_UNSPECIFIED {
		s.enqueue(other.attached, item{frame: answerFrame(p.id, reasonOf(w.GetReason()))})
		s.remove(p)
		return
	}
	p.answered = true
	s.enqueue(other.attached, item{frame: answerFrame(p.id, 0)})
}

// data passes on what continues a stream, and nothing else: what was lost with a
// socket is sent again after a resume, and what was under way before that is passed over.
func (s *Server) data(k *socket, w *wirev1.LiveData) {
	p, me, other := s.side(k, w.GetConnection())
	if p == nil {
		return
	}
	last := w.GetOffset() + uint64(len(w.GetBytes()))
	switch {
	case !p.answered || me.closed:
		s.end(p, -1, Broken)
		return
	case w.GetOffset() > me.next || last <= me.next:
		return
	case last > other.consumed+Window:
		s.end(p, -1, Broken)
		return
	case w.GetOffset() < me.next:
		w.Bytes = w.GetBytes()[me.next-w.GetOffset():]
		w.Offset = me.next
	}
	me.next, me.most = last, max(me.most, last)
	p.active = time.Now()
	if to := other.attached; to != nil && !to.gone {
		s.enqueue(to, item{data: s.copied(w)})
	}
}

// credit remembers how far an end is, and has the other told.
func (s *Server) credit(k *socket, w *wirev1.LiveCredit) {
	p, me, other := s.side(k, w.GetConnection())
	switch {
	case p == nil:
		return
	case w.GetConsumed() > other.most || !p.answered:
		s.end(p, -1, Broken)
		return
	}
	p.active = time.Now()
	me.consumed = max(me.consumed, w.GetConsumed())
	if me.crediting || other.attached == nil {
		return
	}
	me.crediting = true
	s.enqueue(other.attached, item{pair: p, end: p.index(me)})
}

// index is which of its ends one is.
func (p *pair) index(e *end) int {
	if e == &p.ends[1] {
		return 1
	}
	return 0
}

// close passes on that an end has closed. In order, the connection is over when
// both have; otherwise at once.
func (s *Server) close(k *socket, w *wirev1.LiveClose) {
	p, me, other := s.side(k, w.GetConnection())
	if p == nil {
		return
	}
	reason := reasonOf(w.GetReason())
	if reason == Done && p.answered {
		if w.GetOffset() != me.next || me.closed {
			return // from before a resume; it comes again
		}
		me.closed = true
		p.active = time.Now()
		s.enqueue(other.attached, item{frame: closeFrame(p.id, Done, w.GetOffset())})
		if other.closed {
			s.remove(p)
		}
		return
	}
	s.enqueue(other.attached, item{frame: closeFrame(p.id, reason, 0)})
	s.remove(p)
}

// resume attaches an end to the socket that its session has now. Both ends learn
// from where to send on.
func (s *Server) resume(k *socket, w *wirev1.LiveResume) {
	p := s.pairs[ID(w.GetConnection())]
	for i := range 2 {
		if p == nil || p.ends[i].seat != k.seat || p.ends[i].attached != nil {
			continue
		}
		me, other := &p.ends[i], &p.ends[1-i]
		if other.away.back {
			s.recall(p, me, other, k)
			return
		}
		if !p.answered || w.GetReceived() > other.most || w.GetReceived() < me.consumed {
			s.end(p, -1, Broken)
			return
		}
		me.attached, me.closed, me.crediting = k, false, false
		other.next, other.closed, other.crediting, other.away.queued = w.GetReceived(), false, false, false
		p.active = time.Now()
		s.enqueue(k, item{frame: resumeFrame(p.id, me.next)})
		s.enqueue(other.attached, item{frame: resumeFrame(p.id, w.GetReceived())})
		return
	}
	s.enqueue(k, item{frame: closeFrame(ID(w.GetConnection()), Gone, 0)})
}

// end ends a connection for a reason that both ends are told; but not the one of
// them that is gone, if there is one. The caller holds mu.
func (s *Server) end(p *pair, gone int, why Reason) {
	for i := range p.ends {
		if i == gone {
			continue
		}
		f := closeFrame(p.id, why, 0)
		if !p.answered && i == 0 {
			f = answerFrame(p.id, why)
		}
		s.enqueue(p.ends[i].attached, item{frame: f})
	}
	s.remove(p)
}

// remove forgets a connection; the caller holds mu.
func (s *Server) remove(p *pair) {
	if s.pairs[p.id] != p {
		return
	}
	delete(s.pairs, p.id)
	for _, e := range p.ends {
		delete(e.seat.pairs, p)
		e.seat.person.pairs--
		s.forget(e.seat)
	}
}
