package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
// version of it fetches the newest first. Recipients, contract and expiry stay;
// the version is sealed to the recipients' cards as they are now.
//
// As with Send, what could not be done now is kept as a draft and the error is a
// *DraftError; SendDraft takes it up. Errors: message.NotFound, message.Denied
// (not one's own), message.Contract (a final message), message.Recalled,
// message.Expired, *ConflictError, and those of Send.
func (c *Client) Edit(ctx context.Context, ref message.Ref, r Revision) (*Sent, error) {
	if err := c.owns(ctx, ref); err != nil {
		return nil, err
	}
	var err error
	if r.Attach, err = absolute(r.Attach); err != nil {
		return nil, err
	}
	if _, err := c.Editable(ctx, ref); hopeless(err) {
		return nil, err
	}
	k := &keptDraft{Edit: &keptEdit{MID: ref.MID.String(), Revision: r}}
	if m, err := c.home.Message(ctx, c.me, ref); err == nil && m.Kept != 0 {
		k.Edit.Base = m.Kept
	}
	id, err := c.keepDraft(ctx, 0, k, "being sent")
	if err != nil {
		return nil, err
	}
	sent, err := c.sendKept(ctx, id, k, false)
	if len(sent) == 0 {
		return nil, err
	}
	return sent[0], err
}

// keptEdit is an edit as it is in a draft.
type keptEdit struct {
	MID string
	// Base is the version that the person wrote over, 0 where none was known: the
	// words of another one are not replaced before the person has heard of it.
	Base uint64
	// Tried are the ids of versions that were handed to the server: where its
	// answer was lost, one of them may stand.
	Tried    []string `json:",omitempty"`
	Revision Revision
}

// hopeless reports whether a message cannot be edited another time either.
func hopeless(err error) bool {
	for _, code := range []message.Code{message.NotFound, message.Denied, message.Contract, message.Recalled, message.Expired} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// describeEdit fills in what a person wants to know of a kept edit.
func (c *Client) describeEdit(ctx context.Context, s *SavedDraft, e *keptEdit) (err error) {
	s.EditOf.From = c.me
	if s.EditOf.MID, err = message.ParseMID(e.MID); err != nil {
		return fmt.Errorf("client: draft %d is damaged: %w", s.ID, err)
	}
	s.Plain, s.Attach = e.Revision.Plain, e.Revision.Attach
	if i, err := c.kept(ctx, s.EditOf); err == nil {
		s.Subject, s.Public, s.Name = i.Subject, i.Head.Audience == message.Public, i.Head.Name
		for _, to := range i.Head.To {
			s.To = append(s.To, to.String())
		}
		if i.Content != nil {
			s.Body, _ = i.Content.Body()
		}
	}
	if e.Revision.Subject != nil {
		s.Subject = oneLine(*e.Revision.Subject)
	}
	if e.Revision.Body != nil {
		s.Body = *e.Revision.Body
	}
	return nil
}

// sendEdit makes the version of a kept edit. A conflict moves the edit's base
// on: whoever sends the draft again has been told which version it replaces.
func (c *Client) sendEdit(ctx context.Context, id int64, k *keptDraft) ([]*Sent, error) {
	e := k.Edit
	mid, err := message.ParseMID(e.MID)
	if err != nil {
		return nil, err
	}
	ref := message.Ref{From: c.me, MID: mid}
	sent, err := c.cameThrough(ctx, ref, e)
	if sent == nil && err == nil {
		sent, err = c.revision(ctx, ref, e, func(t *triedPart) error {
			e.Tried = append(e.Tried, t.Head.String())
			_, err := c.keepDraft(ctx, id, k, "being sent")
			return err
		})
	}
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		e.Base = max(e.Base, conflict.Stands)
	}
	if err != nil {
		return nil, err
	}
	return []*Sent{sent}, nil
}

// cameThrough finds the version of an earlier try of which only the answer was
// lost; nil where there is none.
func (c *Client) cameThrough(ctx context.Context, ref message.Ref, e *keptEdit) (*Sent, error) {
	if len(e.Tried) == 0 {
		return nil, nil
	}
	heads, err := c.standingHeads(ctx, ref)
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		if slices.Contains(e.Tried, h.ID.String()) {
			return &Sent{Head: h}, c.refresh(ctx, ref)
		}
	}
	return nil, nil
}

// revision makes the next version and submits it; note is told before.
func (c *Client) revision(ctx context.Context, ref message.Ref, e *keptEdit, note func(*triedPart) error) (*Sent, error) {
	i, err := c.Editable(ctx, ref)
	if err != nil {
		return nil, err
	}
	if here := i.Head.Version; e.Base != 0 && e.Base != here {
		return nil, &ConflictError{Ref: ref, Mine: min(e.Base, here) + 1, Stands: max(e.Base, here), Err: message.Conflict}
	}
	content := revise(i.Content, e.Revision)
	blobs := i.blobs
	more, err := c.outsource(ctx, content)
	if err != nil {
		return nil, err
	}
	blobs = append(blobs, more...)
	for _, f := range e.Revision.Attach {
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
	return c.submit(ctx, d, outgoing{content: content, blobs: used(content, blobs), note: note})
}

// Editable is a message of one's own that may get another version, with the
// content that this is made of. Errors: those of Edit.
func (c *Client) Editable(ctx context.Context, ref message.Ref) (*Item, error) {
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

// owns refuses a message of somebody else. Errors: ErrNoIdentity, ErrNoAccount,
// message.Denied.
func (c *Client) owns(ctx context.Context, ref message.Ref) error {
	if _, err := c.Account(ctx); err != nil {
		return err
	}
	if ref.From != c.me {
		return fmt.Errorf("client: %s is not yours: %w", ref, message.Denied)
	}
	return nil
}

// ownMessage is one's own message as it is in the home, or as the own server
// has it where it is not.
func (c *Client) ownMessage(ctx context.Context, ref message.Ref) (*Item, error) {
	if err := c.owns(ctx, ref); err != nil {
		return nil, err
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
