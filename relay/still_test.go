package relay_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"airdispatch/relay"
)

// still is a world whose sockets are pipes in memory: in a synctest bubble its
// time passes only while everybody waits.
type still struct {
	*world
	began time.Time

	// mu guards what follows, by the name of whose it is.
	mu    sync.Mutex
	wires map[string][]*wire // all that were ever opened
	back  map[string]time.Time
}

func newStill(t testing.TB, limits relay.Limits, names ...string) *still {
	t.Helper()
	w, stop := people(t, nil, limits, names...)
	s := &still{world: w, began: time.Now(), wires: map[string][]*wire{}, back: map[string]time.Time{}}
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	h := &http.Server{Handler: w.server}
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.Serve(l) })
	t.Cleanup(func() {
		stop()
		_ = h.Close()
		serving.Wait()
	})
	w.url = "http://relay.test"
	w.dial = func(name string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, _ string) (net.Conn, error) { return s.reach(ctx, name, l) }
	}
	return s
}

// errAway is what somebody gets who has no network.
var errAway = errors.New("no network")

// reach opens a wire. Who is away gets none; a try that begins in the last ten
// seconds of that waits for them, so that the moment of coming back is exact.
func (s *still) reach(ctx context.Context, name string, l *pipes) (net.Conn, error) {
	s.mu.Lock()
	wait := time.Until(s.back[name])
	s.mu.Unlock()
	if wait > 10*time.Second {
		return nil, errAway
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	near, far := net.Pipe()
	w := &wire{Conn: near, closed: make(chan struct{})}
	s.mu.Lock()
	s.wires[name] = append(s.wires[name], w)
	s.mu.Unlock()
	select {
	case l.conns <- far:
		return w, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// away breaks somebody's socket; a new one can be opened after some time.
func (s *still) away(name string, long time.Duration) {
	s.mu.Lock()
	s.back[name] = time.Now().Add(long)
	w := s.wires[name][len(s.wires[name])-1]
	s.mu.Unlock()
	_ = w.Close()
}

// opened is how many sockets somebody has opened so far.
func (s *still) opened(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wires[name])
}

// lose has somebody's socket lose what is said to them (deaf), or what they say
// (mute), without breaking.
func (s *still) lose(name string, deaf, mute bool) {
	s.mu.Lock()
	w := s.wires[name][len(s.wires[name])-1]
	s.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf, w.mute = deaf, mute
}

// beforeASweep is how long it is until half a second before the server looks for
// what is over: what is over by then is seen within half a second.
func (s *still) beforeASweep() time.Duration {
	const sweep = 5 * time.Second
	return sweep - time.Since(s.began)%sweep + sweep - sweep/10
}

// wire is the client's end of a socket.
type wire struct {
	net.Conn
	once   sync.Once
	closed chan struct{}

	// mu guards what follows.
	mu         sync.Mutex
	deaf, mute bool
}

func (w *wire) is(lost func(*wire) bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return lost(w)
}

// Read hears nothing while the wire is deaf, not even that it was closed over there.
func (w *wire) Read(b []byte) (int, error) {
	for {
		n, err := w.Conn.Read(b)
		if !w.is(func(w *wire) bool { return w.deaf }) {
			return n, err
		}
		if err != nil {
			<-w.closed
			return 0, net.ErrClosed
		}
	}
}

// Write says nothing while the wire is mute.
func (w *wire) Write(b []byte) (int, error) {
	if w.is(func(w *wire) bool { return w.mute }) {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// Close closes both ends, where the network is there.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// pipes is a listener.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// combinations are the ways in which one of two, the other or both can be away.
func combinations() [][]string { return [][]string{{"alice"}, {"bob"}, {"alice", "bob"}} }
