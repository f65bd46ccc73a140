package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/store"
)

// TestMain fails when a test leaves a goroutine behind.
// One of net/http is let be: after an answer to an unfinished request it waits half a
// second before it closes, longer than goleak looks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// twoTowns is a tracker, two servers, and ann and bob, who take each other's
// mail.
func twoServers(t *testing.T) (w *town.Town, ann, bob *town.Resident) {
	t.Helper()
	w = town.New(t)
	w.Tracker("hill")
	ann, bob = w.Resident("ann", w.Server("one")), w.Resident("bob", w.Server("two"))
	accept(bob, ann)
	accept(ann, bob)
	return w, ann, bob
}

// accept lets mail from somebody into the inbox.
func accept(r, from *town.Resident) {
	r.Does("accepts", func(ctx context.Context, c *client.Client) error {
		return c.SetVerdict(ctx, from.Address(), store.Allow)
	})
}

func text(s string) *string { return &s }

// same ends the story unless got is want.
func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, not %v", what, got, want)
	}
	return nil
}

func TestLetterAndItsEdits(t *testing.T) {
	_, ann, bob := twoServers(t)
	m := ann.Writes(client.Draft{Subject: "  one\nline ", Body: "first"}, "bob")
	bob.Awaits(m, 1)
	bob.Does("fetches", func(ctx context.Context, c *client.Client) error {
		if err := c.FetchNew(ctx); err != nil {
			return err
		}
		i, err := c.Message(ctx, m)
		if err != nil {
			return err
		}
		return errors.Join(same("subject", i.Subject, "one line"), same("state", i.State, client.StateNew))
	})
	r := bob.Reads(m, "first")
	if r == nil || r.State != client.StateRead || r.Classical {
		t.Fatalf("%+v", r)
	}
	ann.Edits(m, "second")
	bob.Awaits(m, 2)
	bob.Reads(m, "second")
	bob.Does("compares", func(ctx context.Context, c *client.Client) error {
		vs, err := c.Versions(ctx, m)
		if err != nil {
			return err
		}
		if len(vs) != 2 {
			return fmt.Errorf("%d versions", len(vs))
		}
		before, _ := vs[0].Content.Body()
		after, _ := vs[1].Content.Body()
		return errors.Join(same("before", before, "first"), same("after", after, "second"))
	})
	ann.Recalls(m)
	bob.Awaits(m, 3)
	bob.Does("reads what was recalled", func(ctx context.Context, c *client.Client) error {
		r, err := c.Read(ctx, m, client.ReadOptions{})
		if err != nil {
			return err
		}
		body, _ := r.Content.Body()
		return errors.Join(same("state", r.State, client.StateRecalled), same("body", body, "second"))
	})
	ann.Refused(message.Recalled, "edits again", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, m, client.Revision{Body: text("third")})
		return err
	})
	ann.Refused(message.Recalled, "recalls again", func(ctx context.Context, c *client.Client) error {
		_, err := c.Recall(ctx, m)
		return err
	})
}

func TestRecalledBeforeItWasRead(t *testing.T) {
	_, ann, bob := twoServers(t)
	fetched, unfetched := ann.Send("one", "bob"), ann.Send("two", "bob")
	bob.Awaits(fetched, 1)
	bob.Awaits(unfetched, 1)
	bob.Does("fetches", func(ctx context.Context, c *client.Client) error { return c.FetchNew(ctx) })
	ann.Recalls(fetched)
	ann.Recalls(unfetched)
	bob.Awaits(fetched, 2)
	bob.Awaits(unfetched, 2)
	bob.CannotRead(fetched, message.Recalled)
	bob.CannotRead(unfetched, message.Recalled)
	bob.Does("searches", func(ctx context.Context, c *client.Client) error {
		found, err := c.Search(ctx, []string{"one"})
		return errors.Join(err, same("found", len(found), 0))
	})
}

func TestContracts(t *testing.T) {
	w, ann, bob := twoServers(t)
	final := ann.Writes(client.Draft{Body: "final", Terms: message.Final}, "bob")
	ann.Refused(message.Contract, "edits a final message", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, final, client.Revision{Body: text("x")})
		return err
	})
	bob.Awaits(final, 1)
	bob.Reads(final, "final")
	ann.Refused(message.AlreadyFetched, "recalls what was fetched", func(ctx context.Context, c *client.Client) error {
		_, err := c.Recall(ctx, final)
		return err
	})
	ann.Refused(message.Invalid, "sends an ephemeral message without end", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Terms: message.Ephemeral})
		return err
	})
	soon := time.Now().Add(1500 * time.Millisecond)
	brief := ann.Writes(client.Draft{Body: "brief", Expires: soon}, "bob")
	bob.Awaits(brief, 1)
	bob.Reads(brief, "brief")
	w.Awaits("the end of an ephemeral message", func() bool { return time.Now().After(soon) })
	bob.CannotRead(brief, message.Expired)
	ann.Refused(message.Expired, "edits what is over", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, brief, client.Revision{Body: text("x")})
		return err
	})
}

func TestTwoDevicesEdit(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", w.Server("two"))
	accept(bob, ann)
	phone := ann.Device("phone", one)
	m := ann.Send("first", "bob")
	phone.Does("hears of it", func(ctx context.Context, c *client.Client) error { return c.SyncSent(ctx) })
	phone.Reads(m, "first")
	phone.Edits(m, "from the phone")
	ann.Does("edits too", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, m, client.Revision{Body: text("from the desk")})
		conflict, ok := errors.AsType[*client.ConflictError](err)
		if !ok {
			return fmt.Errorf("no conflict: %w", err)
		}
		return errors.Join(same("mine", conflict.Mine, 2), same("stands", conflict.Stands, 2))
	})
	ann.Reads(m, "from the phone")
	ann.Edits(m, "from the desk")
	bob.Awaits(m, 3)
	bob.Reads(m, "from the desk")
}

func TestReplyForwardAndBcc(t *testing.T) {
	w, ann, bob := twoServers(t)
	eve := w.Resident("eve", w.Server("three"))
	accept(eve, bob)
	accept(eve, ann)
	m := ann.Writes(client.Draft{Subject: "Plan", Body: "the plan", Bcc: []string{eve.Address().String()}}, "bob")
	bob.Awaits(m, 1)
	bob.Reads(m, "the plan")
	var answer, passed message.Ref
	bob.Does("answers", func(ctx context.Context, c *client.Client) error {
		d, err := c.ReplyDraft(ctx, m, true)
		if err != nil {
			return err
		}
		d.Body = "yes"
		sent, err := c.Send(ctx, d)
		if err != nil {
			return err
		}
		answer = sent[0].Head.Ref()
		return errors.Join(same("subject", d.Subject, "Re: Plan"), same("recipients", len(d.To), 1))
	})
	ann.Awaits(answer, 1)
	r := ann.Reads(answer, "yes")
	if r == nil {
		t.FailNow()
	}
	if cite, ok := r.ReplyTo(); !ok || cite.Ref != m || cite.Version != 1 || r.Thread() != m {
		t.Errorf("the answer cites %+v and belongs to %v", cite, r.Thread())
	}
	bob.Does("forwards", func(ctx context.Context, c *client.Client) error {
		d, err := c.ForwardDraft(ctx, m, []string{eve.Address().String()}, "look")
		if err != nil {
			return err
		}
		sent, err := c.Send(ctx, d)
		if err != nil {
			return err
		}
		passed = sent[0].Head.Ref()
		return nil
	})
	eve.Awaits(passed, 1)
	eve.Does("reads both", func(ctx context.Context, c *client.Client) error {
		got, err := c.Read(ctx, passed, client.ReadOptions{})
		if err != nil {
			return err
		}
		body, _ := got.Content.Body()
		if !strings.HasPrefix(body, "look\n\n") || !strings.HasSuffix(body, "the plan") {
			return fmt.Errorf("forwarded: %q", body)
		}
		items, err := c.Inbox(ctx, client.InboxQuery{})
		if err != nil {
			return err
		}
		for _, i := range items {
			if i.Ref.From == ann.Address() && (len(i.Head.To) != 1 || i.Head.To[0] != eve.Address() || i.Ref == m) {
				return fmt.Errorf("the blind copy names %v", i.Head.To)
			}
		}
		return same("messages", len(items), 2)
	})
}

func TestStatus(t *testing.T) {
	w, ann, bob := twoServers(t)
	m := ann.Send("how far", "bob")
	state := func() client.Delivery {
		var d client.Delivery
		ann.Does("asks", func(ctx context.Context, c *client.Client) error {
			p, err := c.Status(ctx, m)
			if err != nil {
				return err
			}
			d = p.Deliveries[0]
			return same("recipient", d.To, bob.Address())
		})
		return d
	}
	bob.Awaits(m, 1)
	bob.Does("opens it", func(ctx context.Context, c *client.Client) error {
		_, err := c.Read(ctx, m, client.ReadOptions{Opened: true})
		return err
	})
	w.Awaits("the word that it was opened", func() bool { return state().State == store.OpenedFor })
	if d := state(); !d.Signed || d.Version != 1 || d.Time.IsZero() {
		t.Errorf("%+v", d)
	}
	bob.Refused(message.Denied, "asks about ann's message", func(ctx context.Context, c *client.Client) error {
		_, err := c.Status(ctx, m)
		return err
	})
	ann.Refused(message.NotFound, "asks about nothing", func(ctx context.Context, c *client.Client) error {
		_, err := c.Status(ctx, message.Ref{From: ann.Address(), MID: message.MID{9}})
		return err
	})
}

func TestMarks(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	two := w.Server("two")
	ann, bob := w.Resident("ann", w.Server("one")), w.Resident("bob", two)
	accept(bob, ann)
	phone := bob.Device("phone", two)
	m := ann.Send("mark me", "bob")
	bob.Awaits(m, 1)
	bob.Reads(m, "mark me")
	phone.Awaits(m, 1)
	state := func(r *town.Resident) (i *client.Item) {
		r.Does("looks", func(ctx context.Context, c *client.Client) (err error) {
			if _, err := c.Sync(ctx); err != nil {
				return err
			}
			i, err = c.Message(ctx, m)
			return err
		})
		return i
	}
	if i := state(phone); i == nil || i.State != client.StateRead {
		t.Fatalf("the other device shows %+v", i)
	}
	bob.Does("marks", func(ctx context.Context, c *client.Client) error {
		return c.Mark(ctx, []message.Ref{m}, client.Marks{Read: client.Clear, Archived: client.Set})
	})
	if i := state(phone); i == nil || i.State != client.StateNew || i.Folder != store.Archive {
		t.Fatalf("the other device shows %+v", i)
	}
	bob.Does("deletes", func(ctx context.Context, c *client.Client) error {
		if err := c.Mark(ctx, []message.Ref{m}, client.Marks{Deleted: client.Set}); err != nil {
			return err
		}
		found, err := c.Search(ctx, []string{"mark"})
		return errors.Join(err, same("found", len(found), 0))
	})
	if phone.Has(m) {
		t.Error("the other device still lists it")
	}
	bob.Refused(message.NotFound, "marks nothing", func(ctx context.Context, c *client.Client) error {
		return c.Mark(ctx, []message.Ref{{From: ann.Address(), MID: message.MID{1}}}, client.Marks{Read: client.Set})
	})
}

func TestOffline(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one, two := w.Server("one"), w.Server("two")
	ann, bob := w.Resident("ann", one), w.Resident("bob", two)
	accept(bob, ann)
	m := ann.Send("read me offline", "bob")
	bob.Awaits(m, 1)
	bob.Reads(m, "read me offline")
	one.Stop()
	bob.ReadsCopy(m, "read me offline")
	two.Stop()
	bob.ReadsCopy(m, "read me offline")
	bob.Restarts()
	bob.ReadsCopy(m, "read me offline")
	bob.Does("searches", func(ctx context.Context, c *client.Client) error {
		found, err := c.Search(ctx, []string{"OFFLINE read"})
		return errors.Join(err, same("found", len(found), 1))
	})
	bob.Refused(message.Unavailable, "asks for mail", func(ctx context.Context, c *client.Client) error {
		_, err := c.Sync(ctx)
		return err
	})
	two.Start()
	one.Start()
	bob.Reads(m, "read me offline")
}

func TestDraftsAreKept(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", w.Server("two"))
	one.Stop()
	file := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	var id int64
	ann.Does("sends in vain", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Subject: "s", Body: "kept", Attach: []client.File{{Path: file}}})
		kept, ok := errors.AsType[*client.DraftError](err)
		if !ok || !errors.Is(err, message.Unavailable) {
			return fmt.Errorf("not kept: %w", err)
		}
		id = kept.ID
		return nil
	})
	ann.Restarts()
	one.Start()
	var m message.Ref
	ann.Does("sends the draft", func(ctx context.Context, c *client.Client) error {
		all, err := c.Drafts(ctx)
		if err != nil || len(all) != 1 || all[0].ID != id || all[0].Body != "kept" || all[0].Trouble == "" {
			return fmt.Errorf("%+v: %w", all, err)
		}
		sent, err := c.SendDraft(ctx, id)
		if err != nil {
			return err
		}
		m = sent[0].Head.Ref()
		all, err = c.Drafts(ctx)
		return errors.Join(err, same("drafts", len(all), 0))
	})
	bob.AwaitsRequest(m)
	bob.Reads(m, "kept")
	ann.Refused(message.NotFound, "sends it twice", func(ctx context.Context, c *client.Client) error {
		_, err := c.SendDraft(ctx, id)
		return err
	})
	ann.Refused(message.NotFound, "writes to nobody known", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{"carol"}, Body: "x"})
		return err
	})
	ann.Refused(message.Invalid, "writes to nobody", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{Body: "x"})
		return err
	})
	ann.Does("lists what she sent", func(ctx context.Context, c *client.Client) error {
		sent, err := c.Sent(ctx, 1)
		if err != nil || len(sent) != 1 || sent[0].Ref != m || sent[0].State != client.StateSent || len(sent[0].Attachments()) != 1 {
			return fmt.Errorf("%+v: %w", sent, err)
		}
		if err := c.DeleteDraft(ctx, id); !errors.Is(err, message.NotFound) {
			return fmt.Errorf("deleted what was sent: %w", err)
		}
		return same("address", c.Address(), ann.Address())
	})
	ann.Does("has no drafts", func(ctx context.Context, c *client.Client) error {
		all, err := c.Drafts(ctx)
		return errors.Join(err, same("drafts", len(all), 0))
	})
}
