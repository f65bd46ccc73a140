package client

import (
	"context"
	"fmt"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Change says what to do with one property; the zero value leaves it.
type Change int

// The changes.
const (
	Keep  = Change(wirev1.Change_CHANGE_UNSPECIFIED)
	Set   = Change(wirev1.Change_CHANGE_SET)
	Clear = Change(wirev1.Change_CHANGE_CLEAR)
)

// Marks change one's own copy of a message.
type Marks struct {
	Read, Archived, Deleted Change
}

// Mark changes one's own copies: first at the own server, then here. A deleted
// message is erased from the home. Errors: message.NotFound, message.Unavailable.
func (c *Client) Mark(ctx context.Context, refs []message.Ref, m Marks) error {
	var received []message.Ref
	for _, ref := range refs {
		kept, err := c.home.Message(ctx, c.me, ref)
		if err != nil {
			return fmt.Errorf("client: mark %s: %w", ref, err)
		}
		if kept.Box&home.Received != 0 {
			received = append(received, ref)
		}
	}
	if len(received) != 0 {
		if err := c.mark(ctx, received, m); err != nil {
			return fmt.Errorf("client: mark: %w", err)
		}
	}
	for _, ref := range refs {
		if err := c.markKept(ctx, ref, m); err != nil {
			return err
		}
	}
	return nil
}

// markKept changes the copy in the home.
func (c *Client) markKept(ctx context.Context, ref message.Ref, m Marks) error {
	if m.Deleted == Set {
		// The row stays, so that what was seen of its history is not forgotten.
		if err := c.home.Erase(ctx, c.me, ref); err != nil {
			return err
		}
	}
	k := home.Marking{Read: m.Read.bit(), Hidden: m.Deleted.bit()}
	if m.Archived != Keep {
		folder := store.Inbox
		if m.Archived == Set {
			folder = store.Archive
		}
		k.Folder = &folder
	}
	return c.home.Mark(ctx, c.me, ref, k)
}

// bit is the change as the home takes it.
func (c Change) bit() *bool {
	if c == Keep {
		return nil
	}
	set := c == Set
	return &set
}

// mark tells the own server.
func (c *Client) mark(ctx context.Context, refs []message.Ref, m Marks) error {
	req := &wirev1.MarkRequest{}
	for _, ref := range refs {
		req.Items = append(req.Items, &wirev1.MarkItem{
			From: ref.From.Bytes(), Mid: ref.MID.Bytes(),
			Read: wirev1.Change(m.Read), Archived: wirev1.Change(m.Archived), Deleted: wirev1.Change(m.Deleted),
		})
	}
	return c.ask(ctx, func(p *rpc.Peer) error {
		_, err := p.Mailbox().Mark(ctx, req)
		return err
	})
}
