package client

import (
	"context"
	"fmt"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Policies is one's verdicts about senders.
func (c *Client) Policies(ctx context.Context) (map[message.Address]store.Verdict, error) {
	return c.policy(ctx, nil)
}

// SetVerdict tells the own server whose alerts go to the inbox, whose are not
// taken, and with store.Stranger whose go to the requests.
func (c *Client) SetVerdict(ctx context.Context, a message.Address, v store.Verdict) error {
	w := wirev1.Verdict_VERDICT_NONE
	switch v {
	case store.Allow:
		w = wirev1.Verdict_VERDICT_ALLOW
	case store.Block:
		w = wirev1.Verdict_VERDICT_BLOCK
	}
	_, err := c.policy(ctx, []*wirev1.Rule{{Address: a.Bytes(), Verdict: w}})
	return err
}

func (c *Client) policy(ctx context.Context, rules []*wirev1.Rule) (map[message.Address]store.Verdict, error) {
	var resp *wirev1.PolicyResponse
	err := c.ask(ctx, func(p *rpc.Peer) (err error) {
		resp, err = p.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: rules})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("client: policy: %w", err)
	}
	out := make(map[message.Address]store.Verdict)
	for _, r := range resp.GetRules() {
		a, err := message.AddressFromBytes(r.GetAddress())
		if err != nil {
			return nil, err
		}
		switch r.GetVerdict() {
		case wirev1.Verdict_VERDICT_ALLOW:
			out[a] = store.Allow
		case wirev1.Verdict_VERDICT_BLOCK:
			out[a] = store.Block
		}
	}
	return out, nil
}
