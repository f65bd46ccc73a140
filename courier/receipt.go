package courier

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// receipts brings receipts back to the server of their messages' authors.
func (c *Courier) receipts(ctx context.Context, server *message.Identity, tasks []store.Task) []result {
	peer, err := c.c.Client.Peer(server)
	if err == nil {
		var results []result
		results, err = c.hand(ctx, peer, tasks, false)
		if needy(results) || errors.Is(err, message.NeedBundle) {
			results, err = c.hand(ctx, peer, tasks, true)
		}
		if err == nil {
			return results
		}
	}
	results := make([]result, 0, len(tasks))
	for _, t := range tasks {
		results = append(results, result{task: t, err: err})
	}
	return results
}

// needy reports whether some item was refused for want of a bundle.
func needy(results []result) bool {
	for _, r := range results {
		if errors.Is(r.err, message.NeedBundle) {
			return true
		}
	}
	return false
}

// readerOf is whose reading a receipt is about. It is this server's own, or its
// owner's, and was verified when it was taken in.
func readerOf(t store.Task) (message.Address, error) {
	var w wirev1.Receipt
	if err := proto.Unmarshal(t.Receipt.GetBody(), &w); err != nil {
		return message.Address{}, fmt.Errorf("courier: receipt: %w", message.Invalid)
	}
	return message.AddressFromBytes(w.GetFor())
}

// hand makes one Receipts call. The readers' bundles prove which server speaks
// for them.
func (c *Courier) hand(ctx context.Context, peer *rpc.Peer, tasks []store.Task, all bool) ([]result, error) {
	req := &wirev1.ReceiptsRequest{}
	about := []*message.Identity{c.c.Identity()}
	seen := map[message.Address]bool{}
	for _, t := range tasks {
		req.Items = append(req.Items, &wirev1.Acknowledgement{From: t.Ref.From.Bytes(), Mid: t.Ref.MID.Bytes(), Version: t.Version, Receipt: t.Receipt})
		reader, err := readerOf(t)
		if err != nil || seen[reader] {
			continue
		}
		seen[reader] = true
		if i, err := c.c.Known.Identity(ctx, reader); err == nil {
			about = append(about, i)
		}
	}
	var sent []introduction
	req.Identities, sent = c.bundles(peer.Address(), about, all)
	resp, err := peer.Exchange().Receipts(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("courier: receipts %s: %w", peer.Address().Short(), err)
	}
	if len(resp.GetResults()) != len(tasks) {
		return nil, fmt.Errorf("courier: receipts %s: %d results for %d items: %w", peer.Address().Short(), len(resp.GetResults()), len(tasks), message.Unavailable)
	}
	results := make([]result, 0, len(tasks))
	for n, t := range tasks {
		r := result{task: t, version: t.Version, err: message.OpenRefusal(resp.GetResults()[n])}
		if r.err == nil {
			c.remember(sent)
			sent = nil
		}
		results = append(results, r)
	}
	return results, nil
}
