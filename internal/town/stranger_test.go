package town_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/tracker"
)

// TestStrangers: what a stranger sends is a request, without text until it is
// asked for; allow brings it to the inbox, block ends it.
func TestStrangers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		w.Tracker("hill")
		one, two := w.Server("one"), w.Server("two")
		eve, bob := w.Resident("eve", one), w.Resident("bob", two)
		first := eve.Send("buy this", "bob")
		bob.AwaitsRequest(first)
		w.Check(!bob.Has(first), "a stranger's mail is in the inbox")
		_, err := two.Mail().Copies.Copy(t.Context(), bob.Address(), first)
		w.Check(message.CodeOf(err) == message.NotFound, "a stranger's mail was fetched on arrival: %v", err)
		bob.Verdict("eve", store.Allow)
		w.Awaits("the move to the inbox", func() bool { return bob.Has(first) })
		second := eve.Send("thank you", "bob")
		bob.Awaits(second, 1)
		w.Check(bob.Has(second), "an accepted sender's mail is not in the inbox")
		bob.Verdict("eve", store.Block)
		third := eve.Send("and this", "bob")
		d := eve.AwaitsState(third, "bob", store.NotTaken)
		w.Check(d.Reason == message.NotAccepted, "the refusal tells %v", d.Reason)
	})
}

// TestRequestsAreCapped: one stranger has five requests pending, and then the
// oldest unread make room.
func TestRequestsAreCapped(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		w.Tracker("hill")
		one, two := w.Server("one"), w.Server("two")
		eve, bob := w.Resident("eve", one), w.Resident("bob", two)
		const tried, most = 8, 5
		settled := 0
		for n := range tried {
			m := eve.Send(fmt.Sprintf("offer %d", n), "bob")
			w.Awaits("an answer", func() bool {
				s := eve.Delivery(m, "bob").State
				return s == store.Alerted || s == store.NotTaken
			})
			settled++
		}
		w.Check(settled == tried, "%d of %d were answered", settled, tried)
		bob.Does("looks", func(ctx context.Context, c *client.Client) error {
			if _, err := c.Sync(ctx); err != nil {
				return err
			}
			items, err := c.Inbox(ctx, client.InboxQuery{Requests: true})
			w.Check(len(items) <= most && len(items) > 0, "%d requests of one sender", len(items))
			return err
		})
	})
}

// TestWhoMayRead: a message is nobody's but its readers'; for everybody else it
// does not exist.
func TestWhoMayRead(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		eve, nobody := w.Resident("eve", two), w.Passerby("nobody")
		m := ann.Send("between us", "bob")
		bob.Awaits(m, 1)
		absent := message.Ref{From: ann.Address(), MID: message.MID{7}}
		for _, who := range []*town.Resident{eve, nobody} {
			who.CannotRead(m, message.NotFound)
			who.CannotRead(absent, message.NotFound)
		}
		bob.Reads(m, "between us")
	})
}

// TestPrivateTracker: a tracker with an allow-list tells strangers nothing.
func TestPrivateTracker(t *testing.T) {
	t.Parallel()
	w := town.New(t)
	hill := w.Tracker("hill", func(c *tracker.Config) { c.Private = true })
	allow := func(a message.Address) {
		err := hill.Records().Listings.SetListing(t.Context(), a, store.Allowed)
		w.Check(err == nil, "allow: %v", err)
	}
	one := w.Server("one", func(c *mailserver.Config) { allow(c.Keyring.Address()) })
	ann, bob := w.Resident("ann", one), w.Resident("bob", one)
	m := ann.Send("inside", "bob")
	bob.AwaitsRequest(m)
	bob.Reads(m, "inside")
	eve := w.Stranger("eve")
	for _, who := range []*town.Resident{eve, w.Passerby("nobody")} {
		who.Does("looks ann up", func(ctx context.Context, c *client.Client) error {
			p, err := c.Lookup(ctx, ann.Address().String())
			w.Check(err != nil && p == nil, "a stranger finds ann: %+v", p)
			return nil
		})
	}
	post := ann.Writes(client.Draft{Body: "for members"})
	allow(eve.Address())
	eve.Does("looks ann up, listed and without an account", func(ctx context.Context, c *client.Client) error {
		_, err := c.Lookup(ctx, ann.Address().String())
		return err
	})
	w.Check(slices.Equal(eve.Posts("ann"), []string{"for members"}), "eve does not find %v", post)
}

// TestAccounts: without an invitation nobody joins, with one only so many; who
// is suspended is not served.
func TestAccounts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		w.Tracker("hill")
		one := w.Server("one", func(c *mailserver.Config) { c.Accounts = mailserver.ByInvite })
		ann := w.Stranger("ann")
		join := func(invite string) func(ctx context.Context, c *client.Client) error {
			return func(ctx context.Context, c *client.Client) error {
				_, err := c.Register(ctx, client.Registration{Server: one.Reference(), Trackers: w.References(), Invite: invite})
				return err
			}
		}
		ann.Refused(message.Denied, "joins without an invitation", join(""))
		ann.Refused(message.Denied, "joins with a made-up one", join("please"))
		err := one.Mail().Invites.PutInvite(t.Context(), mailserver.InviteHash("welcome"), 1, farFuture())
		w.Check(err == nil, "invite: %v", err)
		ann.Does("joins", join("welcome"))
		w.Stranger("bob").Refused(message.Denied, "joins with a used one", join("welcome"))
		ann.Does("renews", join(""))
		suspended := true
		err = one.Mail().Accounts.ChangeAccount(t.Context(), ann.Address(), store.AccountChange{Suspended: &suspended})
		w.Check(err == nil, "suspend: %v", err)
		ann.Refused(message.Denied, "writes while suspended", func(ctx context.Context, c *client.Client) error {
			_, err := c.Send(ctx, client.Draft{Public: true, Body: "let me"})
			return err
		})
	})
}

// TestMove: an address moves to another server and keeps its mail coming.
func TestMove(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		before := ann.Send("before", "bob")
		bob.Awaits(before, 1)
		bob.Reads(before, "before")
		three := w.Server("three")
		bob.Moves(three)
		bob.Verdict("ann", store.Allow)
		two.Stop()
		after := ann.Send("after", "bob")
		bob.Awaits(after, 1)
		bob.Reads(after, "after")
		bob.Reads(before, "before")
		answer := bob.Send("I moved", "ann")
		ann.Awaits(answer, 1)
		ann.Reads(answer, "I moved")
	})
}
