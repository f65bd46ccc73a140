package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/nearby"
	"airdispatch/store"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Neighbours is what a nearby.Node has to know of a person, and where it brings
// letters: nearby.People and nearby.Inbox.
type Neighbours struct {
	c         *Client
	delivered func(*Item)
}

// Neighbours are for a node of this client's. delivered, where not nil, is told of every
// new letter.
func (c *Client) Neighbours(delivered func(*Item)) *Neighbours {
	return &Neighbours{c: c, delivered: delivered}
}

// Contacts are the addresses that one has named.
func (n *Neighbours) Contacts(ctx context.Context) ([]message.Address, error) {
	all, err := n.c.home.Contacts(ctx)
	if err != nil {
		return nil, err
	}
	var out []message.Address
	for _, c := range all {
		if !slices.Contains(out, c.Address) {
			out = append(out, c.Address)
		}
	}
	return out, nil
}

// Chain is what is known of an address, without asking anybody.
func (n *Neighbours) Chain(ctx context.Context, a message.Address) (*message.Chain, error) {
	i, err := n.c.known.Identity(ctx, a)
	if err != nil {
		return nil, err
	}
	return i.Chain, nil
}

// Learn verifies cards on top of what is known of their address, and keeps those of
// contacts. Where more is known than was shown, that is the answer.
func (n *Neighbours) Learn(ctx context.Context, w *wirev1.Identity) (*message.Chain, error) {
	o, err := n.c.known.Open(ctx, w)
	if err != nil {
		return nil, err
	}
	contacts, err := n.Contacts(ctx)
	if err != nil {
		return nil, err
	}
	if o.Held() == nil && !slices.Contains(contacts, o.Identity().Address()) {
		if err := o.Identity().NotAhead(time.Now()); err != nil {
			return nil, err
		}
		return o.Identity().Chain, nil
	}
	i, err := n.c.known.Keep(ctx, o, time.Now())
	if i != nil && errors.Is(err, message.Stale) {
		return i.Chain, nil
	}
	if err != nil {
		return nil, err
	}
	return i.Chain, nil
}

// Deliver takes a letter that its author has brought: it is verified and opened as one
// that came over servers, and lies in the inbox as that one would. What is there already is
// no error. Errors: message.Invalid, message.BadSignature, ErrRewritten, message.Expired.
func (n *Neighbours) Deliver(ctx context.Context, from message.Address, w *wirev1.NearbyLetter) error {
	c := n.c
	heads := w.GetHeads()
	if len(heads) == 0 || len(heads) > message.MaxVersions {
		return fmt.Errorf("client: nearby: a letter with %d heads: %w", len(heads), message.Invalid)
	}
	claim, err := message.ParseHead(heads[len(heads)-1])
	if err != nil {
		return err
	}
	if claim.From() != from {
		return fmt.Errorf("client: nearby: %s brings a letter of somebody else: %w", from.Short(), message.NotAccepted)
	}
	p := pulling{ref: message.Ref{From: from, MID: claim.MID()}, box: home.Received}
	if m, err := c.home.Message(ctx, c.me, p.ref); err == nil {
		p.known = &m
	} else if !absent(err) {
		return err
	}
	all, err := c.history(ctx, p, heads)
	if err != nil {
		return err
	}
	newest := all[len(all)-1]
	switch {
	case newest.Audience != message.Private || !newest.Addressed(c.me):
		return fmt.Errorf("client: nearby: a letter for somebody else: %w", message.Invalid)
	case newest.Expired(time.Now()):
		return fmt.Errorf("client: nearby: %w", message.Expired)
	case p.known != nil && (p.known.Kept >= newest.Version || p.known.Hidden || p.known.Ended):
		return nil
	}
	if err := message.NotAhead(newest.Time, time.Now()); err != nil {
		return err
	}
	letter, err := c.openLetter(newest, &wirev1.Pulled{Slot: w.GetSlot(), Payload: w.GetPayload()})
	if err != nil {
		return err
	}
	if err := n.keep(ctx, all, letter, w.GetSlot()); err != nil {
		return err
	}
	if i, err := c.kept(ctx, p.ref); err == nil && n.delivered != nil {
		n.delivered(i)
	}
	return nil
}

// keep puts a letter that was opened into the inbox.
func (n *Neighbours) keep(ctx context.Context, heads []*message.Head, letter *message.Letter, slot *wirev1.Slot) error {
	ctx = context.WithoutCancel(ctx) // half a letter is none
	now := time.Now()
	newest := heads[len(heads)-1]
	m := home.Message{Ref: newest.Ref(), Box: home.Received, Folder: store.Inbox, Slot: slot, Arrived: now}
	fill(&m, newest)
	if err := n.c.home.PutMessage(ctx, n.c.me, m); err != nil {
		return err
	}
	var versions []home.Version
	for _, h := range heads {
		versions = append(versions, home.Version{Number: h.Version, Head: h.Signed, Fetched: now})
	}
	last := &versions[len(versions)-1]
	last.Content, last.Classical = letter.Content, letter.Classical
	if letter.Content != nil {
		for _, a := range letter.Content.Blobs() {
			last.Blobs = append(last.Blobs, store.BlobRef{ID: a.Blob, Size: crypto.SealedSize(a.Size)})
		}
	}
	return n.c.home.PutVersion(ctx, n.c.me, newest.Ref(), versions...)
}

// SentNearby is a letter that was brought to a peer on the same network.
type SentNearby struct {
	*Sent
	// Waits says why the own server does not have it yet; HandOver hands it over.
	Waits error
	// NotTaken says why the own server will not take it. Both are nil where it has it, and where there is no account.
	NotTaken error
}

// SendNearby seals a letter to one address, brings it there, and keeps one's own copy. Then
// the same version is handed to the own server, if there is one, so that other devices of both see it;
// where it arrives twice it is one letter. Where the server cannot be reached the version waits in the home
// for HandOver. Attachments need a server. Errors: message.Invalid, message.TooLarge, and those of the link.
func (c *Client) SendNearby(ctx context.Context, l *nearby.Link, d Draft) (*SentNearby, error) {
	if c.me.IsZero() {
		return nil, ErrNoIdentity
	}
	to := l.Chain.Address()
	d.To = []string{to.String()}
	if len(d.Bcc)+len(d.Attach)+len(d.Passed) != 0 || d.Public {
		return nil, fmt.Errorf("client: nearby: a letter to one person without attachments; share files instead: %w", message.Invalid)
	}
	if err := d.normal(time.Now()); err != nil {
		return nil, err
	}
	content, err := d.content()
	if err != nil {
		return nil, err
	}
	mid, err := message.NewMID(time.Now(), c.c.Rand)
	if err != nil {
		return nil, err
	}
	sealed, err := message.Seal(message.Draft{
		Author: c.c.Keyring.Chain, Readers: []*message.Chain{l.Chain}, MID: mid, Time: time.Now(), Audience: message.Private,
		Terms: d.Terms, Expires: d.Expires, Content: content,
	}, c.c.Keyring.Signer, c.c.Rand)
	if err != nil {
		return nil, err
	}
	letter := &wirev1.NearbyLetter{Heads: []*wirev1.Signed{sealed.Head.Signed}, Payload: sealed.Payload}
	for _, s := range sealed.Slots {
		if string(s.GetAddress()) == string(to.Bytes()) {
			letter.Slot = s
		}
	}
	if err := l.Bring(ctx, letter); err != nil {
		return nil, err
	}
	o := outgoing{content: content}
	out := &SentNearby{}
	if out.Sent, err = c.keepSent(ctx, sealed, o, nil); err != nil {
		return nil, err
	}
	if _, err := c.Account(ctx); errors.Is(err, ErrNoAccount) {
		return out, nil
	} else if err != nil {
		return nil, err
	}
	v := home.Handover{
		MID: mid, Version: sealed.Head.Version, Time: time.Now(), Expires: sealed.Head.Expires,
		Submission: &wirev1.Submission{Head: sealed.Head.Signed, Slots: sealed.Slots, Payload: sealed.Payload},
	}
	if err := c.home.PutHandover(context.WithoutCancel(ctx), c.me, v); err != nil {
		return nil, err
	}
	done, err := c.handOver(ctx, v)
	out.Receipt, out.NotTaken, out.Waits = done.Receipt, done.Err, err
	return out, nil
}

// Keyring is whose neighbours they are; nil is nobody's.
func (n *Neighbours) Keyring() *message.Keyring { return n.c.c.Keyring }
