package client

import (
	"context"
	"errors"
	"fmt"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// postsPage is how many posts one call brings.
const postsPage = 50

// postsLog names an author's log in the home.
func postsLog(a message.Address) string { return "posts " + a.String() }

// Posts reads the public messages of an address, named ones included, oldest
// first: from the author's server, as nobody. No account is needed, and no
// identity. What cannot be verified is left out and logged. Without the way to
// the server the copies in the home are returned, beside the error. Errors:
// message.NotFound (no such address, or it is nowhere), message.Unavailable.
func (c *Client) Posts(ctx context.Context, a message.Address) ([]*Item, error) {
	syncErr := c.SyncPosts(ctx, a)
	ms, err := c.home.List(ctx, c.me, home.Query{Box: home.Public, Authors: []message.Address{a}})
	if err != nil {
		return nil, err
	}
	items, err := c.shown(ctx, ms)
	return items, errors.Join(syncErr, err)
}

// shown are messages with their contents, without those that have none.
func (c *Client) shown(ctx context.Context, ms []home.Message) ([]*Item, error) {
	all, err := c.items(ctx, ms)
	var out []*Item
	for _, i := range all {
		if i.Content != nil && !i.Head.Tombstone() {
			out = append(out, i)
		}
	}
	return out, err
}

// SyncPosts reads what changed of an address's public messages since the last
// time.
func (c *Client) SyncPosts(ctx context.Context, a message.Address) error {
	err := c.eachOrigin(ctx, a, func(p *rpc.Peer) error {
		for {
			more, err := c.postsPage(ctx, p, a)
			if err != nil || !more {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("client: posts of %s: %w", a, err)
	}
	return nil
}

func (c *Client) postsPage(ctx context.Context, p *rpc.Peer, a message.Address) (bool, error) {
	// Another server has another log.
	log := postsLog(a) + " " + p.Address().String()
	epoch, seq, err := c.home.Cursor(ctx, c.me, log)
	if err != nil {
		return false, err
	}
	resp, err := p.Exchange().Posts(ctx, &wirev1.PostsRequest{Address: a.Bytes(), After: &wirev1.Cursor{Epoch: epoch, Seq: seq}, Limit: postsPage})
	if err != nil {
		return false, err
	}
	next := resp.GetNext()
	if seq != 0 && next.GetEpoch() != epoch {
		return true, c.home.SetCursor(ctx, c.me, log, next.GetEpoch(), 0)
	}
	if resp.GetMore() && next.GetSeq() <= seq {
		return false, fmt.Errorf("client: posts: the server's log does not go on: %w", message.Invalid)
	}
	for _, post := range resp.GetPosts() {
		if err := c.takePost(ctx, a, post); err != nil {
			if ctx.Err() != nil || errors.Is(err, message.StorageFull) {
				return false, err
			}
			c.log.WarnContext(ctx, "a post is not believed", "author", a.String(), "error", err)
		}
	}
	return resp.GetMore(), c.home.SetCursor(ctx, c.me, log, next.GetEpoch(), next.GetSeq())
}

// takePost verifies one post in its newest state and keeps it.
func (c *Client) takePost(ctx context.Context, a message.Address, w *wirev1.Post) error {
	if len(w.GetHeads()) == 0 {
		return fmt.Errorf("client: a post without heads: %w", message.Invalid)
	}
	claim, err := message.ParseHead(w.GetHeads()[0])
	if err != nil {
		return err
	}
	if claim.From() != a {
		return fmt.Errorf("client: a post of somebody else: %w", message.BadSignature)
	}
	p := pulling{ref: message.Ref{From: a, MID: claim.MID()}, box: home.Public}
	if m, err := c.home.Message(ctx, c.me, p.ref); err == nil {
		p.known = &m
	} else if !absent(err) {
		return err
	}
	_, err = c.takePulled(ctx, p, &wirev1.Pulled{Heads: w.GetHeads(), Payload: w.GetPayload(), Blobs: w.GetBlobs()})
	if errors.Is(err, message.Expired) {
		return nil
	}
	return err
}

// FollowPosts calls changed with each public message of an address that is new
// or newer, until the context ends or changed returns an error: first with what
// changed since the last time, then as it happens. It connects again by itself.
func (c *Client) FollowPosts(ctx context.Context, a message.Address, changed func(*Item) error) error {
	seen := make(map[message.Ref]uint64)
	ms, err := c.home.List(ctx, c.me, home.Query{Box: home.Public, Authors: []message.Address{a}})
	if err != nil {
		return err
	}
	for _, m := range ms {
		seen[m.Ref] = m.Version
	}
	show := func() error {
		items, err := c.Posts(ctx, a)
		if err != nil {
			return err
		}
		for _, i := range items {
			if seen[i.Ref] >= i.Head.Version {
				continue
			}
			seen[i.Ref] = i.Head.Version
			if err := changed(i); err != nil {
				return &stopped{err}
			}
		}
		return nil
	}
	return c.keepOn(ctx, func(alive func()) error {
		return c.eachOrigin(ctx, a, func(p *rpc.Peer) error {
			if err := show(); err != nil {
				return err
			}
			epoch, seq, err := c.home.Cursor(ctx, c.me, postsLog(a)+" "+p.Address().String())
			if err != nil {
				return err
			}
			s, err := p.Exchange().Follow(ctx, &wirev1.FollowRequest{Address: a.Bytes(), After: &wirev1.Cursor{Epoch: epoch, Seq: seq}})
			if err != nil {
				return err
			}
			defer s.Close()
			for s.Receive() {
				alive()
				if now := s.Msg().GetNow(); now.GetEpoch() != epoch || now.GetSeq() != seq {
					epoch, seq = now.GetEpoch(), now.GetSeq()
					if err := show(); err != nil {
						return err
					}
				}
			}
			return s.Err()
		})
	})
}
