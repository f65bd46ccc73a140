package memory

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// delivery is how far a message has come for one recipient.
type delivery struct {
	to       message.Address
	version  uint64
	state    store.DeliveryState
	time     time.Time
	reason   message.Code
	receipts []*wirev1.Signed
	// task is the pending alert, nil for none.
	task *task
}

// maxReceipts is how many signed words are kept about one delivery.
const maxReceipts = 32

// Deliveries reads how far a message has come for each recipient.
func (m *tables) Deliveries(ctx context.Context, ref message.Ref) (out []store.Delivery, err error) {
	err = m.with(ctx, func() error {
		l, ok := m.messages[ref]
		if !ok {
			return message.NotFound
		}
		for _, d := range l.deliveries {
			v := store.Delivery{To: d.to, State: d.state, Version: d.version, Time: d.time, Reason: d.reason, Receipts: statements(d.receipts)}
			if d.task != nil {
				v.Attempts, v.NextAttempt, v.Overdue = d.task.Attempts, d.task.Due, d.task.Noticed
			}
			out = append(out, v)
		}
		return nil
	})
	return out, err
}

// Report moves deliveries on.
func (m *tables) Report(ctx context.Context, reports []store.Report) error {
	return m.with(ctx, func() error {
		for _, r := range reports {
			m.report(r)
		}
		return nil
	})
}

// ranks are the states in the order of how far they are. A refusal comes before
// an alert that was taken: the recipient may change their mind.
var ranks = []store.DeliveryState{store.Queued, store.NotTaken, store.Alerted, store.Served, store.Fetched, store.OpenedFor}

func (m *tables) report(r store.Report) {
	l, ok := m.messages[r.Ref]
	if !ok || r.Version < 1 || r.Version > uint64(len(l.versions)) {
		return
	}
	i := slices.IndexFunc(l.deliveries, func(d *delivery) bool { return d.to == r.To })
	if i < 0 {
		return
	}
	d := l.deliveries[i]
	held := slices.ContainsFunc(d.receipts, func(s *wirev1.Signed) bool { return proto.Equal(s, r.Receipt) })
	if r.Receipt != nil && !held {
		d.receipts = append(d.receipts, statement(r.Receipt))
		d.receipts = d.receipts[max(0, len(d.receipts)-maxReceipts):]
		m.next()
	}
	if r.Version < d.version || slices.Index(ranks, r.State) <= slices.Index(ranks, d.state) {
		return
	}
	d.state, d.time, d.reason = r.State, whole(r.Time), r.Reason
	m.next()
}
