package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"airdispatch/message"
)

// MinPrefix is how many digits of a message id are enough where they are unique.
const MinPrefix = 4

// idText is what a person wrote where a message is meant.
type idText struct {
	// who is empty, an address, a contact or a link.
	who string
	// mid is set where all of it was written; else prefix, name, or both where
	// the text could be either.
	mid    message.MID
	prefix string
	name   string
}

// parseID reads address::mid, address::name, and a prefix of the mid by itself,
// after :: or after an address. Errors: message.Invalid.
func parseID(text string) (idText, error) {
	text = strings.TrimSpace(text)
	who, which, ok := cutMessage(text)
	if query, link := strings.CutPrefix(strings.ToLower(text), "airdispatch:"); link {
		return parseLinkID(text, query)
	}
	if !ok {
		who, which = "", text
	}
	id := idText{who: who}
	digits := strings.ToLower(which)
	hex := strings.Trim(digits, "0123456789abcdef") == ""
	switch {
	case hex && len(digits) == 2*len(message.MID{}):
		var err error
		id.mid, err = message.ParseMID(digits)
		return id, err
	case hex && len(digits) > 2*len(message.MID{}):
		return id, fmt.Errorf("client: message id %q: it has 32 digits: %w", clip(text), message.Invalid)
	case hex && len(digits) >= MinPrefix:
		id.prefix = digits
	}
	if who != "" && message.CheckPostName(digits) == nil {
		id.name = digits
	}
	if id.prefix == "" && id.name == "" {
		return id, fmt.Errorf("client: %q: neither address::mid, address::name nor %d digits or more of a message id: %w", clip(text), MinPrefix, message.Invalid)
	}
	return id, nil
}

// parseLinkID reads airdispatch:address::mid?tracker=REF, where the query may
// hold colons of its own.
func parseLinkID(text, rest string) (idText, error) {
	rest, _, _ = strings.Cut(rest, "?")
	who, which, ok := strings.Cut(rest, "::")
	if !ok {
		return idText{}, fmt.Errorf("client: the link %q names no message: %w", clip(text), message.Invalid)
	}
	id, err := parseID(who + "::" + which)
	// The trackers of the link are wanted too.
	id.who = text
	return id, err
}

// clip bounds what of a text is repeated in an error.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// Find tells which message a person means: address::mid, address::name, or as
// many digits of the mid as are unique among the messages of the home, at least
// MinPrefix. Errors: message.Invalid, also where several messages fit;
// message.NotFound.
func (c *Client) Find(ctx context.Context, text string) (message.Ref, error) {
	id, err := parseID(text)
	if err != nil {
		return message.Ref{}, err
	}
	var ref message.Ref
	if id.who != "" {
		// A link keeps its message part; elsewhere it was cut off.
		t, err := c.Target(ctx, id.who)
		if err != nil {
			return ref, err
		}
		ref.From = t.Address
		if t.UserName != "" {
			if ref.From, err = c.name(ctx, t); err != nil {
				return ref, err
			}
		}
	}
	switch {
	case !id.mid.IsZero() && id.who != "":
		ref.MID = id.mid
		return ref, nil
	case !id.mid.IsZero():
		id.prefix = id.mid.String()
	case id.name != "":
		ref.MID = message.NamedMID(id.name)
		if id.prefix == "" {
			return ref, nil
		}
		if _, err := c.home.Message(ctx, c.me, ref); err == nil {
			return ref, nil
		}
	}
	return c.findPrefix(ctx, ref, id)
}

// findPrefix looks in the home. What could be a name as well is taken for one
// where no message fits.
func (c *Client) findPrefix(ctx context.Context, named message.Ref, id idText) (message.Ref, error) {
	refs, err := c.home.Find(ctx, c.me, named.From, id.prefix, 3)
	switch {
	case err != nil:
		return message.Ref{}, err
	case len(refs) == 1:
		return refs[0], nil
	case len(refs) > 1:
		return message.Ref{}, fmt.Errorf("client: %q: several messages begin so; write more of the id: %w", id.prefix, message.Invalid)
	case id.name != "":
		return named, nil
	}
	return message.Ref{}, fmt.Errorf("client: no message here has an id that begins with %q: %w", id.prefix, message.NotFound)
}

// absent reports whether err says that something is not there.
func absent(err error) bool { return errors.Is(err, message.NotFound) }
