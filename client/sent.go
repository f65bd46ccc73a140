package client

import (
	"context"
	"fmt"
	"slices"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const sentLog = "sent"

// Sent lists one's own private messages as they are in the home, oldest first;
// limit is how many of the newest, 0 is all. SyncSent before it to hear of those
// sent from other devices.
func (c *Client) Sent(ctx context.Context, limit int) ([]*Item, error) {
	if c.me.IsZero() {
		return nil, ErrNoIdentity
	}
	ms, err := c.home.List(ctx, c.me, home.Query{Box: home.Sent})
	if err != nil {
		return nil, err
	}
	all, err := c.items(ctx, ms)
	var out []*Item
	for _, i := range all {
		if i.Head.Audience == message.Private {
			out = append(out, i)
		}
	}
	if limit > 0 && len(out) > limit {
		out = out[len(out)-limit:]
	}
	return out, err
}

// SyncSent hears what this person's other devices sent, edited and recalled.
// Content comes with FetchSent, or when it is read.
func (c *Client) SyncSent(ctx context.Context) error {
	err := c.ask(ctx, func(p *rpc.Peer) error {
		for {
			more, err := c.sentPage(ctx, p)
			if err != nil || !more {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("client: sent: %w", err)
	}
	return nil
}

// FetchSent fetches the content of what other devices sent and edited, so that
// subjects can be shown. What cannot be had now is no error.
func (c *Client) FetchSent(ctx context.Context) error {
	ms, err := c.home.List(ctx, c.me, home.Query{Box: home.Sent})
	if err != nil {
		return err
	}
	private := slices.DeleteFunc(ms, func(m home.Message) bool { return m.Box&home.Public != 0 })
	return c.fetchMissing(ctx, private)
}

func (c *Client) sentPage(ctx context.Context, p *rpc.Peer) (bool, error) {
	epoch, seq, err := c.home.Cursor(ctx, c.me, sentLog)
	if err != nil {
		return false, err
	}
	resp, err := p.Mailbox().Sent(ctx, &wirev1.SentRequest{After: &wirev1.Cursor{Epoch: epoch, Seq: seq}, Limit: inboxPage})
	if err != nil {
		return false, err
	}
	next := resp.GetNext()
	if seq != 0 && next.GetEpoch() != epoch {
		return true, c.home.SetCursor(ctx, c.me, sentLog, next.GetEpoch(), 0)
	}
	if resp.GetMore() && next.GetSeq() <= seq {
		return false, fmt.Errorf("client: sent: the server's log does not go on: %w", message.Invalid)
	}
	var ms []home.Message
	for _, item := range resp.GetItems() {
		m, err := c.takeSent(ctx, item.GetHeads())
		if err != nil {
			c.log.WarnContext(ctx, "an entry of the sent messages is not believed", "error", err)
			continue
		}
		ms = append(ms, m)
	}
	return resp.GetMore(), c.home.PutMessages(ctx, c.me, ms, home.Reading{Log: sentLog, Epoch: next.GetEpoch(), Seq: next.GetSeq()})
}

// takeSent verifies the history of one of one's own messages. What is signed
// with one's own keys and was not seen here comes from another device.
func (c *Client) takeSent(ctx context.Context, signed []*wirev1.Signed) (home.Message, error) {
	if len(signed) == 0 {
		return home.Message{}, fmt.Errorf("client: a message without heads: %w", message.Invalid)
	}
	claim, err := message.ParseHead(signed[0])
	if err != nil {
		return home.Message{}, err
	}
	ref := message.Ref{From: claim.From(), MID: claim.MID()}
	if ref.From != c.me {
		return home.Message{}, fmt.Errorf("client: a message of somebody else: %w", message.Invalid)
	}
	heads, err := c.history(ctx, pulling{ref: ref}, signed)
	if err != nil {
		return home.Message{}, err
	}
	newest := heads[len(heads)-1]
	m := home.Message{Ref: ref, Box: home.Sent}
	if newest.Audience == message.Public {
		m.Box |= home.Public
	}
	fill(&m, newest)
	return m, nil
}
