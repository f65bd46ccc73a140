package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// ConflictError says that another device was first: the version that was to be
// made is not the next one any more. Nothing was changed.
type ConflictError struct {
	Ref message.Ref
	// Mine is the version that was to be made, Stands the newest at the server; 0
	// where the server did not say.
	Mine, Stands uint64
	Err          error
}

// Error names both versions.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("client: %s: version %d cannot be made, version %d stands at the server already", e.Ref, e.Mine, e.Stands)
}

// Unwrap is the server's refusal.
func (e *ConflictError) Unwrap() error { return e.Err }

// conflict makes a refused submission tell which version stands.
func (c *Client) conflict(mine *message.Head, current *wirev1.Signed, err error) error {
	if !errors.Is(err, message.Conflict) || current == nil {
		return err
	}
	e := &ConflictError{Ref: mine.Ref(), Mine: mine.Version, Err: err}
	if claim, parseErr := message.ParseHead(current); parseErr == nil {
		e.Stands = claim.Version()
	}
	return e
}

// Revision is what an edit changes; nil fields stay as they are.
type Revision struct {
	Subject, Body *string
	// Plain makes the body plain text; else it keeps its type.
	Plain bool
	// Attach adds files.
	Attach []File
}

// Edit makes the next version of one's own message out of the newest one that
// is in the home: if the server has a newer one, from another device, it is
// refused with *ConflictError and nobody's words are lost. A home that holds no
// version of it fetches the newest first. Recipients, contract and expiry stay.
// Errors: message.NotFound, message.Contract (a final message), message.Recalled,
// message.Expired, *ConflictError, and those of Send.
func (c *Client) Edit(ctx context.Context, ref message.Ref, r Revision) (*Sent, error) {
	i, err := c.editable(ctx, ref)
	if err != nil {
		return nil, err
	}
	content := revise(i.Content, r)
	blobs := i.blobs
	more, err := c.outsource(ctx, content)
	if err != nil {
		return nil, err
	}
	blobs = append(blobs, more...)
	for _, f := range r.Attach {
		a, blob, err := c.attachFile(ctx, f)
		if err != nil {
			return nil, err
		}
		content.Attachments, blobs = append(content.Attachments, a), append(blobs, blob)
	}
	d := message.Draft{Author: c.c.Keyring.Chain, Prev: i.Head, Time: time.Now(), Content: content}
	if d.Readers, err = c.readers(ctx, i.Head.To); err != nil {
		return nil, err
	}
	sent, err := c.submit(ctx, d, outgoing{content: content, blobs: used(content, blobs)})
	if err != nil {
		return nil, err
	}
	for _, f := range r.Attach {
		err = errors.Join(err, c.forgetUpload(ctx, f))
	}
	return sent, err
}

// editable is a message of one's own that may get another version, with the
// content that this is made of.
func (c *Client) editable(ctx context.Context, ref message.Ref) (*Item, error) {
	i, err := c.ownMessage(ctx, ref)
	if err != nil {
		return nil, err
	}
	if i.Shown == 0 && i.State != StateRecalled && i.State != StateExpired {
		// Heard of from another device and never held here, so there are no words
		// that the newest version could contradict.
		if err := c.refresh(ctx, ref); err != nil {
			return nil, fmt.Errorf("client: edit %s: %w", ref, err)
		}
		if i, err = c.kept(ctx, ref); err != nil {
			return nil, err
		}
	}
	switch {
	case i.Head.Tombstone():
		return nil, fmt.Errorf("client: edit %s: %w", ref, message.Recalled)
	case i.Head.Terms == message.Final:
		return nil, fmt.Errorf("client: edit %s: %w", ref, message.Contract)
	case i.Head.Expired(time.Now()):
		return nil, fmt.Errorf("client: edit %s: %w", ref, message.Expired)
	case i.Content == nil:
		return nil, fmt.Errorf("client: edit %s: not fetched yet: %w", ref, message.NotFound)
	case i.Shown != i.Head.Version:
		return nil, &ConflictError{Ref: ref, Mine: i.Shown + 1, Stands: i.Head.Version, Err: message.Conflict}
	}
	return i, nil
}

// revise is the content with what an edit changes.
func revise(was *message.Content, r Revision) *message.Content {
	c := &message.Content{Components: append([]message.Component(nil), was.Components...), Attachments: append([]message.Attachment(nil), was.Attachments...)}
	if r.Subject != nil {
		c.Set(message.TypeSubject, []byte(oneLine(*r.Subject)))
	}
	if r.Body != nil {
		_, typ := c.Body()
		if typ == "" {
			typ = message.TypeMarkdown
		}
		c.Set(message.TypeMarkdown, nil)
		c.Set(message.TypeText, nil)
		if r.Plain {
			typ = message.TypeText
		}
		c.Set(typ, []byte(*r.Body))
	}
	return c
}

// ownMessage is one's own message as it is in the home, or as the own server
// has it where it is not.
func (c *Client) ownMessage(ctx context.Context, ref message.Ref) (*Item, error) {
	if _, err := c.Account(ctx); err != nil {
		return nil, err
	}
	if ref.From != c.me {
		return nil, fmt.Errorf("client: %s is not yours: %w", ref, message.Denied)
	}
	i, err := c.kept(ctx, ref)
	if absent(err) {
		if err := c.refresh(ctx, ref); err != nil {
			return nil, err
		}
		i, err = c.kept(ctx, ref)
	}
	return i, err
}

// Recall takes a message back: its next version is a tombstone, the server
// drops its content at once, and readers are told. Content of one's own copy
// stays. Errors: message.NotFound, message.AlreadyFetched (a final message that
// somebody has), message.Recalled, *ConflictError.
func (c *Client) Recall(ctx context.Context, ref message.Ref) (*Sent, error) {
	i, err := c.ownMessage(ctx, ref)
	if err != nil {
		return nil, err
	}
	if i.Head.Tombstone() {
		return nil, fmt.Errorf("client: recall %s: %w", ref, message.Recalled)
	}
	return c.submit(ctx, message.Draft{Author: c.c.Keyring.Chain, Prev: i.Head, Time: time.Now()}, outgoing{})
}
