package passer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"airdispatch/message"
)

// Config is what a Server is made of.
type Config struct {
	// Accounts is required.
	Accounts Accounts
	Limits   Limits
	// Log takes who came and went, and why; nil keeps nothing. Secrets and what
	// passes are never in it.
	Log *slog.Logger
}

// Server is the port. Safe for concurrent use.
type Server struct {
	c       Config
	guesses *guesses
	refused atomic.Uint64

	// mu guards what follows and everything in clients and pairs; it is never held
	// while bytes are read, written or waited for.
	mu      sync.Mutex
	stopped bool
	// greeting are the sockets that are nobody's yet, by when they came.
	greeting map[net.Conn]greeting
	arrivals uint64
	clients  map[string]*client
	people   map[message.Address]*person
	queued   int
	pairs    int
}

// greeting is a socket that is nobody's yet.
type greeting struct {
	network netip.Prefix
	arrival uint64
}

// person is an address with everything that it has here.
type person struct {
	clients int
	// newest is the client that logged in last, which the address stands for.
	newest *client
	// queued is what waits for all of them.
	queued int
	pace   *rate.Limiter
}

// New makes a server, which starts nothing.
func New(c Config) *Server {
	c.Limits = c.Limits.filled()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		c: c, guesses: newGuesses(), greeting: map[net.Conn]greeting{}, clients: map[string]*client{}, people: map[message.Address]*person{},
	}
}

// Counts are how much a server has to do, and how many logins it has refused.
type Counts struct {
	Clients, Connections int
	Refused              uint64
}

// Counts says how many clients and connections there are.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{Clients: len(s.clients), Connections: s.pairs, Refused: s.refused.Load()}
}

// Serve answers on l until ctx ends; then it closes l and all clients and returns nil when
// nothing of them is left. It can be called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		<-ctx.Done()
		s.stop()
		_ = l.Close() // nothing was promised to whoever connects now
	})
	running.Go(func() { s.sweeping(ctx) })
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			running.Go(func() { s.socket(ctx, conn) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("passer: serve: %w", err)
		default:
			// Out of file descriptors, as a rule: some come back.
			s.c.Log.WarnContext(ctx, "passer: not accepted", "error", err)
			pause(ctx, partWithin)
		}
	}
}

// pause waits for d or for ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// socket serves one connection from its first byte to its last.
func (s *Server) socket(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }() // what was to be said was said
	network := networkOf(conn)
	if !s.admit(conn, network) {
		s.refused.Add(1)
		return
	}
	defer s.dismiss(conn)
	_ = conn.SetDeadline(time.Now().Add(greetWithin)) // a connection that is closed says so by itself
	codec, err := newCodec(conn)
	if err != nil {
		s.c.Log.DebugContext(ctx, "passer: nothing was said", "network", network, "error", err)
		return
	}
	c, name, err := s.greet(ctx, conn, codec)
	if err == nil {
		s.serve(c)
		return
	}
	s.refused.Add(1)
	s.c.Log.DebugContext(ctx, "passer: login refused", "network", network, "reason", err)
	if why, ok := errors.AsType[refusal](err); ok {
		farewell(conn, codec.append(nil, Message{Meta: MetaAuthFailure, OtherClient: name, Data: []byte(why)}))
	}
}

// greet hears the first message and makes a client of who it is from. Where that is refused
// it says which name was refused, if it could be one. Errors: a refusal for who is to
// hear of it.
func (s *Server) greet(ctx context.Context, conn net.Conn, codec codec) (c *client, name string, err error) {
	m, err := codec.read(maxGreeting)
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, errTooLarge):
		return nil, "", refusedForm
	case err != nil:
		return nil, "", err
	}
	if CheckName(m.OtherClient) == nil {
		name = m.OtherClient
	}
	a, err := s.login(ctx, networkOf(conn), m)
	if err == nil {
		c, err = s.seat(ctx, a, conn, codec)
	}
	return c, name, err
}

// serve is a client's whole stay.
func (s *Server) serve(c *client) {
	log := s.c.Log.With("address", c.account.Address.Short(), "network", networkOf(c.conn))
	log.Info("passer: logged in")
	var writing sync.WaitGroup
	writing.Go(func() { s.write(c) })
	s.leave(c, s.read(c))
	writing.Wait()
	c.cancel()
	s.mu.Lock()
	reason := c.reason
	s.mu.Unlock()
	farewell(c.conn, nil)
	log.Info("passer: left", "reason", reason)
}

// admit finds a place for a socket that is nobody's yet. One host cannot take the
// places of others, and where many hosts come at once, whoever has waited longest without
// a login goes: who means to log in does it at once.
func (s *Server) admit(conn net.Conn, network netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	same := 0
	var oldest net.Conn
	for other, g := range s.greeting {
		if g.network == network {
			same++
		}
		if oldest == nil || g.arrival < s.greeting[oldest].arrival {
			oldest = other
		}
	}
	if same >= greetingPerNetwork {
		return false
	}
	if len(s.greeting) >= greetingInAll {
		delete(s.greeting, oldest)
		_ = oldest.SetDeadline(time.Now()) // its goroutine closes it
	}
	s.arrivals++
	s.greeting[conn] = greeting{network, s.arrivals}
	return true
}

// dismiss gives the place back.
func (s *Server) dismiss(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.greeting, conn)
}

// seat makes a client of a socket, in place of the one that has its name. Errors: a
// refusal.
func (s *Server) seat(ctx context.Context, a Account, conn net.Conn, codec codec) (*client, error) {
	c := &client{account: a, conn: conn, codec: codec, wake: make(chan struct{}, 1), pairs: map[string]*pair{}, heard: time.Now()}
	c.ctx, c.cancel = context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.clients[a.Name]
	p := s.people[a.Address]
	mine := 1
	if p != nil {
		mine += p.clients
	}
	all := len(s.clients) + 1
	if old != nil {
		all--
		if old.person == p {
			mine--
		}
	}
	if s.stopped || over(all, s.c.Limits.Clients) || over(mine, s.c.Limits.ClientsPerAddress) {
		c.cancel()
		return nil, refusedFull
	}
	if old != nil {
		s.end(old, "another client has logged in under this name", true)
		p = s.people[a.Address]
	}
	if p == nil {
		p = &person{pace: s.pace()}
		s.people[a.Address] = p
	}
	s.arrivals++
	p.clients++
	p.newest, c.person, c.arrival = c, p, s.arrivals
	s.clients[a.Name] = c
	delete(s.greeting, conn)
	_ = conn.SetDeadline(time.Time{}) // as above
	s.tell(c, Message{Meta: MetaAuthOk, OtherClient: a.Name})
	return c, nil
}

// pace is what one address may send.
func (s *Server) pace() *rate.Limiter {
	limit, burst := rate.Limit(s.c.Limits.BytesPerSecond), s.c.Limits.BurstBytes
	if limit < 0 || burst < 0 {
		limit, burst = rate.Inf, 0
	}
	return rate.NewLimiter(limit, max(burst, maxFrame))
}

// stop ends everybody.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for conn := range s.greeting {
		_ = conn.SetDeadline(time.Now()) // its goroutine closes it
	}
	for _, c := range s.clients {
		s.end(c, "the server stops", false)
	}
}

// sweeping ends what is over until ctx ends.
func (s *Server) sweeping(ctx context.Context) {
	looked := time.Now()
	for {
		pause(ctx, sweepEvery)
		if ctx.Err() != nil {
			return
		}
		s.sweep(time.Now())
		if time.Since(looked) >= lookEvery {
			looked = time.Now()
			s.look(ctx)
		}
	}
}

// sweep ends calls that nobody answers and clients that nothing happens to.
func (s *Server) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		for _, p := range c.pairs {
			if !p.answered && now.Sub(p.asked) > answerWithin {
				s.part(p, MetaNoSuchConnection, "nobody answers")
			}
		}
		if s.c.Limits.Idle >= 0 && now.Sub(c.heard) > s.c.Limits.Idle {
			s.end(c, "nothing was said for too long", true)
		}
	}
}

// look ends the clients whose account was taken away, changed or suspended since.
func (s *Server) look(ctx context.Context) {
	s.mu.Lock()
	held := make([]*client, 0, len(s.clients))
	for _, c := range s.clients {
		held = append(held, c)
	}
	s.mu.Unlock()
	for _, c := range held {
		a, err := s.c.Accounts.Account(ctx, c.account.Name)
		if err != nil && !errors.Is(err, message.NotFound) || err == nil && a == c.account {
			continue // while nothing can be read nobody is sent away
		}
		s.mu.Lock()
		s.end(c, "the account was removed, changed or suspended", true)
		s.mu.Unlock()
	}
}

// farewell sends the last words and lets the other side hear them: a socket that is closed
// while something of the other's is still unread takes back what was sent on it.
func farewell(conn net.Conn, words []byte) {
	_ = conn.SetDeadline(time.Now().Add(partWithin)) // what fails here was about to end
	if len(words) > 0 {
		if _, err := conn.Write(words); err != nil {
			return
		}
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, maxFrame)
}
