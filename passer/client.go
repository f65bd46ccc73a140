package passer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// client is somebody who is logged in.
type client struct {
	account Account
	person  *person
	conn    net.Conn
	codec   codec
	// arrival is the higher the later it logged in.
	arrival uint64
	// wake tells the writer of more, or of the end.
	wake chan struct{}
	// ctx ends with the client.
	ctx    context.Context
	cancel context.CancelFunc

	// What follows is guarded by the server's mu.

	// pairs are the connections by their ids.
	pairs map[string]*pair
	// queue waits to be written; queued is what it and what is being written cost.
	queue  []item
	queued int
	heard  time.Time
	// gone says that the client is on its way out, and reason why.
	gone   bool
	reason string
}

// item is a frame in a queue.
type item struct {
	message Message
	// share is the part of the queue that it counts towards; nil for words about
	// connections.
	share *int
}

// read takes the frames of a client until it ends, and says why it did.
func (s *Server) read(c *client) error {
	for {
		m, err := c.codec.read(maxFrame)
		if err != nil {
			return err
		}
		// Whoever sends too much waits here, and nobody else does.
		cost := max(m.cost(), smallestCost)
		if m.Meta == MetaConnSyn {
			cost = max(cost, callCost)
		}
		if err := c.person.pace.WaitN(c.ctx, min(cost, maxFrame)); err != nil {
			return err
		}
		if m.Meta == MetaConnSyn {
			s.call(c, m)
			continue
		}
		s.take(c, m)
	}
}

// leave ends a client whose socket has ended, or said what cannot be.
func (s *Server) leave(c *client, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, io.ErrUnexpectedEOF):
		s.end(c, "it sent a malformed frame", true)
	case errors.Is(err, errTooLarge):
		s.end(c, "it sent a frame that is too large", true)
	default:
		s.end(c, "", false)
	}
}

// end takes a client out: whoever has a connection with it is told, with the reason when
// it did not leave by itself, and so is the client itself. What waits for it
// may still go out for a moment. The caller holds mu.
func (s *Server) end(c *client, reason string, said bool) {
	if c.gone {
		return
	}
	c.gone, c.reason = true, reason
	var words []byte
	if said {
		words = []byte(reason)
	}
	told := map[*end]bool{}
	for _, p := range c.pairs {
		s.unhook(p)
		other := p.other(c)
		if !heardOf(told, other) {
			told[other] = true
			s.tell(other.client, Message{Meta: MetaClientClosed, OtherClient: other.calls, Data: words})
		}
	}
	if reason != "" {
		s.enqueue(c, item{message: Message{Meta: MetaClientClosed, OtherClient: c.account.Name, Data: []byte(reason)}})
	}
	if s.clients[c.account.Name] == c {
		delete(s.clients, c.account.Name)
	}
	s.vacate(c)
	c.cancel()
	now := time.Now()
	_ = c.conn.SetReadDeadline(now) // a connection that is closed says so by itself
	_ = c.conn.SetWriteDeadline(now.Add(partWithin))
	c.nudge()
}

// heardOf reports whether the client of an end has been told of the other under the same
// word.
func heardOf(told map[*end]bool, e *end) bool {
	for t := range told {
		if t.client == e.client && t.calls == e.calls {
			return true
		}
	}
	return false
}

// vacate takes a client off its address. The caller holds mu.
func (s *Server) vacate(c *client) {
	p, a := c.person, c.account.Address
	if p.clients--; p.clients == 0 {
		delete(s.people, a)
		return
	}
	if p.newest != c {
		return
	}
	p.newest = nil
	for _, other := range s.clients {
		if other.person == p && (p.newest == nil || other.arrival > p.newest.arrival) {
			p.newest = other
		}
	}
}

// nudge wakes the writer; it never waits.
func (c *client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// tell queues words about connections. A client that has too many of them waiting does
// not read, and goes. The caller holds mu.
func (s *Server) tell(c *client, m Message) {
	if c.gone {
		return
	}
	if limit := s.c.Limits.QueueBytes; limit >= 0 && c.queued+m.cost() > limit+slack {
		s.end(c, "it does not read what is sent to it", true)
		return
	}
	s.enqueue(c, item{message: m})
}

// room reports whether n more bytes may wait for a client, of which a connection has its
// share already. The caller holds mu.
func (s *Server) room(c *client, n int, share int) bool {
	if s.queued+n > queueInAll {
		return false
	}
	limit := s.c.Limits.QueueBytes
	return limit < 0 || c.queued+n <= limit && c.person.queued+n <= 2*limit && share+n <= max(limit/4, MaxData+maxWords)
}

// enqueue adds a frame. The caller holds mu.
func (s *Server) enqueue(c *client, i item) {
	cost := i.message.cost()
	c.queue = append(c.queue, i)
	c.queued += cost
	c.person.queued += cost
	s.queued += cost
	if i.share != nil {
		*i.share += cost
	}
	c.nudge()
}

// write empties the queue of a client until it is gone and nothing is left, or nothing
// is taken any more.
func (s *Server) write(c *client) {
	var b []byte
	for {
		items, gone := s.next(c)
		if len(items) == 0 {
			if gone {
				return
			}
			<-c.wake
			continue
		}
		b = b[:0]
		for _, i := range items {
			b = c.codec.append(b, i.message)
		}
		_, err := c.conn.Write(b)
		if cap(b) > 4*batch {
			b = nil
		}
		s.written(c, items)
		if err != nil {
			s.mute(c, err)
			return
		}
	}
}

// next takes what is to be written next, about a batch, and gives the client its time
// for that.
func (s *Server) next(c *client) (items []item, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(c.queue) && (n == 0 || size+c.queue[n].message.cost() <= batch) {
		size += c.queue[n].message.cost()
		n++
	}
	items = c.queue[:n:n]
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	if n > 0 && !c.gone {
		_ = c.conn.SetWriteDeadline(time.Now().Add(writeWithin)) // as in end
	}
	return items, c.gone
}

// written takes what was written off the accounts.
func (s *Server) written(c *client, items []item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range items {
		s.unqueue(c, i)
	}
	c.heard = time.Now()
}

// unqueue takes a frame off the accounts. The caller holds mu.
func (s *Server) unqueue(c *client, i item) {
	cost := i.message.cost()
	c.queued -= cost
	c.person.queued -= cost
	s.queued -= cost
	if i.share != nil {
		*i.share -= cost
	}
}

// mute drops what nobody takes: the socket has failed, or the client does not read.
func (s *Server) mute(c *client, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := "its socket has failed"
	if errors.Is(why, os.ErrDeadlineExceeded) {
		reason = "it does not read what is sent to it"
	}
	s.end(c, reason, true)
	for _, i := range c.queue {
		s.unqueue(c, i)
	}
	c.queue = nil
}
