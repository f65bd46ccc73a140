package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// ReadOptions say how to read.
type ReadOptions struct {
	// Offline reads what is in the home and asks nobody.
	Offline bool
	// Opened sends the author a signed word that the message was opened.
	Opened bool
}

// Reading is a message that was read.
type Reading struct {
	*Item
	// Unasked says why newer versions could not be asked for; what is shown is
	// then the copy in the home. nil when they could.
	Unasked error
}

// Read fetches the newest version of a message, verifies it against everything
// that was seen of it, marks it as read and returns it. When the way to its
// origin is broken, or what it brought is not to be believed, and there is a
// copy in the home, it returns that and says so in Unasked. A message that was
// recalled after it was read comes with the version that was read.
//
// Errors: message.NotFound, message.Unavailable, message.Recalled,
// message.Expired, and with what is no good and no copy here message.BadSignature
// and its kin.
func (c *Client) Read(ctx context.Context, ref message.Ref, o ReadOptions) (*Reading, error) {
	if err := c.home.Expire(ctx, time.Now()); err != nil {
		return nil, err
	}
	var unasked error
	if !o.Offline {
		unasked = c.refresh(ctx, ref)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("client: read %s: %w", ref, ctx.Err())
	}
	i, err := c.kept(ctx, ref)
	switch {
	case absent(err) && unasked != nil:
		return nil, unasked
	case err != nil:
		return nil, err
	case i.Content == nil && i.State == StateRecalled:
		return nil, fmt.Errorf("client: read %s: %w", ref, message.Recalled)
	case i.Content == nil && i.State == StateExpired:
		return nil, fmt.Errorf("client: read %s: %w", ref, message.Expired)
	case i.Content == nil && unasked != nil:
		return nil, unasked
	case i.Content == nil:
		return nil, fmt.Errorf("client: read %s: not fetched yet: %w", ref, message.NotFound)
	}
	c.markRead(ctx, i, o)
	return &Reading{Item: i, Unasked: unasked}, nil
}

// markRead remembers that the message was shown, and tells the own server. What
// fails here takes nothing from the reader.
func (c *Client) markRead(ctx context.Context, i *Item, o ReadOptions) {
	yes := true
	if err := c.home.Mark(ctx, c.me, i.Ref, home.Marking{Read: &yes, Seen: &yes}); err != nil {
		c.log.WarnContext(ctx, "mark as read", "error", err)
	}
	if i.State == StateNew {
		i.State = StateRead
		if !o.Offline {
			if err := c.mark(ctx, []message.Ref{i.Ref}, Marks{Read: Set}); err != nil {
				c.log.InfoContext(ctx, "the server does not know yet that the message was read", "error", err)
			}
		}
	}
	if o.Opened && !o.Offline && !i.Own && i.Head.Audience == message.Private {
		if err := c.acknowledge(ctx, i); err != nil {
			c.log.WarnContext(ctx, "the author was not told that the message was opened", "error", err)
		}
	}
}

// acknowledge signs that the message was opened here.
func (c *Client) acknowledge(ctx context.Context, i *Item) error {
	r, err := message.SignReceipt(message.Receipt{Issuer: c.me, Kind: message.ReceiptOpened, ID: i.Head.ID, AcceptedAt: time.Now(), For: c.me}, c.c.Keyring.Signer)
	if err != nil {
		return err
	}
	return c.ask(ctx, func(p *rpc.Peer) error {
		_, err := p.Mailbox().Acknowledge(ctx, &wirev1.AcknowledgeRequest{Items: []*wirev1.Acknowledgement{{
			From: i.Ref.From.Bytes(), Mid: i.Ref.MID.Bytes(), Version: i.Head.Version, Receipt: r.Signed,
		}}})
		return err
	})
}

// refresh asks for newer versions of a message: the own server for private
// ones, the author's server for public ones, and for a message that nothing is
// known of the one after the other.
func (c *Client) refresh(ctx context.Context, ref message.Ref) error {
	p := pulling{ref: ref}
	m, err := c.home.Message(ctx, c.me, ref)
	switch {
	case err == nil:
		p.known = &m
		p.box = m.Box
	case !absent(err):
		return err
	}
	if p.known != nil && p.box&home.Public == 0 {
		if m.Ended || m.Trouble != "" {
			return nil
		}
		return c.refreshPrivate(ctx, p)
	}
	if p.known == nil && !c.me.IsZero() {
		p.box = home.Received
		if ref.From == c.me {
			p.box = home.Sent
		}
		err := c.refreshPrivate(ctx, p)
		if err == nil || !(absent(err) || errors.Is(err, ErrNoAccount) || errors.Is(err, message.Denied)) {
			return err
		}
	}
	p.box = home.Public
	return c.refreshPublic(ctx, p)
}

func (c *Client) refreshPrivate(ctx context.Context, p pulling) error {
	resp, err := c.callFetch(ctx, &wirev1.FetchRequest{Items: []*wirev1.FetchItem{fetchItem(p.ref, p.after())}})
	if err != nil {
		return err
	}
	w := resp.GetResults()[0]
	_, err = c.takePulled(ctx, p, w)
	if err != nil {
		return fmt.Errorf("client: fetch %s: %w", p.ref, err)
	}
	if w.GetKeptCopy() {
		return fmt.Errorf("client: fetch %s: the sender's server cannot be asked, this is your server's copy: %w", p.ref, message.Unavailable)
	}
	return nil
}

func (c *Client) refreshPublic(ctx context.Context, p pulling) error {
	var w *wirev1.Pulled
	err := c.eachOrigin(ctx, p.ref.From, func(peer *rpc.Peer) error {
		resp, err := peer.Exchange().Pull(ctx, &wirev1.PullRequest{Items: []*wirev1.FetchItem{fetchItem(p.ref, p.after())}})
		if err != nil {
			return err
		}
		if len(resp.GetResults()) != 1 {
			return fmt.Errorf("client: pull: %d results for one item: %w", len(resp.GetResults()), message.Invalid)
		}
		w = resp.GetResults()[0]
		return message.OpenRefusal(w.GetRefusal())
	})
	if err != nil {
		return fmt.Errorf("client: pull %s: %w", p.ref, err)
	}
	_, err = c.takePulled(ctx, p, w)
	return err
}
