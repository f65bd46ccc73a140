// Live connects ten thousand idle sockets to one real mail server, lets each of them
// call, and looks at what that costs the server and whether all of them are there.
//
// Each socket is a WebSocket on a TLS connection of its own, under the Access of an
// identity, fifty of each, in two processes that write frames by hand; they send
// heartbeats as programs do. The server is admaild in a process of its own, so its
// memory is its own: it is read with nobody there, with all sockets, and with a
// connection on each of them, that is once more as many. Then every socket is asked for a sign
// of life, and every connection carries a kilobyte there and back, whose bytes are compared.
// The rule: nobody is refused and nobody missing, by the sockets' own word and by the server's
// metrics; at ten thousand the server has never had more than 768 MiB (with fewer less, in
// proportion, above 160); and when all have left, its goroutines, descriptors and gauges are back
// to where they were.
//
// The other end of all connections is one account in this process, on one socket, which
// takes every call; the limit of connections of an address is lifted for it.
//
// The controls: a server that lets in half of them must be seen to refuse the others, and
// a socket that is closed beneath its owner must be missing from the next signs of life and from the
// server's gauge.
//
// What is not covered: TLS between the ends, which costs the server nothing, and sockets
// that come back (the rooms' tests do that).
package main

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"airdispatch/crypto"
	"airdispatch/prove/proof"
	"airdispatch/relay"
)

const (
	// full is how many sockets the figure stands on, and crowds the processes that they are in.
	full, crowds = 10_000, 2
	// resting is how long they are left alone before memory is read.
	resting = 5 * time.Second
	// settling is how long the server has to be as it was before.
	settling = time.Minute
)

func main() {
	if child() {
		return
	}
	proof.Main(proof.Part{Name: "live", Full: full, Run: run})
}

// scene is a mail server, who takes all calls there, and crowds.
type scene struct {
	o       proof.Options
	town    *proof.Town
	mail    *proof.Server
	metrics string
	callee  *proof.Person
	streams chan *relay.Stream
	crowds  []*member
	closers []func()
}

func (s *scene) close() {
	s.leave()
	for n := range s.closers {
		s.closers[len(s.closers)-1-n]()
	}
}

// open starts the servers, the mail server with some settings, and the callee.
func open(ctx context.Context, o proof.Options, programs proof.Programs, name string, settings ...string) (s *scene, err error) {
	s = &scene{o: o, town: &proof.Town{Programs: programs, Verifier: crypto.NewVerifier()}, streams: make(chan *relay.Stream, 2*o.N)}
	if s.town.Tracker, err = programs.Found(ctx, "adtrackd", filepath.Join(o.Dir, name, "tracker"), nil); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.town.Tracker.Kill)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return s, err
	}
	s.metrics = l.Addr().String()
	if err := l.Close(); err != nil {
		return s, err
	}
	settings = append([]string{"AD_METRICS=" + s.metrics, "AD_LOG__LEVEL=error", "AD_LIVE__CONNECTIONS_PER_ADDRESS=-1"}, settings...)
	if s.mail, err = programs.Found(ctx, "admaild", filepath.Join(o.Dir, name, "mail"), []string{"--accounts", "open", "--tracker", s.town.Tracker.Reference}, settings...); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.mail.Kill)
	if s.callee, err = s.town.Join(ctx, s.mail.Reference); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.callee.Client.Close)
	return s, s.serve(ctx)
}

// serve has the callee take every call.
func (s *scene) serve(ctx context.Context) error {
	serving := make(chan struct{}, 1)
	l, err := relay.NewLine(relay.LineConfig{
		Self: s.callee.Address(), Rand: crand.Reader, Protocols: []string{"echo"}, OnServing: func() { serving <- struct{}{} },
		Open:   func(ctx context.Context) (*relay.Socket, error) { return relay.Open(ctx, s.callee.Peer) },
		OnCall: func(_ context.Context, in *relay.Incoming) { s.streams <- in.Accept() },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	s.closers = append(s.closers, func() { cancel(); <-done })
	select {
	case <-serving:
		return nil
	case err := <-done:
		done <- err
		return fmt.Errorf("serve: %w", err)
	}
}

// connect opens sockets, in as many processes as there are crowds; it returns how many were let in.
func (s *scene) connect(n int) (in int, why []string, err error) {
	for c := range crowds {
		m, err := gather(job{Server: s.mail.Reference, Callee: s.callee.Address().Bytes(), First: c * n / crowds, Sockets: (c+1)*n/crowds - c*n/crowds})
		if err != nil {
			return 0, nil, err
		}
		s.crowds = append(s.crowds, m)
	}
	return s.hear()
}

// hear adds up what the crowds answer.
func (s *scene) hear() (done int, why []string, err error) {
	for _, m := range s.crowds {
		t, err := m.hear()
		if err != nil {
			return 0, nil, fmt.Errorf("a crowd: %w", err)
		}
		done, why = done+t.Done, append(why, t.Why...)
	}
	return done, why, nil
}

// do has every socket do something.
func (s *scene) do(what string) (done int, why []string, took time.Duration, err error) {
	begun := time.Now()
	for _, m := range s.crowds {
		if err := m.to.Encode(ask{what}); err != nil {
			return 0, nil, 0, err
		}
	}
	done, why, err = s.hear()
	return done, why, time.Since(begun), err
}

// leave ends the crowds.
func (s *scene) leave() {
	for _, m := range s.crowds {
		m.leave()
	}
	s.crowds = nil
}

// memory is what the mail server occupies, and the most it ever did, in MiB.
func (s *scene) memory() (now, most float64, err error) { return proof.Memory(s.mail.Pid()) }

// vitals asks the server's metrics for sockets, connections, goroutines and descriptors.
func (s *scene) vitals(ctx context.Context) (v [4]int, err error) {
	all, err := proof.Metrics(ctx, s.metrics, "airdispatch_live_sockets", "airdispatch_live_connections", "go_goroutines", "process_open_fds")
	copy(v[:], all)
	return v, err
}

// echo sends back what comes on every connection, some at a time.
func (s *scene) echo(n int) {
	var all sync.WaitGroup
	queue := make(chan *relay.Stream)
	for range 64 {
		all.Go(func() {
			b := make([]byte, words)
			for c := range queue {
				if _, err := io.ReadFull(c, b); err == nil && c.Room() == nil {
					_, _ = c.Write(b) // who waits for it notices
				}
			}
		})
	}
	for range n {
		queue <- <-s.streams
	}
	close(queue)
	all.Wait()
}

func run(ctx context.Context, o proof.Options) (f proof.Figure, err error) {
	programs, err := proof.Build(ctx, filepath.Join(o.Dir, "bin"))
	if err != nil {
		return f, err
	}
	violated := func(format string, args ...any) { f.Violations = append(f.Violations, fmt.Sprintf(format, args...)) }
	if err := controls(ctx, o, programs, violated); err != nil {
		return f, fmt.Errorf("controls: %w", err)
	}
	s, err := open(ctx, o, programs, "live")
	defer s.close()
	if err != nil {
		return f, err
	}
	before, err := s.vitals(ctx)
	if err != nil {
		return f, err
	}
	empty, _, err := s.memory()
	if err != nil {
		return f, err
	}
	begun := time.Now()
	in, why, err := s.connect(o.N)
	if err != nil {
		return f, err
	}
	opened := time.Since(begun)
	if in != o.N {
		violated("%d of %d sockets were let in: %v", in, o.N, why)
	}
	idle, err := s.rests(ctx, o.N+1, 0, violated)
	if err != nil {
		return f, err
	}
	called, why, connecting, err := s.do("call")
	if err != nil {
		return f, err
	}
	if called != o.N {
		violated("%d of %d calls were taken: %v", called, o.N, why)
	}
	connected, err := s.rests(ctx, o.N+1, o.N, violated)
	if err != nil {
		return f, err
	}
	times := map[string]time.Duration{}
	for _, what := range []string{"ping", "say"} {
		if what == "say" {
			go s.echo(called)
		}
		done, why, took, err := s.do(what)
		if err != nil {
			return f, err
		}
		if times[what] = took; done != o.N {
			violated("%s: %d of %d sockets: %v", what, done, o.N, why)
		}
	}
	_, most, err := s.memory()
	if err != nil {
		return f, err
	}
	if bound := 160 + float64(768-160)*min(1, float64(o.N)/full); most > bound {
		violated("the server had %.0f MiB, with %d sockets at most %.0f", most, o.N, bound)
	}
	s.leave()
	s.settled(ctx, before, violated)
	each := func(mib float64) float64 { return mib * 1024 / float64(o.N) }
	f.Words = fmt.Sprintf("%d idle sockets in %.0f MiB (%.1f KiB each above %.0f), with a connection on each %.0f MiB (%.1f KiB more each), at most %.0f; %.0f sockets and %.0f connections a second were made, "+
		"all gave a sign of life in %s and carried %d bytes each way in %s; controls caught",
		o.N, idle, each(idle-empty), empty, connected, each(connected-idle), most, float64(o.N)/opened.Seconds(), float64(o.N)/connecting.Seconds(),
		times["ping"].Round(time.Millisecond), words, times["say"].Round(time.Millisecond))
	return f, ctx.Err()
}

// rests leaves the server alone for a while, compares its gauges, and returns its memory.
func (s *scene) rests(ctx context.Context, sockets, connections int, violated func(string, ...any)) (float64, error) {
	select {
	case <-time.After(resting):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	v, err := s.vitals(ctx)
	if err != nil {
		return 0, err
	}
	if v[0] != sockets || v[1] != connections {
		violated("the server counts %d sockets and %d connections, want %d and %d", v[0], v[1], sockets, connections)
	}
	now, _, err := s.memory()
	return now, err
}

// settled waits until the server holds no more than before. Connections wait a minute for
// whoever left without a word.
func (s *scene) settled(ctx context.Context, before [4]int, violated func(string, ...any)) {
	var now [4]int
	for end := time.Now().Add(2 * settling); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(time.Second) {
		var err error
		if now, err = s.vitals(ctx); err == nil && now[0] <= before[0] && now[1] == 0 && now[2] <= before[2]+8 && now[3] <= before[3]+8 {
			return
		}
	}
	violated("when all had left, sockets, connections, goroutines and descriptors are %v, before %v", now, before)
}

// controls are faults that must be seen.
func controls(ctx context.Context, o proof.Options, programs proof.Programs, violated func(string, ...any)) error {
	const sockets, allowed = 20, 10
	o.N = sockets
	s, err := open(ctx, o, programs, "controls", fmt.Sprintf("AD_LIVE__SOCKETS=%d", allowed+1))
	defer s.close()
	if err != nil {
		return err
	}
	in, why, err := s.connect(sockets)
	if err != nil {
		return err
	}
	if in != allowed || len(why) == 0 {
		violated("a control: %d of %d sockets were let in where %d may be: %v", in, sockets, allowed, why)
	}
	s.leave()
	if s, err = open(ctx, o, programs, "cut"); err != nil {
		s.close()
		return err
	}
	defer s.close()
	if in, why, err = s.connect(sockets); err != nil || in != sockets {
		return fmt.Errorf("%d of %d sockets: %v, %w", in, sockets, why, err)
	}
	if _, _, _, err = s.do("cut"); err != nil {
		return err
	}
	there, _, _, err := s.do("ping")
	if err != nil {
		return err
	}
	v, err := s.vitals(ctx)
	if err != nil {
		return err
	}
	if there != sockets-crowds || v[0] != sockets-crowds+1 {
		violated("a control: %d sockets were cut, %d of %d gave a sign of life, and the server counts %d", crowds, there, sockets, v[0])
	}
	return nil
}
