package courier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// maxBatch is how many alerts or receipts go into one call.
	maxBatch = 256
	// maxRequest is how large a request is made, under message.MaxCall.
	maxRequest = message.MaxCall - 512<<10
)

// parcel is one alert on its way: the task, what it brings, and whose it is.
type parcel struct {
	task    store.Task
	version uint64
	id      message.ID
	item    *wirev1.AlertItem
}

// alerts brings alerts to one server, with the bundles that it may not know.
func (c *Courier) alerts(ctx context.Context, server *message.Identity, tasks []store.Task) []result {
	results := make([]result, 0, len(tasks))
	var parcels []parcel
	for _, t := range tasks {
		p, r := c.pack(ctx, t)
		if r != nil {
			results = append(results, *r)
			continue
		}
		parcels = append(parcels, p)
	}
	for len(parcels) > 0 {
		n := fit(parcels)
		results = append(results, c.bring(ctx, server, parcels[:n])...)
		parcels = parcels[n:]
	}
	return results
}

// fit is how many parcels go into one request.
func fit(parcels []parcel) int {
	size := 0
	for n, p := range parcels {
		if size += proto.Size(p.item); n > 0 && size > maxRequest/2 {
			return n
		}
	}
	return len(parcels)
}

// pack reads what an alert brings: the newest head and the recipient's slot. A
// result instead of a parcel settles the task as it is.
func (c *Courier) pack(ctx context.Context, t store.Task) (parcel, *result) {
	versions, err := store.ServeOne(ctx, c.c.Outgoing, store.ServeItem{Ref: t.Ref, After: t.Version - 1}, message.Address{}, time.Now())
	if errors.Is(err, message.NotFound) || (err == nil && len(versions) == 0) {
		return parcel{}, &result{task: t}
	}
	if err != nil {
		return parcel{}, &result{task: t, err: err}
	}
	newest := versions[len(versions)-1]
	p := parcel{task: t, version: newest.Number, id: newest.ID, item: &wirev1.AlertItem{To: t.Peer.Bytes(), Head: newest.Head}}
	if newest.Tombstone {
		return p, nil
	}
	for _, s := range newest.Slots {
		if a, err := message.AddressFromBytes(s.GetAddress()); err == nil && a == t.Peer {
			p.item.Slot = s
		}
	}
	if p.item.Slot == nil {
		// The slots are gone: an ephemeral message that is over.
		return parcel{}, &result{task: t, version: newest.Number, err: errGone}
	}
	return p, nil
}

// errGone settles an alert whose message ended before it could be brought.
var errGone = fmt.Errorf("courier: the message is over: %w", message.Recalled)

// bring makes one call, and a second one with bundles for what needs them.
func (c *Courier) bring(ctx context.Context, server *message.Identity, parcels []parcel) []result {
	peer, err := c.c.Client.Peer(server)
	if err != nil {
		return failed(parcels, err)
	}
	results, err := c.call(ctx, peer, parcels, false)
	if errors.Is(err, message.NeedBundle) {
		results, err = c.call(ctx, peer, parcels, true)
	}
	if err != nil {
		return failed(parcels, err)
	}
	var again []parcel
	var places []int
	for n, r := range results {
		if errors.Is(r.err, message.NeedBundle) {
			again, places = append(again, parcels[n]), append(places, n)
		}
	}
	if len(again) == 0 {
		return results
	}
	second, err := c.call(ctx, peer, again, true)
	if err != nil {
		return results
	}
	for n, place := range places {
		results[place] = second[n]
	}
	return results
}

// failed is the same result for all.
func failed(parcels []parcel, err error) []result {
	results := make([]result, 0, len(parcels))
	for _, p := range parcels {
		results = append(results, result{task: p.task, version: p.version, err: err})
	}
	return results
}

// call makes one Alert call. Bundles that this server has had are left out,
// unless all are asked for.
func (c *Courier) call(ctx context.Context, peer *rpc.Peer, parcels []parcel, all bool) ([]result, error) {
	req := &wirev1.AlertRequest{}
	about := []*message.Identity{c.c.Identity()}
	seen := map[message.Address]bool{about[0].Address(): true}
	for _, p := range parcels {
		req.Items = append(req.Items, p.item)
		if from := p.task.Ref.From; !seen[from] {
			seen[from] = true
			if i, err := c.c.Known.Identity(ctx, from); err == nil {
				about = append(about, i)
			}
		}
	}
	var sent []introduction
	req.Identities, sent = c.bundles(peer.Address(), about, all)
	resp, err := peer.Exchange().Alert(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("courier: alert %s: %w", peer.Address().Short(), err)
	}
	if len(resp.GetResults()) != len(parcels) {
		return nil, fmt.Errorf("courier: alert %s: %d results for %d items: %w", peer.Address().Short(), len(resp.GetResults()), len(parcels), message.Unavailable)
	}
	results := make([]result, 0, len(parcels))
	for n, w := range resp.GetResults() {
		results = append(results, c.receive(peer.Identity(), parcels[n], w))
		if results[n].err == nil {
			c.remember(sent)
			sent = nil
		}
	}
	return results, nil
}

// bundles are the identities to send along: all of them, or those that the
// server has not had yet in their present state.
func (c *Courier) bundles(server message.Address, about []*message.Identity, all bool) ([]*wirev1.Identity, []introduction) {
	var out []*wirev1.Identity
	var sent []introduction
	size := 0
	for _, i := range about {
		in := introduction{server: server, card: i.Chain.Head().ID}
		if i.Route != nil {
			in.route = i.Route.ID
		}
		if _, had := c.introduced.GetIfPresent(in); had && !all {
			continue
		}
		w := i.Wire()
		w.FirstSeen = nil
		if size += proto.Size(w); size > maxRequest/2 {
			break
		}
		out, sent = append(out, w), append(sent, in)
	}
	return out, sent
}

// remember that a server has had these identities.
func (c *Courier) remember(sent []introduction) {
	for _, in := range sent {
		c.introduced.Set(in, true)
	}
}

// receive reads the answer to one item: a receipt by that server for this head
// and recipient, or a refusal.
func (c *Courier) receive(server *message.Identity, p parcel, w *wirev1.AlertResult) result {
	r := result{task: p.task, version: p.version}
	if r.err = message.OpenRefusal(w.GetRefusal()); r.err != nil {
		return r
	}
	receipt, err := message.OpenReceipt(c.c.Verifier, server.Chain, w.GetReceipt())
	switch {
	case err != nil:
		r.err = fmt.Errorf("courier: receipt: %v: %w", err, message.Unavailable)
	case receipt.Kind != message.ReceiptAlerted || receipt.ID != p.id || receipt.For != p.task.Peer:
		r.err = fmt.Errorf("courier: a receipt for something else: %w", message.Unavailable)
	default:
		r.receipt = receipt
	}
	return r
}
