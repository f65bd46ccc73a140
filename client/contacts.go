package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/store/home"
)

// Contacts is one's own names for addresses.
func (c *Client) Contacts(ctx context.Context) ([]home.Contact, error) { return c.home.Contacts(ctx) }

// Pins is the names that were resolved, with those that changed since.
func (c *Client) Pins(ctx context.Context) ([]home.Pin, error) { return c.home.Pins(ctx) }

// maxContactName bounds a contact's name.
const maxContactName = 64

// CheckContactName refuses, with message.Invalid, what cannot be the name of a
// contact: what looks like an address, and what holds a character that
// addresses, names and links use or that does not show.
func CheckContactName(name string) error {
	if name == "" || len(name) > maxContactName || message.LooksLikeAddress(name) || name != strings.TrimSpace(name) || name[0] == '-' || strings.ContainsAny(name, "@:#?/") {
		return fmt.Errorf("client: contact %q: 1 to %d characters, none of @ : # ? /, not like an address: %w", name, maxContactName, message.Invalid)
	}
	for _, r := range name {
		if !message.Visible(r) {
			return fmt.Errorf("client: contact: a character that does not show: %w", message.Invalid)
		}
	}
	return nil
}

// AddContact names an address: one's own name for it. text is an address, a
// link or name@host. Errors: message.Invalid, message.Conflict where the name
// stands for another address.
func (c *Client) AddContact(ctx context.Context, text, name string) (home.Contact, error) {
	if err := CheckContactName(name); err != nil {
		return home.Contact{}, err
	}
	a, err := c.Resolve(ctx, text)
	if err != nil {
		return home.Contact{}, err
	}
	contact := home.Contact{Name: strings.ToLower(name), Address: a, Added: time.Now()}
	return contact, c.home.AddContact(ctx, contact)
}

// RemoveContact forgets a contact. Errors: message.NotFound.
func (c *Client) RemoveContact(ctx context.Context, name string) error {
	return c.home.RemoveContact(ctx, name)
}

// Accept is a person's word in a matter that nobody else may decide: that a
// changed name@host stands for its new address, or that an address about which
// trackers disagree is taken as it is known here. Errors: message.NotFound where
// there is nothing to accept.
func (c *Client) Accept(ctx context.Context, text string) (message.Address, error) {
	t, err := c.Target(ctx, text)
	if err != nil {
		return message.Address{}, err
	}
	if t.UserName != "" {
		name := t.UserName + "@" + t.Host
		if err := c.home.AcceptPin(ctx, name, time.Now()); err != nil {
			return message.Address{}, fmt.Errorf("client: accept %s: nothing has changed: %w", name, err)
		}
		pin, err := c.home.Pin(ctx, name)
		return pin.Address, err
	}
	found, err := c.lookups(ctx).Fresh(ctx, t.Address)
	if err != nil {
		return message.Address{}, err
	}
	if !found.Disagreement {
		return message.Address{}, fmt.Errorf("client: accept %s: trackers do not disagree: %w", t.Address, message.NotFound)
	}
	return t.Address, c.home.Accept(ctx, t.Address, found.Subject.Chain.Head().ID, time.Now())
}
