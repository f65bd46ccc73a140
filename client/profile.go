package client

import (
	"context"
	"fmt"

	"airdispatch/message"
	"airdispatch/store/home"
)

// Profile is what an address says about itself, in the public message named
// profile.
type Profile struct {
	Address     message.Address
	Name, About string
	// Item is the public message.
	Item *Item
}

// profileRef is the message that holds the profile of an address.
func profileRef(a message.Address) message.Ref {
	return message.Ref{From: a, MID: message.NamedMID(message.ProfileName)}
}

// Profile reads the profile of an address from its server, as nobody. Without
// the way there the copy in the home is returned. Errors: message.NotFound,
// message.Recalled, message.Unavailable.
func (c *Client) Profile(ctx context.Context, a message.Address) (*Profile, error) {
	r, err := c.Read(ctx, profileRef(a), ReadOptions{})
	if err != nil {
		return nil, err
	}
	return &Profile{Address: a, Name: r.Content.Text(message.TypeProfileName), About: r.Content.Text(message.TypeProfileAbout), Item: r.Item}, nil
}

// SetProfile publishes one's own profile; nil fields stay as they are.
func (c *Client) SetProfile(ctx context.Context, name, about *string) (*Sent, error) {
	if _, err := c.Account(ctx); err != nil {
		return nil, err
	}
	ref := profileRef(c.me)
	// Whatever another device said last is what is changed.
	if err := c.refreshPublic(ctx, c.pullingOf(ctx, ref)); err != nil && !absent(err) {
		return nil, fmt.Errorf("client: profile: %w", err)
	}
	d := Draft{Public: true, Name: message.ProfileName}
	for _, f := range []struct {
		typ string
		to  *string
	}{{message.TypeProfileName, name}, {message.TypeProfileAbout, about}} {
		text := ""
		if i, err := c.kept(ctx, ref); err == nil && i.Content != nil && !i.Head.Tombstone() {
			text = i.Content.Text(f.typ)
		}
		if f.to != nil {
			text = *f.to
		}
		if text != "" {
			d.Components = append(d.Components, message.Component{Type: f.typ, Data: []byte(text)})
		}
	}
	sent, err := c.Send(ctx, d)
	if err != nil {
		return nil, err
	}
	return sent[0], nil
}

// pullingOf is what is known of a public message.
func (c *Client) pullingOf(ctx context.Context, ref message.Ref) pulling {
	p := pulling{ref: ref, box: home.Public}
	if m, err := c.home.Message(ctx, c.me, ref); err == nil {
		p.known = &m
		p.box |= m.Box
	}
	return p
}
