package town_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/store"
)

// TestStatus: the sender sees how far a message has come, and whose word stands
// behind it.
func TestStatus(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		w.Tracker("hill")
		one, two := w.Server("one"), w.Server("two")
		ann, bob := w.Resident("ann", one), w.Resident("bob", two)
		two.Stop()
		m := ann.Send("where are you?", "bob")
		w.Check(ann.Delivery(m, "bob").State == store.Queued, "not queued while the server is down")
		two.Start()
		d := ann.AwaitsState(m, "bob", store.Alerted)
		w.Check(d.Signed && d.Version == 1, "alerted without the server's signed word: %+v", d)
		bob.AwaitsRequest(m)
		bob.Reads(m, "where are you?")
		d = ann.AwaitsState(m, "bob", store.Fetched)
		w.Check(d.Signed, "fetched without a signature: %+v", d)
		bob.Does("says so", func(ctx context.Context, c *client.Client) error {
			_, err := c.Read(ctx, m, client.ReadOptions{Opened: true})
			return err
		})
		d = ann.AwaitsState(m, "bob", store.OpenedFor)
		w.Check(d.Signed, "opened without the reader's signature: %+v", d)
	})
}

// TestServerDown: what was accepted while the recipient's server was down is
// delivered when it is back, and what it had is still there.
func TestServerDown(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		one, two, ann, bob := pair(w)
		before := ann.Send("before", "bob")
		bob.Awaits(before, 1)
		two.Stop()
		meanwhile := ann.Send("meanwhile", "bob")
		one.Stop()
		one.Start() // the outbox survives the sender's server, too
		two.Start()
		bob.Awaits(meanwhile, 1)
		bob.Reads(meanwhile, "meanwhile")
		bob.Reads(before, "before")
	})
}

// TestOriginDown: what the reader's server fetched on arrival can be read while
// the sender's server is down, and says so; what was read stays readable without
// any server.
func TestOriginDown(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		one, two, ann, bob := pair(w)
		m := ann.Send("in time", "bob")
		bob.Awaits(m, 1)
		w.Awaits("the copy", func() bool {
			_, err := two.Mail().Copies.Copy(t.Context(), bob.Address(), m)
			return err == nil
		})
		one.Stop()
		bob.ReadsCopy(m, "in time")
		two.Stop()
		bob.Restarts()
		bob.ReadsCopy(m, "in time")
		bob.Does("reads offline", func(ctx context.Context, c *client.Client) error {
			_, err := c.Read(ctx, m, client.ReadOptions{Offline: true})
			return err
		})
		unknown := message.Ref{From: ann.Address(), MID: message.MID{1}}
		bob.CannotRead(unknown, message.Unavailable)
	})
}

// TestLinkCut: a cut between the servers delays and loses nothing.
func TestLinkCut(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, _, ann, bob := pair(w)
		w.Cut("one", "two")
		m := ann.Send("around the corner", "bob")
		w.Awaits("an attempt", func() bool { return ann.Delivery(m, "bob").Attempts > 1 })
		w.Check(!bob.Has(m), "it came over a cut link")
		w.Mend("one", "two")
		bob.Awaits(m, 1)
		bob.Reads(m, "around the corner")
	})
}

// TestDuplicateAlert: an alert that is brought again is shown once, and unread
// mail stays as it is.
func TestDuplicateAlert(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		one, two, ann, bob := pair(w)
		m := ann.Send("once", "bob")
		bob.Awaits(m, 1)
		bob.Reads(m, "once")
		first := ann.AwaitsState(m, "bob", store.Fetched)
		w.Check(bob.Has(m), "it is not in the inbox")
		before, err := two.Mail().Incoming.Entry(t.Context(), bob.Address(), m)
		w.Check(err == nil && before.Read, "the entry is %+v: %v", before, err)
		err = one.Mail().Tasks.AddTasks(t.Context(), []store.Task{{
			Kind: store.TaskAlert, Ref: m, Version: 1, Peer: bob.Address(), Queued: first.Time, Due: first.Time,
		}})
		w.Check(err == nil, "add a task: %v", err)
		another := ann.Send("twice", "bob") // wakes the courier
		bob.Awaits(another, 1)
		w.Awaits("the second alert", func() bool {
			_, err := one.Mail().Tasks.NextDue(t.Context(), store.TaskAlert)
			return message.CodeOf(err) == message.NotFound
		})
		after, err := two.Mail().Incoming.Entry(t.Context(), bob.Address(), m)
		w.Check(err == nil && after.Seq == before.Seq && after.Read, "the entry became %+v: %v", after, err)
		bob.Does("looks", func(ctx context.Context, c *client.Client) error {
			items, err := c.Inbox(ctx, client.InboxQuery{})
			w.Check(len(items) == 2, "the inbox has %d entries", len(items))
			return err
		})
	})
}

// TestTrackerDown: mail flows without the tracker where everybody knows
// everybody; sealing to somebody needs its word, and a draft waits for it.
func TestTrackerDown(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		hill := w.Tracker("hill")
		one, two := w.Server("one"), w.Server("two")
		ann, bob := w.Resident("ann", one), w.Resident("bob", two)
		bob.Verdict("ann", store.Allow)
		known := ann.Send("known", "bob")
		bob.Awaits(known, 1)
		two.Stop()
		before := ann.Send("before", "bob")
		hill.Stop()
		two.Start()
		bob.Awaits(before, 1)
		bob.Reads(before, "before")
		ann.Refused(message.Unavailable, "writes without a tracker", func(ctx context.Context, c *client.Client) error {
			_, err := c.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Body: "later"})
			return err
		})
		hill.Start()
		var m message.Ref
		ann.Does("sends the draft", func(ctx context.Context, c *client.Client) error {
			drafts, err := c.Drafts(ctx)
			if err != nil || len(drafts) != 1 {
				w.Check(false, "%d drafts: %v", len(drafts), err)
				return err
			}
			sent, err := c.SendDraft(ctx, drafts[0].ID)
			if err == nil {
				m = sent[0].Head.Ref()
			}
			return err
		})
		bob.Awaits(m, 1)
		bob.Reads(m, "later")
	})
}

// TestAttachments: a file goes along sealed, is kept once however many read it,
// and comes out as it went in.
func TestAttachments(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		one, two, ann, bob := pair(w)
		carl := w.Resident("carl", two)
		dir := t.TempDir()
		path, want := filepath.Join(dir, "plan.bin"), make([]byte, 3<<20+77)
		_, _ = rand.Read(want)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		m := ann.Writes(client.Draft{Subject: "the plan", Body: "see there", Attach: []client.File{{Path: path}}}, "bob", "carl")
		bob.Awaits(m, 1)
		carl.AwaitsRequest(m)
		for _, r := range []*town.Resident{bob, carl} {
			r.Reads(m, "see there")
			r.Does("saves", func(ctx context.Context, c *client.Client) error {
				a, err := c.Attachment(ctx, m, "plan.bin")
				if err != nil {
					return err
				}
				saved, err := c.Save(ctx, m, a, t.TempDir(), "")
				if err != nil {
					return err
				}
				got, err := os.ReadFile(saved)
				w.Check(bytes.Equal(got, want), "%d bytes came out, %d went in", len(got), len(want))
				return err
			})
		}
		account, err := one.Mail().Accounts.Account(t.Context(), ann.Address())
		w.Check(err == nil && account.BytesUsed > int64(len(want)) && account.BytesUsed < 2*int64(len(want)), "it takes %d bytes: %v", account.BytesUsed, err)
	})
}

// TestRecipientsAndBlindCopies: who is in To sees who else is; nobody sees who
// is in Bcc.
func TestRecipientsAndBlindCopies(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		carl, dora := w.Resident("carl", two), w.Resident("dora", two)
		m := ann.Writes(client.Draft{Body: "all of you", Bcc: []string{dora.Address().String()}}, "bob", "carl")
		bob.Awaits(m, 1)
		carl.AwaitsRequest(m)
		if r := carl.Reads(m, "all of you"); r != nil {
			w.Check(len(r.Head.To) == 2 && r.Head.Addressed(bob.Address()) && !r.Head.Addressed(dora.Address()), "it is to %v", r.Head.To)
		}
		dora.Does("looks", func(ctx context.Context, c *client.Client) error {
			var items []*client.Item
			w.Awaits("the blind copy", func() bool {
				if _, err := c.Sync(ctx); err != nil {
					return false
				}
				var err error
				items, err = c.Inbox(ctx, client.InboxQuery{Requests: true})
				return err == nil && len(items) == 1
			})
			if w.Failed() {
				return nil
			}
			r, err := c.Read(ctx, items[0].Ref, client.ReadOptions{})
			if err == nil {
				body, _ := r.Content.Body()
				w.Check(body == "all of you" && len(r.Head.To) == 1, "dora has %q to %v", body, r.Head.To)
			}
			return err
		})
	})
}

// TestReply: an answer cites the version that was read.
func TestReply(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		_, _, ann, bob := pair(w)
		m := ann.Send("shall we?", "bob")
		bob.Awaits(m, 1)
		bob.Reads(m, "shall we?")
		var answer message.Ref
		bob.Does("answers", func(ctx context.Context, c *client.Client) error {
			d, err := c.ReplyDraft(ctx, m, false)
			if err != nil {
				return err
			}
			d.Body = "gladly"
			sent, err := c.Send(ctx, d)
			if err == nil {
				answer = sent[0].Head.Ref()
			}
			return err
		})
		ann.Awaits(answer, 1)
		if r := ann.Reads(answer, "gladly"); r != nil {
			cite, ok := r.ReplyTo()
			w.Check(ok && cite.Ref == m && cite.Version == 1, "it answers %+v", cite)
			w.Check(r.Subject == "Re: a letter", "its subject is %q", r.Subject)
		}
	})
}
