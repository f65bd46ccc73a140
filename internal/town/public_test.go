package town_test

import (
	"context"
	"slices"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
)

// TestPosts: whoever has the address reads what was published, without an
// account and without an identity.
func TestPosts(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		w.Tracker("hill")
		one := w.Server("one")
		ann := w.Resident("ann", one)
		eve := w.Passerby("eve")
		news := ann.Writes(client.Draft{Body: "news"})
		ann.Writes(client.Draft{Body: "about me, old", Name: "about"})
		gone := ann.Writes(client.Draft{Body: "oops"})
		ann.Writes(client.Draft{Body: "about me", Name: "about"})
		ann.Edits(news, "good news")
		ann.Recalls(gone)
		w.Check(slices.Equal(sorted(eve.Posts("ann")), []string{"about me", "good news"}), "eve reads %q", eve.Posts("ann"))
		named := message.Ref{From: ann.Address(), MID: message.NamedMID("about")}
		eve.Reads(named, "about me")
		ann.Recalls(named)
		w.Check(slices.Equal(eve.Posts("ann"), []string{"good news"}), "after the recall eve reads %q", eve.Posts("ann"))
		ann.Writes(client.Draft{Body: "about me again", Name: "about"})
		eve.Reads(named, "about me again")
		eve.CannotRead(gone, message.Recalled)
	})
}

// sorted is a sorted copy.
func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// TestFollow: a follower hears of a new post while connected, and finds it in
// the feed.
func TestFollow(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		w.Tracker("hill")
		one, two := w.Server("one"), w.Server("two")
		ann, bob := w.Resident("ann", one), w.Resident("bob", two)
		ann.Writes(client.Draft{Body: "first"})
		var heard []string
		bob.Does("follows", func(ctx context.Context, c *client.Client) error {
			if err := c.Follow(ctx, ann.Address()); err != nil {
				return err
			}
			return c.FollowPosts(ctx, ann.Address(), func(i *client.Item) error {
				body, _ := i.Content.Body()
				heard = append(heard, body)
				if len(heard) == 1 {
					ann.Writes(client.Draft{Body: "second"})
					return nil
				}
				return errEnough
			})
		}, errEnough)
		w.Check(slices.Equal(heard, []string{"first", "second"}), "bob heard %q", heard)
		bob.Does("looks into the feed", func(ctx context.Context, c *client.Client) error {
			items, err := c.Feed(ctx, 10)
			w.Check(len(items) == 2, "%d posts in the feed", len(items))
			return err
		})
	})
}
