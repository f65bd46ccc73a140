package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// raw is a socket of somebody who writes frames by hand.
type raw struct {
	t  *testing.T
	ws *websocket.Conn
}

func (w *world) raw(t *testing.T, name string) *raw {
	t.Helper()
	ws, err := w.open(name)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	r := &raw{t, ws}
	r.send(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: bytes.Repeat([]byte{9}, 16)}}})
	if f, err := r.next(); err != nil || f.GetWelcome() == nil {
		t.Fatalf("no welcome: %v, %v", f, err)
	}
	return r
}

func (r *raw) send(f *wirev1.LiveFrame) {
	r.t.Helper()
	b, err := proto.Marshal(f)
	if err == nil {
		err = r.ws.Write(r.t.Context(), websocket.MessageBinary, b)
	}
	if err != nil {
		r.t.Log(err)
	}
}

func (r *raw) next() (*wirev1.LiveFrame, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := r.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	f := &wirev1.LiveFrame{}
	return f, proto.Unmarshal(b, f)
}

func data(id relay.ID, offset uint64, b []byte) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: id[:], Offset: offset, Bytes: b}}}
}

// TestNobodyElseSpeaksOnAConnection: who knows the name of a connection can
// neither inject into it, nor close it, nor take it up.
func TestNobodyElseSpeaksOnAConnection(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob", "mallory")
	conns := w.listener("bob", "echo")
	l := w.line("alice", relay.LineConfig{})
	s, err := l.Call(t.Context(), w.people["bob"].Address(), "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	near, far := w.finish(s, "alice", "bob", conns)
	id := s.ID()
	m := w.raw(t, "mallory")
	for _, f := range []*wirev1.LiveFrame{
		data(id, 0, []byte("injected")),
		{Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{Connection: id[:], Reason: wirev1.LiveReason_LIVE_REASON_GONE}}},
		{Kind: &wirev1.LiveFrame_Credit{Credit: &wirev1.LiveCredit{Connection: id[:], Consumed: 1 << 40}}},
		{Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: id[:]}}},
		{Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: id[:], Reason: wirev1.LiveReason_LIVE_REASON_REFUSED}}},
	} {
		m.send(f)
		if got, err := m.next(); err != nil || got.GetClose().GetReason() != wirev1.LiveReason_LIVE_REASON_GONE {
			t.Errorf("%T: answered %v, %v", f.GetKind(), got, err)
		}
	}
	go func() { _, _ = near.Write([]byte("unharmed")); _ = near.Close() }()
	if got, err := io.ReadAll(far); err != nil || string(got) != "unharmed" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestWhoSendsTooMuchIsCutOff: a window is a window, whatever a sender does.
func TestWhoSendsTooMuchIsCutOff(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	w.listener("bob", "echo")
	m := w.raw(t, "alice")
	id := relay.ID{1}
	bob := w.people["bob"].Address().Bytes()
	m.send(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id[:], To: bob, Protocol: "echo"}}})
	if f, err := m.next(); err != nil || f.GetAnswer() == nil || f.GetAnswer().GetReason() != 0 {
		t.Fatalf("%v, %v", f, err)
	}
	// A first record that never ends: bob's TLS reads it, and nothing more.
	b := append([]byte{22, 3, 1, 0x3f, 0xff}, make([]byte, relay.MaxData-5)...)
	for at := uint64(0); at < 64*relay.Window; at += relay.MaxData {
		m.send(data(id, at, b))
	}
	for {
		f, err := m.next()
		if err != nil {
			t.Fatal(err)
		}
		if c := f.GetClose(); c != nil {
			if c.GetReason() == wirev1.LiveReason_LIVE_REASON_DONE {
				continue
			}
			break
		}
	}
}

// TestMalformedFramesEndTheSocket: what is no frame, too large, or in the wrong
// form costs whoever sent it the socket, and nobody else anything.
func TestMalformedFramesEndTheSocket(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice")
	for name, bad := range map[string]struct {
		kind websocket.MessageType
		b    []byte
	}{
		"garbage": {websocket.MessageBinary, []byte{0xff, 0xff, 0xff}}, "too large": {websocket.MessageBinary, make([]byte, relay.MaxFrame+1)},
		"text": {websocket.MessageText, []byte("{}")}, "short id": {websocket.MessageBinary, []byte{0x42, 3, 10, 1, 1}},
	} {
		m := w.raw(t, "alice")
		_ = m.ws.Write(t.Context(), bad.kind, bad.b)
		if f, err := m.next(); err == nil {
			t.Errorf("%s: went on with %v", name, f)
		}
	}
}

// middle is a relay that does not do what it should: frames from one side go through
// change before they are passed on.
func (w *world) middle(name string, change func(*wirev1.LiveFrame) []*wirev1.LiveFrame) func(context.Context) (*websocket.Conn, error) {
	var all sync.WaitGroup
	h := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		all.Add(1)
		defer all.Done()
		near, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{relay.Binary}})
		if err != nil {
			return
		}
		far, err := w.open(name)(context.Background())
		if err != nil {
			_ = near.CloseNow()
			return
		}
		near.SetReadLimit(relay.MaxFrame)
		far.SetReadLimit(relay.MaxFrame)
		done := make(chan struct{})
		go func() {
			defer close(done)
			pass(near, far, func(f *wirev1.LiveFrame) []*wirev1.LiveFrame { return []*wirev1.LiveFrame{f} })
		}()
		pass(far, near, change)
		<-done
	}))
	w.t.Cleanup(func() { all.Wait(); h.Close() })
	return func(ctx context.Context) (*websocket.Conn, error) {
		transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
		ws, _, err := websocket.Dial(ctx, strings.Replace(h.URL, "http", "ws", 1), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{relay.Binary}})
		return ws, err
	}
}

func pass(from, to *websocket.Conn, change func(*wirev1.LiveFrame) []*wirev1.LiveFrame) {
	defer func() { _ = from.CloseNow(); _ = to.CloseNow() }()
	for {
		_, b, err := from.Read(context.Background())
		if err != nil {
			return
		}
		f := &wirev1.LiveFrame{}
		if proto.Unmarshal(b, f) != nil {
			return
		}
		for _, f := range change(f) {
			b, err := proto.Marshal(f)
			if err != nil || to.Write(context.Background(), websocket.MessageBinary, b) != nil {
				return
			}
		}
	}
}

// TestARelayThatLies: one that changes, drops, repeats or cuts what it carries can
// end a connection, and do nothing else: the reader gets a true beginning and then an error.
func TestARelayThatLies(t *testing.T) {
	for name, lie := range map[string]func(n int, f *wirev1.LiveFrame) []*wirev1.LiveFrame{
		"changes": func(_ int, f *wirev1.LiveFrame) []*wirev1.LiveFrame {
			b := f.GetData().GetBytes()
			b[len(b)/2] ^= 1
			return []*wirev1.LiveFrame{f}
		},
		"injects": func(_ int, f *wirev1.LiveFrame) []*wirev1.LiveFrame {
			more := proto.Clone(f).(*wirev1.LiveFrame)
			more.GetData().Bytes = append(more.GetData().GetBytes()[:100:100], bytes.Repeat([]byte{23}, 100)...)
			return []*wirev1.LiveFrame{more}
		},
		// The close that follows says more than has come.
		"drops": func(int, *wirev1.LiveFrame) []*wirev1.LiveFrame { return nil },
		"cuts": func(_ int, f *wirev1.LiveFrame) []*wirev1.LiveFrame {
			d := f.GetData()
			return []*wirev1.LiveFrame{{Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{
				Connection: d.GetConnection(), Reason: wirev1.LiveReason_LIVE_REASON_DONE, Offset: d.GetOffset(),
			}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, relay.Limits{}, "alice", "bob")
			conns := w.listener("bob", "x")
			var mu sync.Mutex
			seen := 0
			l := w.line("alice", relay.LineConfig{Open: w.middle("alice", func(f *wirev1.LiveFrame) []*wirev1.LiveFrame {
				mu.Lock()
				defer mu.Unlock()
				if len(f.GetData().GetBytes()) < 10_000 { // the handshake goes through
					return []*wirev1.LiveFrame{f}
				}
				if seen++; seen < 3 {
					return []*wirev1.LiveFrame{f}
				}
				return lie(seen, f)
			})})
			near, far := w.call(l, "alice", "bob", "x", conns)
			sent := bytes.Repeat([]byte("true "), 50_000)
			go func() { _, _ = far.Write(sent); _ = far.Close() }()
			_ = near.SetReadDeadline(time.Now().Add(20 * time.Second))
			got, err := io.ReadAll(near)
			if err == nil || !bytes.HasPrefix(sent, got) || len(got) == len(sent) {
				t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
			}
			if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
				t.Error("the reader was left waiting")
			}
		})
	}
}

// TestClosedTwice: an end that hears twice that the other has closed, as after a resume, still says
// that it has closed itself, and the other hears of it.
func TestClosedTwice(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	conns := w.listener("bob", "x")
	var repeated atomic.Int32
	l := w.line("alice", relay.LineConfig{Open: w.middle("alice", func(f *wirev1.LiveFrame) []*wirev1.LiveFrame {
		if f.GetClose() == nil {
			return []*wirev1.LiveFrame{f}
		}
		repeated.Add(1)
		return []*wirev1.LiveFrame{f, f}
	})})
	near, far := w.call(l, "alice", "bob", "x", conns)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	// The next connection is answered behind both closes, so near has heard them.
	w.call(l, "alice", "bob", "x", conns)
	if b, err := io.ReadAll(near); err != nil || len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-far.Ended():
	case <-time.After(20 * time.Second):
		t.Error("the other end was never told")
	}
	if repeated.Load() == 0 {
		t.Error("the control: no close was repeated")
	}
}

// TestARelayThatSwaps: a handshake fits the connection that it was made for.
func TestARelayThatSwaps(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	w.listener("bob", "x")
	l := w.line("alice", relay.LineConfig{})
	s, err := l.Call(t.Context(), w.people["bob"].Address(), "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := relay.SecureAs(ctx, s, relay.ID{1}, w.ends("alice", "bob", true)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the handshake of another connection: %v", err)
	}
}

// TestTheRelaySeesCiphertext: nothing that is said passes the relay as it is.
func TestTheRelaySeesCiphertext(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	conns := w.listener("bob", "canary-protocol")
	var mu sync.Mutex
	var passed []byte
	l := w.line("alice", relay.LineConfig{Open: w.middle("alice", func(f *wirev1.LiveFrame) []*wirev1.LiveFrame {
		mu.Lock()
		defer mu.Unlock()
		passed = append(passed, f.GetData().GetBytes()...)
		return []*wirev1.LiveFrame{f}
	})})
	near, far := w.call(l, "alice", "bob", "canary-protocol", conns)
	canary := bytes.Repeat([]byte("a canary sings; "), 1000)
	go func() { _, _ = far.Write(canary); _ = far.Close() }()
	if got, err := io.ReadAll(near); err != nil || !bytes.Equal(got, canary) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(passed) < len(canary) {
		t.Fatalf("only %d bytes were seen to pass", len(passed))
	}
	for _, secret := range []string{"canary", "sings", "airdispatch"} { // the last is in the certificates
		if bytes.Contains(passed, []byte(secret)) {
			t.Errorf("the relay saw %q", secret)
		}
	}
}

func ping() *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}}
}
