package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/relay"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// noise is bytes that repeat nowhere.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // it never fails
	return b
}

// exchange has both ends say something and end, and compares what they hear.
func exchange(t *testing.T, near, far *relay.Conn, n int) {
	t.Helper()
	hers, his := noise(n), noise(n+1)
	var both sync.WaitGroup
	say := func(c *relay.Conn, b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Errorf("write: %v", err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Errorf("half-close: %v", err)
		}
	}
	hear := func(c *relay.Conn, want []byte) {
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	both.Go(func() { say(near, hers) })
	both.Go(func() { say(far, his) })
	both.Go(func() { hear(near, his) })
	both.Go(func() { hear(far, hers) })
	both.Wait()
}

// closing closes connections when the test is over.
func closing(t *testing.T, conns ...*relay.Conn) {
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
}

// TestSilentConnectionsEnd: a connection that nobody uses ends for both with the
// reason, at its time and not before, and one that is used beside it does not.
func TestSilentConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 10 * time.Minute
		w := newStill(t, relay.Limits{Idle: idle}, "alice", "bob")
		conns := w.listener("bob", "x")
		l := w.line("alice", relay.LineConfig{})
		used, usedFar := w.call(l, "alice", "bob", "x", conns)
		near, far := w.call(l, "alice", "bob", "x", conns)
		closing(t, used, usedFar, near, far)
		word := []byte("still here")
		for range 3 {
			time.Sleep(idle - time.Second)
			for _, c := range []*relay.Conn{used, near} {
				if _, err := c.Write(word); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range []*relay.Conn{usedFar, far} {
				if _, err := io.ReadFull(c, make([]byte, len(word))); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(idle - time.Second)
		select {
		case <-near.Ended():
			t.Fatal("it ended too early")
		default:
		}
		if _, err := used.Write(word); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1 * time.Second)
		began := time.Now()
		for _, c := range []*relay.Conn{near, far} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, relay.Idle) {
				t.Errorf("a silent connection: %v, want %v", err, relay.Idle)
			}
			if _, err := c.Write(word); err == nil {
				t.Error("wrote to a connection that is over")
			}
		}
		if late := time.Since(began); late > 5*time.Second {
			t.Errorf("noticed %s late", late)
		}
		if got := w.server.Counts().Connections; got != 1 {
			t.Errorf("%d connections, want the one that is used", got)
		}
		if _, err := io.ReadFull(usedFar, make([]byte, len(word))); err != nil {
			t.Error(err)
		}
		exchange(t, used, usedFar, 1000)
	})
}

// TestSilenceWithoutALimit: where there is no limit, silence ends nothing, and
// heartbeats keep sockets open.
func TestSilenceWithoutALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStill(t, relay.Limits{Idle: -1}, "alice", "bob")
		conns := w.listener("bob", "x")
		near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "x", conns)
		closing(t, near, far)
		time.Sleep(24 * time.Hour)
		exchange(t, near, far, 1000)
		if a, b := w.opened("alice"), w.opened("bob"); a != 1 || b != 1 {
			t.Errorf("%d and %d sockets were opened in a quiet day", a, b)
		}
	})
}

// TestBackWithinAMinute: whoever comes back within a minute goes on where the
// network broke, with nothing lost, twice or out of order, whichever end it was.
func TestBackWithinAMinute(t *testing.T) {
	for _, who := range combinations() {
		t.Run(strings.Join(who, " and "), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStill(t, relay.Limits{}, "alice", "bob")
				conns := w.listener("bob", "x")
				near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "x", conns)
				closing(t, near, far)
				time.Sleep(w.beforeASweep())
				began := time.Now()
				for _, name := range who {
					w.away(name, relay.ResumeFor-time.Second)
				}
				exchange(t, near, far, 3*relay.Window)
				if took := time.Since(began); took < relay.ResumeFor-time.Second || took > relay.ResumeFor {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestGoneAfterAMinute: whoever comes back later finds that the connection is
// gone; the other end has been told, and the server has forgotten it.
func TestGoneAfterAMinute(t *testing.T) {
	for _, who := range combinations() {
		t.Run(strings.Join(who, " and "), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStill(t, relay.Limits{}, "alice", "bob")
				conns := w.listener("bob", "x")
				l := w.line("alice", relay.LineConfig{})
				near, far := w.call(l, "alice", "bob", "x", conns)
				closing(t, near, far)
				time.Sleep(w.beforeASweep())
				began := time.Now()
				for _, name := range who {
					w.away(name, relay.ResumeFor+time.Second)
				}
				if got := w.server.Counts().Connections; got != 1 {
					t.Errorf("%d connections as the network breaks", got)
				}
				for name, c := range map[string]*relay.Conn{"alice": near, "bob": far} {
					if _, err := c.Read(make([]byte, 1)); !errors.Is(err, relay.Gone) {
						t.Errorf("%s reads %v, want %v", name, err, relay.Gone)
					}
				}
				if took := time.Since(began); took <= relay.ResumeFor || took > relay.ResumeFor+2*time.Second {
					t.Errorf("told after %s", took)
				}
				synctest.Wait()
				if got := w.server.Counts().Connections; got != 0 {
					t.Errorf("%d connections are left", got)
				}
				// The way is free for another one.
				near, far = w.call(l, "alice", "bob", "x", conns)
				closing(t, near, far)
				exchange(t, near, far, 1000)
			})
		})
	}
}

// TestNetworkThatLosesEverything: a network may die without a word. Heartbeats
// tell, on either side, and the connection goes on over another socket: where the server
// had noticed, by coming back to it, and where it had not, by taking the session over.
func TestNetworkThatLosesEverything(t *testing.T) {
	for name, lost := range map[string]struct {
		deaf, mute bool
		sockets    int // that the server knows while the line is about to come back
	}{
		"what the server says": {deaf: true, sockets: 2}, "what the line says": {mute: true, sockets: 1}, "all": {deaf: true, mute: true, sockets: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStill(t, relay.Limits{}, "alice", "bob")
				conns := w.listener("bob", "x")
				near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "x", conns)
				closing(t, near, far)
				time.Sleep(rpc.HeartbeatEvery / 2)
				w.lose("alice", lost.deaf, lost.mute)
				began := time.Now()
				exchanged := make(chan struct{})
				go func() {
					defer close(exchanged)
					exchange(t, near, far, relay.Window/2)
				}()
				patience := rpc.HeartbeatPatience + rpc.HeartbeatEvery
				if lost.deaf {
					time.Sleep(rpc.HeartbeatPatience + 6*time.Second)
					if got := w.server.Counts().Sockets; got != lost.sockets {
						t.Errorf("%d sockets, want %d", got, lost.sockets)
					}
				}
				<-exchanged
				if took := time.Since(began); took < rpc.HeartbeatPatience-rpc.HeartbeatEvery || took > patience {
					t.Errorf("it took %s", took)
				}
				synctest.Wait()
				if got := w.opened("alice"); got != 2 {
					t.Errorf("%d sockets were opened, want the lost one and another", got)
				}
				if got := w.server.Counts(); got.Sockets != 2 {
					t.Errorf("%d sockets are left", got.Sockets)
				}
			})
		})
	}
}

// TestSilentSocketsEnd: whoever opens a socket says who they are within ten
// seconds, and then something every minute or so, or it ends.
func TestSilentSocketsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStill(t, relay.Limits{}, "alice")
		began := time.Now()
		ws, err := w.open("alice")(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.Read(t.Context()); err == nil {
			t.Error("the server speaks first")
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("nobody's socket lasted %s", took)
		}
		_ = ws.CloseNow()
		quiet := w.raw(t, "alice")
		for range 4 {
			time.Sleep(rpc.HeartbeatPatience)
			quiet.send(ping())
			if f, err := quiet.next(); err != nil || f.GetPong() == nil {
				t.Fatalf("%v, %v", f, err)
			}
		}
		began = time.Now()
		if _, _, err := quiet.ws.Read(t.Context()); err == nil {
			t.Error("a silent socket is told something")
		}
		if took := time.Since(began); took <= rpc.HeartbeatPatience || took > rpc.HeartbeatPatience+5*time.Second {
			t.Errorf("a silent socket lasted %s", took)
		}
		synctest.Wait()
		if got := w.server.Counts().Sockets; got != 0 {
			t.Errorf("%d sockets are left", got)
		}
	})
}

// TestCallThatNobodyAnswers: it is over after half a minute, keeps nobody else
// waiting, and an answer after that is too late.
func TestCallThatNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStill(t, relay.Limits{}, "alice", "bob")
		late := make(chan struct{})
		answered := make(chan error, 1)
		serving := make(chan struct{}, 1)
		w.line("bob", relay.LineConfig{
			Protocols: []string{"slow", "quick"}, OnServing: func() { serving <- struct{}{} },
			OnCall: func(_ context.Context, in *relay.Incoming) {
				if in.Protocol == "quick" {
					in.Refuse(relay.Busy)
					return
				}
				<-late
				s := in.Accept()
				_, err := s.Read(make([]byte, 1))
				answered <- err
				_ = s.Close()
			},
		})
		<-serving
		l := w.line("alice", relay.LineConfig{})
		to := w.people["bob"].Address()
		began := time.Now()
		done := make(chan error, 1)
		go func() {
			_, err := l.Call(t.Context(), to, "slow", nil)
			done <- err
		}()
		time.Sleep(time.Second)
		if _, err := l.Call(t.Context(), to, "quick", nil); !errors.Is(err, relay.Busy) {
			t.Errorf("a call beside it: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a call beside it took %s", took)
		}
		if err := <-done; !errors.Is(err, relay.NotOnline) {
			t.Errorf("nobody answers: %v, want %v", err, relay.NotOnline)
		}
		if took := time.Since(began); took <= 30*time.Second || took > 36*time.Second {
			t.Errorf("the call was over after %s", took)
		}
		close(late)
		if err := <-answered; !errors.Is(err, relay.Gone) {
			t.Errorf("an answer that is too late: %v", err)
		}
		if got := w.server.Counts().Connections; got != 0 {
			t.Errorf("%d connections are left", got)
		}
	})
}

// TestSomebodyElsesSession: the name of a session is good for nothing under
// another address, and neither is that of a connection; whose they are takes both over,
// from a socket that the server believes to be alive.
func TestSomebodyElsesSession(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob", "mallory")
	serving, calls := make(chan struct{}, 1), make(chan *relay.Stream, 1)
	w.line("bob", relay.LineConfig{
		Protocols: []string{"x"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(_ context.Context, in *relay.Incoming) { calls <- in.Accept() },
	})
	<-serving
	id := relay.ID{7}
	alice := w.raw(t, "alice")
	alice.send(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id[:], To: w.people["bob"].Address().Bytes(), Protocol: "x"}}})
	if f, err := alice.next(); err != nil || f.GetAnswer() == nil {
		t.Fatalf("%v, %v", f, err)
	}
	bob := <-calls
	alice.send(data(id, 0, []byte("begin")))
	resume := &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: id[:]}}}
	mallory := w.raw(t, "mallory") // in a session of the same name
	mallory.send(resume)
	if f, err := mallory.next(); err != nil || f.GetClose().GetReason() != wirev1.LiveReason_LIVE_REASON_GONE {
		t.Errorf("somebody else takes it up: %v, %v", f, err)
	}
	heard := make([]byte, 5)
	if _, err := io.ReadFull(bob, heard); err != nil || string(heard) != "begin" {
		t.Fatalf("%q, %v", heard, err)
	}
	again := w.raw(t, "alice")
	again.send(resume)
	if f, err := again.next(); err != nil || f.GetResume().GetReceived() != 5 {
		t.Fatalf("its owner takes it up: %v, %v", f, err)
	}
	if f, err := alice.next(); err == nil {
		t.Errorf("the old socket goes on with %v", f)
	}
	again.send(data(id, 5, []byte(" end")))
	if n, err := io.ReadFull(bob, heard[:4]); err != nil || string(heard[:n]) != " end" {
		t.Errorf("%q, %v", heard[:n], err)
	}
	_ = again.ws.CloseNow()
	for w.server.Counts().Sockets > 2 { // the connection has no socket at her end now
		runtime.Gosched()
	}
	mallory.send(resume)
	if f, err := mallory.next(); err != nil || f.GetClose().GetReason() != wirev1.LiveReason_LIVE_REASON_GONE {
		t.Errorf("somebody else takes it up while she is away: %v, %v", f, err)
	}
	_ = bob.Close()
}
