package town_test

import (
	"context"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/store"
)

// TestRestoredServerAsksAgain: what a server took in after its backup was made
// comes back from where it was sent, to devices that never had it; what had been
// read stays read.
func TestRestoredServerAsksAgain(t *testing.T) {
	t.Parallel()
	w := town.New(t, town.Keep(town.InFiles))
	_, two, ann, bob := pair(w)
	before := ann.Send("before", "bob")
	bob.Awaits(before, 1)
	two.Stop()
	backup := two.Copy()
	two.Start()
	after := ann.Send("after", "bob")
	unread := ann.Send("unread", "bob")
	bob.Awaits(after, 1)
	bob.Awaits(unread, 1)
	bob.Reads(after, "after")
	two.Stop()
	two.Restore(backup)
	two.Start()
	w.Check(two.Mail().Log.RaiseEpoch(t.Context()) == nil, "raise the epoch")
	two.Stop()
	two.Start()
	tablet := bob.Device("tablet", two)
	tablet.Awaits(after, 1)
	tablet.Awaits(unread, 1)
	tablet.Reads(after, "after")
	tablet.Reads(before, "before")
	bob.Does("looks at what is unread", func(ctx context.Context, c *client.Client) error {
		if _, err := c.Sync(ctx); err != nil {
			return err
		}
		items, err := c.Inbox(ctx, client.InboxQuery{Unread: true})
		for _, i := range items {
			w.Check(i.Ref != after, "what was read is unread again")
		}
		return err
	})
}

// TestMoveBringsMail: what the old server was alerted to, and nobody has read, is
// in the new inbox, from people who were known and from strangers; who was blocked
// is blocked there, too.
func TestMoveBringsMail(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"from a server that answers": false, "from one that is gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, w *town.Town) {
				one, two, ann, bob := pair(w)
				three := w.Server("three")
				carl := w.Resident("carl", one)
				m := ann.Send("for you", "bob")
				read := ann.Send("read before", "bob")
				request := carl.Send("we have not met", "bob")
				bob.Awaits(m, 1)
				bob.Awaits(read, 1)
				bob.Reads(read, "read before")
				bob.AwaitsRequest(request)
				if gone {
					two.Stop()
				}
				bob.Moves(three)
				w.Awaits("what was sent before", func() bool {
					_, err := three.Mail().Incoming.Entry(t.Context(), bob.Address(), m)
					return err == nil
				})
				tablet := bob.Device("tablet", three)
				tablet.Awaits(m, 1)
				tablet.Reads(m, "for you")
				tablet.AwaitsRequest(request)
				w.Check(tablet.Has(m), "it is not in the inbox")
				w.Awaits("what was read", func() bool {
					bob.Does("syncs", func(ctx context.Context, c *client.Client) error { _, err := c.Sync(ctx); return err })
					e, err := three.Mail().Incoming.Entry(t.Context(), bob.Address(), read)
					return err == nil && e.Read
				})
			})
		})
	}
}

// TestOldServerSendsOn: a server that somebody has left takes no mail for them; the
// sender's server looks up where they are now.
func TestOldServerSendsOn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		three := w.Server("three")
		first := ann.Send("here", "bob") // the sender's server now knows where bob is
		bob.Awaits(first, 1)
		bob.Moves(three)
		m := ann.Send("there", "bob")
		bob.Awaits(m, 1)
		bob.Reads(m, "there")
		_, err := two.Mail().Incoming.Entry(t.Context(), bob.Address(), m)
		w.Check(message.CodeOf(err) == message.NotFound, "the old server took it: %v", err)
		w.Check(ann.Delivery(m, "bob").State >= store.Alerted, "the sender was not told")
	})
}

// TestInquiryGoesOn: a question that could not be asked is asked later, also by a
// server that was stopped meanwhile.
func TestInquiryGoesOn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		one, _, ann, bob := pair(w)
		three := w.Server("three")
		m := ann.Send("for you", "bob")
		bob.Awaits(m, 1)
		one.Stop()
		bob.Moves(three)
		three.Stop()
		one.Start()
		three.Start()
		w.Awaits("what was sent before", func() bool {
			_, err := three.Mail().Incoming.Entry(t.Context(), bob.Address(), m)
			return err == nil
		})
	})
}

// TestMoveLeavesNothing: what waits at a server when its author leaves is brought
// from there, and can be pulled, edited elsewhere or not; what the old server took
// in unheard is heard.
func TestMoveLeavesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		three := w.Server("three")
		w.Cut("one", "two")
		waits := ann.Send("on its way", "bob")
		ann.Moves(three)
		w.Mend("one", "two")
		bob.Awaits(waits, 1)
		bob.Reads(waits, "on its way")

		unheard := ann.Send("not heard of", "bob")
		w.Awaits("the alert", func() bool {
			_, err := two.Mail().Incoming.Entry(t.Context(), bob.Address(), unheard)
			return err == nil
		})
		bob.Moves(three)
		bob.Reads(unheard, "not heard of")
	})
}
