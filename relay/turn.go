package relay

import (
	"time"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// away is what a relay knows of an end that leaves it, and comes back.
type away struct {
	// gone: the end does without the relay. back: it has come back, and the other end
	// has not, as far as is known.
	gone, back bool
	// said is what the other end is to be told, and queued that it waits to be written.
	said   *wirev1.LiveDirect
	queued bool
}

// isAway reports whether a pair is silent because its ends do without the relay.
func (p *pair) isAway() bool { return p.ends[0].away.gone || p.ends[1].away.gone }

// turn takes an end's word that it leaves the relay, or has come back.
func (s *Server) turn(k *socket, w *wirev1.LiveDirect) {
	p := s.pairs[ID(w.GetConnection())]
	for i := range 2 {
		if p == nil || p.ends[i].attached != k && (p.ends[i].seat != k.seat || p.ends[i].attached != nil) {
			continue
		}
		if !p.answered {
			s.end(p, -1, Broken)
			return
		}
		me, other := &p.ends[i], &p.ends[1-i]
		p.active = time.Now()
		if me.attached != k {
			other.crediting = false
			s.recall(p, me, other, k)
			other.next = w.GetReceived() // what was under way to this end is lost
			if !other.away.gone {
				s.enqueue(other.attached, item{frame: resumeFrame(p.id, w.GetReceived())})
			}
		}
		switch w.GetStep() {
		case wirev1.LiveStep_LIVE_STEP_AWAY:
			me.away.gone = true
		case wirev1.LiveStep_LIVE_STEP_BACK, wirev1.LiveStep_LIVE_STEP_BACK_TOO:
			s.back(p, me, other, w)
		}
		return
	}
	if len(k.out) < maxQueued {
		s.enqueue(k, item{frame: closeFrame(ID(w.GetConnection()), Gone, 0)})
	}
}

// back has the other end's stream go on from where this end has it, and tells the
// other end. What the relay has passed on and this end's socket still brings is not
// sent again.
func (s *Server) back(p *pair, me, other *end, w *wirev1.LiveDirect) {
	me.away.gone, me.closed, me.crediting = false, false, false
	other.next, other.closed = max(other.next, w.GetReceived()), false
	other.most = max(other.most, other.next)
	me.consumed = max(me.consumed, w.GetConsumed())
	// With both of them back, all is as it was before.
	me.away.back = w.GetStep() == wirev1.LiveStep_LIVE_STEP_BACK && !other.away.back
	other.away.back = false
	me.away.said = &wirev1.LiveDirect{
		Connection: p.id[:], Step: w.GetStep(), Received: other.next, Consumed: min(me.consumed, other.next),
	}
	s.pass(p, me, other)
}

// recall attaches an end to a socket, and has it told if the other has come back
// meanwhile.
func (s *Server) recall(p *pair, me, other *end, k *socket) {
	me.attached = k
	other.away.queued = false
	if other.away.back {
		s.pass(p, other, me)
	}
}

// pass queues what an end has said for the other.
func (s *Server) pass(p *pair, from, to *end) {
	if from.away.queued || to.attached == nil {
		return
	}
	from.away.queued = true
	s.enqueue(to.attached, item{pair: p, end: p.index(from), back: true})
}
