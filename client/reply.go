package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"airdispatch/message"
)

// ReplyDraft begins an answer to a message that is in the home: to its author,
// or with all to its other recipients too, citing the version that was read.
// Body and the rest are the caller's to fill in. Errors: message.NotFound.
func (c *Client) ReplyDraft(ctx context.Context, ref message.Ref, all bool) (Draft, error) {
	i, err := c.kept(ctx, ref)
	if err != nil {
		return Draft{}, err
	}
	cite := citation(i)
	d := Draft{Subject: prefixed("Re: ", i.Subject), Reply: &cite, Thread: &cite}
	if i.Content != nil {
		if first, ok := i.Content.Citation(message.TypeThread); ok {
			d.Thread = &first
		}
	}
	to := []message.Address{i.Ref.From}
	if i.Own {
		// An answer to oneself goes on with the conversation.
		to = i.Head.To
	}
	if all {
		to = append(to, i.Head.To...)
	}
	others := slices.ContainsFunc(to, func(a message.Address) bool { return a != c.me })
	seen := map[message.Address]bool{c.me: others}
	for _, a := range to {
		if !seen[a] {
			seen[a] = true
			d.To = append(d.To, a.String())
		}
	}
	if len(d.To) == 0 {
		return d, fmt.Errorf("client: reply to %s: nobody to answer to: %w", ref, message.Invalid)
	}
	return d, nil
}

// ForwardDraft begins a message that passes another one on, with its
// attachments; note stands above it. Errors: message.NotFound.
func (c *Client) ForwardDraft(ctx context.Context, ref message.Ref, to []string, note string) (Draft, error) {
	i, err := c.kept(ctx, ref)
	if err != nil {
		return Draft{}, err
	}
	if i.Content == nil {
		return Draft{}, fmt.Errorf("client: forward %s: not fetched yet: %w", ref, message.NotFound)
	}
	cite := citation(i)
	body, typ := i.Content.Body()
	var b strings.Builder
	if note != "" {
		b.WriteString(strings.TrimRight(note, "\n") + "\n\n")
	}
	fmt.Fprintf(&b, "---------- forwarded from %s, %s ----------\n\n%s", i.Ref.From, i.Head.Time.UTC().Format(time.RFC3339), body)
	d := Draft{To: to, Subject: prefixed("Fwd: ", i.Subject), Body: b.String(), Plain: typ == message.TypeText, Forward: &cite}
	for _, a := range i.Content.Attachments {
		d.Passed = append(d.Passed, Passed{Of: ref, Public: i.Head.Audience == message.Public, Attachment: a})
	}
	return d, nil
}

// citation names the version that is shown.
func citation(i *Item) message.Citation {
	return message.Citation{Ref: i.Ref, Version: i.Head.Version, ID: i.Head.ID}
}

// prefixed puts Re: or Fwd: before a subject once.
func prefixed(prefix, subject string) string {
	if len(subject) >= len(prefix)-1 && strings.EqualFold(subject[:len(prefix)-1], prefix[:len(prefix)-1]) {
		return subject
	}
	return strings.TrimSpace(prefix + subject)
}

// Thread is the first message of the conversation that an item belongs to; the
// item itself where it begins one.
func (i *Item) Thread() message.Ref {
	if i.Content != nil {
		if first, ok := i.Content.Citation(message.TypeThread); ok {
			return first.Ref
		}
	}
	return i.Ref
}

// ReplyTo is the version that an item answers; false where it answers none.
func (i *Item) ReplyTo() (message.Citation, bool) {
	if i.Content == nil {
		return message.Citation{}, false
	}
	return i.Content.Citation(message.TypeReplyTo)
}
