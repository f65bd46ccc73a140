package client

import (
	"context"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Delivery is how far a message has come for one recipient.
type Delivery struct {
	To    message.Address
	State store.DeliveryState
	// Version that the state is about, Time when it was reached.
	Version uint64
	Time    time.Time
	// Reason of a refusal; 0 for none.
	Reason message.Code
	// Attempts to bring the alert, and when the next is due.
	Attempts int
	Next     time.Time
	// Overdue: the alert could not be brought for five days.
	Overdue bool
	// Signed: somebody else's signature stands behind the state, and it was
	// verified. A state without is the own server's word.
	Signed bool
	// FetchedVersion is the newest version of which a verified receipt says that
	// the recipient's server has it, and FetchedTime when; OpenedVersion and
	// OpenedTime are the same for the reader's device. Zero for none. A later edit
	// or recall begins a state anew and takes nothing from these.
	FetchedVersion, OpenedVersion uint64
	FetchedTime, OpenedTime       time.Time
}

// Progressed is a message with its deliveries.
type Progressed struct {
	*Item
	Deliveries []Delivery
}

// Status asks the own server how far a message of one's own has come, and
// verifies the receipts that it shows. Errors: message.NotFound,
// message.Denied (not one's own), message.Unavailable.
func (c *Client) Status(ctx context.Context, ref message.Ref) (*Progressed, error) {
	i, err := c.ownMessage(ctx, ref)
	if err != nil {
		return nil, err
	}
	var resp *wirev1.StatusResponse
	err = c.ask(ctx, func(p *rpc.Peer) (err error) {
		resp, err = p.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: ref.MID.Bytes()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("client: status of %s: %w", ref, err)
	}
	if len(resp.GetHeads()) == 0 {
		return nil, fmt.Errorf("client: status of %s: no heads: %w", ref, message.Invalid)
	}
	heads, err := c.history(ctx, pulling{ref: ref}, resp.GetHeads())
	if err != nil {
		return nil, err
	}
	out := &Progressed{Item: i}
	for _, w := range resp.GetDeliveries() {
		d, err := c.delivery(ctx, w, heads)
		if err != nil {
			return nil, err
		}
		out.Deliveries = append(out.Deliveries, d)
	}
	return out, nil
}

// delivery reads one delivery and looks for the signature behind its state.
func (c *Client) delivery(ctx context.Context, w *wirev1.Delivery, heads []*message.Head) (Delivery, error) {
	to, err := message.AddressFromBytes(w.GetTo())
	if err != nil {
		return Delivery{}, err
	}
	d := Delivery{
		To: to, State: store.DeliveryState(w.GetState()), Version: w.GetVersion(), Time: fromMillis(w.GetTime()), Reason: message.Code(w.GetReason()),
		Attempts: int(w.GetAttempts()), Next: fromMillis(w.GetNextAttempt()), Overdue: w.GetOverdue(),
	}
	for _, s := range w.GetReceipts() {
		r, err := c.receipt(ctx, to, s)
		if err != nil {
			c.log.InfoContext(ctx, "a receipt is not believed", "recipient", to.Short(), "error", err)
			continue
		}
		for _, h := range heads {
			if r.For == to && r.ID == h.ID {
				d.witness(r, h.Version)
			}
		}
	}
	return d, nil
}

// witness takes in a verified receipt about a version.
func (d *Delivery) witness(r *message.Receipt, version uint64) {
	if want, ok := receiptFor[d.State]; ok && r.Kind == want && version == d.Version {
		d.Signed = true
	}
	switch {
	case r.Kind == message.ReceiptFetched && version > d.FetchedVersion:
		d.FetchedVersion, d.FetchedTime = version, r.AcceptedAt
	case r.Kind == message.ReceiptOpened && version > d.OpenedVersion:
		d.OpenedVersion, d.OpenedTime = version, r.AcceptedAt
	}
}

// receiptFor is the receipt that stands behind a state.
var receiptFor = map[store.DeliveryState]message.ReceiptKind{
	store.Alerted: message.ReceiptAlerted, store.Fetched: message.ReceiptFetched, store.OpenedFor: message.ReceiptOpened,
}

// receipt verifies a receipt: opened ones are the reader's, the others those of
// a server in the reader's route.
func (c *Client) receipt(ctx context.Context, reader message.Address, s *wirev1.Signed) (*message.Receipt, error) {
	issuer, err := message.ReceiptIssuer(s)
	if err != nil {
		return nil, err
	}
	i, err := c.identity(ctx, issuer)
	if err != nil {
		return nil, err
	}
	r, err := message.OpenReceipt(c.verifier, i.Chain, s)
	if err != nil || r.Kind == message.ReceiptOpened {
		return r, err
	}
	person, err := c.identity(ctx, reader)
	if err != nil {
		return nil, err
	}
	if reader == c.me {
		person, err = c.known.Identity(ctx, reader)
		if err != nil {
			return nil, err
		}
	}
	if person.Route == nil || !person.Route.Serves(issuer, message.PurposeInbox) {
		return nil, fmt.Errorf("client: a receipt by %s, which does not serve the reader: %w", issuer.Short(), message.Invalid)
	}
	return r, nil
}

// fromMillis is a time off the wire; zero for none and for nonsense.
func fromMillis(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
