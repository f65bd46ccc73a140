package client

import (
	"context"
	"errors"
	"time"

	"airdispatch/message"
	"airdispatch/store/home"
)

// Follow remembers an address whose posts appear in the Feed; Unfollow forgets
// it. Errors of Unfollow: message.NotFound.
func (c *Client) Follow(ctx context.Context, a message.Address) error {
	return c.home.SetFollow(ctx, c.me, a, true, time.Now())
}

// Unfollow forgets a followed address. Errors: message.NotFound.
func (c *Client) Unfollow(ctx context.Context, a message.Address) error {
	return c.home.SetFollow(ctx, c.me, a, false, time.Now())
}

// Follows is whom one follows.
func (c *Client) Follows(ctx context.Context) ([]home.Follow, error) {
	return c.home.Follows(ctx, c.me)
}

// Feed reads the posts of everybody one follows, oldest first; limit is how
// many of the newest, 0 is all. An author whose server cannot be asked hides no
// other: what is in the home is shown, and the errors are returned beside it.
func (c *Client) Feed(ctx context.Context, limit int) ([]*Item, error) {
	follows, err := c.home.Follows(ctx, c.me)
	if err != nil || len(follows) == 0 {
		return nil, err
	}
	var authors []message.Address
	var errs []error
	for _, f := range follows {
		authors = append(authors, f.Address)
		if err := c.SyncPosts(ctx, f.Address); err != nil {
			errs = append(errs, err)
		}
	}
	ms, err := c.home.List(ctx, c.me, home.Query{Box: home.Public, Authors: authors, Limit: limit})
	if err != nil {
		return nil, err
	}
	items, err := c.shown(ctx, ms)
	return items, errors.Join(append(errs, err)...)
}
