package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// AddInquiries puts questions.
func (d tables) AddInquiries(ctx context.Context, qs []store.Inquiry) error {
	if len(qs) == 0 {
		return nil
	}
	return d.w.one(ctx, "add inquiries", func(t *tx) error {
		owners := make(map[int64]bool)
		for _, q := range qs {
			owner, ok, err := t.account(q.Owner)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			peer, err := t.number(q.Peer)
			if err != nil {
				return err
			}
			owners[owner] = true
			if _, err := t.change(`INSERT INTO inquiries (owner, peer, epoch, seq, pages, queued, due, attempts) VALUES (?1, ?2, 0, 0, 0, ?3, ?4, 0)
				ON CONFLICT DO UPDATE SET epoch = 0, seq = 0, pages = 0, queued = ?3, due = ?4, attempts = 0 WHERE queued < ?3`, owner, peer, millis(q.Queued), millis(q.Due)); err != nil {
				return err
			}
		}
		for owner := range owners {
			var open int
			if _, err := t.row("SELECT count(*) FROM inquiries WHERE owner = ?1", []any{owner}, &open); err != nil {
				return err
			}
			if open > store.MaxInquiries {
				return fmt.Errorf("%d inquiries of one owner: %w", open, message.Quota)
			}
		}
		return nil
	})
}

// askAgain puts the questions that follow a restore. A tracker's file has
// nothing to ask.
func (t *tx) askAgain() error {
	if ok, err := t.row("SELECT 1 FROM sqlite_master WHERE name = 'inquiries'", nil, new(int)); !ok || err != nil {
		return err
	}
	_, err := t.change(`INSERT INTO inquiries (owner, peer, epoch, seq, pages, queued, due, attempts)
		SELECT owner, peer, 0, 0, 0, ?1, ?1, 0 FROM (
			SELECT owner, sender AS peer FROM verdicts WHERE verdict = ?2
			UNION SELECT owner, origin FROM entries WHERE owner IN (SELECT owner FROM accounts)) WHERE true
		ON CONFLICT DO UPDATE SET epoch = 0, seq = 0, pages = 0, queued = ?1, due = ?1, attempts = 0`, millis(time.Now()), int(store.Allow))
	return err
}

// ClaimInquiries takes due questions.
func (d tables) ClaimInquiries(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]store.Inquiry, error) {
	var out []store.Inquiry
	err := d.w.one(ctx, "claim inquiries", func(t *tx) error {
		type key struct{ owner, peer int64 }
		var keys []key
		err := t.rows(`SELECT i.owner, i.peer, o.address, p.address, i.epoch, i.seq, i.pages, i.queued, i.attempts
			FROM inquiries i JOIN addresses o ON o.id = i.owner JOIN addresses p ON p.id = i.peer
			WHERE i.due <= ?1 ORDER BY i.due, i.owner, i.peer LIMIT ?2`, []any{millis(now), max(limit, 0)}, func(r *sql.Rows) error {
			q := store.Inquiry{Due: whole(now.Add(lease))}
			var k key
			var owner, peer address
			var queued int64
			if err := r.Scan(&k.owner, &k.peer, &owner, &peer, &q.After.Epoch, &q.After.Seq, &q.Pages, &queued, &q.Attempts); err != nil {
				return err
			}
			q.Owner, q.Peer, q.Queued = owner.Address, peer.Address, moment(queued)
			out, keys = append(out, q), append(keys, k)
			return nil
		})
		for _, k := range keys {
			if err == nil {
				_, err = t.change("UPDATE inquiries SET due = ?3 WHERE owner = ?1 AND peer = ?2", k.owner, k.peer, millis(now.Add(lease)))
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SettleInquiries records what became of questions.
func (d tables) SettleInquiries(ctx context.Context, qs []store.Inquiry) error {
	if len(qs) == 0 {
		return nil
	}
	return d.w.one(ctx, "settle inquiries", func(t *tx) error {
		for _, q := range qs {
			if err := t.settleInquiry(q); err != nil {
				return err
			}
		}
		return nil
	})
}

// settleInquiry records one.
func (t *tx) settleInquiry(q store.Inquiry) error {
	owner, ok, err := t.known(q.Owner)
	if !ok || err != nil {
		return err
	}
	peer, ok, err := t.known(q.Peer)
	if !ok || err != nil {
		return err
	}
	if q.Done {
		_, err = t.change("DELETE FROM inquiries WHERE owner = ?1 AND peer = ?2 AND queued = ?3", owner, peer, millis(q.Queued))
		return err
	}
	_, err = t.change("UPDATE inquiries SET epoch = ?4, seq = ?5, pages = ?6, due = ?7, attempts = ?8 WHERE owner = ?1 AND peer = ?2 AND queued = ?3",
		owner, peer, millis(q.Queued), q.After.Epoch, q.After.Seq, q.Pages, millis(q.Due), q.Attempts)
	return err
}

// NextInquiry tells when the next question is due.
func (d tables) NextInquiry(ctx context.Context) (time.Time, error) {
	due := int64(math.MaxInt64)
	ok, err := d.find(ctx, "SELECT due FROM inquiries ORDER BY due LIMIT 1", nil, &due)
	if err == nil && !ok {
		err = message.NotFound
	}
	if err != nil {
		return time.Time{}, wrap("next inquiry", err)
	}
	return moment(due), nil
}

// heldQuery finds what names a recipient by the recipient's own index. A
// message's place changes with its versions, so a page sorts what there is for
// this one recipient, and reads heads and slots of the page alone.
const heldQuery = `SELECT m.seq, a.address, m.mid, ` + versionColumns + `, v.parts, NULL FROM
	(SELECT x.id, x.author, x.mid, x.seq, x.newest FROM deliveries d CROSS JOIN messages x ON x.id = d.id >> 8
		WHERE d.recipient = (SELECT id FROM addresses WHERE address = ?1) AND x.seq > ?2 ORDER BY x.seq LIMIT ?3) m
	CROSS JOIN addresses a ON a.id = m.author CROSS JOIN versions v ON v.id = (m.id << 10) + m.newest ORDER BY m.seq`

// Held reads a page of what is kept here for a recipient.
func (d tables) Held(ctx context.Context, q store.HeldQuery) ([]store.ListItem, bool, error) {
	var items []store.ListItem
	limit := max(q.Limit, 0)
	err := d.cells(ctx, heldQuery, []any{q.To[:], q.After, limit + 1}, 3+versionCells+2, func(row []cell) error {
		item := store.ListItem{Seq: uint64(row[0].n)}
		var from address
		if err := from.Scan(row[1].b); err != nil {
			return err
		}
		item.Ref.From = from.Address
		if err := fixed(item.Ref.MID[:]).Scan(row[2].b); err != nil {
			return err
		}
		v, err := readVersion(row[3:])
		v.Blobs = nil
		item.Versions = []store.Version{v}
		items = append(items, item)
		return err
	})
	if err != nil {
		return nil, false, wrap("held", err)
	}
	if len(items) > limit {
		return items[:limit], true, nil
	}
	return items, false, nil
}
