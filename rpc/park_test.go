package rpc_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// tally is a waiter that says how often it was woken.
type tally struct {
	wake         func()
	woken, beats atomic.Uint64
	gone         atomic.Int32
	fail         atomic.Pointer[error]
	panics       atomic.Bool
}

// Step is for rpc.Park.
func (c *tally) Step(_ context.Context, beat bool) (proto.Message, error) {
	if err := c.fail.Load(); err != nil {
		return nil, *err
	}
	if c.panics.Load() {
		panic("a waiter's")
	}
	if beat {
		return &wirev1.FollowResponse{Now: &wirev1.Cursor{Epoch: c.beats.Add(1)}}, nil
	}
	return &wirev1.FollowResponse{Now: &wirev1.Cursor{Seq: c.woken.Add(1)}}, nil
}

// Gone is for rpc.Park.
func (c *tally) Gone() { c.gone.Add(1) }

// parkedStream is a stream of which c is the waiter, after its first message.
func parkedStream(t *testing.T, c *tally) (*connect.ServerStreamForClient[wirev1.FollowResponse], *running) {
	t.Helper()
	m := newMemory()
	p := newParty(t, "https://memory.test")
	r := serve(t, p, m.listen("memory.test:443"), nil, mountExchange(&exchange{follow: func(ctx context.Context, s *connect.ServerStream[wirev1.FollowResponse]) error {
		if err := s.Send(&wirev1.FollowResponse{}); err != nil {
			return err
		}
		var ok bool
		if c.wake, ok = rpc.Park(ctx, c); !ok {
			t.Error("a stream that is alone was not parked")
		}
		return nil
	}}))
	peer, err := newClient(t, m.dial, nil).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	s, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
	if err != nil || !s.Receive() {
		t.Fatal(err, s.Err())
	}
	synctest.Wait()
	return s, r
}

// TestPark: a parked stream says what its waiter does, when it is woken and by
// heartbeats, until its peer goes.
func TestPark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &tally{}
		s, _ := parkedStream(t, c)
		for want := uint64(1); want <= 3; want++ {
			c.wake()
			if !s.Receive() || s.Msg().GetNow().GetSeq() != want {
				t.Fatalf("woken %d times: %v, %v", want, s.Msg(), s.Err())
			}
		}
		began := time.Now()
		for want := uint64(1); want <= 200; want++ {
			if !s.Receive() || s.Msg().GetNow().GetEpoch() != want {
				t.Fatalf("heartbeat %d: %v, %v", want, s.Msg(), s.Err())
			}
		}
		if took, want := time.Since(began), 200*rpc.HeartbeatEvery; took > want || took < want-rpc.HeartbeatEvery {
			t.Errorf("200 heartbeats took %s, want %s", took, want)
		}
		if c.gone.Load() != 0 {
			t.Error("gone before its time")
		}
		_ = s.Close()
		synctest.Wait()
		if n := c.gone.Load(); n != 1 {
			t.Errorf("told %d times that its peer is gone, want once", n)
		}
		c.wake() // nobody is there
		synctest.Wait()
		if n := c.gone.Load(); n != 1 {
			t.Errorf("told %d times that its peer is gone, want once", n)
		}
	})
}

// TestParkedEnd: what ends a parked stream, its peer learns as from a handler.
func TestParkedEnd(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(c *tally, stop func())
		want message.Code
	}{
		"an error":       {func(c *tally, _ func()) { err := error(message.Denied); c.fail.Store(&err); c.wake() }, message.Denied},
		"a panic":        {func(c *tally, _ func()) { c.panics.Store(true); c.wake() }, message.Internal},
		"a server's end": {func(_ *tally, stop func()) { stop() }, message.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &tally{}
				s, server := parkedStream(t, c)
				test.end(c, server.stop)
				if s.Receive() || !errors.Is(s.Err(), test.want) {
					t.Errorf("ended with %v, want %v", s.Err(), test.want)
				}
				synctest.Wait()
				if n := c.gone.Load(); n != 1 {
					t.Errorf("told %d times that it is over, want once", n)
				}
				_ = s.Close()
			})
		})
	}
}
