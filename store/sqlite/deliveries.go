package sqlite

import (
	"context"
	"database/sql"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxReceipts is how many signed words are kept about one delivery; beyond it,
// the oldest makes room.
const maxReceipts = 32

// Deliveries reads how far a message has come for each recipient.
func (d tables) Deliveries(ctx context.Context, ref message.Ref) ([]store.Delivery, error) {
	var out []store.Delivery
	found := false
	err := d.list(ctx, `SELECT a.address, x.state, x.version, x.time, x.reason, x.attempts, x.due, x.noticed, x.receipts
		FROM messages m LEFT JOIN deliveries x ON x.id BETWEEN m.id << 8 AND (m.id << 8) + 255 LEFT JOIN addresses a ON a.id = x.recipient
		WHERE m.`+ofRef+" ORDER BY x.id", []any{ref.From[:], ref.MID[:]}, func(r *sql.Rows) error {
		found = true
		var to, receipts []byte
		var state, version, at, reason, attempts, due, noticed sql.NullInt64
		if err := r.Scan(&to, &state, &version, &at, &reason, &attempts, &due, &noticed, &receipts); err != nil {
			return err
		}
		if to == nil {
			return nil
		}
		v := store.Delivery{
			State: store.DeliveryState(state.Int64), Version: uint64(version.Int64), Time: moment(at.Int64),
			Reason: message.Code(reason.Int64), Overdue: noticed.Int64 != 0,
		}
		if due.Valid {
			v.Attempts, v.NextAttempt = int(attempts.Int64), moment(due.Int64)
		}
		copy(v.To[:], to)
		var err error
		v.Receipts, err = unpackReceipts(receipts)
		out = append(out, v)
		return err
	})
	if err == nil && !found {
		err = message.NotFound
	}
	return out, wrap("deliveries", err)
}

// packReceipts and unpackReceipts keep receipts in a column.
func packReceipts(l []*wirev1.Signed) ([]byte, error) { return pack(&wirev1.Identity{Cards: l}) }

func unpackReceipts(b []byte) ([]*wirev1.Signed, error) {
	var w wirev1.Identity
	err := unpack(b, &w)
	return w.GetCards(), err
}

// Report moves deliveries on.
func (d tables) Report(ctx context.Context, reports []store.Report) error {
	if len(reports) == 0 {
		return nil
	}
	return d.w.one(ctx, "report", func(t *tx) error {
		for _, r := range reports {
			if err := t.report(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// rank orders the states by how far they are. A refusal comes before an alert
// that was taken: the recipient may change their mind.
func rank(s store.DeliveryState) int {
	switch s {
	case store.Queued:
		return 0
	case store.NotTaken:
		return 1
	case store.Alerted:
		return 2
	case store.Served:
		return 3
	case store.Fetched:
		return 4
	case store.OpenedFor:
		return 5
	}
	return -1
}

// report moves one delivery on.
func (t *tx) report(r store.Report) error {
	author, ok, err := t.known(r.Ref.From)
	if !ok || err != nil {
		return err
	}
	to, ok, err := t.known(r.To)
	if !ok || err != nil {
		return err
	}
	h, ok, err := t.held(author, r.Ref.MID)
	if !ok || err != nil || r.Version < 1 || r.Version > uint64(h.newest) {
		return err
	}
	var id, version int64
	var state store.DeliveryState
	var receipts []byte
	ok, err = t.row("SELECT id, version, state, receipts FROM deliveries WHERE id BETWEEN ?1 AND ?2 AND recipient = ?3",
		[]any{h.id << recipientBits, h.id<<recipientBits | (1<<recipientBits - 1), to}, &id, &version, &state, &receipts)
	if !ok || err != nil {
		return err
	}
	if r.Receipt != nil {
		if err := t.addReceipt(id, receipts, r.Receipt); err != nil {
			return err
		}
	}
	if r.Version < uint64(version) || r.Version == uint64(version) && rank(r.State) <= rank(state) {
		return nil
	}
	t.next()
	_, err = t.change("UPDATE deliveries SET version = ?2, state = ?3, time = ?4, reason = ?5 WHERE id = ?1",
		id, r.Version, int(r.State), millis(r.Time), int(r.Reason))
	return err
}

// addReceipt keeps one more receipt, unless it is there.
func (t *tx) addReceipt(id int64, held []byte, r *wirev1.Signed) error {
	l, err := unpackReceipts(held)
	if err != nil {
		return err
	}
	for _, s := range l {
		if proto.Equal(s, r) {
			return nil
		}
	}
	l = append(l, r)
	b, err := packReceipts(l[max(0, len(l)-maxReceipts):])
	if err != nil {
		return err
	}
	t.next()
	_, err = t.change("UPDATE deliveries SET receipts = ?2 WHERE id = ?1", id, b)
	return err
}
