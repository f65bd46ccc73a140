package mailserver

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Watch says when the caller's inbox has changed, with heartbeats between. The
// cursor of a heartbeat is the one before.
func (s *Server) Watch(ctx context.Context, req *wirev1.WatchRequest, stream *connect.ServerStream[wirev1.WatchResponse]) error {
	acc, err := s.reader(ctx)
	if err != nil {
		return err
	}
	owner := acc.Address
	return s.follow(ctx, topic{address: owner}, req.GetAfter(), watcher{
		changed: func(ctx context.Context, after uint64) (bool, error) {
			entries, _, err := s.c.Store.Incoming.Entries(ctx, owner, after, 1)
			return len(entries) > 0, err
		},
		send: func(c *wirev1.Cursor) error { return stream.Send(&wirev1.WatchResponse{Now: c}) },
	})
}

// watcher is what a stream of cursors is made of.
type watcher struct {
	changed func(ctx context.Context, after uint64) (bool, error)
	send    func(*wirev1.Cursor) error
}

// follow sends a cursor at once, another whenever t has changed, and the last
// one again when nothing has for a while. Where the signal does not say that there
// is something newer than the cursor, it looks into the store: a signal that comes
// too often or not at all costs time and loses nothing.
func (s *Server) follow(ctx context.Context, t topic, from *wirev1.Cursor, w watcher) error {
	// Registered before the first look, so that no change falls between.
	wake, leave, err := s.hub.watch(t)
	if err != nil {
		return err
	}
	defer leave()
	heartbeat := time.NewTicker(rpc.HeartbeatEvery)
	defer heartbeat.Stop()
	for first, beat := true, false; ; {
		place, err := s.c.Store.Log.Place(ctx)
		if err != nil {
			return err
		}
		seq, err := after(from, place)
		if err != nil {
			return err
		}
		changed := s.hub.newest(t) > seq
		if !changed {
			if changed, err = w.changed(ctx, seq); err != nil {
				return err
			}
		}
		switch {
		case changed:
			from = cursor(place.Epoch, place.Seq)
		default:
			from = cursor(place.Epoch, seq)
		}
		if changed || first || beat {
			if err := w.send(from); err != nil {
				return err
			}
		}
		first, beat = false, false
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-heartbeat.C:
			beat = true
		}
	}
}

// Follow says when an address has posted, with heartbeats between. Anybody may.
func (s *Server) Follow(ctx context.Context, req *wirev1.FollowRequest, stream *connect.ServerStream[wirev1.FollowResponse]) error {
	if err := s.rates.strangers.take(s.remote(ctx), 1); err != nil {
		return err
	}
	author, err := message.AddressFromBytes(req.GetAddress())
	if err != nil {
		return err
	}
	if _, err := s.c.Store.Accounts.Account(ctx, author); err != nil {
		return err
	}
	return s.follow(ctx, topic{address: author, posts: true}, req.GetAfter(), watcher{
		changed: func(ctx context.Context, after uint64) (bool, error) {
			items, _, err := s.c.Store.Outgoing.List(ctx, postsAfter(author, after, 1))
			return len(items) > 0, err
		},
		send: func(c *wirev1.Cursor) error { return stream.Send(&wirev1.FollowResponse{Now: c}) },
	})
}
