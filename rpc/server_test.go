package rpc_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// raw opens a TLS connection by hand, with HTTP/1.1.
func raw(t *testing.T, m *memory, address string) *tls.Conn {
	t.Helper()
	c, err := m.dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err := s.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// untilClosed reads until the other side closes, and says how long that took and
// what was read.
func untilClosed(c net.Conn) (string, time.Duration) {
	begun := time.Now()
	b, _ := io.ReadAll(c)
	_ = c.Close()
	return string(b), time.Since(begun)
}

// lounge is a server in memory with one plain handler at /.
func lounge(t *testing.T, h http.HandlerFunc) *memory {
	t.Helper()
	m := newMemory()
	p := newParty(t, "https://memory.test")
	serve(t, p, m.listen("memory.test:443"), nil, func(s *rpc.Server) { s.Mount("/", h) })
	return m
}

func TestSlowConnections(t *testing.T) {
	for _, c := range []struct {
		name   string
		send   string        // what the client says at once
		drop   string        // and after it a hundred times, once a second
		want   time.Duration // when the server has had enough
		answer string        // the beginning of what it says then
	}{
		{"nothing", "", "", 10 * time.Second, ""},
		{"half a header", "GET / HTTP/1.1\r\nHost: x", "", 10 * time.Second, ""},
		{"a header drop by drop", "GET / HTTP/1.1\r\nHost: x", "x", 10 * time.Second, ""},
		{"idle after a request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "", 90 * time.Second, "HTTP/1.1 200"},
		{"a body that does not come", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", "", 30 * time.Second, "HTTP/1.1 200"},
		{"what nobody reads", "POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", "", 5 * time.Second, "HTTP/1.1 200"},
		{"a coding that nobody reads", "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n", "", 5 * time.Second, "HTTP/1.1 501"},
		{"a body drop by drop", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", strings.Repeat("x", 512), 0, "HTTP/1.1 200"},
		{"a body that stops", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 500_000), "", 60 * time.Second, "HTTP/1.1 200"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var failed error
			m := lounge(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/unread" {
					_, failed = io.Copy(io.Discard, r.Body)
				}
			})
			conn := raw(t, m, "memory.test:443")
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, err := io.WriteString(conn, c.send)
				for n := 0; err == nil && c.drop != "" && n < 100; n++ {
					_, err = io.WriteString(conn, c.drop)
					time.Sleep(time.Second)
				}
			}()
			said, took := untilClosed(conn)
			<-done
			switch {
			case c.want == 0 && (took < 30*time.Second || took > 70*time.Second):
				t.Errorf("%s: closed after %s, want half a minute to a minute", c.name, took)
			case c.want != 0 && (took < c.want || took > c.want+6*time.Second):
				t.Errorf("%s: closed after %s, want %s", c.name, took, c.want)
			}
			if !strings.HasPrefix(said, c.answer) {
				t.Errorf("%s: answered %q", c.name, said)
			}
			if strings.HasPrefix(c.name, "a body") && failed == nil {
				t.Errorf("%s: the handler was not told", c.name)
			}
		})
	}
}

// TestSteadyBodyIsLetThrough: an upload that is slow but steady takes as long as
// it takes.
func TestSteadyBodyIsLetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int64
		var failed error
		m := lounge(t, func(w http.ResponseWriter, r *http.Request) {
			n, failed = io.Copy(io.Discard, r.Body)
			time.Sleep(10 * time.Minute) // a long fsync: the body's deadline must be gone by now
		})
		conn := raw(t, m, "memory.test:443")
		const step, steps = 2 << 10, 600
		_, _ = io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1228800\r\n\r\n")
		for range steps {
			if _, err := conn.Write(make([]byte, step)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusOK || n != step*steps || failed != nil {
			t.Errorf("%v, %d bytes, %v, %v", res, n, failed, err)
		}
		_ = conn.Close()
	})
}

// TestReaderWhoDoesNotRead: a peer that takes nothing of its answer is let go.
func TestReaderWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		m := lounge(t, func(w http.ResponseWriter, r *http.Request) {
			begun := time.Now()
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					ended <- time.Since(begun)
					return
				}
			}
		})
		conn := raw(t, m, "memory.test:443")
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		// A minute, and the five seconds that TLS takes to say good-bye.
		if took := <-ended; took < time.Minute || took > 65*time.Second {
			t.Errorf("the handler wrote for %s, want a minute", took)
		}
	})
}

func TestLargeHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := 0
		m := lounge(t, func(http.ResponseWriter, *http.Request) { called++ })
		conn := raw(t, m, "memory.test:443")
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 40<<10)+"\r\n\r\n")
		if said, _ := untilClosed(conn); !strings.HasPrefix(said, "HTTP/1.1 431") || called != 0 {
			t.Errorf("%.40q, called %d times", said, called)
		}
		tr := transportFor(t)
		tr.DialContext = m.dial
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://memory.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X", strings.Repeat("x", 40<<10))
		res, err := tr.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode < 400 {
				t.Errorf("HTTP/2: %s", res.Status)
			}
		}
		if called != 0 {
			t.Errorf("HTTP/2: called %d times", called)
		}
	})
}

func TestOldTLS(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	config := rpc.ServerTLS(p.cert)
	config.MinVersion = tls.VersionTLS12 // a careless caller
	serveWith(t, rpc.ServerConfig{Listener: l, TLS: config}, p, nil)
	for version, want := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if got := err == nil; got != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

func TestPanicsLeaveTheServerAlive(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	e := &exchange{
		posts:  func(context.Context) (*wirev1.PostsResponse, error) { panic("call") },
		follow: func(context.Context, *connect.ServerStream[wirev1.FollowResponse]) error { panic("stream") },
	}
	s := serve(t, p, l, nil, mountExchange(e), func(s *rpc.Server) {
		s.Mount("/blobs/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("plain") }))
	})
	peer, err := newClient(t, guarded(t), nil).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); !errors.Is(err, message.Internal) {
		t.Errorf("call: %v, want internal", err)
	}
	f, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
	if err == nil {
		for f.Receive() {
		}
		err = f.Err()
		_ = f.Close()
	}
	if !errors.Is(err, message.Internal) {
		t.Errorf("stream: %v, want internal", err)
	}
	if err := plain(t, peer, http.MethodGet); !errors.Is(err, message.Internal) {
		t.Errorf("plain: %v, want internal", err)
	}
	if n := s.Panics(); n != 3 {
		t.Errorf("%d panics counted, want 3", n)
	}
	if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestDrain: calls are finished, streams end at once with Unavailable, new
// connections are refused, and Serve waits for the last handler.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside := make(chan struct{}, 3)
		peer, s := inMemory(t, &exchange{
			posts: func(context.Context) (*wirev1.PostsResponse, error) {
				inside <- struct{}{}
				time.Sleep(6 * time.Second)
				return &wirev1.PostsResponse{More: true}, nil
			},
			follow: func(ctx context.Context, _ *connect.ServerStream[wirev1.FollowResponse]) error {
				inside <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			},
			alerts: func(_ context.Context, s *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error {
				inside <- struct{}{}
				_, err := s.Receive() // which never comes
				return err
			},
		}, nil)
		var wg sync.WaitGroup
		began := time.Now()
		wg.Go(func() {
			if res, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); err != nil || !res.GetMore() {
				t.Errorf("the call that was under way: %v, %v", res, err)
			}
		})
		wg.Go(func() {
			f, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
			if err == nil {
				for f.Receive() {
				}
				err = f.Err()
				_ = f.Close()
			}
			if !errors.Is(err, message.Unavailable) || time.Since(began) > 2*time.Second {
				t.Errorf("the stream: %v after %s", err, time.Since(began))
			}
		})
		wg.Go(func() {
			a, err := peer.Exchange().AlertStream(t.Context())
			if err == nil {
				_, err = a.Receive()
				_ = a.CloseRequest()
				_ = a.CloseResponse()
			}
			if !errors.Is(err, message.Unavailable) || time.Since(began) > 2*time.Second {
				t.Errorf("the stream both ways: %v after %s", err, time.Since(began))
			}
		})
		for range 3 {
			<-inside
		}
		time.Sleep(time.Second)
		s.stop()
		if took := time.Since(began); took < 6*time.Second || took > 8*time.Second {
			t.Errorf("Serve returned after %s, want when the call was done", took)
		}
		wg.Wait()
		if _, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); !errors.Is(err, message.Unavailable) {
			t.Errorf("after the end: %v, want unavailable", err)
		}
	})
}

// TestDrainEnds: a call that takes too long is cut off, and waited for.
func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside := make(chan struct{})
		var left atomic.Bool
		peer, s := inMemory(t, &exchange{posts: func(ctx context.Context) (*wirev1.PostsResponse, error) {
			close(inside)
			<-ctx.Done()
			time.Sleep(time.Second) // tidying up
			left.Store(true)
			return nil, ctx.Err()
		}}, nil)
		done := make(chan error)
		go func() {
			_, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{})
			done <- err
		}()
		<-inside
		began := time.Now()
		stopped := make(chan struct{})
		go func() { s.stop(); close(stopped) }()
		if err := <-done; !errors.Is(err, message.Unavailable) {
			t.Errorf("%v, want unavailable", err)
		}
		<-stopped
		if took := time.Since(began); took < 10*time.Second || took > 13*time.Second || !left.Load() {
			t.Errorf("Serve returned after %s, handler gone: %v", took, left.Load())
		}
	})
}

// TestBrokenListener: Serve tells it.
func TestBrokenListener(t *testing.T) {
	l, _ := loopback(t)
	p := newParty(t, "https://x.test")
	s := rpc.NewServer(rpc.ServerConfig{Listener: l, TLS: rpc.ServerTLS(p.cert)})
	_ = l.Close()
	if err := s.Serve(t.Context()); err == nil {
		t.Error("Serve on a closed listener returned nil")
	}
}

// TestConnectionsAreCounted by where they come from, and counted out again.
func TestConnectionsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits rpc.Limits
		plain  bool
		want   int
	}{
		{"from one host", rpc.Limits{PerHost: 3}, false, 3},
		{"in all", rpc.Limits{Connections: 2}, false, 2},
		{"behind a proxy", rpc.Limits{PerHost: 3, Connections: 5}, true, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, url := loopback(t)
			p := newParty(t, url)
			config := rpc.ServerConfig{Listener: l, Limits: c.limits, TLS: rpc.ServerTLS(p.cert)}
			scheme := url
			if c.plain {
				config.TLS = nil
				scheme = strings.Replace(url, "https", "http", 1)
			}
			serveWith(t, config, p, nil, func(s *rpc.Server) { s.Mount("/", http.NotFoundHandler()) })
			answered := func(tr *http.Transport) bool {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := tr.RoundTrip(req)
				if err != nil {
					return false
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				return true
			}
			var open []*http.Transport
			for range c.want {
				tr := transportFor(t)
				if !answered(tr) {
					t.Fatalf("connection %d was refused", len(open))
				}
				open = append(open, tr)
			}
			if answered(transportFor(t)) {
				t.Errorf("connection %d was let in", c.want)
			}
			if !answered(open[0]) {
				t.Error("a connection that was let in was closed")
			}
			open[0].CloseIdleConnections()
			again := transportFor(t)
			for range 1000 { // the server learns of the closing in its own time
				if answered(again) {
					return
				}
			}
			t.Error("a closed connection still counts")
		})
	}
}

// TestBehindAProxy: plain HTTP/1.1 and HTTP/2 without TLS.
func TestBehindAProxy(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	serveWith(t, rpc.ServerConfig{Listener: l}, p, nil)
	for _, h2 := range []bool{false, true} {
		tr := transportFor(t)
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetUnencryptedHTTP2(h2)
		var proto string
		client := wirev1connect.NewDirectoryClient(doerFunc(func(r *http.Request) (*http.Response, error) {
			res, err := tr.RoundTrip(r)
			if err == nil {
				proto = res.Proto
			}
			return res, err
		}), strings.Replace(url, "https", "http", 1))
		res, err := client.Lookup(t.Context(), &wirev1.LookupRequest{})
		if err != nil || len(res.GetResults()) != 1 {
			t.Errorf("%v, %v", res, err)
		}
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]; proto != want {
			t.Errorf("%s, want %s", proto, want)
		}
	}
}

type doerFunc func(*http.Request) (*http.Response, error)

func (d doerFunc) Do(r *http.Request) (*http.Response, error) { return d(r) }

// TestDownloadThatStops: a blob whose sender stops in the middle ends as
// unavailable, one that is slow does not.
func TestDownloadThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(w http.ResponseWriter, r *http.Request) {
			for range 5 {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				time.Sleep(time.Minute)
			}
			if r.URL.Path == "/blobs/stops" {
				<-r.Context().Done()
			}
		}
		peer, _ := inMemory(t, &exchange{}, nil, func(s *rpc.Server) { s.Mount("/blobs/", http.HandlerFunc(slow)) })
		for path, want := range map[string]error{"/blobs/slow": nil, "/blobs/stops": message.Unavailable} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := peer.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			b, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(b) != "xxxxx" || !errors.Is(err, want) {
				t.Errorf("%s: %q, %v, want %v", path, b, err, want)
			}
			if took := time.Since(began); took > 4*time.Minute+rpc.HeartbeatPatience {
				t.Errorf("%s: took %s", path, took)
			}
		}
	})
}

// TestDoIsCancelled: what the caller ends stays cancelled.
func TestDoIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, _ := inMemory(t, &exchange{}, nil, func(s *rpc.Server) {
			s.Mount("/blobs/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}))
		})
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/blobs/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := peer.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, cancel)
		if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) || errors.Is(err, message.Unavailable) {
			t.Errorf("%v, want cancelled", err)
		}
		_ = res.Body.Close()
		if _, err := peer.Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want cancelled", err)
		}
	})
}
