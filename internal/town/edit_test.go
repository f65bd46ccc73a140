package town_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/store"
)

// pair is a tracker, two servers, and two people who know each other.
func pair(w *town.Town) (one, two *town.Host, ann, bob *town.Resident) {
	w.Tracker("hill")
	one, two = w.Server("one"), w.Server("two")
	ann, bob = w.Resident("ann", one), w.Resident("bob", two)
	bob.Verdict("ann", store.Allow)
	ann.Verdict("bob", store.Allow)
	return one, two, ann, bob
}

// TestEditIsSeen: the reader sees the edit, and keeps what was read before.
func TestEditIsSeen(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, _, ann, bob := pair(w)
		m := ann.Send("at ten", "bob")
		bob.Awaits(m, 1)
		bob.Reads(m, "at ten")
		ann.Edits(m, "at eleven")
		bob.Awaits(m, 2)
		bob.Reads(m, "at eleven")
		bob.Does("compares", func(ctx context.Context, c *client.Client) error {
			versions, err := c.Versions(ctx, m)
			var bodies []string
			for _, v := range versions {
				body, _ := v.Content.Body()
				bodies = append(bodies, body)
			}
			w.Check(slices.Equal(bodies, []string{"at ten", "at eleven"}), "bob has the versions %q", bodies)
			return err
		})
	})
}

// TestEditBeforeReading: who reads late reads the newest version alone.
func TestEditBeforeReading(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		two.Stop()
		m := ann.Send("one", "bob")
		ann.Edits(m, "two")
		ann.Edits(m, "three")
		two.Start()
		bob.Awaits(m, 3)
		bob.Reads(m, "three")
		w.Check(ann.Delivery(m, "bob").Version == 3, "the delivery is about another version")
	})
}

// TestTwoDevicesEdit: the second of two editors is told, and loses nothing.
func TestTwoDevicesEdit(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		one, _, ann, bob := pair(w)
		m := ann.Send("draft", "bob")
		laptop := ann.Device("laptop", one)
		laptop.Reads(m, "draft")
		ann.Edits(m, "from the phone")
		body := "from the laptop"
		laptop.Refused(message.Conflict, "edits what has changed", func(ctx context.Context, c *client.Client) error {
			_, err := c.Edit(ctx, m, client.Revision{Body: &body})
			return err
		})
		laptop.Reads(m, "from the phone")
		laptop.Edits(m, body)
		bob.Awaits(m, 3)
		bob.Reads(m, body)
	})
}

// TestRecallBeforeReading: there is nothing to read any more, and no copy of it
// anywhere.
func TestRecallBeforeReading(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		one, _, ann, bob := pair(w)
		m := ann.Send("never mind", "bob")
		bob.Awaits(m, 1)
		ann.Recalls(m)
		bob.Awaits(m, 2)
		bob.CannotRead(m, message.Recalled)
		versions, err := store.ServeOne(t.Context(), one.Mail().Outgoing, store.ServeItem{Ref: m}, message.Address{}, time.Now())
		w.Check(err == nil && len(versions) == 2, "%d versions stand at the origin: %v", len(versions), err)
		for _, v := range versions {
			w.Check(len(v.Payload) == 0 && len(v.Slots) == 0, "version %d still has a payload or slots", v.Number)
		}
	})
}

// TestRecallErasesPrefetchedCopy: what the reader's server fetched and no device
// has taken is erased by the tombstone.
func TestRecallErasesPrefetchedCopy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		m := ann.Send("never mind", "bob")
		w.Awaits("the copy", func() bool {
			_, err := two.Mail().Copies.Copy(t.Context(), bob.Address(), m)
			return err == nil
		})
		ann.Recalls(m)
		bob.Awaits(m, 2)
		_, err := two.Mail().Copies.Copy(t.Context(), bob.Address(), m)
		w.Check(message.CodeOf(err) == message.NotFound, "the copy is still there: %v", err)
		bob.CannotRead(m, message.Recalled)
	})
}

// TestRecallAfterReading: what was read stays with the reader, who is told.
func TestRecallAfterReading(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, _, ann, bob := pair(w)
		m := ann.Send("too early", "bob")
		bob.Awaits(m, 1)
		bob.Reads(m, "too early")
		ann.Recalls(m)
		bob.Awaits(m, 2)
		if r := bob.Reads(m, "too early"); r != nil {
			w.Check(r.State == client.StateRecalled, "the reader sees it as %s", r.State)
		}
		ann.Refused(message.Recalled, "recalls again", func(ctx context.Context, c *client.Client) error {
			_, err := c.Recall(ctx, m)
			return err
		})
	})
}

// TestFinal: a final message has one version, and is taken back only while
// nobody has it.
func TestFinal(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		w.Tracker("hill")
		one, two := w.Server("one"), w.Server("two")
		ann, bob := w.Resident("ann", one), w.Resident("bob", two) // strangers: nothing is prefetched
		final := client.Draft{Subject: "signed", Body: "as agreed", Terms: message.Final}
		kept, taken := ann.Writes(final, "bob"), ann.Writes(final, "bob")
		bob.AwaitsRequest(kept)
		bob.AwaitsRequest(taken)
		body := "otherwise"
		ann.Refused(message.Contract, "edits a final message", func(ctx context.Context, c *client.Client) error {
			_, err := c.Edit(ctx, kept, client.Revision{Body: &body})
			return err
		})
		ann.Recalls(taken)
		bob.Reads(kept, "as agreed")
		ann.Refused(message.AlreadyFetched, "recalls what was fetched", func(ctx context.Context, c *client.Client) error {
			_, err := c.Recall(ctx, kept)
			return err
		})
		bob.Awaits(taken, 2)
		bob.CannotRead(taken, message.Recalled)
		bob.Reads(kept, "as agreed")
	})
}
