package client_test

import (
	"context"
	"errors"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
)

// TestAnotherDeviceEdits: a device that only heard of a message changes it as
// the one that wrote it would; nothing was held here that could be lost.
func TestAnotherDeviceEdits(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", w.Server("two"))
	accept(bob, ann)
	phone := ann.Device("phone", one)
	m := ann.Writes(client.Draft{Subject: "Plan", Body: "first"}, "bob")
	final := ann.Writes(client.Draft{Body: "for good", Terms: message.Final}, "bob")
	gone := ann.Send("a mistake", "bob")
	ann.Recalls(gone)
	phone.Does("hears of them", func(ctx context.Context, c *client.Client) error { return c.SyncSent(ctx) })
	phone.Does("edits the body alone", func(ctx context.Context, c *client.Client) error {
		sent, err := c.Edit(ctx, m, client.Revision{Body: text("second")})
		if err != nil {
			return err
		}
		i, err := c.Message(ctx, m)
		if err != nil {
			return err
		}
		return errors.Join(same("version", sent.Head.Version, 2), same("subject", i.Subject, "Plan"))
	})
	for ref, want := range map[message.Ref]message.Code{final: message.Contract, gone: message.Recalled} {
		phone.Refused(want, "edits", func(ctx context.Context, c *client.Client) error {
			_, err := c.Edit(ctx, ref, client.Revision{Body: text("x")})
			return err
		})
	}
	bob.Awaits(m, 2)
	bob.Reads(m, "second")
	// Here there are words, so the one that was second is told.
	ann.Refused(message.Conflict, "edits too", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, m, client.Revision{Body: text("third")})
		return err
	})
}
