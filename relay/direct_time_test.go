package relay_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/relay"
)

// yard is a still world in which alice reaches bob over a wire.
type yard struct {
	*still
	mu   sync.Mutex
	wire *wire
	port *pipes
}

func newYard(t *testing.T, limits relay.Limits) (*yard, *relay.Line, <-chan *relay.Conn) {
	t.Helper()
	y := &yard{still: newStill(t, limits, "alice", "bob")}
	conns := make(chan *relay.Conn, 8)
	serving := make(chan struct{}, 8)
	y.line("bob", relay.LineConfig{
		Protocols: []string{"x"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(ctx context.Context, in *relay.Incoming) {
			e := y.ends("bob", "alice", false)
			e.Direct = &relay.Direct{Listen: func(context.Context) (net.Listener, []netip.AddrPort, error) {
				y.mu.Lock()
				defer y.mu.Unlock()
				y.port = &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				return y.port, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:7000")}, nil
			}}
			c, err := relay.Secure(ctx, in.Accept(), e)
			if err != nil {
				t.Errorf("bob takes a call: %v", err)
				return
			}
			conns <- c
		},
	})
	<-serving
	return y, y.line("alice", relay.LineConfig{}), conns
}

// connect has alice call bob, and waits until they are alone.
func (y *yard) connect(l *relay.Line, conns <-chan *relay.Conn) (near, far *relay.Conn) {
	y.t.Helper()
	s, err := l.Call(context.Background(), y.people["bob"].Address(), "x", nil)
	if err != nil {
		y.t.Fatal(err)
	}
	e := y.ends("alice", "bob", true)
	e.Direct = &relay.Direct{Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		a, b := net.Pipe()
		y.mu.Lock()
		defer y.mu.Unlock()
		y.wire = &wire{Conn: a, closed: make(chan struct{})}
		select {
		case y.port.conns <- b:
			return y.wire, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	near, err = relay.Secure(context.Background(), s, e)
	if err != nil {
		y.t.Fatal(err)
	}
	far = <-conns
	becomes(y.t, true, near, far)
	return near, far
}

// TestDirectStands: a direct socket that stops to carry, without breaking, is given up within
// seconds, and nothing is lost.
func TestDirectStands(t *testing.T) {
	for name, c := range map[string]struct{ deaf, mute bool }{"deaf": {deaf: true}, "mute": {mute: true}, "both": {true, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y, l, conns := newYard(t, free())
				near, far := y.connect(l, conns)
				began := time.Now()
				crossing(t, near, far, 1<<20, func() {
					y.wire.mu.Lock()
					defer y.wire.mu.Unlock()
					y.wire.deaf, y.wire.mute = c.deaf, c.mute
				})
				if took := time.Since(began); took > 25*time.Second {
					t.Errorf("it took %s", took)
				}
				becomes(t, false, near, far)
				ends(t, near, far)
			})
		})
	}
}

// TestDirectMayBeSilent: a relay does not take the silence of a connection that does without it
// for its end, nor does the connection take its own for a broken socket; and the way back is still there.
func TestDirectMayBeSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y, l, conns := newYard(t, relay.Limits{Idle: 10 * time.Minute})
		near, far := y.connect(l, conns)
		time.Sleep(time.Hour)
		becomes(t, true, near, far)
		crossing(t, near, far, 100_000, nil)
		_ = y.wire.Close()
		becomes(t, false, near, far)
		crossing(t, near, far, 1<<20, nil)
		ends(t, near, far)
		synctest.Wait() // the relay hears of the end last
		if got := y.world.server.Counts().Connections; got != 0 {
			t.Errorf("the relay knows of %d connections", got)
		}
	})
}
