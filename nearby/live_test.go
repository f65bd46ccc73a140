package nearby_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// linked are two contacts, and the way from the second to the first.
func linked(t *testing.T, change func(*nearby.Config)) (a, b *peer, l *nearby.Link) {
	t.Helper()
	a, b = two(t, true, change)
	l, err := b.Connect(t.Context(), b.Peers()[0], a.keyring.Address())
	must(t, err)
	t.Cleanup(l.Close)
	return a, b, l
}

// joined is a connection from both ends.
func joined(t testing.TB, l *nearby.Link, at net.Listener, protocol string) (near, far *nearby.Conn) {
	t.Helper()
	near, err := l.Dial(context.Background(), protocol)
	must(t, err)
	conn, err := at.Accept()
	must(t, err)
	return near, conn.(*nearby.Conn)
}

func TestConnIsANetConn(t *testing.T) {
	a, _, l := linked(t, nil)
	at, err := a.Listen("test/1")
	must(t, err)
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		near, far := joined(t, l, at, "test/1")
		return near, far, func() {
			var both sync.WaitGroup
			both.Go(func() { _ = near.Close() })
			both.Go(func() { _ = far.Close() })
			both.Wait()
		}, nil
	})
}

// TestHalfClose: one end says all and hears on; a close is told from that at once.
func TestHalfClose(t *testing.T) {
	a, b, l := linked(t, nil)
	at, err := a.Listen("echo")
	must(t, err)
	near, far := joined(t, l, at, "echo")
	if far.Peer() != b.keyring.Address() || near.Peer() != a.keyring.Address() || far.Protocol() != "echo" || near.Protocol() != "echo" {
		t.Errorf("%s at %s, %s at %s", far.Peer(), far.Protocol(), near.Peer(), near.Protocol())
	}
	sent := bytes.Repeat([]byte("0123456789"), 300_000) // more than sockets hold
	go func() {
		_, _ = near.Write(sent)
		_ = near.CloseWrite()
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	select {
	case <-far.Ended():
		t.Error("a half-close ended it")
	default:
	}
	_, err = far.Write([]byte("still here"))
	must(t, err)
	must(t, far.CloseWrite())
	if got, err := io.ReadAll(near); err != nil || string(got) != "still here" {
		t.Errorf("after the half-close: %q, %v", got, err)
	}
	must(t, near.Close())
	take(t, "the end", far.Ended())
	must(t, far.Close())
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

// TestCloseBringsWhatWasWritten: also while the other end is still writing.
func TestCloseBringsWhatWasWritten(t *testing.T) {
	a, _, l := linked(t, nil)
	at, err := a.Listen("talk")
	must(t, err)
	near, far := joined(t, l, at, "talk")
	_, err = near.Write(bytes.Repeat([]byte("x"), 50_000)) // nobody reads it
	must(t, err)
	_, err = far.Write([]byte("bye"))
	must(t, err)
	closed := make(chan error, 1)
	go func() { closed <- far.Close() }()
	if got, err := io.ReadAll(near); err != nil || string(got) != "bye" {
		t.Errorf("read %q, %v", got, err)
	}
	take(t, "the end", near.Ended())
	must(t, near.Close())
	must(t, take(t, "the other end", closed))
}

// TestAbortIsNoEnd: what was written arrives, and is not taken for all.
func TestAbortIsNoEnd(t *testing.T) {
	a, _, l := linked(t, nil)
	at, err := a.Listen("echo")
	must(t, err)
	near, far := joined(t, l, at, "echo")
	sent := bytes.Repeat([]byte("0123456789"), 300_000) // more than sockets hold
	aborted := make(chan error, 1)
	go func() {
		_, err := near.Write(sent)
		aborted <- errors.Join(err, near.Abort())
	}()
	got, err := io.ReadAll(far)
	if !errors.Is(err, nearby.Gone) || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
	}
	must(t, <-aborted)
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after an abort: %v", err)
	}
}

// TestCutIsNoEnd: whoever cuts the wire makes nobody believe that all was said.
func TestCutIsNoEnd(t *testing.T) {
	var mu sync.Mutex
	var wires []net.Conn
	a, _, l := linked(t, func(c *nearby.Config) {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			mu.Lock()
			defer mu.Unlock()
			wires = append(wires, conn)
			return conn, err
		}
	})
	at, err := a.Listen("talk")
	must(t, err)
	near, far := joined(t, l, at, "talk")
	_, err = near.Write([]byte("half a sen"))
	must(t, err)
	mu.Lock()
	must(t, wires[len(wires)-1].(*net.TCPConn).CloseWrite()) // TCP ends in order, TLS says nothing
	mu.Unlock()
	got, err := io.ReadAll(far)
	if string(got) != "half a sen" || !errors.Is(err, nearby.Gone) || !errors.Is(err, message.Unavailable) {
		t.Errorf("%q, %v", got, err)
	}
	take(t, "the end", far.Ended())
	must(t, far.Close())
	must(t, near.Close())
}

// TestWhoMayConnect: contacts, whom a listener admits, and nobody else; only contacts learn what is
// not served.
func TestWhoMayConnect(t *testing.T) {
	for _, visible := range []bool{false, true} {
		a, b := two(t, true, func(c *nearby.Config) { c.Visible = visible })
		guest := start(t, func(c *nearby.Config) { c.Visible = visible })
		stranger := start(t, func(c *nearby.Config) { c.Visible = visible })
		know(a, guest) // they know the address; a knows neither
		know(a, stranger)
		_, err := a.Listen("private")
		must(t, err)
		_, err = a.Listen("guests", func(_ context.Context, from message.Address) bool { return from == guest.keyring.Address() })
		must(t, err)
		for _, c := range []struct {
			who      *peer
			protocol string
			want     error
		}{
			{b, "private", nil}, {b, "guests", nearby.Refused}, {b, "nothing", nearby.UnknownProtocol}, {b, "no spaces", message.Invalid},
			{guest, "guests", nil}, {guest, "private", nearby.Refused}, {guest, "nothing", nearby.Refused},
			{stranger, "guests", nearby.Refused}, {stranger, "private", nearby.Refused}, {stranger, "nothing", nearby.Refused},
		} {
			err := func() error {
				l, err := c.who.Connect(t.Context(), nearby.Peer{Place: a.at}, a.keyring.Address())
				if errors.Is(err, message.Denied) {
					return nearby.Refused // it is not even let in
				}
				if err != nil {
					return err
				}
				defer l.Close()
				conn, err := l.Dial(t.Context(), c.protocol)
				if err == nil {
					err = conn.Close()
				}
				return err
			}()
			if !errors.Is(err, c.want) {
				t.Errorf("visible %t: %s: %v, want %v", visible, c.protocol, err, c.want)
			}
		}
		// Whoever is admitted for a protocol gets nothing else.
		l, err := guest.Connect(t.Context(), nearby.Peer{Place: a.at}, a.keyring.Address())
		must(t, err)
		if _, err := l.Files(t.Context()); !errors.Is(err, message.Denied) {
			t.Errorf("visible %t: a guest lists files: %v", visible, err)
		}
		if s, err := l.Chat(t.Context()); visible != (err == nil) {
			t.Errorf("visible %t: a guest chats: %v", visible, err)
		} else if err == nil {
			_ = s.Close()
		}
		l.Close()
	}
}

// TestConnectionsAreCounted: a caller has so many places, and gives them back; others are served.
func TestConnectionsAreCounted(t *testing.T) {
	a, _, l := linked(t, nil)
	at, err := a.Listen("idle")
	must(t, err)
	if _, err := a.Listen("idle"); !errors.Is(err, message.Conflict) {
		t.Errorf("served twice: %v", err)
	}
	var open []*nearby.Conn
	for range 100 {
		near, err := l.Dial(t.Context(), "idle")
		if errors.Is(err, nearby.Busy) {
			break
		}
		must(t, err)
		open = append(open, near)
		if len(open)%2 == 0 { // the others wait
			_, err = at.Accept()
			must(t, err)
		}
	}
	if len(open) < 16 || len(open) > 24 {
		t.Errorf("%d connections of one caller", len(open))
	}
	must(t, at.Close())
	if _, err := at.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	if _, err := l.Dial(t.Context(), "idle"); !errors.Is(err, nearby.UnknownProtocol) {
		t.Errorf("after close: %v", err)
	}
	again, err := a.Listen("idle")
	must(t, err)
	var all sync.WaitGroup
	for _, c := range open {
		all.Go(func() { _ = c.Close() }) // some were closed by the other end
	}
	all.Wait()
	until(t, "a place", func() bool {
		near, err := l.Dial(t.Context(), "idle")
		if err != nil {
			return false
		}
		far, err := again.Accept()
		must(t, err)
		go func() { _ = far.Close() }()
		_ = near.Close()
		return true
	})
}

// TestSlowReaderHoldsUpNobody: what one does not read stops whoever writes to it, and nobody else;
// after a deadline the same bytes go on.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	a, _, l := linked(t, nil)
	at, err := a.Listen("data")
	must(t, err)
	slow, slowFar := joined(t, l, at, "data")
	must(t, slow.SetWriteDeadline(time.Now().Add(500*time.Millisecond)))
	sent := 0
	for {
		n, err := slow.Write(bytes.Repeat([]byte{byte(sent)}, 64<<10))
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		must(t, err)
		if sent > 1<<30 {
			t.Fatal("a gigabyte that nobody reads")
		}
	}
	quick, far := joined(t, l, at, "data")
	_, err = quick.Write([]byte("meanwhile"))
	must(t, err)
	must(t, quick.CloseWrite())
	if got, err := io.ReadAll(far); err != nil || string(got) != "meanwhile" {
		t.Errorf("%q, %v", got, err)
	}
	must(t, slow.SetWriteDeadline(time.Time{}))
	go func() {
		_, _ = slow.Write([]byte("the end"))
		_ = slow.CloseWrite()
	}()
	got, err := io.ReadAll(slowFar)
	if err != nil || len(got) != sent+7 || !strings.HasSuffix(string(got), "the end") {
		t.Errorf("%d of %d bytes, %v", len(got), sent+7, err)
	}
	for _, c := range []*nearby.Conn{slow, slowFar, quick, far} {
		_ = c.Close() // each waits for its other end, but not for long
	}
}

// TestStoppingEndsConnections: and says so to whoever comes.
func TestStoppingEndsConnections(t *testing.T) {
	a, _, l := linked(t, nil)
	at, err := a.Listen("talk")
	must(t, err)
	near, _ := joined(t, l, at, "talk")
	a.stop()
	if _, err := io.ReadAll(near); err != nil && !errors.Is(err, nearby.Gone) {
		t.Errorf("read: %v", err)
	}
	take(t, "the end", near.Ended())
	_ = near.Close()
	if _, err := at.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	<-a.stopped
	if _, err := l.Dial(t.Context(), "talk"); !errors.Is(err, message.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// TestHostileCallee: what answers a call with nonsense, or with too much, is no connection.
func TestHostileCallee(t *testing.T) {
	b := start(t, nil)
	for name, answer := range map[string]string{
		"nothing":      "",
		"noise":        "\x00\x01\x02\r\n\r\n",
		"200":          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"endless head": "HTTP/1.1 101 Switching Protocols\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100),
		"a redirect":   "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
	} {
		evil := keyring(t)
		node, at := impostor(t, evil, answer)
		_, err := b.book.Learn(t.Context(), node)
		must(t, err)
		l, err := b.Connect(t.Context(), nearby.Peer{Place: at}, evil.Address())
		must(t, err)
		if c, err := l.Dial(t.Context(), "talk"); err == nil {
			_ = c.Close()
			t.Errorf("%s made a connection", name)
		}
		l.Close()
	}
}

// impostor is an end that follows the protocol as far as /ping, and then says something else.
func impostor(t *testing.T, k *message.Keyring, answer string) (*wirev1.Identity, netip.AddrPort) {
	t.Helper()
	der, signer, err := k.Signer.DeviceCertificate(rand.Reader, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	must(t, err)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := tls.NewListener(plain, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"ad-nearby/1"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}},
	})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if r.URL.Path != "/ping" {
						_, _ = io.WriteString(conn, answer) // it may not be read to its end
						return
					}
					if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		must(t, l.Close())
		all.Wait()
	})
	return &wirev1.Identity{Cards: k.Chain.Signed(0)}, netip.MustParseAddrPort(plain.Addr().String())
}
