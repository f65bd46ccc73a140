package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/store/home"
)

// Draft is a message before it is sent, as a person writes it.
type Draft struct {
	// To and Bcc are addresses, contacts, names or links. Each in Bcc gets a
	// message of its own. Both are empty for a public message.
	To  []string `json:",omitempty"`
	Bcc []string `json:",omitempty"`
	// Public makes a public message; Name, where not empty, puts it under a name,
	// in place of what stood there.
	Public  bool   `json:",omitempty"`
	Name    string `json:",omitempty"`
	Subject string `json:",omitempty"`
	// Body is Markdown unless Plain.
	Body   string `json:",omitempty"`
	Plain  bool   `json:",omitempty"`
	Attach []File `json:",omitempty"`
	// Components of applications, beside subject and body.
	Components []message.Component `json:",omitempty"`
	// Terms is the contract; 0 is revisable, or with Expires ephemeral.
	Terms   message.Terms `json:",omitempty"`
	Expires time.Time     `json:",omitzero"`
	// Reply and Forward are what is answered or passed on.
	Reply   *message.Citation `json:",omitempty"`
	Thread  *message.Citation `json:",omitempty"`
	Forward *message.Citation `json:",omitempty"`
	// Passed are attachments of another message that go along with this one,
	// without being sealed anew.
	Passed []Passed `json:",omitempty"`
}

// Passed is an attachment of another message.
type Passed struct {
	Of         message.Ref
	Public     bool
	Attachment message.Attachment
}

// normal fills in what follows from the rest and refuses what cannot be sent.
// Errors: message.Invalid, message.TooLarge.
func (d *Draft) normal(now time.Time) error {
	if d.Terms == 0 {
		d.Terms = message.Revisable
		if !d.Expires.IsZero() {
			d.Terms = message.Ephemeral
		}
	}
	switch {
	case (d.Terms == message.Ephemeral) != !d.Expires.IsZero():
		return fmt.Errorf("client: draft: the ephemeral contract, and no other, has an expiry: %w", message.Invalid)
	case !d.Expires.IsZero() && !d.Expires.After(now):
		return fmt.Errorf("client: draft: it would expire before it is sent: %w", message.Invalid)
	case d.Public && len(d.To)+len(d.Bcc) != 0:
		return fmt.Errorf("client: draft: a public message has no recipients: %w", message.Invalid)
	case !d.Public && len(d.To)+len(d.Bcc) == 0:
		return fmt.Errorf("client: draft: no recipient: %w", message.Invalid)
	case !d.Public && d.Name != "":
		return fmt.Errorf("client: draft: only public messages have names: %w", message.Invalid)
	case len(d.To) > message.MaxRecipients || len(d.Bcc) > message.MaxRecipients:
		return fmt.Errorf("client: draft: more than %d recipients: %w", message.MaxRecipients, message.TooLarge)
	case len(d.Attach)+len(d.Passed) > message.MaxBlobs:
		return fmt.Errorf("client: draft: more than %d attachments: %w", message.MaxBlobs, message.TooLarge)
	}
	if d.Name != "" {
		return message.CheckPostName(d.Name)
	}
	return nil
}

// content is the draft's content but for attachments.
func (d *Draft) content() (*message.Content, error) {
	c := &message.Content{}
	c.Set(message.TypeSubject, []byte(oneLine(d.Subject)))
	typ := message.TypeMarkdown
	if d.Plain {
		typ = message.TypeText
	}
	c.Set(typ, []byte(d.Body))
	for _, cite := range []struct {
		typ string
		of  *message.Citation
	}{{message.TypeReplyTo, d.Reply}, {message.TypeThread, d.Thread}, {message.TypeForwardOf, d.Forward}} {
		if cite.of == nil {
			continue
		}
		if err := c.Cite(cite.typ, *cite.of); err != nil {
			return nil, err
		}
	}
	c.Components = append(c.Components, d.Components...)
	return c, nil
}

// oneLine makes a subject one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// part is one message that a draft becomes: one for everybody in To, one for
// each in Bcc. Its id is chosen before anything is sent and stays, so that a
// second try makes no second message.
type part struct {
	To    []message.Address `json:",omitempty"`
	MID   string
	Done  bool       `json:",omitempty"`
	Tried *triedPart `json:",omitempty"`
}

// keptDraft is a draft as it is in the home: of a message, or with Edit of
// another version of one.
type keptDraft struct {
	Draft Draft
	Parts []part
	Edit  *keptEdit `json:",omitempty"`
}

// files are what the draft attaches.
func (k *keptDraft) files() []File {
	if k.Edit != nil {
		return k.Edit.Revision.Attach
	}
	return k.Draft.Attach
}

// SavedDraft is a draft that was not sent.
type SavedDraft struct {
	ID int64
	Draft
	// EditOf is the message that the draft is to change; zero for a new message.
	// Subject and Body are then as they are to become.
	EditOf message.Ref
	// Trouble is why it was not sent, for people.
	Trouble string
	Time    time.Time
}

// DraftError says that a message was not sent, or not wholly, and where it is.
type DraftError struct {
	// ID names the draft.
	ID  int64
	Err error
}

// Error names the draft.
func (e *DraftError) Error() string { return fmt.Sprintf("%v (kept as draft %d)", e.Err, e.ID) }

// Unwrap is what went wrong.
func (e *DraftError) Unwrap() error { return e.Err }

// Drafts is what was not sent, oldest first.
func (c *Client) Drafts(ctx context.Context) ([]SavedDraft, error) {
	all, err := c.home.Drafts(ctx, c.me)
	if err != nil {
		return nil, err
	}
	var out []SavedDraft
	for _, d := range all {
		k, err := readDraft(d)
		if err != nil {
			return nil, err
		}
		saved := SavedDraft{ID: d.ID, Draft: k.Draft, Trouble: d.Trouble, Time: d.Time}
		if k.Edit != nil {
			if err := c.describeEdit(ctx, &saved, k.Edit); err != nil {
				return nil, err
			}
		}
		out = append(out, saved)
	}
	return out, nil
}

func readDraft(d home.Draft) (*keptDraft, error) {
	var k keptDraft
	if err := json.Unmarshal(d.Body, &k); err != nil {
		return nil, fmt.Errorf("client: draft %d is damaged: %w", d.ID, errors.Join(err, message.Invalid))
	}
	return &k, nil
}

// keepDraft writes a draft down; with id 0 it is a new one.
func (c *Client) keepDraft(ctx context.Context, id int64, k *keptDraft, trouble string) (int64, error) {
	body, err := json.Marshal(k)
	if err != nil {
		return 0, fmt.Errorf("client: keep draft: %w", err)
	}
	return c.home.PutDraft(ctx, c.me, home.Draft{ID: id, Body: body, Trouble: trouble, Time: time.Now()})
}

// DeleteDraft forgets a draft. Errors: message.NotFound.
func (c *Client) DeleteDraft(ctx context.Context, id int64) error {
	if err := c.home.RemoveDraft(ctx, c.me, id); err != nil {
		return fmt.Errorf("client: draft %d: %w", id, err)
	}
	return nil
}

// SendDraft sends a draft again. What of it the server has already is not sent
// twice. Errors: message.NotFound, and those of Send.
func (c *Client) SendDraft(ctx context.Context, id int64) ([]*Sent, error) {
	d, err := c.home.Draft(ctx, c.me, id)
	if err != nil {
		return nil, fmt.Errorf("client: draft %d: %w", id, err)
	}
	if _, err := c.Account(ctx); err != nil {
		return nil, err
	}
	k, err := readDraft(d)
	if err != nil {
		return nil, err
	}
	return c.sendKept(ctx, id, k, true)
}
