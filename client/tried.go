package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// triedPart is a version that was handed to servers, of which the answer may have been
// lost. Any of them may have taken it and told the readers, so whoever has moved
// meanwhile hands in the same bytes: another version 1 would look to the readers like a
// history that was rewritten.
type triedPart struct {
	// Servers are those that may have it.
	Servers []message.Address
	// Head is the id of its head.
	Head message.ID
	// Submission is what was handed in.
	Submission []byte
}

// tried is a version that is about to be handed to the own server.
func (c *Client) tried(ctx context.Context, w *wirev1.Submission) (*triedPart, error) {
	a, err := c.Account(ctx)
	if err != nil {
		return nil, err
	}
	claim, err := message.ParseHead(w.GetHead())
	if err != nil {
		return nil, err
	}
	b, err := proto.Marshal(w)
	return &triedPart{Servers: []message.Address{a.Server.Address}, Head: claim.ID(), Submission: b}, err
}

// sendElsewhere hands in once more what another server than the own one may have taken;
// nil where there is no such thing. What the own server will not have, because of a key
// that is gone, becomes a message of its own: p has another id then.
func (c *Client) sendElsewhere(ctx context.Context, p *part, o outgoing) (*Sent, error) {
	if p.Tried == nil {
		return nil, nil
	}
	a, err := c.Account(ctx)
	if err != nil {
		return nil, err
	}
	if len(p.Tried.Servers) == 1 && p.Tried.Servers[0] == a.Server.Address {
		return nil, nil // it has just said that it does not have it
	}
	w := &wirev1.Submission{}
	if err := proto.Unmarshal(p.Tried.Submission, w); err != nil {
		return nil, errors.Join(err, message.Invalid)
	}
	head, err := c.ownHead(w.GetHead())
	if err != nil {
		return nil, c.renamed(p, err)
	}
	t := *p.Tried
	if !slices.Contains(t.Servers, a.Server.Address) {
		t.Servers = append(slices.Clone(t.Servers), a.Server.Address)
	}
	if err := o.note(&t); err != nil {
		return nil, err
	}
	receipt, err := c.handSubmission(ctx, head, w)
	if err != nil {
		return nil, c.renamed(p, err)
	}
	return c.keepSent(ctx, &message.Sealed{Head: head, Slots: w.GetSlots(), Payload: w.GetPayload()}, o, receipt)
}

// renamed gives a part another id, where what was tried under the one that it has will
// not be taken another time either; otherwise it returns err.
func (c *Client) renamed(p *part, err error) error {
	if !hopelessHandover(err) && !errors.Is(err, message.BadSignature) && !errors.Is(err, message.NotFound) {
		return err
	}
	mid, err := message.NewMID(time.Now(), c.c.Rand)
	if err != nil {
		return err
	}
	p.MID, p.Tried = mid.String(), nil
	return nil
}
