package rpc_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// TestLane: calls one after the other go by HTTP/1.1, and so does a stream that
// only receives; what comes while one is under way goes by HTTP/2, and so does
// everything once a stream was opened there.
func TestLane(t *testing.T) {
	var mu sync.Mutex
	var protos []string
	seen := func(t *testing.T, want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(protos, want) {
			t.Errorf("calls came by %q, want %q", protos, want)
		}
		protos = nil
	}
	begun, end := make(chan struct{}), make(chan struct{})
	var waiting bool
	e := &exchange{
		posts: func(context.Context) (*wirev1.PostsResponse, error) {
			mu.Lock()
			wait := waiting
			waiting = false
			mu.Unlock()
			if wait {
				close(begun)
				<-end
			}
			return &wirev1.PostsResponse{}, nil
		},
		follow: func(_ context.Context, s *connect.ServerStream[wirev1.FollowResponse]) error {
			return s.Send(&wirev1.FollowResponse{})
		},
	}
	m := newMemory()
	p := newParty(t, "https://memory.test")
	serve(t, p, m.listen("memory.test:443"), nil, func(s *rpc.Server) {
		path, h := wirev1connect.NewExchangeHandler(e, rpc.Options(nil)...)
		s.Mount(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			protos = append(protos, r.Proto)
			mu.Unlock()
			h.ServeHTTP(w, r)
		}))
	})
	peer, err := newClient(t, m.dial, newKeyring(t, message.RoleUser)).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	post := func() error {
		_, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{})
		return err
	}
	for range 3 {
		if err := post(); err != nil {
			t.Fatal(err)
		}
	}
	seen(t, "HTTP/1.1", "HTTP/1.1", "HTTP/1.1")

	waiting = true
	first := make(chan error)
	go func() { first <- post() }()
	<-begun
	if err := post(); err != nil {
		t.Fatal(err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	seen(t, "HTTP/1.1", "HTTP/2.0")
	if err := post(); err != nil {
		t.Fatal(err)
	}
	seen(t, "HTTP/1.1")

	follow := func() *connect.ServerStreamForClient[wirev1.FollowResponse] {
		stream, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		return stream
	}
	alone := follow()
	defer func() { _ = alone.Close() }()
	if err := post(); err != nil {
		t.Fatal(err)
	}
	seen(t, "HTTP/1.1", "HTTP/1.1")
	stream := follow()
	if err := post(); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	if err := post(); err != nil {
		t.Fatal(err)
	}
	seen(t, "HTTP/2.0", "HTTP/2.0", "HTTP/2.0")
}
