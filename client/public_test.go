package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/store"
)

func bodies(items []*client.Item) []string {
	var out []string
	for _, i := range items {
		body, _ := i.Content.Body()
		out = append(out, body)
	}
	return out
}

func TestPosts(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann := w.Resident("ann", one)
	eve := w.Passerby("eve")
	posts := func(want ...string) {
		t.Helper()
		eve.Does("reads posts", func(ctx context.Context, c *client.Client) error {
			items, err := c.Posts(ctx, ann.Address())
			if err != nil {
				return err
			}
			if got := bodies(items); !slices.Equal(got, want) {
				return fmt.Errorf("%q, not %q", got, want)
			}
			return nil
		})
	}
	posts()
	first := ann.Writes(client.Draft{Body: "first"})
	ann.Writes(client.Draft{Body: "about me", Name: "about"})
	posts("first", "about me")
	// A name is one register: the next takes the place of what stood there.
	ann.Writes(client.Draft{Body: "about me, again", Name: "about"})
	ann.Edits(first, "first, edited")
	posts("about me, again", "first, edited")
	eve.Reads(first, "first, edited")
	eve.Does("reads by name", func(ctx context.Context, c *client.Client) error {
		ref, err := c.Find(ctx, ann.Address().String()+"::about")
		if err != nil {
			return err
		}
		r, err := c.Read(ctx, ref, client.ReadOptions{})
		if err != nil {
			return err
		}
		body, _ := r.Content.Body()
		return errors.Join(same("body", body, "about me, again"), same("state", r.State, client.StatePublished), same("version", r.Shown, 2))
	})
	ann.Recalls(first)
	posts("about me, again")
	eve.Does("reads what was taken back", func(ctx context.Context, c *client.Client) error {
		r, err := c.Read(ctx, first, client.ReadOptions{})
		if err != nil {
			return err
		}
		return same("state", r.State, client.StateRecalled)
	})
	w.Passerby("carl").CannotRead(first, message.Recalled)
	// Offline, what was read is here.
	one.Stop()
	eve.Refused(message.Unavailable, "reads posts of a server that is down", func(ctx context.Context, c *client.Client) error {
		items, err := c.Posts(ctx, ann.Address())
		if got := bodies(items); len(got) != 1 {
			return fmt.Errorf("%q", got)
		}
		return err
	})
	eve.Refused(message.NotFound, "reads posts of nobody", func(ctx context.Context, c *client.Client) error {
		_, err := c.Posts(ctx, message.Address{7})
		return err
	})
}

func TestFollowing(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", one)
	eve := w.Passerby("eve")
	ann.Writes(client.Draft{Body: "a1"})
	bob.Writes(client.Draft{Body: "b1"})
	enough := errors.New("enough")
	eve.Does("follows", func(ctx context.Context, c *client.Client) error {
		if items, err := c.Feed(ctx, 0); err != nil || len(items) != 0 {
			return fmt.Errorf("%d posts of nobody: %w", len(items), err)
		}
		if err := errors.Join(c.Follow(ctx, ann.Address()), c.Follow(ctx, bob.Address()), c.Follow(ctx, ann.Address())); err != nil {
			return err
		}
		items, err := c.Feed(ctx, 0)
		if err != nil {
			return err
		}
		if got := bodies(items); !slices.Equal(got, []string{"a1", "b1"}) {
			return fmt.Errorf("%q", got)
		}
		if err := c.Unfollow(ctx, bob.Address()); err != nil {
			return err
		}
		follows, err := c.Follows(ctx)
		if err != nil || len(follows) != 1 || follows[0].Address != ann.Address() {
			return fmt.Errorf("%v: %w", follows, err)
		}
		if err := c.Unfollow(ctx, bob.Address()); !errors.Is(err, message.NotFound) {
			return fmt.Errorf("unfollowed twice: %w", err)
		}
		items, err = c.Feed(ctx, 1)
		return errors.Join(err, same("posts", len(items), 1))
	})
	eve.Does("listens", func(ctx context.Context, c *client.Client) error {
		said := make(chan struct{})
		go func() {
			defer close(said)
			ann.Writes(client.Draft{Body: "a2"})
		}()
		err := c.FollowPosts(ctx, ann.Address(), func(i *client.Item) error {
			if body, _ := i.Content.Body(); body != "a2" {
				return fmt.Errorf("heard %q", body)
			}
			return enough
		})
		<-said
		return same("the end", errors.Is(err, enough), true)
	})
}

func TestWatch(t *testing.T) {
	_, ann, bob := twoServers(t)
	enough := errors.New("enough")
	bob.Does("watches", func(ctx context.Context, c *client.Client) error {
		sent := make(chan message.Ref, 1)
		go func() { sent <- ann.Send("now", "bob") }()
		var heard []message.Ref
		err := c.Watch(ctx, func(s *client.Synced) error {
			heard = append(heard, s.Changed...)
			return enough
		})
		m := <-sent
		return errors.Join(same("the end", errors.Is(err, enough), true), same("heard", slices.Contains(heard, m), true))
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	bob.Does("stops watching", func(_ context.Context, c *client.Client) error {
		err := c.Watch(ctx, func(*client.Synced) error { return nil })
		return same("interrupted", errors.Is(err, context.Canceled), true)
	})
}

func TestProfiles(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	ann := w.Resident("ann", w.Server("one"))
	eve := w.Passerby("eve")
	eve.Refused(message.NotFound, "reads no profile", func(ctx context.Context, c *client.Client) error {
		_, err := c.Profile(ctx, ann.Address())
		return err
	})
	set := func(name, about *string) {
		ann.Does("says who she is", func(ctx context.Context, c *client.Client) error {
			_, err := c.SetProfile(ctx, name, about)
			return err
		})
	}
	set(text("Ann"), text("of the hill"))
	set(nil, text("of the valley"))
	eve.Does("reads", func(ctx context.Context, c *client.Client) error {
		p, err := c.Profile(ctx, ann.Address())
		if err != nil {
			return err
		}
		return errors.Join(same("name", p.Name, "Ann"), same("about", p.About, "of the valley"), same("version", p.Item.Shown, 2))
	})
}

func TestNamesArePinned(t *testing.T) {
	w := town.New(t)
	hill := w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", one)
	name := "ann@" + strings.TrimPrefix(hill.Reference().URL, "https://")
	ann.Does("claims a name", func(ctx context.Context, c *client.Client) error {
		got, err := c.Claim(ctx, "ann")
		return errors.Join(err, same("name", got, name))
	})
	bob.Refused(message.NameTaken, "claims the same", func(ctx context.Context, c *client.Client) error {
		_, err := c.Claim(ctx, "ann")
		return err
	})
	bob.Refused(message.Invalid, "claims what is no name", func(ctx context.Context, c *client.Client) error {
		_, err := c.Claim(ctx, "AD1")
		return err
	})
	bob.Does("resolves it", func(ctx context.Context, c *client.Client) error {
		p, err := c.Lookup(ctx, name)
		if err != nil {
			return err
		}
		pins, err := c.Pins(ctx)
		if err != nil || len(pins) != 1 || pins[0].Name != name {
			return fmt.Errorf("%v: %w", pins, err)
		}
		contact, err := c.AddContact(ctx, name, "Ann")
		if err != nil {
			return err
		}
		found, err := c.Resolve(ctx, "ANN")
		return errors.Join(err, same("address", p.Address, ann.Address()), same("contact", contact.Address, ann.Address()), same("found", found, ann.Address()))
	})
	bob.Refused(message.NotFound, "accepts what has not changed", func(ctx context.Context, c *client.Client) error {
		_, err := c.Accept(ctx, name)
		return err
	})
	bob.Refused(message.NotFound, "accepts what nobody disagrees about", func(ctx context.Context, c *client.Client) error {
		_, err := c.Accept(ctx, ann.Address().String())
		return err
	})
	bob.Refused(message.NotFound, "writes to a name that nobody has", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{"carl" + strings.TrimPrefix(name, "ann")}, Body: "x"})
		return err
	})
	bob.Refused(message.Conflict, "names two people alike", func(ctx context.Context, c *client.Client) error {
		_, err := c.AddContact(ctx, bob.Address().String(), "ann")
		return err
	})
	// Where the tracker is away, the pin counts.
	hill.Stop()
	bob.Restarts()
	bob.Does("resolves it from memory", func(ctx context.Context, c *client.Client) error {
		a, err := c.Resolve(ctx, name)
		return errors.Join(err, same("address", a, ann.Address()), c.RemoveContact(ctx, "ann"))
	})
	bob.Refused(message.NotFound, "removes a contact twice", func(ctx context.Context, c *client.Client) error { return c.RemoveContact(ctx, "ann") })
	// Nothing is sealed to cards that nobody confirms.
	bob.Refused(message.Unavailable, "writes while no tracker is up", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{ann.Address().String()}, Body: "x"})
		return err
	})
}

func TestComingAndGoing(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one, two := w.Server("one"), w.Server("two")
	ann, bob := w.Resident("ann", one), w.Resident("bob", two)
	ann.Does("is well", func(ctx context.Context, c *client.Client) error {
		for _, f := range c.Doctor(ctx) {
			if !f.Fine {
				return fmt.Errorf("%+v", f)
			}
		}
		return nil
	})
	m := ann.Send("keep this", "bob")
	bob.AwaitsRequest(m)
	bob.Reads(m, "keep this")
	// A move to another server: the address stays.
	bob.Does("moves", func(ctx context.Context, c *client.Client) error {
		a, err := c.Account(ctx)
		if err != nil {
			return err
		}
		if _, err := c.Register(ctx, client.Registration{Server: one.Reference(), Trackers: a.Trackers}); err != nil {
			return err
		}
		return c.SetVerdict(ctx, ann.Address(), store.Allow)
	})
	ann.Does("looks where he is", func(ctx context.Context, c *client.Client) error {
		p, err := c.Lookup(ctx, bob.Address().String())
		if err != nil {
			return err
		}
		servers := p.Found.Subject.Route.Servers(message.PurposeInbox)
		return errors.Join(same("servers", len(servers), 1), same("server", servers[0], one.Address()), same("confirmed", p.Found.Confirmed, true))
	})
	bob.Does("leaves", func(ctx context.Context, c *client.Client) error { return c.Unregister(ctx) })
	bob.Refused(client.ErrNoAccount, "asks for mail", func(ctx context.Context, c *client.Client) error {
		_, err := c.Sync(ctx)
		return err
	})
	bob.Does("still has what was read", func(ctx context.Context, c *client.Client) error {
		r, err := c.Read(ctx, m, client.ReadOptions{Offline: true})
		if err != nil {
			return err
		}
		body, _ := r.Content.Body()
		return same("body", body, "keep this")
	})
	ann.Refused(message.NotFound, "writes to somebody who is nowhere", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Body: "x"})
		return err
	})
	ann.Refused(message.Invalid, "writes to a mail server", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{one.Address().String()}, Body: "x"})
		return err
	})
	eve := w.Stranger("eve")
	eve.Refused(message.Invalid, "registers at a tracker", func(ctx context.Context, c *client.Client) error {
		_, err := c.Register(ctx, client.Registration{Server: w.Tracker("dale").Reference(), Trackers: []message.Reference{one.Reference()}})
		return err
	})
	wrong := one.Reference()
	wrong.Address = two.Address()
	eve.Refused(message.BadSignature, "registers at somebody else", func(ctx context.Context, c *client.Client) error {
		_, err := c.Register(ctx, client.Registration{Server: wrong, Trackers: []message.Reference{one.Reference()}})
		return err
	})
}

func TestVerdicts(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", one)
	bob.Does("blocks", func(ctx context.Context, c *client.Client) error {
		if err := c.SetVerdict(ctx, ann.Address(), store.Block); err != nil {
			return err
		}
		rules, err := c.Policies(ctx)
		return errors.Join(err, same("verdict", rules[ann.Address()], store.Block))
	})
	m := ann.Send("unwanted", "bob")
	w.Awaits("the refusal", func() (refused bool) {
		ann.Does("asks", func(ctx context.Context, c *client.Client) error {
			p, err := c.Status(ctx, m)
			if err == nil {
				refused = p.Deliveries[0].State == store.NotTaken
			}
			return err
		})
		return refused
	})
	bob.Does("forgets", func(ctx context.Context, c *client.Client) error {
		if err := c.SetVerdict(ctx, ann.Address(), store.Stranger); err != nil {
			return err
		}
		rules, err := c.Policies(ctx)
		return errors.Join(err, same("rules", len(rules), 0))
	})
}
