package town

import (
	"context"
	"errors"
	"fmt"

	"airdispatch/client"
	"airdispatch/message"
	"airdispatch/store"
)

// Send writes to people, by their names, and returns the message.
func (r *Resident) Send(body string, to ...string) message.Ref {
	r.town.t.Helper()
	return r.Writes(client.Draft{Subject: "a letter", Body: body}, to...)
}

// Writes sends a draft to people, by their names; to nobody it is a public
// message.
func (r *Resident) Writes(d client.Draft, to ...string) message.Ref {
	r.town.t.Helper()
	var ref message.Ref
	r.Does("writes", func(ctx context.Context, c *client.Client) (err error) {
		if d.To, err = r.town.addresses(to); err != nil {
			return err
		}
		d.Public = len(d.To)+len(d.Bcc) == 0
		sent, err := c.Send(ctx, d)
		if err != nil {
			return err
		}
		ref = sent[0].Head.Ref()
		return nil
	})
	return ref
}

// Edits replaces the body of a message.
func (r *Resident) Edits(m message.Ref, body string) {
	r.town.t.Helper()
	r.Does("edits", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, m, client.Revision{Body: &body})
		return err
	})
}

// Recalls takes a message back.
func (r *Resident) Recalls(m message.Ref) {
	r.town.t.Helper()
	r.Does("recalls", func(ctx context.Context, c *client.Client) error {
		_, err := c.Recall(ctx, m)
		return err
	})
}

// Awaits waits until the inbox shows a message in this version or a newer one.
func (r *Resident) Awaits(m message.Ref, version uint64) {
	r.town.t.Helper()
	r.town.Awaits(fmt.Sprintf("version %d at %s", version, r.name), func() bool {
		i := r.entry(m)
		return i != nil && i.Head.Version >= version
	})
}

// AwaitsRequest waits until a message lies among the requests.
func (r *Resident) AwaitsRequest(m message.Ref) {
	r.town.t.Helper()
	r.town.Awaits("a request at "+r.name, func() bool { return r.listed(m, client.InboxQuery{Requests: true}) })
}

// Has reports whether the inbox, brought up to date, shows a message.
func (r *Resident) Has(m message.Ref) bool {
	r.town.t.Helper()
	return r.entry(m) != nil && r.listed(m, client.InboxQuery{})
}

// entry is a received message after the inbox was brought up to date; nil for
// one that is not there.
func (r *Resident) entry(m message.Ref) (found *client.Item) {
	r.town.t.Helper()
	r.Does("looks for a message", func(ctx context.Context, c *client.Client) error {
		if _, err := c.Sync(ctx); err != nil {
			return err
		}
		i, err := c.Message(ctx, m)
		if errors.Is(err, message.NotFound) {
			return nil
		}
		found = i
		return err
	})
	return found
}

// listed reports whether a list shows a message, after the inbox was brought up
// to date.
func (r *Resident) listed(m message.Ref, q client.InboxQuery) (found bool) {
	r.town.t.Helper()
	r.Does("looks into a list", func(ctx context.Context, c *client.Client) error {
		if _, err := c.Sync(ctx); err != nil {
			return err
		}
		items, err := c.Inbox(ctx, q)
		for _, i := range items {
			found = found || i.Ref == m
		}
		return err
	})
	return found
}

// Reads reads a message, which must say this now and come from its origin.
func (r *Resident) Reads(m message.Ref, want string) *client.Reading {
	r.town.t.Helper()
	return r.read(m, want, false)
}

// ReadsCopy reads a message whose origin cannot be asked: the copy says this.
func (r *Resident) ReadsCopy(m message.Ref, want string) *client.Reading {
	r.town.t.Helper()
	return r.read(m, want, true)
}

// read reads and compares.
func (r *Resident) read(m message.Ref, want string, fallsBack bool) (got *client.Reading) {
	r.town.t.Helper()
	r.Does("reads", func(ctx context.Context, c *client.Client) error {
		i, err := c.Read(ctx, m, client.ReadOptions{})
		if err != nil {
			return err
		}
		if body, _ := i.Content.Body(); body != want {
			return fmt.Errorf("it says %q, not %q", body, want)
		}
		if (i.Unasked != nil) != fallsBack {
			return fmt.Errorf("asking the origin: %w", errors.Join(i.Unasked, errors.New("not as expected")))
		}
		got = i
		return nil
	})
	return got
}

// CannotRead says that reading a message is refused for this reason.
func (r *Resident) CannotRead(m message.Ref, reason error) {
	r.town.t.Helper()
	r.Refused(reason, "reads", func(ctx context.Context, c *client.Client) error {
		_, err := c.Read(ctx, m, client.ReadOptions{})
		return err
	})
}

// Verdict is what a person thinks of another, by name.
func (r *Resident) Verdict(of string, v store.Verdict) {
	r.town.t.Helper()
	r.Does("judges "+of, func(ctx context.Context, c *client.Client) error {
		a, err := r.town.addresses([]string{of})
		if err != nil {
			return err
		}
		address, err := message.ParseAddress(a[0])
		if err != nil {
			return err
		}
		return c.SetVerdict(ctx, address, v)
	})
}

// Delivery is how far a message has come for somebody, by name.
func (r *Resident) Delivery(m message.Ref, to string) (found client.Delivery) {
	r.town.t.Helper()
	r.Does("asks for the status", func(ctx context.Context, c *client.Client) error {
		a, err := r.town.addresses([]string{to})
		if err != nil {
			return err
		}
		p, err := c.Status(ctx, m)
		if err != nil {
			return err
		}
		for _, d := range p.Deliveries {
			if d.To.String() == a[0] {
				found = d
				return nil
			}
		}
		return fmt.Errorf("no delivery to %s", to)
	})
	return found
}

// AwaitsState waits until a message has come so far for somebody.
func (r *Resident) AwaitsState(m message.Ref, to string, state store.DeliveryState) client.Delivery {
	r.town.t.Helper()
	var d client.Delivery
	r.town.Awaits(fmt.Sprintf("state %d for %s", state, to), func() bool {
		d = r.Delivery(m, to)
		return d.State == state
	})
	return d
}

// Posts is what a person finds that somebody has published, by name: the bodies,
// oldest first.
func (r *Resident) Posts(of string) (bodies []string) {
	r.town.t.Helper()
	r.Does("reads the posts of "+of, func(ctx context.Context, c *client.Client) error {
		a, err := r.town.addresses([]string{of})
		if err != nil {
			return err
		}
		address, err := message.ParseAddress(a[0])
		if err != nil {
			return err
		}
		items, err := c.Posts(ctx, address)
		for _, i := range items {
			body, _ := i.Content.Body()
			bodies = append(bodies, body)
		}
		return err
	})
	return bodies
}
