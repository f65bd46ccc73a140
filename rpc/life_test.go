package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// hole is a connection that can fall into a hole: nothing arrives any more in
// either direction, and nobody says so.
type hole struct {
	net.Conn
	fallen *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (h *hole) Close() error {
	h.once.Do(func() { close(h.closed) })
	if h.fallen.Load() {
		return nil // the other side does not hear of it
	}
	return h.Conn.Close()
}

func (h *hole) Write(b []byte) (int, error) {
	if h.fallen.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}

func (h *hole) Read(b []byte) (int, error) {
	for {
		n, err := h.Conn.Read(b)
		if !h.fallen.Load() {
			return n, err
		}
		if err != nil { // not even the end arrives
			<-h.closed
			return 0, net.ErrClosed
		}
	}
}

// TestConnectionThatDiedUnnoticed is found by probes, for streams and for the next
// call.
func TestConnectionThatDiedUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		p := newParty(t, "https://memory.test")
		left := make(chan time.Time, 2)
		serve(t, p, m.listen("memory.test:443"), nil, mountExchange(&exchange{
			posts: func(context.Context) (*wirev1.PostsResponse, error) { return &wirev1.PostsResponse{}, nil },
			follow: func(ctx context.Context, s *connect.ServerStream[wirev1.FollowResponse]) error {
				defer func() { left <- time.Now() }()
				for {
					if err := s.Send(&wirev1.FollowResponse{}); err != nil {
						return err
					}
					select {
					case <-time.After(rpc.HeartbeatEvery):
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			},
		}))
		var fallen *atomic.Bool // of the newest connection
		peer, err := newClient(t, func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := m.dial(ctx, network, address)
			fallen = &atomic.Bool{}
			return &hole{Conn: c, fallen: fallen, closed: make(chan struct{})}, err
		}, nil).Peer(p.identity)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); err != nil {
			t.Fatal(err)
		}
		// The first stream has a connection of its own, without probes.
		alone, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
		if err != nil || !alone.Receive() {
			t.Fatal(err)
		}
		s, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
		if err != nil || !s.Receive() {
			t.Fatal(err)
		}
		fallen.Store(true)
		began := time.Now()
		ended := make(chan time.Duration, 1)
		go func() {
			for s.Receive() {
			}
			ended <- time.Since(began)
		}()
		if _, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); !errors.Is(err, message.Unavailable) {
			t.Errorf("into the hole: %v, want unavailable", err)
		}
		time.Sleep(time.Minute - time.Since(began))
		if _, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		if took := <-ended; took > 50*time.Second || !errors.Is(s.Err(), message.Unavailable) {
			t.Errorf("the stream ended after %s: %v", took, s.Err())
		}
		if took := (<-left).Sub(began); took > 50*time.Second {
			t.Errorf("its handler went on for %s", took)
		}
		_, _ = s.Close(), alone.Close()
	})
}

// TestLongStream goes over HTTP/1.1, where the deadline of the request's body is
// the connection's.
func TestLongStream(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const beats = 200
			m := newMemory()
			p := newParty(t, "https://memory.test")
			serve(t, p, m.listen("memory.test:443"), nil, mountExchange(&exchange{
				follow: func(_ context.Context, s *connect.ServerStream[wirev1.FollowResponse]) error {
					for range beats {
						time.Sleep(rpc.HeartbeatEvery)
						if err := s.Send(&wirev1.FollowResponse{}); err != nil {
							return err
						}
					}
					return nil
				},
			}))
			tr := transportFor(t)
			tr.DialContext = m.dial
			tr.Protocols = new(http.Protocols)
			tr.Protocols.SetHTTP1(!h2)
			tr.Protocols.SetHTTP2(h2)
			client := wirev1connect.NewExchangeClient(doerFunc(tr.RoundTrip), "https://memory.test")
			s, err := client.Follow(t.Context(), &wirev1.FollowRequest{})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for s.Receive() {
				n++
			}
			if n != beats || s.Err() != nil {
				t.Errorf("HTTP/2 %v: %d heartbeats, %v, want %d", h2, n, s.Err(), beats)
			}
			_ = s.Close()
		})
	}
}

// TestStreamOfManyMessages both ways, through an idle time longer than any call.
func TestStreamOfManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, _ := inMemory(t, &exchange{alerts: func(_ context.Context, s *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error {
			for {
				req, err := s.Receive()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if err := s.Send(&wirev1.AlertResponse{Results: make([]*wirev1.AlertResult, len(req.GetItems()))}); err != nil {
					return err
				}
			}
		}}, newKeyring(t, message.RoleServer))
		s, err := peer.Exchange().AlertStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if err := s.Send(&wirev1.AlertRequest{Items: make([]*wirev1.AlertItem, i)}); err != nil {
				t.Fatal(err)
			}
			res, err := s.Receive()
			if err != nil || len(res.GetResults()) != i {
				t.Fatalf("message %d: %v, %v", i, res, err)
			}
			time.Sleep(4 * time.Minute)
		}
		time.Sleep(6 * time.Minute) // longer than a sender may be silent
		if _, err := s.Receive(); !errors.Is(err, message.Unavailable) {
			t.Errorf("after the silence: %v, want unavailable", err)
		}
		_ = s.CloseRequest()
		_ = s.CloseResponse()
	})
}

// TestSlowBodyOverHTTP2: the deadline is the stream's, and the connection lives on.
func TestSlowBodyOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed error
		peer, _ := inMemory(t, &exchange{}, nil, func(s *rpc.Server) {
			s.Mount("/blobs/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, failed = io.Copy(io.Discard, r.Body); failed != nil {
					rpc.Refuse(w, message.Invalid)
				}
			}))
		})
		r, w := io.Pipe()
		defer w.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "/blobs/x", r)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := peer.Do(req); !errors.Is(err, message.Invalid) || failed == nil {
			t.Errorf("%v, the handler saw %v", err, failed)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("took %s, want 30 s", took)
		}
		if err := plain(t, peer, http.MethodPut); err != nil {
			t.Errorf("the next request: %v", err)
		}
	})
}

// TestManyAtOnce is more calls than one connection carries, with one Access.
func TestManyAtOnce(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	user := newKeyring(t, message.RoleUser)
	v := &counting{}
	callers := rpc.NewCallers(p.keys.Address(), v)
	var headers sync.Map
	serve(t, p, l, &directory{answer: func(ctx context.Context) (*wirev1.LookupResponse, error) {
		headers.Store(rpc.Authorization(ctx), true)
		if _, err := callers.Caller(ctx, rpc.Authorization(ctx), knows(user)); err != nil {
			return nil, err
		}
		return &wirev1.LookupResponse{}, nil
	}})
	c := rpc.NewClient(rpc.Config{Dial: guarded(t), Verifier: crypto.Single{}, Keyring: user})
	defer c.Close()
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			peer, err := c.Peer(p.identity)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	headers.Range(func(any, any) bool { n++; return true })
	if k := v.n.Load(); k < 1 || k > 16 {
		t.Errorf("%d signature checks, want few", k)
	}
	if n != 1 {
		t.Errorf("%d headers for one audience, want 1", n)
	}
}

// TestManyStreams is more streams than one connection carries, all at once.
func TestManyStreams(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	const streams = 200
	var all sync.WaitGroup
	all.Add(streams)
	serve(t, p, l, nil, mountExchange(&exchange{follow: func(ctx context.Context, s *connect.ServerStream[wirev1.FollowResponse]) error {
		all.Done()
		all.Wait() // every stream is open before any of them goes on
		return s.Send(&wirev1.FollowResponse{})
	}}))
	peer, err := newClient(t, guarded(t), nil).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			s, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
			if err != nil {
				t.Error(err)
				return
			}
			if !s.Receive() || s.Receive() || s.Err() != nil {
				t.Error(s.Err())
			}
			_ = s.Close()
		})
	}
	wg.Wait()
}

// TestBodyAfterItsHandler: net/http panics when a deadline is set for a request
// that is over, so a read that comes too late must not set one.
func TestBodyAfterItsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, panicked := make(chan struct{}), make(chan any)
		peer, _ := inMemory(t, &exchange{}, nil, func(s *rpc.Server) {
			s.Mount("/blobs/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				go func() {
					defer func() { panicked <- recover() }()
					<-over
					_, _ = r.Body.Read(make([]byte, 1))
				}()
			}))
		})
		if err := plain(t, peer, http.MethodPut); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(over)
		if thrown := <-panicked; thrown != nil {
			t.Errorf("a late read panicked: %v", thrown)
		}
	})
}
