package mailserver

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

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
	return s.follow(ctx, &following{
		topic: topic{address: acc.Address}, from: req.GetAfter(),
		message: func(c *wirev1.Cursor) proto.Message { return &wirev1.WatchResponse{Now: c} },
	}, func(m proto.Message) error { return stream.Conn().Send(m) })
}

// following is a stream of cursors: one at once, another whenever its topic has
// changed, and the last one again when nothing has for a while.
type following struct {
	server  *Server
	topic   topic
	from    *wirev1.Cursor
	begun   bool
	message func(*wirev1.Cursor) proto.Message
	door    *door
}

// Step is for rpc.Park. Where the hub does not say that there is something newer
// than the cursor, it looks into the store: a signal that comes too often or not at
// all costs time and loses nothing.
func (f *following) Step(ctx context.Context, beat bool) (proto.Message, error) {
	place, err := f.server.c.Store.Log.Place(ctx)
	if err != nil {
		return nil, err
	}
	seq, err := after(f.from, place)
	if err != nil {
		return nil, err
	}
	changed := f.server.hub.newest(f.topic) > seq
	if !changed {
		if changed, err = f.changed(ctx, seq); err != nil {
			return nil, err
		}
	}
	if changed {
		f.from = cursor(place.Epoch, place.Seq)
	} else {
		f.from = cursor(place.Epoch, seq)
	}
	if !changed && f.begun && !beat {
		return nil, nil
	}
	f.begun = true
	return f.message(f.from), nil
}

// changed looks whether there is something after a place in the log.
func (f *following) changed(ctx context.Context, after uint64) (bool, error) {
	if f.topic.posts {
		items, _, err := f.server.c.Store.Outgoing.List(ctx, postsAfter(f.topic.address, after, 1))
		return len(items) > 0, err
	}
	entries, _, err := f.server.c.Store.Incoming.Entries(ctx, f.topic.address, after, 1)
	return len(entries) > 0, err
}

// Gone is for rpc.Park.
func (f *following) Gone() { f.door.leave() }

// follow sends what f has to say, and parks the stream where it can be.
func (s *Server) follow(ctx context.Context, f *following, send func(proto.Message) error) (err error) {
	f.server = s
	wake := make(chan struct{}, 1)
	// Registered before the first look, so that no change falls between.
	if f.door, err = s.hub.watch(f.topic, func() { nudge(wake) }); err != nil {
		return err
	}
	parked := false
	defer func() {
		if !parked {
			f.Gone()
		}
	}()
	if err := f.say(ctx, false, send); err != nil {
		return err
	}
	var knock func()
	if knock, parked = rpc.Park(ctx, f); parked {
		f.door.move(knock)
		knock() // for what came before it was moved
		return nil
	}
	heartbeat := time.NewTicker(rpc.HeartbeatEvery)
	defer heartbeat.Stop()
	for {
		beat := false
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-heartbeat.C:
			beat = true
		}
		if err := f.say(ctx, beat, send); err != nil {
			return err
		}
	}
}

// say sends the next message, if there is one.
func (f *following) say(ctx context.Context, beat bool, send func(proto.Message) error) error {
	m, err := f.Step(ctx, beat)
	if err != nil || m == nil {
		return err
	}
	return send(m)
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
	return s.follow(ctx, &following{
		topic: topic{address: author, posts: true}, from: req.GetAfter(),
		message: func(c *wirev1.Cursor) proto.Message { return &wirev1.FollowResponse{Now: c} },
	}, func(m proto.Message) error { return stream.Conn().Send(m) })
}
