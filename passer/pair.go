package passer

import (
	"strings"
	"time"

	"airdispatch/message"
)

// pair is a connection between two clients.
type pair struct {
	id string
	// ends are the caller and the callee.
	ends     [2]*end
	answered bool
	asked    time.Time
}

// end is one side of a connection.
type end struct {
	client *client
	// calls is the word by which this side calls the other: its name, or the
	// address that the caller wrote in its place.
	calls string
	// share is what waits for this side from the connection.
	share int
}

// other is the side that is not c's.
func (p *pair) other(c *client) *end {
	if p.ends[0].client == c {
		return p.ends[1]
	}
	return p.ends[0]
}

// own is c's side.
func (p *pair) own(c *client) *end {
	if p.ends[0].client == c {
		return p.ends[0]
	}
	return p.ends[1]
}

// find is the client that a word calls: its name, or an address, for which whoever logged
// in last stands. The caller holds mu.
func (s *Server) find(word string) *client {
	if c := s.clients[word]; c != nil {
		return c
	}
	if a, err := message.ParseAddress(word); err == nil && s.people[a] != nil {
		return s.people[a].newest
	}
	return nil
}

// call asks for a connection.
func (s *Server) call(c *client, m Message) {
	refuse := func(meta Meta) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tell(c, Message{Meta: meta, OtherClient: m.OtherClient, ConnectionID: m.ConnectionID})
	}
	if len(m.Data) > maxProtocol {
		refuse(MetaUnknownProto)
		return
	}
	s.mu.Lock()
	to := s.find(m.OtherClient)
	s.mu.Unlock()
	if to == nil || to == c || !own(c.account.Name, m.ConnectionID) {
		refuse(MetaNoSuchConnection)
		return
	}
	// The policy is asked without the lock; whom it was asked about is looked up again.
	if err := s.c.Accounts.MayCall(c.ctx, c.account.Address, to.account.Address); err != nil {
		refuse(MetaNoSuchConnection)
		return
	}
	s.mu.Lock()
	made := s.pair(c, to, m)
	s.mu.Unlock()
	if !made {
		refuse(MetaNoSuchConnection)
	}
}

// own reports whether an id is one that a client of this name may give: its name, a
// colon, and something.
func own(name, id string) bool {
	rest, ok := strings.CutPrefix(id, name+":")
	return ok && rest != ""
}

// pair makes a connection and asks the callee, unless one of both is gone or has
// too many, or the id is in use. The caller holds mu.
func (s *Server) pair(c, to *client, m Message) bool {
	c.heard = time.Now()
	asking := Message{Meta: MetaConnSyn, OtherClient: c.account.Name, ConnectionID: m.ConnectionID, Data: m.Data}
	most := s.c.Limits.Connections
	switch {
	case c.gone || to.gone || c.pairs[m.ConnectionID] != nil || to.pairs[m.ConnectionID] != nil:
		return false
	case over(len(c.pairs)+1, most) || over(len(to.pairs)+1, most) || !s.room(to, asking.cost(), 0):
		return false
	}
	p := &pair{id: m.ConnectionID, asked: c.heard}
	p.ends = [2]*end{{client: c, calls: m.OtherClient}, {client: to, calls: c.account.Name}}
	c.pairs[p.id], to.pairs[p.id] = p, p
	s.pairs++
	s.enqueue(to, item{asking, &p.ends[1].share})
	return true
}

// take does what any other frame says. It counts only for a connection that stands
// between its sender and whom it is for.
func (s *Server) take(c *client, m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.gone {
		return
	}
	c.heard = time.Now()
	p := c.pairs[m.ConnectionID]
	if p != nil && !p.between(c, m.OtherClient) {
		p = nil
	}
	callee := p != nil && p.ends[1].client == c
	switch m.Meta {
	case MetaNone:
		if p == nil {
			break
		}
		if callee && !p.answered {
			// Old callees may write before their answer is on its way.
			s.answer(p)
		}
		s.pass(p, p.other(c), m.Data)
	case MetaConnAck:
		if p != nil {
			if callee && !p.answered {
				s.answer(p)
			}
			return
		}
	case MetaUnknownProto:
		if callee && !p.answered {
			s.unhook(p)
			s.tell(p.ends[0].client, Message{Meta: MetaUnknownProto, OtherClient: p.ends[0].calls, ConnectionID: p.id})
		}
		return
	case MetaConnClosed, MetaNoSuchConnection:
		if p != nil {
			other := p.other(c)
			s.unhook(p)
			s.tell(other.client, Message{Meta: m.Meta, OtherClient: other.calls, ConnectionID: p.id})
		}
		return
	default:
		return // WAT, what only a server says, and what is not known: nobody hears of it
	}
	if p == nil {
		s.tell(c, Message{Meta: MetaNoSuchConnection, OtherClient: m.OtherClient, ConnectionID: m.ConnectionID})
	}
}

// between reports whether word calls the other side of c's connection.
func (p *pair) between(c *client, word string) bool {
	other := p.other(c).client.account
	return word == p.own(c).calls || word == other.Name || word == other.Address.String()
}

// answer tells the caller that the connection was taken. The caller holds mu.
func (s *Server) answer(p *pair) {
	p.answered = true
	s.tell(p.ends[0].client, Message{Meta: MetaConnAck, OtherClient: p.ends[0].calls, ConnectionID: p.id})
}

// pass queues bytes for one side. Where there is no room the connection ends: to wait
// would hold up everything else of the sender. The caller holds mu.
func (s *Server) pass(p *pair, to *end, data []byte) {
	m := Message{OtherClient: to.calls, ConnectionID: p.id, Data: data}
	if !s.room(to.client, m.cost(), to.share) {
		s.part(p, MetaConnClosed, "too much waits to be read")
		return
	}
	s.enqueue(to.client, item{m, &to.share})
}

// part ends a connection and tells both sides why. The caller holds mu.
func (s *Server) part(p *pair, meta Meta, reason string) {
	s.unhook(p)
	for _, e := range p.ends {
		s.tell(e.client, Message{Meta: meta, OtherClient: e.calls, ConnectionID: p.id, Data: []byte(reason)})
	}
}

// unhook takes a connection off both sides. The caller holds mu.
func (s *Server) unhook(p *pair) {
	for _, e := range p.ends {
		if e.client.pairs[p.id] == p {
			delete(e.client.pairs, p.id)
		}
	}
	s.pairs--
}
