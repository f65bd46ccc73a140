package relay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/message"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// hello opens a socket of somebody's in a session, and returns it where it is let in.
func (w *world) hello(t *testing.T, name string, session byte) (*raw, error) {
	t.Helper()
	ws, err := w.open(name)(t.Context())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	r := &raw{t, ws}
	r.send(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: bytes.Repeat([]byte{session}, 16)}}})
	f, err := r.next()
	if err != nil || f.GetWelcome() != nil {
		return r, err
	}
	_ = ws.CloseNow() // else it counts until the server has given up on its farewell
	return nil, message.OpenRefusal(f.GetRefusal())
}

// TestLimitOfSockets: who has as many sockets as one may have gets no more, until
// one of them is gone; others get theirs, until the server has all that it wants.
func TestLimitOfSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStill(t, relay.Limits{SocketsPerAddress: 2, Sockets: 4}, "alice", "bob")
		first, err := w.hello(t, "alice", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.hello(t, "alice", 2); err != nil {
			t.Fatal(err)
		}
		if _, err := w.hello(t, "alice", 3); !errors.Is(err, message.RateLimited) {
			t.Errorf("one too many: %v", err)
		}
		synctest.Wait()
		for session := range byte(2) {
			if _, err := w.hello(t, "bob", session); err != nil {
				t.Errorf("somebody else: %v", err)
			}
		}
		if _, err := w.hello(t, "bob", 9); err == nil {
			t.Error("more sockets than the server wants")
		}
		_ = first.ws.CloseNow()
		synctest.Wait()
		if _, err := w.hello(t, "alice", 3); err != nil {
			t.Errorf("after one has gone: %v", err)
		}
	})
}

// TestLimitOfConnections: it counts at either end, and only for who has reached it.
func TestLimitOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"alice", "bob", "carol", "dave", "eve"}
		w := newStill(t, relay.Limits{ConnectionsPerAddress: 3}, names...)
		conns := map[string]<-chan *relay.Conn{"bob": w.listener("bob", "x"), "carol": w.listener("carol", "x")}
		lines := map[string]*relay.Line{}
		for _, n := range []string{"alice", "dave", "eve"} {
			lines[n] = w.line(n, relay.LineConfig{})
		}
		call := func(from, to string) *relay.Conn {
			near, far := w.call(lines[from], from, to, "x", conns[to])
			closing(t, near, far)
			return near
		}
		refused := func(from, to, why string) {
			if _, err := lines[from].Call(t.Context(), w.people[to].Address(), "x", nil); !errors.Is(err, relay.Busy) {
				t.Errorf("%s calls %s, %s: %v", from, to, why, err)
			}
		}
		call("alice", "bob")
		call("alice", "bob")
		last := call("alice", "carol")
		refused("alice", "carol", "a fourth of hers")
		call("dave", "carol")
		call("dave", "bob")
		refused("eve", "bob", "a fourth of his")
		call("eve", "carol")
		_ = last.Close()
		time.Sleep(time.Second)
		call("alice", "carol")
	})
}

// TestLimitOfAllConnections: a server that is full says so, and keeps what it has.
func TestLimitOfAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStill(t, relay.Limits{Connections: 1}, "alice", "bob")
		conns := w.listener("bob", "x")
		l := w.line("alice", relay.LineConfig{})
		near, far := w.call(l, "alice", "bob", "x", conns)
		closing(t, near, far)
		if _, err := l.Call(t.Context(), w.people["bob"].Address(), "x", nil); !errors.Is(err, relay.Busy) {
			t.Errorf("one too many: %v", err)
		}
		exchange(t, near, far, 1000)
	})
}

// TestPaceIsOfAnAddress: an address has so many bytes a second, however many
// connections and sockets it has, and who is beside it as many again.
func TestPaceIsOfAnAddress(t *testing.T) {
	const rate, piece, lines, each = 128 << 10, 256 << 10, 2, 2
	synctest.Test(t, func(t *testing.T) {
		w := newStill(t, relay.Limits{BytesPerSecond: rate, BurstBytes: relay.MaxFrame}, "alice", "bob", "carol", "dave")
		sent := noise(piece)
		// sends brings one piece and returns how long that took.
		sends := func(near, far *relay.Conn) time.Duration {
			began := time.Now()
			go func() {
				_, _ = near.Write(sent)
				_ = near.CloseWrite()
			}()
			if got, err := io.ReadAll(far); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			return time.Since(began)
		}
		toBob, toDave := w.listener("bob", "x"), w.listener("dave", "x")
		var all [][2]*relay.Conn
		for range lines {
			l := w.line("alice", relay.LineConfig{})
			for range each {
				near, far := w.call(l, "alice", "bob", "x", toBob)
				closing(t, near, far)
				all = append(all, [2]*relay.Conn{near, far})
			}
		}
		near, far := w.call(w.line("carol", relay.LineConfig{}), "carol", "dave", "x", toDave)
		closing(t, near, far)
		time.Sleep(time.Minute) // everybody has all that may go at once
		var longest, other time.Duration
		var mu sync.Mutex
		var sending sync.WaitGroup
		for _, ends := range all {
			sending.Go(func() {
				took := sends(ends[0], ends[1])
				mu.Lock()
				defer mu.Unlock()
				longest = max(longest, took)
			})
		}
		sending.Go(func() { other = sends(near, far) })
		sending.Wait()
		whole := time.Duration(lines*each*piece-relay.MaxFrame) * time.Second / rate
		if longest < whole || longest > whole*5/4 {
			t.Errorf("%d bytes at %d a second took %s, want %s or a little more", lines*each*piece, rate, longest, whole)
		}
		if want := time.Duration(piece) * time.Second / rate; other > want*5/4 {
			t.Errorf("who is beside it took %s for what takes %s", other, want)
		}
	})
}

// TestReaderThatDoesNotRead: on one socket of each end, a connection that is not
// read fills its window and stops, without bytes for the others being late; what it
// costs the server is bounded, and it goes on where it stopped.
func TestReaderThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStill(t, relay.Limits{BytesPerSecond: -1}, "alice", "bob")
		conns := w.listener("bob", "x")
		l := w.line("alice", relay.LineConfig{})
		var stuck [][2]*relay.Conn
		sent := noise(3 * relay.Window)
		var writing sync.WaitGroup
		for range 8 {
			near, far := w.call(l, "alice", "bob", "x", conns)
			closing(t, near, far)
			stuck = append(stuck, [2]*relay.Conn{near, far})
			writing.Go(func() {
				if _, err := near.Write(sent); err != nil {
					t.Error(err)
				}
				_ = near.CloseWrite()
			})
		}
		time.Sleep(time.Minute)
		near, far := w.call(l, "alice", "bob", "x", conns)
		closing(t, near, far)
		began := time.Now()
		exchange(t, near, far, 16*relay.Window)
		if took := time.Since(began); took != 0 {
			t.Errorf("with readers that do not read beside it, it took %s", took)
		}
		for _, ends := range stuck {
			if got, err := io.ReadAll(ends[1]); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		writing.Wait()
	})
}

// guests is an Authorizer of another kind than the mail server's: whoever shows a
// word comes in as who has it, once the cards are there too; some may be called, and not
// by all.
type guests struct {
	words map[string]*message.Keyring
	hosts map[message.Address]bool
	pairs map[[2]message.Address]bool

	mu    sync.Mutex
	asked []string // what was shown, and where
}

func (g *guests) Authorize(_ context.Context, a relay.Asking) (message.Address, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, a.Request.URL.Path+" "+a.Authorization)
	who := g.words[a.Authorization]
	if who == nil {
		return message.Address{}, message.Unauthenticated
	}
	if a.Bundle == nil {
		return message.Address{}, message.Need(who.Address())
	}
	if shown, err := message.IdentityAddress(a.Bundle); err != nil || shown != who.Address() {
		return message.Address{}, message.Denied
	}
	return who.Address(), nil
}

func (g *guests) MayServe(_ context.Context, a message.Address) error {
	if !g.hosts[a] {
		return message.Denied
	}
	return nil
}

func (g *guests) MayCall(_ context.Context, from, to message.Address) error {
	if !g.pairs[[2]message.Address{from, to}] {
		return message.Denied
	}
	return nil
}

// TestAnotherAuthorizer: who is let in, who serves and who calls is for a plug to say.
func TestAnotherAuthorizer(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob", "carol")
	a, b, c := w.people["alice"], w.people["bob"], w.people["carol"]
	g := &guests{
		words: map[string]*message.Keyring{"apple": a, "berry": b, "cherry": c},
		hosts: map[message.Address]bool{b.Address(): true}, pairs: map[[2]message.Address]bool{{a.Address(), b.Address()}: true},
	}
	guarded := newWorldOf(t, g, relay.Limits{})
	guarded.people = w.people
	line := func(who *message.Keyring, word string, c relay.LineConfig) (*relay.Line, <-chan error) {
		c.Self, c.Rand, c.Linger, c.Open = who.Address(), rand.Reader, time.Minute, guarded.open(word)
		if c.Bundle == nil {
			c.Bundle = &wirev1.Identity{Cards: who.Chain.Signed(0)}
		}
		l, err := relay.NewLine(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			ended <- l.Run(ctx)
		}()
		t.Cleanup(func() { cancel(); <-done })
		return l, ended
	}
	serving, calls := make(chan struct{}, 1), make(chan *relay.Incoming, 1)
	line(b, "berry", relay.LineConfig{
		Protocols: []string{"x"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(_ context.Context, in *relay.Incoming) { calls <- in; in.Refuse(relay.Refused) },
	})
	<-serving
	alice, _ := line(a, "apple", relay.LineConfig{})
	if _, err := alice.Call(t.Context(), b.Address(), "x", nil); !errors.Is(err, relay.Refused) {
		t.Errorf("who may call: %v", err)
	}
	if in := <-calls; in.From != a.Address() {
		t.Errorf("the callee hears of %s", in.From)
	}
	carol, _ := line(c, "cherry", relay.LineConfig{})
	if _, err := carol.Call(t.Context(), b.Address(), "x", nil); !errors.Is(err, relay.NotOnline) {
		t.Errorf("who may not call: %v", err)
	}
	for name, l := range map[string]struct {
		word string
		c    relay.LineConfig
		want error
	}{
		"who may not serve": {"cherry", relay.LineConfig{Protocols: []string{"x"}}, message.Denied}, "no such word": {"plum", relay.LineConfig{}, message.Unauthenticated},
		"another's cards": {"cherry", relay.LineConfig{Bundle: &wirev1.Identity{Cards: a.Chain.Signed(0)}}, message.Denied},
	} {
		if _, ended := line(c, l.word, l.c); !errors.Is(<-ended, l.want) {
			t.Errorf("%s: not refused with %v", name, l.want)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked[0] != "/ws berry" {
		t.Errorf("asked first with %q", g.asked[0])
	}
}
