package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/home"
)

// State is where a message stands for the owner, in a word.
type State string

// The states.
const (
	// StateNew: received and not read.
	StateNew State = "new"
	// StateRead: received and read.
	StateRead State = "read"
	// StateSent: one's own, accepted by the own server.
	StateSent State = "sent"
	// StatePublished: a public message.
	StatePublished State = "published"
	// StateRecalled: taken back by its sender.
	StateRecalled State = "recalled"
	// StateExpired: an ephemeral message that is over.
	StateExpired State = "expired"
	// StateUnverified: what was heard of it is not believed.
	StateUnverified State = "unverified"
)

// Item is one message as it may be shown: everything in it was verified.
type Item struct {
	Ref message.Ref
	// Head of the newest version that is known.
	Head *message.Head
	// Shown is the version that Content is of, 0 where there is none here.
	Shown   uint64
	Content *message.Content
	Subject string
	State   State
	Folder  store.Folder
	Arrived time.Time
	// Own: one is the author.
	Own bool
	// Classical: what is shown was sealed to a box that is not post-quantum.
	Classical bool
	// Trouble says, for people, why a newer version is not shown.
	Trouble string

	blobs []store.BlobRef
}

// Attachments of what is shown.
func (i *Item) Attachments() []message.Attachment {
	if i.Content == nil {
		return nil
	}
	return i.Content.Attachments
}

// item makes what may be shown out of what is kept. The head is verified again:
// the file is not trusted.
func (c *Client) item(ctx context.Context, m home.Message) (*Item, error) {
	h, err := c.keptHead(ctx, m)
	if err != nil {
		return nil, err
	}
	if m.Trouble == superseded {
		m.Trouble = "" // no longer
	}
	i := &Item{
		Ref: m.Ref, Head: h, Shown: m.Kept, Subject: m.Subject, Folder: m.Folder, Arrived: m.Arrived,
		Own: m.Ref.From == c.me && !c.me.IsZero(), Trouble: m.Trouble,
	}
	switch {
	case m.Trouble != "":
		i.State = StateUnverified
	case m.Ended:
		i.State = StateRecalled
	case h.Expired(time.Now()):
		i.State = StateExpired
	case h.Audience == message.Public:
		i.State = StatePublished
	case m.Box&home.Received == 0:
		i.State = StateSent
	case m.Read:
		i.State = StateRead
	default:
		i.State = StateNew
	}
	return i, nil
}

// keptHead is the newest head of a kept message.
func (c *Client) keptHead(ctx context.Context, m home.Message) (*message.Head, error) {
	claim, err := message.ParseHead(m.Head)
	if err != nil {
		return nil, err
	}
	i, err := c.identity(ctx, m.Ref.From)
	if err != nil {
		return nil, fmt.Errorf("client: author of %s: %w", m.Ref, err)
	}
	h, err := claim.VerifyKept(c.verifier, i.Chain)
	if err != nil {
		return nil, err
	}
	if h.Ref() != m.Ref {
		return nil, fmt.Errorf("client: kept message %s is another: %w", m.Ref, message.BadSignature)
	}
	return h, nil
}

// items makes items. One damaged message hides no other: what can be shown comes
// along with the error about what cannot. What was signed with a card that its
// author no longer has is an error once, and passed over from then on.
func (c *Client) items(ctx context.Context, ms []home.Message) ([]*Item, error) {
	var out []*Item
	var first error
	for _, m := range ms {
		i, err := c.full(ctx, m)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("client: %w", ctx.Err())
		}
		if err == nil {
			out = append(out, i)
		}
		if set := c.setAside(ctx, m, errors.Is(err, message.NeedBundle)); err == nil || set {
			continue
		}
		c.log.WarnContext(ctx, "a kept message cannot be shown", "message", m.Ref.String(), "error", err)
		if first == nil {
			first = unshown(m.Ref, err)
		}
	}
	return out, first
}

// superseded is the trouble of a message whose card its author no longer has.
const superseded = "it was signed with a card that its author no longer has"

// setAside keeps in the home whether a message's card is gone, which a paper key
// may bring about after a theft, and reports whether that was known: the thief's
// letters are spoken of once, and trouble no later list. Whoever has
// the card again has the messages again.
func (c *Client) setAside(ctx context.Context, m home.Message, gone bool) (known bool) {
	if was := m.Trouble == superseded; was == gone {
		return was
	}
	m.Trouble, m.Seq, m.Arrived = "", 0, time.Time{}
	if gone {
		m.Trouble = superseded
	}
	if err := c.home.PutMessage(ctx, c.me, m); err != nil {
		c.log.WarnContext(ctx, "a message could not be set aside", "message", m.Ref.String(), "error", err)
	}
	return false
}

// unshown is the error about a message that was verified when it was kept, and
// cannot be shown now. Only where its author's cards are others by now, which a
// paper key may do, is the file not to blame.
func unshown(ref message.Ref, err error) error {
	if errors.Is(err, message.NeedBundle) {
		return fmt.Errorf("client: kept message %s was signed with a card that its author no longer has: %w", ref, message.BadSignature)
	}
	return fmt.Errorf("client: kept message %s cannot be shown: %v: %w", ref, err, home.ErrDamaged)
}

// kept is a message with its content as it is in the home. Errors:
// message.NotFound.
func (c *Client) kept(ctx context.Context, ref message.Ref) (*Item, error) {
	m, err := c.home.Message(ctx, c.me, ref)
	if err != nil {
		return nil, err
	}
	return c.full(ctx, m)
}

// full is an item with the content that is kept of it.
func (c *Client) full(ctx context.Context, m home.Message) (*Item, error) {
	i, err := c.item(ctx, m)
	if err != nil || m.Kept == 0 {
		return i, err
	}
	if i.State == StateExpired {
		// Over, although nobody has erased it yet.
		i.Shown, i.Subject = 0, ""
		return i, nil
	}
	versions, err := c.home.Versions(ctx, c.me, m.Ref)
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if v.Number == m.Kept {
			i.Content, i.Classical, i.blobs = v.Content, v.Classical, v.Blobs
		}
	}
	return i, nil
}

// Message is one message as it is in the home, without asking anybody. Errors:
// message.NotFound.
func (c *Client) Message(ctx context.Context, ref message.Ref) (*Item, error) {
	return c.kept(ctx, ref)
}

// Versions is every version of a message whose content is in the home, oldest
// first.
func (c *Client) Versions(ctx context.Context, ref message.Ref) ([]*Item, error) {
	m, err := c.home.Message(ctx, c.me, ref)
	if err != nil {
		return nil, err
	}
	versions, err := c.home.Versions(ctx, c.me, ref)
	if err != nil {
		return nil, err
	}
	var out []*Item
	for _, v := range versions {
		if v.Content == nil {
			continue
		}
		m.Head = v.Head
		i, err := c.item(ctx, m)
		if err != nil {
			return nil, err
		}
		i.Shown, i.Content, i.Subject, i.Classical, i.blobs = v.Number, v.Content, v.Content.Subject(), v.Classical, v.Blobs
		out = append(out, i)
	}
	return out, nil
}

// Search finds messages in the home whose subject, body or attachments' names
// hold all the words, oldest first.
func (c *Client) Search(ctx context.Context, words []string) ([]*Item, error) {
	var each []string
	for _, w := range words {
		each = append(each, strings.Fields(w)...)
	}
	if len(each) == 0 {
		return nil, fmt.Errorf("client: search: no words: %w", message.Invalid)
	}
	if err := c.home.Expire(ctx, time.Now()); err != nil {
		return nil, err
	}
	ms, err := c.home.List(ctx, c.me, home.Query{Words: each})
	if err != nil {
		return nil, err
	}
	return c.items(ctx, ms)
}
