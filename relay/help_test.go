package relay_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/relay"
)

// TestMain fails when a test leaves a goroutine behind.
// One of net/http is let be: after an answer to an unfinished request it waits half a
// second before it closes, longer than goleak looks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// byName lets everybody in as whom they say they are: the plug beside the signed
// Access.
type byName struct{ people map[string]message.Address }

func (b byName) Authorize(_ context.Context, a relay.Asking) (message.Address, error) {
	if who, ok := b.people[a.Authorization]; ok {
		return who, nil
	}
	return message.Address{}, message.Unauthenticated
}

func (b byName) MayServe(context.Context, message.Address) error { return nil }

func (b byName) MayCall(_ context.Context, from, _ message.Address) error {
	if from == b.people["blocked"] {
		return message.Denied
	}
	return nil
}

// world is a relay with people.
type world struct {
	t      testing.TB
	server *relay.Server
	url    string
	people map[string]*message.Keyring
	form   string
	// dial makes the connection under somebody's socket.
	dial func(name string) func(ctx context.Context, network, address string) (net.Conn, error)
}

func newWorld(t testing.TB, limits relay.Limits, names ...string) *world {
	t.Helper()
	return newWorldOf(t, nil, limits, names...)
}

// newWorldOf is newWorld with another Authorizer, where it is not nil.
func newWorldOf(t testing.TB, known relay.Authorizer, limits relay.Limits, names ...string) *world {
	t.Helper()
	w, stop := people(t, known, limits, names...)
	h := httptest.NewServer(w.server)
	t.Cleanup(func() {
		stop()
		h.Close()
	})
	w.url = h.URL
	return w
}

// people is a relay that runs, with people and without a network.
func people(t testing.TB, known relay.Authorizer, limits relay.Limits, names ...string) (w *world, stop func()) {
	t.Helper()
	w = &world{t: t, people: map[string]*message.Keyring{}, form: relay.Binary}
	w.dial = func(string) func(context.Context, string, string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext
	}
	if known == nil {
		named := byName{people: map[string]message.Address{}}
		for _, n := range names {
			k := keyring(t)
			w.people[n], named.people[n] = k, k.Address()
		}
		known = named
	}
	w.server = relay.New(relay.Config{Authorizer: known, Limits: limits})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.server.Run(ctx) })
	return w, func() {
		cancel()
		running.Wait()
	}
}

func keyring(t testing.TB) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open is LineConfig.Open of somebody.
func (w *world) open(name string) func(ctx context.Context) (*websocket.Conn, error) {
	return func(ctx context.Context) (*websocket.Conn, error) {
		transport := &http.Transport{DialContext: w.dial(name)}
		ws, _, err := websocket.Dial(ctx, strings.Replace(w.url, "http", "ws", 1)+relay.Path, &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{w.form}, HTTPHeader: http.Header{"Authorization": {name}},
		})
		return ws, err
	}
}

// line runs a line of somebody until the test is over.
func (w *world) line(name string, c relay.LineConfig) *relay.Line {
	w.t.Helper()
	c.Self, c.Rand = w.people[name].Address(), rand.Reader
	if c.Open == nil {
		c.Open = w.open(name)
	}
	if c.Linger == 0 {
		c.Linger = time.Hour
	}
	l, err := relay.NewLine(c)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run(ctx) })
	w.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return l
}

// listener is somebody who serves protocols and takes everybody whom the world knows.
func (w *world) listener(name string, protocols ...string) <-chan *relay.Conn {
	w.t.Helper()
	conns := make(chan *relay.Conn, 64)
	serving := make(chan struct{}, 64)
	w.line(name, relay.LineConfig{
		Protocols: protocols, OnServing: func() { serving <- struct{}{} },
		OnCall: func(ctx context.Context, in *relay.Incoming) {
			for _, k := range w.people {
				if k.Address() == in.From {
					c, err := relay.Secure(ctx, in.Accept(), relay.Ends{Keyring: w.people[name], Peer: k.Chain, Rand: rand.Reader})
					if err != nil {
						w.t.Logf("%s takes a call: %v", name, err)
						return
					}
					conns <- c
				}
			}
		},
	})
	<-serving
	return conns
}

// call connects somebody on a line to another, and returns both ends.
func (w *world) call(l *relay.Line, from, to, protocol string, conns <-chan *relay.Conn) (near, far *relay.Conn) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := l.Call(ctx, w.people[to].Address(), protocol, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.finish(s, from, to, conns)
}

// finish proves both ends to each other.
func (w *world) finish(s *relay.Stream, from, to string, conns <-chan *relay.Conn) (near, far *relay.Conn) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	near, err := relay.Secure(ctx, s, w.ends(from, to, true))
	if err != nil {
		w.t.Fatal(err)
	}
	return near, <-conns
}

// ends is how one of the world's people sees a connection.
func (w *world) ends(self, peer string, caller bool) relay.Ends {
	return relay.Ends{Keyring: w.people[self], Peer: w.people[peer].Chain, Caller: caller, Rand: rand.Reader}
}
