package relay

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Asking is what somebody showed who opened a socket.
type Asking struct {
	// Authorization is the header's value, or what the hello says in its place.
	Authorization string
	// Bundle came with the hello; nil the first time.
	Bundle *wirev1.Identity
	// Request is the one that opened the socket.
	Request *http.Request
}

// Authorizer says who may do what. The mail server's is the one that verifies an
// Access; a program that embeds a Server may have another.
type Authorizer interface {
	// Authorize says whose socket it is. With message.NeedBundle the asker may show
	// its cards once.
	Authorize(ctx context.Context, a Asking) (message.Address, error)
	// MayServe says whether an address may be called here.
	MayServe(ctx context.Context, a message.Address) error
	// MayCall says whether one may call the other; every error is the same refusal.
	MayCall(ctx context.Context, from, to message.Address) error
}

// Config is what a Server is made of.
type Config struct {
	// Authorizer is required.
	Authorizer Authorizer
	Limits     Limits
	// Log takes what went wrong inside; nil keeps nothing.
	Log *slog.Logger
}

// Server is the relay of one mail server. Safe for concurrent use.
type Server struct {
	c Config
	// writers are the goroutines that empty the sockets' queues.
	writers sync.WaitGroup
	// copies are the frames of bytes that wait to be written, used again and again.
	copies sync.Pool

	// mu guards what follows and everything in sockets, seats and pairs; it is never
	// held while bytes are read, written or waited for.
	mu      sync.Mutex
	stopped bool
	people  map[message.Address]*person
	pairs   map[ID]*pair
	sockets map[*socket]struct{}
	serial  uint64 // counts LiveServe frames, so that the newest can be told
}

// person is an address with everything that it has here.
type person struct {
	seats   map[ID]*seat
	sockets int
	pairs   int
	pace    *rate.Limiter
}

// New makes a server, which starts nothing: Run goes beside it.
func New(c Config) *Server {
	c.Limits = c.Limits.filled()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{c: c, people: map[message.Address]*person{}, pairs: map[ID]*pair{}, sockets: map[*socket]struct{}{}}
}

// Run ends what is over, and when ctx ends, all sockets; whoever was connected
// comes back to a successor. It returns when nothing writes any more.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.sweep(time.Now())
			continue
		case <-ctx.Done():
		}
		break
	}
	s.mu.Lock()
	s.stopped = true
	var all []*socket
	for k := range s.sockets {
		if k.ws != nil {
			all = append(all, k)
		}
	}
	s.mu.Unlock()
	for _, k := range all {
		k.drop()
	}
	s.writers.Wait()
	return nil
}

// Drop ends the sockets of an address, whose cards have changed: those whose
// device is still listed come back.
func (s *Server) Drop(a message.Address) {
	s.mu.Lock()
	var all []*socket
	for k := range s.sockets {
		if k.seat != nil && k.seat.address == a {
			all = append(all, k)
		}
	}
	s.mu.Unlock()
	for _, k := range all {
		k.drop()
	}
}

// Counts are how much a server has to do.
type Counts struct{ Sockets, Connections int }

// Counts says how many sockets and connections there are.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{Sockets: len(s.sockets), Connections: len(s.pairs)}
}

// ServeHTTP answers one socket until it ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k := &socket{server: s, heard: time.Now()}
	s.mu.Lock()
	full := s.stopped || over(len(s.sockets), s.c.Limits.Sockets)
	if !full {
		s.sockets[k] = struct{}{}
	}
	s.mu.Unlock()
	if full {
		rpc.Refuse(w, message.Unavailable)
		return
	}
	defer s.leave(k)
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{Binary, Text},
		// There are no cookies to borrow: whoever opens a socket signs for it.
		InsecureSkipVerify: true,
	})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = ws.CloseNow() }() // whatever was to be said was said
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	s.mu.Lock()
	k.ws, k.text, k.cancel = ws, ws.Subprotocol() == Text, cancel
	stopped := s.stopped
	s.mu.Unlock()
	if ws.Subprotocol() == "" || stopped {
		_ = ws.Close(websocket.StatusPolicyViolation, "airdispatch.live.v1+proto or +json") // nobody to tell that this failed
		return
	}
	ws.SetReadLimit(MaxFrame)
	if err := s.greet(ctx, r, k); err != nil {
		s.c.Log.DebugContext(r.Context(), "relay: socket refused", "error", err)
		_ = ws.Close(websocket.StatusPolicyViolation, "refused") // as above
		return
	}
	s.c.Log.DebugContext(r.Context(), "relay: socket ended", "error", s.read(ctx, k))
}

// greet finds out whose socket it is, and gives it its seat.
func (s *Server) greet(ctx context.Context, r *http.Request, k *socket) error {
	ctx, cancel := context.WithTimeout(ctx, helloWithin)
	defer cancel()
	asking := Asking{Authorization: strings.Join(r.Header.Values("Authorization"), ", "), Request: r}
	for shown := false; ; shown = true {
		f, err := k.next(ctx)
		if err != nil {
			return err
		}
		hello := f.GetHello()
		if hello == nil {
			return message.Invalid
		}
		if asking.Authorization == "" {
			asking.Authorization = hello.GetAuthorization()
		}
		asking.Bundle = hello.GetBundle()
		a, err := s.c.Authorizer.Authorize(ctx, asking)
		if err == nil {
			if err = s.sit(k, a, ID(hello.GetSession())); err == nil {
				return nil
			}
		}
		if sendErr := k.send(ctx, refusalFrame(message.Refusal(err, time.Now()))); sendErr != nil {
			return sendErr
		}
		if shown || !errors.Is(err, message.NeedBundle) {
			return err
		}
	}
}

// sit gives a socket the seat of its session, in place of the socket that had it.
func (s *Server) sit(k *socket, a message.Address, session ID) error {
	s.mu.Lock()
	p := s.person(a)
	t := p.seats[session]
	if t == nil {
		if over(p.sockets, s.c.Limits.SocketsPerAddress) {
			s.mu.Unlock()
			return message.RateLimited
		}
		t = &seat{address: a, person: p, session: session, pairs: map[*pair]struct{}{}}
		p.seats[session] = t
		p.sockets++
	}
	old := t.socket
	t.socket, k.seat = k, t
	if old != nil {
		s.unhook(old)
	}
	welcome := &wirev1.LiveWelcome{Address: a.Bytes(), ResumeFor: ResumeFor.Milliseconds(), Direct: true}
	s.enqueue(k, item{frame: &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Welcome{Welcome: welcome}}})
	s.mu.Unlock()
	if old != nil {
		old.drop()
	}
	return nil
}

// person finds or makes what belongs to an address; the caller holds mu.
func (s *Server) person(a message.Address) *person {
	p := s.people[a]
	if p == nil {
		limit, burst := rate.Limit(s.c.Limits.BytesPerSecond), s.c.Limits.BurstBytes
		if limit < 0 || burst < 0 {
			limit, burst = rate.Inf, 0
		}
		p = &person{seats: map[ID]*seat{}, pace: rate.NewLimiter(limit, max(burst, MaxFrame))}
		s.people[a] = p
	}
	return p
}

// read takes the frames of a socket until it ends.
func (s *Server) read(ctx context.Context, k *socket) error {
	for {
		f, err := k.next(ctx)
		if err != nil {
			return err
		}
		// Whoever sends too much waits here, and with it what else it would send on
		// this socket: nobody else's.
		if err := k.seat.person.pace.WaitN(ctx, min(max(k.size, smallestCost), MaxFrame)); err != nil {
			return err
		}
		if err := s.take(ctx, k, f); err != nil {
			return err
		}
	}
}

// take does what a frame says.
func (s *Server) take(ctx context.Context, k *socket, f *wirev1.LiveFrame) error {
	switch frame := f.GetKind().(type) {
	case *wirev1.LiveFrame_Serve:
		return s.serve(ctx, k, frame.Serve)
	case *wirev1.LiveFrame_Call:
		return s.call(ctx, k, frame.Call)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.seat.socket != k {
		return message.Stale // another socket has its seat
	}
	k.heard = time.Now()
	switch frame := f.GetKind().(type) {
	case *wirev1.LiveFrame_Answer:
		s.answer(k, frame.Answer)
	case *wirev1.LiveFrame_Data:
		s.data(k, frame.Data)
	case *wirev1.LiveFrame_Credit:
		s.credit(k, frame.Credit)
	case *wirev1.LiveFrame_Close:
		s.close(k, frame.Close)
	case *wirev1.LiveFrame_Resume:
		s.resume(k, frame.Resume)
	case *wirev1.LiveFrame_Direct:
		s.turn(k, frame.Direct)
	case *wirev1.LiveFrame_Ping:
		if len(k.out) < maxQueued {
			s.enqueue(k, item{frame: pongFrame()})
		}
	}
	return nil
}

// serve remembers what a socket takes calls for.
func (s *Server) serve(ctx context.Context, k *socket, w *wirev1.LiveServe) error {
	if err := s.c.Authorizer.MayServe(ctx, k.seat.address); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.enqueue(k, item{frame: refusalFrame(message.Refusal(err, time.Now()))})
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.heard = time.Now()
	if k.seat.socket != k {
		return message.Stale
	}
	s.serial++
	k.seat.served = s.serial
	k.seat.protocols = make(map[string]struct{}, len(w.GetProtocols()))
	for _, p := range w.GetProtocols() {
		k.seat.protocols[p] = struct{}{}
	}
	s.enqueue(k, item{frame: &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Serving{Serving: &wirev1.LiveServing{}}}})
	return nil
}

// leave cleans up after a socket.
func (s *Server) leave(k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sockets, k)
	if k.seat != nil && k.seat.socket == k {
		s.detach(k)
	}
}

// detach takes a socket off its seat. The caller holds mu.
func (s *Server) detach(k *socket) {
	k.seat.socket = nil
	s.unhook(k)
	s.forget(k.seat)
}

// unhook ends what hangs on a socket that goes: calls that nobody had answered
// are over, connections wait. The caller holds mu.
func (s *Server) unhook(k *socket) {
	t := k.seat
	t.protocols, t.served, t.lost = nil, 0, time.Now()
	k.gone, k.out = true, nil
	for p := range t.pairs {
		i := 0
		if p.ends[1].seat == t {
			i = 1
		}
		p.ends[i].attached = nil
		if !p.answered {
			s.end(p, i, []Reason{Gone, NotOnline}[i])
		}
	}
}

// forget removes a seat that nothing hangs on; the caller holds mu.
func (s *Server) forget(t *seat) {
	if t.socket != nil || len(t.pairs) != 0 || t.person.seats[t.session] != t {
		return
	}
	delete(t.person.seats, t.session)
	t.person.sockets--
	if len(t.person.seats) == 0 {
		delete(s.people, t.address)
	}
}

// sweep ends what is over: sockets that were silent, connections whose end did
// not come back or that nobody uses, calls that nobody answers.
func (s *Server) sweep(now time.Time) {
	s.mu.Lock()
	var silent []*socket
	for k := range s.sockets {
		if k.ws != nil && now.Sub(k.heard) > rpc.HeartbeatPatience {
			silent = append(silent, k)
		}
	}
	for _, p := range s.pairs {
		switch {
		case !p.answered && now.Sub(p.active) > answerWithin:
			s.end(p, 1, NotOnline)
		case s.c.Limits.Idle >= 0 && !p.isAway() && now.Sub(p.active) > s.c.Limits.Idle:
			s.end(p, -1, Idle)
		case p.ends[0].late(now):
			s.end(p, 0, Gone)
		case p.ends[1].late(now):
			s.end(p, 1, Gone)
		}
	}
	s.mu.Unlock()
	for _, k := range silent {
		k.drop()
	}
}
