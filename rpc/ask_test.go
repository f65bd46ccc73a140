package rpc_test

import (
	"context"
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

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// exchange answers what its fields say.
type exchange struct {
	wirev1connect.UnimplementedExchangeHandler
	follow func(context.Context, *connect.ServerStream[wirev1.FollowResponse]) error
	alerts func(context.Context, *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error
	posts  func(context.Context) (*wirev1.PostsResponse, error)
}

func (e *exchange) Follow(ctx context.Context, _ *wirev1.FollowRequest, s *connect.ServerStream[wirev1.FollowResponse]) error {
	return e.follow(ctx, s)
}

func (e *exchange) AlertStream(ctx context.Context, s *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error {
	return e.alerts(ctx, s)
}

func (e *exchange) Posts(ctx context.Context, _ *wirev1.PostsRequest) (*wirev1.PostsResponse, error) {
	return e.posts(ctx)
}

func mountExchange(e *exchange) func(*rpc.Server) {
	return func(s *rpc.Server) { s.Mount(wirev1connect.NewExchangeHandler(e, rpc.Options(nil)...)) }
}

// inMemory runs e at memory.test:443 and returns a peer for it.
func inMemory(t *testing.T, e *exchange, k *message.Keyring, more ...func(*rpc.Server)) (*rpc.Peer, *running) {
	t.Helper()
	m := newMemory()
	p := newParty(t, "https://memory.test")
	s := serve(t, p, m.listen("memory.test:443"), nil, append(more, mountExchange(e))...)
	peer, err := newClient(t, m.dial, k).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	return peer, s
}

func TestSilentStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 5
		peer, _ := inMemory(t, &exchange{follow: func(ctx context.Context, s *connect.ServerStream[wirev1.FollowResponse]) error {
			for range beats {
				time.Sleep(rpc.HeartbeatEvery)
				if err := s.Send(&wirev1.FollowResponse{}); err != nil {
					return err
				}
			}
			<-ctx.Done() // from here on nothing
			return ctx.Err()
		}}, nil)
		begun := time.Now()
		s, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for s.Receive() {
			n++
		}
		if err := s.Err(); !errors.Is(err, message.Unavailable) || errors.Is(err, context.Canceled) {
			t.Errorf("%v, want unavailable", err)
		}
		if n != beats {
			t.Errorf("%d heartbeats, want %d", n, beats)
		}
		if took, want := time.Since(begun), time.Duration(beats)*rpc.HeartbeatEvery+rpc.HeartbeatPatience; took != want {
			t.Errorf("gave up after %s, want %s", took, want)
		}
		_ = s.Close()
	})
}

// TestStreamThatNeverAnswers: not even headers come.
func TestStreamThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, _ := inMemory(t, &exchange{follow: func(ctx context.Context, _ *connect.ServerStream[wirev1.FollowResponse]) error {
			<-ctx.Done()
			return ctx.Err()
		}}, nil)
		begun := time.Now()
		s, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
		if err == nil {
			for s.Receive() {
				t.Error("received something")
			}
			err = s.Err()
			_ = s.Close()
		}
		if !errors.Is(err, message.Unavailable) {
			t.Errorf("%v, want unavailable", err)
		}
		if took := time.Since(begun); took != rpc.HeartbeatPatience {
			t.Errorf("gave up after %s, want %s", took, rpc.HeartbeatPatience)
		}
	})
}

func TestUnaryCallEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(context.Context) (context.Context, context.CancelFunc)
		took time.Duration
		want []error
		not  error
	}{
		{"by the client's timeout", context.WithCancel, rpc.DefaultTimeout, []error{message.Unavailable, context.DeadlineExceeded}, context.Canceled},
		{"by the caller's deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 7*time.Second)
		}, 7 * time.Second, []error{message.Unavailable, context.DeadlineExceeded}, context.Canceled},
		{"by the caller's cancel", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(3*time.Second, cancel)
			return ctx, cancel
		}, 3 * time.Second, []error{context.Canceled}, message.Unavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			var ended atomic.Bool
			peer, _ := inMemory(t, &exchange{posts: func(ctx context.Context) (*wirev1.PostsResponse, error) {
				<-ctx.Done()
				ended.Store(true)
				return nil, ctx.Err()
			}}, nil)
			ctx, cancel := c.call(t.Context())
			defer cancel()
			begun := time.Now()
			_, err := peer.Exchange().Posts(ctx, &wirev1.PostsRequest{})
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", c.name, err, want)
				}
			}
			if errors.Is(err, c.not) {
				t.Errorf("%s: %v is %v too", c.name, err, c.not)
			}
			if took := time.Since(begun); took != c.took {
				t.Errorf("%s: took %s, want %s", c.name, took, c.took)
			}
			synctest.Wait()
			if !ended.Load() {
				t.Errorf("%s: the handler goes on", c.name)
			}
		})
	}
}

// TestServerEndsCallsOfItsOwn: whoever asks without a deadline does not keep a
// handler for ever.
func TestServerEndsCallsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		p := newParty(t, "https://memory.test")
		var lasted time.Duration
		serve(t, p, m.listen("memory.test:443"), nil, mountExchange(&exchange{posts: func(ctx context.Context) (*wirev1.PostsResponse, error) {
			begun := time.Now()
			<-ctx.Done()
			lasted = time.Since(begun)
			return nil, ctx.Err()
		}}))
		c := rpc.NewClient(rpc.Config{Dial: m.dial, Verifier: crypto.Single{}, Timeout: time.Hour})
		defer c.Close()
		peer, err := c.Peer(p.identity)
		if err != nil {
			t.Fatal(err)
		}
		_, err = peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{})
		if !errors.Is(err, message.Unavailable) || lasted != time.Minute {
			t.Errorf("%v after %s, want unavailable after a minute", err, lasted)
		}
	})
}

// verifying mounts a Lookup that wants a good Access by a clock that is off.
func verifying(t *testing.T, off time.Duration, who *message.Keyring) (*rpc.Peer, *atomic.Int64) {
	t.Helper()
	m := newMemory()
	p := newParty(t, "https://memory.test")
	var calls atomic.Int64
	d := &directory{party: p, answer: func(ctx context.Context) (*wirev1.LookupResponse, error) {
		calls.Add(1)
		claim, err := message.ParseAccess(rpc.Authorization(ctx))
		if err != nil {
			return nil, err
		}
		if _, err := claim.Verify(crypto.Single{}, who.Chain, p.keys.Address(), time.Now().Add(off)); err != nil {
			// The room's own clock is the bubble's, so a server with another one says so itself.
			e := connect.NewError(connect.CodeFailedPrecondition, errors.New("clock"))
			if detail, err := connect.NewErrorDetail(message.Refusal(err, time.Now().Add(off))); err == nil {
				e.AddDetail(detail)
			}
			return nil, e
		}
		return &wirev1.LookupResponse{}, nil
	}}
	// Without Options, which would put in the right time.
	s := rpc.NewServer(rpc.ServerConfig{Listener: m.listen("memory.test:443"), TLS: rpc.ServerTLS(p.cert)})
	s.Mount(wirev1connect.NewDirectoryHandler(d))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	peer, err := newClient(t, m.dial, who).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return peer, &calls
}

func TestClockIsCorrectedOnce(t *testing.T) {
	for _, c := range []struct {
		off   time.Duration
		calls []int64 // by the first and the second Lookup
	}{
		{0, []int64{1, 1}},
		{time.Minute, []int64{1, 1}},
		{-time.Minute, []int64{1, 1}},
		{3 * time.Hour, []int64{2, 1}},
		{-3 * time.Hour, []int64{2, 1}},
		{-3 * time.Minute, []int64{2, 1}},
		{13 * time.Minute, []int64{2, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			peer, calls := verifying(t, c.off, newKeyring(t, message.RoleUser))
			for i, want := range c.calls {
				calls.Store(0)
				if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
					t.Errorf("off by %s, call %d: %v", c.off, i, err)
				}
				if n := calls.Load(); n != want {
					t.Errorf("off by %s, call %d: asked %d times, want %d", c.off, i, n, want)
				}
			}
		})
	}
}

// TestClockRefusedAgain: a server that is never content is asked twice, no more.
func TestClockRefusedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		p := newParty(t, "https://memory.test")
		calls := 0
		serve(t, p, m.listen("memory.test:443"), &directory{party: p, answer: func(context.Context) (*wirev1.LookupResponse, error) {
			calls++
			return nil, message.Clock
		}})
		peer, err := newClient(t, m.dial, newKeyring(t, message.RoleUser)).Peer(p.identity)
		if err != nil {
			t.Fatal(err)
		}
		// The server says the time that is known already: there is nothing to correct.
		if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); !errors.Is(err, message.Clock) || calls != 1 {
			t.Errorf("%v after %d calls, want clock after 1", err, calls)
		}
	})
}

func TestAccessIsSignedAnewBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user := newKeyring(t, message.RoleUser)
		m := newMemory()
		p := newParty(t, "https://memory.test")
		callers := rpc.NewCallers(p.keys.Address(), crypto.Single{})
		headers := map[string]int{}
		serve(t, p, m.listen("memory.test:443"), &directory{party: p, answer: func(ctx context.Context) (*wirev1.LookupResponse, error) {
			headers[rpc.Authorization(ctx)]++
			_, err := callers.Caller(ctx, rpc.Authorization(ctx), knows(user))
			return &wirev1.LookupResponse{}, err
		}})
		peer, err := newClient(t, m.dial, user).Peer(p.identity)
		if err != nil {
			t.Fatal(err)
		}
		for range 61 { // an hour, once a minute
			if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if n := len(headers); n != 8 {
			t.Errorf("%d headers in an hour, want 8", n)
		}
	})
}

// TestHostsOfARoute: the next one is tried when one cannot be reached or is
// somebody else, for calls, streams and plain requests alike.
func TestHostsOfARoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		p := newParty(t, "https://a.test")
		pin := crypto.Pin(p.cert.Leaf)
		dialled := map[string]int{}
		var mu sync.Mutex
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			dialled[address]++
			mu.Unlock()
			return m.dial(ctx, network, address)
		}
		p.route(t, message.Host{URL: "https://gone.test", Pin: pin}, message.Host{URL: "https://thief.test:8443", Pin: pin}, message.Host{URL: "https://good.test", Pin: pin})
		thief := newParty(t, "https://thief.test")
		serve(t, thief, m.listen("thief.test:8443"), nil)
		e := &exchange{
			posts: func(context.Context) (*wirev1.PostsResponse, error) { return &wirev1.PostsResponse{More: true}, nil },
			alerts: func(_ context.Context, s *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error {
				for {
					if _, err := s.Receive(); errors.Is(err, io.EOF) {
						return nil
					} else if err != nil {
						return err
					}
					if err := s.Send(&wirev1.AlertResponse{}); err != nil {
						return err
					}
				}
			},
		}
		serve(t, p, m.listen("good.test:443"), nil, mountExchange(e), func(s *rpc.Server) {
			s.Mount("/blobs/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
		})
		c := newClient(t, dial, newKeyring(t, message.RoleUser))
		peer, err := c.Peer(p.identity)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := peer.Exchange().AlertStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := stream.Send(&wirev1.AlertRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Receive(); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.CloseRequest(); err != nil {
			t.Error(err)
		}
		if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream's end: %v", err)
		}
		_ = stream.CloseResponse()

		if res, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); err != nil || !res.GetMore() {
			t.Errorf("%v, %v", res, err)
		}
		// The two bad hosts were just found bad and are not waited for again.
		if dialled["gone.test:443"] != 1 || dialled["thief.test:8443"] != 1 || dialled["good.test:443"] != 1 {
			t.Errorf("dialled %v, want each once", dialled)
		}
		time.Sleep(31 * time.Second)
		c.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "/blobs/x", io.NopCloser(strings.NewReader("body")))
		if err != nil {
			t.Fatal(err)
		}
		peer, err = c.Peer(p.identity)
		if err != nil {
			t.Fatal(err)
		}
		res, err := peer.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != "body" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		_ = res.Body.Close()
		if dialled["gone.test:443"] != 2 {
			t.Errorf("dialled %v: the first host is not tried again", dialled)
		}
	})
}

func TestAllHostsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		p := newParty(t, "https://gone.test", "https://thief.test", "https://gone2.test")
		serve(t, newParty(t, "https://thief.test"), m.listen("thief.test:443"), nil)
		peer, err := newClient(t, m.dial, nil).Peer(p.identity)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{}); !errors.Is(err, message.BadSignature) {
			t.Errorf("%v, want the wrong certificate to be told", err)
		}
		stream, err := peer.Exchange().AlertStream(t.Context())
		if err == nil {
			_, err = stream.Receive()
			_ = stream.CloseRequest()
			_ = stream.CloseResponse()
		}
		if !errors.Is(err, message.BadSignature) {
			t.Errorf("stream: %v, want the wrong certificate to be told", err)
		}
	})
}

func TestPeerWithoutHosts(t *testing.T) {
	c := newClient(t, nil, nil)
	k := newKeyring(t, message.RoleUser)
	r, err := message.SignRoute(message.Route{Pair: message.Pair{Route: 1}, Time: time.Now(), Expires: time.Now().Add(time.Hour)}, k.Chain, k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []*message.Identity{{Chain: k.Chain}, {Chain: k.Chain, Route: r}} {
		if p, err := c.Peer(id); !errors.Is(err, message.Invalid) {
			t.Errorf("%v, %v, want invalid", p, err)
		}
	}
}

func TestPeerIsKeptAndReplaced(t *testing.T) {
	c := newClient(t, nil, nil)
	p := newParty(t, "https://a.test")
	first, err := c.Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Peer(p.identity); again != first || err != nil {
		t.Errorf("another peer for the same identity: %v", err)
	}
	p.route(t, message.Host{URL: "https://b.test"})
	if moved, err := c.Peer(p.identity); moved == first || err != nil || moved.Identity() != p.identity {
		t.Errorf("the old peer for a new route: %v", err)
	}
}
