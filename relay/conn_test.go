package relay_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"airdispatch/message"
	"airdispatch/relay"
)

func TestConnIsANetConn(t *testing.T) {
	for _, form := range []string{relay.Binary, relay.Text} {
		t.Run(form[strings.Index(form, "+")+1:], func(t *testing.T) {
			w := newWorld(t, relay.Limits{BytesPerSecond: -1}, "alice", "bob")
			w.form = form
			conns := w.listener("bob", "test")
			l := w.line("alice", relay.LineConfig{})
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				near, far := w.call(l, "alice", "bob", "test", conns)
				return near, far, func() { _ = near.Close(); _ = far.Close() }, nil
			})
		})
	}
}

func TestHalfCloseAndClose(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	conns := w.listener("bob", "echo")
	near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "echo", conns)
	// More than a window, so that the close waits behind what was written.
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = near.Write(sent)
		_ = near.CloseWrite()
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes, %v; want %d", len(got), err, len(sent))
	}
	if _, err := far.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(near); err != nil || string(got) != "still here" {
		t.Errorf("after the half-close: %q, %v", got, err)
	}
	if _, err := near.Write([]byte("x")); err == nil {
		t.Error("wrote to a connection that the other end had closed")
	}
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

func TestAbortIsNoEnd(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	conns := w.listener("bob", "echo")
	near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "echo", conns)
	sent := bytes.Repeat([]byte("0123456789"), 100_000) // more than a window
	go func() {
		_, _ = near.Write(sent)
		_ = near.Abort()
	}()
	got, err := io.ReadAll(far)
	if !errors.Is(err, relay.Gone) || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after an abort: %v", err)
	}
	// What was said to be all stays so.
	near, far = w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "echo", conns)
	if _, err := near.Write([]byte("all")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(near.CloseWrite(), near.Abort()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(far); err != nil || string(got) != "all" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMessages(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	conns := w.listener("bob", "m")
	near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "m", conns)
	want := [][]byte{{}, []byte("one"), bytes.Repeat([]byte{7}, relay.MaxMessage)}
	go func() {
		for _, m := range want {
			_ = near.WriteMessage(m)
		}
		_ = near.Close()
	}()
	for _, m := range want {
		if got, err := far.ReadMessage(); err != nil || !bytes.Equal(got, m) {
			t.Fatalf("%d bytes, %v; want %d", len(got), err, len(m))
		}
	}
	if _, err := far.ReadMessage(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
	if err := near.WriteMessage(make([]byte, relay.MaxMessage+1)); !errors.Is(err, message.TooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestOneSlowReaderHoldsUpNobody(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	conns := w.listener("bob", "x")
	l := w.line("alice", relay.LineConfig{})
	slow, _ := w.call(l, "alice", "bob", "x", conns)
	if err := slow.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := slow.Write(make([]byte, 4<<20))
	if nerr, ok := err.(net.Error); !ok || !nerr.Timeout() {
		t.Fatalf("wrote %d bytes to somebody who does not read: %v", n, err)
	}
	if n > relay.Window+64<<10 {
		t.Errorf("%d bytes are under way, the window is %d", n, relay.Window)
	}
	fast, far := w.call(l, "alice", "bob", "x", conns)
	go func() {
		_, _ = fast.Write(make([]byte, 4<<20))
		_ = fast.Close()
	}()
	if got, err := io.Copy(io.Discard, far); err != nil || got != 4<<20 {
		t.Errorf("the other connection: %d bytes, %v", got, err)
	}
}

func TestReasons(t *testing.T) {
	w := newWorld(t, relay.Limits{ConnectionsPerAddress: 3}, "alice", "bob", "carol", "blocked")
	w.line("bob", relay.LineConfig{}) // there, and serves nothing
	conns := w.listener("carol", "echo")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	l := w.line("alice", relay.LineConfig{})
	for _, c := range []struct {
		to, protocol string
		want         error
	}{
		{"bob", "echo", relay.NotOnline}, {"blocked", "echo", relay.NotOnline}, {"carol", "chat", relay.UnknownProtocol}, {"carol", "no spaces", message.Invalid},
	} {
		if _, err := l.Call(ctx, w.people[c.to].Address(), c.protocol, nil); !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v, want %v", c.to, c.protocol, err, c.want)
		}
	}
	if _, err := w.line("blocked", relay.LineConfig{}).Call(ctx, w.people["carol"].Address(), "echo", nil); !errors.Is(err, relay.NotOnline) {
		t.Errorf("blocked: %v", err)
	}
	for range 3 {
		w.call(l, "alice", "carol", "echo", conns)
	}
	if _, err := l.Call(ctx, w.people["carol"].Address(), "echo", nil); !errors.Is(err, relay.Busy) {
		t.Errorf("one too many: %v", err)
	}
	stranger := w.line("alice", relay.LineConfig{Open: w.open("nobody")})
	if _, err := stranger.Call(ctx, w.people["carol"].Address(), "echo", nil); !errors.Is(err, message.Unauthenticated) {
		t.Errorf("nobody: %v", err)
	}
}

func TestRefusedByTheOtherEnd(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	serving := make(chan struct{}, 1)
	w.line("bob", relay.LineConfig{
		Protocols: []string{"echo"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(_ context.Context, in *relay.Incoming) { in.Refuse(relay.Refused) },
	})
	<-serving
	_, err := w.line("alice", relay.LineConfig{}).Call(t.Context(), w.people["bob"].Address(), "echo", nil)
	if !errors.Is(err, relay.Refused) {
		t.Errorf("got %v", err)
	}
}

func TestSecureRefusesAnotherKey(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob", "mallory")
	conns := w.listener("bob", "echo")
	l := w.line("alice", relay.LineConfig{})
	s, err := l.Call(t.Context(), w.people["bob"].Address(), "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	// What alice expects is not who is there.
	if _, err = relay.Secure(t.Context(), s, relay.Ends{Keyring: w.people["alice"], Peer: w.people["mallory"].Chain, Caller: true, Rand: rand.Reader}); !errors.Is(err, message.BadSignature) {
		t.Errorf("somebody else answers: %v", err)
	}
	// Who calls has not the key of the address that the relay names.
	if s, err = l.Call(t.Context(), w.people["bob"].Address(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	c, err := relay.Secure(t.Context(), s, relay.Ends{Keyring: w.people["mallory"], Peer: w.people["bob"].Chain, Caller: true, Rand: rand.Reader})
	if err == nil {
		_, err = c.Read(make([]byte, 1)) // a TLS client learns of a refusal when it reads
	}
	if err == nil {
		t.Error("bob took a caller with another key")
	}
	select {
	case c := <-conns:
		t.Errorf("bob was handed a connection of %s", c.Peer())
	default:
	}
}
