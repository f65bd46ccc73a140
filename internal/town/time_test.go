package town_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/store"
)

// TestEphemeral: at its end the message is gone at the origin, at the reader's
// server and in both homes, each by its own clock.
func TestEphemeral(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := town.New(t)
		one, two, ann, bob := pair(w)
		carl := w.Resident("carl", two)
		short := client.Draft{Subject: "now or never", Body: "burn this", Terms: message.Ephemeral, Expires: time.Now().Add(2 * time.Hour)}
		m := ann.Writes(short, "bob", "carl")
		bob.Awaits(m, 1)
		carl.AwaitsRequest(m)
		bob.Reads(m, "burn this")
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		bob.CannotRead(m, message.Expired)
		carl.CannotRead(m, message.Expired)
		ann.CannotRead(m, message.Expired)
		versions, err := store.ServeOne(t.Context(), one.Mail().Outgoing, store.ServeItem{Ref: m}, message.Address{}, time.Now())
		w.Check(err == nil && len(versions) == 1 && len(versions[0].Payload) == 0 && len(versions[0].Slots) == 0, "the origin still has it: %d versions, %v", len(versions), err)
		_, err = two.Mail().Copies.Copy(t.Context(), bob.Address(), m)
		w.Check(message.CodeOf(err) == message.NotFound, "the reader's server still has it: %v", err)
		bob.Does("looks for it offline", func(ctx context.Context, c *client.Client) error {
			found, err := c.Search(ctx, []string{"burn"})
			w.Check(len(found) == 0, "the home still has it")
			return err
		})
	})
}

// TestNotice: after five days without an answer the sender is told, in the
// status and in the inbox; the tries go on, and the letter still arrives.
func TestNotice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := town.New(t)
		_, two, ann, bob := pair(w)
		two.Stop()
		m := ann.Send("any time", "bob")
		time.Sleep(4 * 24 * time.Hour)
		w.Check(!ann.Delivery(m, "bob").Overdue, "it is overdue after four days")
		time.Sleep(2 * 24 * time.Hour)
		d := ann.Delivery(m, "bob")
		w.Check(d.Overdue && d.State == store.Queued, "after six days: %+v", d)
		w.Check(d.Attempts > 20 && d.Attempts < 60, "%d attempts in six days", d.Attempts)
		ann.Does("looks into the inbox", func(ctx context.Context, c *client.Client) error {
			if _, err := c.Sync(ctx); err != nil {
				return err
			}
			notices, err := c.Notices(ctx)
			w.Check(len(notices) == 1 && notices[0].To == bob.Address() && notices[0].MID == m.MID, "the notices are %+v", notices)
			return err
		})
		time.Sleep(3 * 24 * time.Hour)
		ann.Does("looks again", func(ctx context.Context, c *client.Client) error {
			if _, err := c.Sync(ctx); err != nil {
				return err
			}
			notices, err := c.Notices(ctx)
			w.Check(len(notices) == 1, "%d notices after nine days", len(notices))
			return err
		})
		two.Start()
		time.Sleep(25 * time.Hour)
		w.Check(bob.Has(m), "it has not arrived a day after the server came back")
		bob.Reads(m, "any time")
		w.Check(!ann.Delivery(m, "bob").Overdue, "it is overdue although it arrived")
	})
}

// TestEditDuringAnAttempt: an edit that is made while the alert before it hangs
// goes out as soon as that attempt has failed.
func TestEditDuringAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := town.New(t)
		_, two, ann, bob := pair(w)
		end := two.Silence()
		m := ann.Send("one", "bob")
		time.Sleep(time.Second)
		ann.Edits(m, "two")
		time.Sleep(time.Second)
		end()
		two.Start()
		bob.Awaits(m, 2)
		bob.Reads(m, "two")
	})
}

// TestLongAbsence: who comes back after two months finds the mail, the account
// and the way to everybody else.
func TestLongAbsence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := town.New(t)
		_, _, ann, bob := pair(w)
		before := ann.Send("before", "bob")
		bob.Awaits(before, 1)
		time.Sleep(60 * 24 * time.Hour)
		after := ann.Send("are you well?", "bob")
		bob.Awaits(after, 1)
		bob.Reads(after, "are you well?")
		bob.Reads(before, "before")
		answer := bob.Send("I was away", "ann")
		ann.Awaits(answer, 1)
	})
}

// TestWatch: a device that watches hears of mail at once, and again after its
// server was away.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := town.New(t)
		_, two, ann, bob := pair(w)
		heard := make(chan message.Ref, 8)
		watching, enough := context.WithCancel(t.Context())
		done := make(chan error, 1)
		bob.Does("watches", func(_ context.Context, c *client.Client) error {
			go func() {
				done <- c.Watch(watching, func(s *client.Synced) error {
					for _, ref := range s.Changed {
						heard <- ref
					}
					return nil
				})
			}()
			return nil
		})
		first := ann.Send("first", "bob")
		begun := time.Now()
		w.Check(<-heard == first, "another message was heard of")
		w.Check(time.Since(begun) < time.Second, "it took %s", time.Since(begun))
		time.Sleep(time.Hour) // heartbeats keep it open
		second := ann.Send("second", "bob")
		w.Check(<-heard == second, "another message was heard of after an hour")
		two.Stop()
		third := ann.Send("third", "bob")
		time.Sleep(time.Hour)
		two.Start()
		w.Check(<-heard == third, "another message was heard of after the outage")
		enough()
		<-done
	})
}

// TestWrongClocks: a device whose clock is minutes off works, because the
// server tells it the time; one that is further off is told so, and nothing
// happens.
func TestWrongClocks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		off   time.Duration
		works bool
	}{
		"five minutes ahead":     {5 * time.Minute, true},
		"five minutes behind":    {-5 * time.Minute, true},
		"fifteen minutes ahead":  {15 * time.Minute, false},
		"fifteen minutes behind": {-15 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := town.New(t, town.OverSockets())
			w.Tracker("hill")
			one := w.Server("one")
			bob := w.Resident("bob", one)
			var m message.Ref
			there := time.Now().Add(c.off)
			// The device lives in a bubble of its own, whose clock is set by
			// sleeping until its time has come.
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(there))
				device := w.Stranger("ann")
				defer device.Leaves()
				device.Does("registers and writes", func(ctx context.Context, cl *client.Client) error {
					_, err := cl.Register(ctx, client.Registration{Server: one.Reference(), Trackers: w.References()})
					if !c.works {
						w.Check(errors.Is(err, message.Clock) || errors.Is(err, message.Expired), "registering: %v", err)
						return nil
					}
					if err != nil {
						return err
					}
					sent, err := cl.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Body: "what time is it?"})
					if err == nil {
						m = sent[0].Head.Ref()
					}
					return err
				})
			})
			if c.works {
				bob.AwaitsRequest(m)
				bob.Reads(m, "what time is it?")
			}
		})
	}
}
