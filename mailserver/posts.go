package mailserver

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	maxPosts     = 100
	defaultPosts = 50
)

// postsAfter asks for public messages.
func postsAfter(author message.Address, seq uint64, limit int) store.ListQuery {
	return store.ListQuery{From: author, Public: true, After: seq, Limit: limit}
}

// Posts lists public messages of an address hosted here, each in its newest
// state, since a cursor. Anybody may.
func (s *Server) Posts(ctx context.Context, req *wirev1.PostsRequest) (*wirev1.PostsResponse, error) {
	if err := s.rates.strangers.take(s.remote(ctx), 1); err != nil {
		return nil, err
	}
	author, err := message.AddressFromBytes(req.GetAddress())
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(req.GetLimit(), defaultPosts, maxPosts)
	if err != nil {
		return nil, err
	}
	if _, err := s.c.Store.Accounts.Account(ctx, author); err != nil {
		return nil, err
	}
	place, err := s.c.Store.Log.Place(ctx)
	if err != nil {
		return nil, err
	}
	seq, err := after(req.GetAfter(), place)
	if err != nil {
		return nil, err
	}
	items, more, err := s.c.Store.Outgoing.List(ctx, postsAfter(author, seq, limit))
	if err != nil {
		return nil, err
	}
	resp := &wirev1.PostsResponse{More: more, Posts: make([]*wirev1.Post, 0, len(items))}
	size, now := 0, time.Now()
	for _, item := range items {
		w := wirePost(item, now)
		if size += proto.Size(w); size > answerBudget && len(resp.Posts) > 0 {
			resp.More = true
			break
		}
		resp.Posts, seq = append(resp.Posts, w), item.Seq
	}
	resp.Next = cursor(place.Epoch, seq)
	return resp, nil
}

// wirePost is a public message as it travels. What is over has heads only, also
// in the minute before it is erased.
func wirePost(item store.ListItem, now time.Time) *wirev1.Post {
	w := &wirev1.Post{Seq: item.Seq, Heads: make([]*wirev1.Signed, 0, len(item.Versions))}
	for _, v := range item.Versions {
		w.Heads = append(w.Heads, v.Head)
	}
	if n := len(item.Versions); n > 0 {
		newest := item.Versions[n-1]
		if d, err := describe(newest.Head); err == nil && !d.expired(now) {
			w.Payload, w.Blobs = newest.Payload, wireBlobs(newest.Blobs)
		}
	}
	return w
}
