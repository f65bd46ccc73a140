package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// Reserve counts a blob towards an account.
func (d tables) Reserve(ctx context.Context, owner message.Address, b store.BlobRef, now time.Time) error {
	return d.w.one(ctx, "reserve", func(t *tx) error {
		n, ok, err := t.account(owner)
		if err == nil && !ok {
			err = fmt.Errorf("no account: %w", message.NotFound)
		}
		if err != nil {
			return err
		}
		size := b.Size
		if _, err := t.row("SELECT size FROM blobs WHERE hash = ?1", []any{b.ID[:]}, &size); err != nil {
			return err
		}
		// The id fixes the size; whoever says another would count too little.
		if size != b.Size {
			return fmt.Errorf("a blob of another size has this id: %w", message.Conflict)
		}
		again, err := t.change("UPDATE reservations SET reserved = max(reserved, ?3) WHERE owner = ?1 AND hash = ?2", n, b.ID[:], millis(now))
		if err != nil || again > 0 {
			return err
		}
		if err := t.charge(n, use{bytes: b.Size}); err != nil {
			return err
		}
		if _, err := t.change("INSERT OR IGNORE INTO blobs (hash, size, complete) VALUES (?1, ?2, 0)", b.ID[:], b.Size); err != nil {
			return err
		}
		_, err = t.change("INSERT INTO reservations (owner, hash, size, reserved) VALUES (?1, ?2, ?3, ?4)", n, b.ID[:], b.Size, millis(now))
		return err
	})
}

// Release gives back the reservation of a blob that did not become complete.
func (d tables) Release(ctx context.Context, owner message.Address, id message.ID) error {
	return d.w.one(ctx, "release", func(t *tx) error {
		n, ok, err := t.account(owner)
		if err != nil || !ok {
			return err
		}
		var size int64
		ok, err = t.row(`SELECT r.size FROM reservations r JOIN blobs b ON b.hash = r.hash
			WHERE r.owner = ?1 AND r.hash = ?2 AND b.complete = 0`, []any{n, id[:]}, &size)
		if err != nil || !ok {
			return err
		}
		if _, err := t.change("DELETE FROM reservations WHERE owner = ?1 AND hash = ?2", n, id[:]); err != nil {
			return err
		}
		return t.refund(n, size, 0)
	})
}

// Complete marks a blob as readable.
func (d tables) Complete(ctx context.Context, owner message.Address, id message.ID) error {
	return d.w.one(ctx, "complete", func(t *tx) error {
		changed, err := t.change(`UPDATE blobs SET complete = 1 WHERE hash = ?1 AND EXISTS (SELECT 1 FROM reservations
			WHERE hash = ?1 AND owner = (SELECT id FROM addresses WHERE address = ?2))`, id[:], owner[:])
		if err == nil && changed == 0 {
			err = message.NotFound
		}
		return err
	})
}

// Used reports whether a message uses a blob.
func (d tables) Used(ctx context.Context, ref message.Ref, id message.ID) (bool, error) {
	var one int
	ok, err := d.find(ctx, "SELECT 1 FROM uses WHERE "+ofRef+" AND hash = ?3 LIMIT 1", []any{ref.From[:], ref.MID[:], id[:]}, &one)
	return ok, wrap("used", err)
}

// Unused gives back reservations that nothing uses, and takes the blobs that
// nobody has reserved out of the index.
func (d tables) Unused(ctx context.Context, before time.Time, limit int) ([]message.ID, error) {
	var out []message.ID
	limit = max(limit, 0)
	err := d.w.one(ctx, "unused", func(t *tx) error {
		type reservation struct {
			owner, size int64
			hash        message.ID
		}
		var idle []reservation
		err := t.rows(`SELECT r.owner, r.hash, r.size FROM reservations r WHERE r.reserved < ?1
			AND NOT EXISTS (SELECT 1 FROM uses u WHERE u.hash = r.hash AND u.owner = r.owner) ORDER BY r.reserved, r.owner, r.hash LIMIT ?2`,
			[]any{millis(before), limit}, func(r *sql.Rows) error {
				var v reservation
				err := r.Scan(&v.owner, fixed(v.hash[:]), &v.size)
				idle = append(idle, v)
				return err
			})
		if err != nil {
			return err
		}
		for _, r := range idle {
			if _, err := t.change("DELETE FROM reservations WHERE owner = ?1 AND hash = ?2", r.owner, r.hash[:]); err != nil {
				return err
			}
			if err := t.refund(r.owner, r.size, 0); err != nil {
				return err
			}
		}
		err = t.rows(`SELECT b.hash FROM blobs b WHERE NOT EXISTS (SELECT 1 FROM reservations r WHERE r.hash = b.hash)
			AND NOT EXISTS (SELECT 1 FROM uses u WHERE u.hash = b.hash) ORDER BY b.hash LIMIT ?1`, []any{limit}, func(r *sql.Rows) error {
			var id message.ID
			err := r.Scan(fixed(id[:]))
			out = append(out, id)
			return err
		})
		for _, id := range out {
			if err == nil {
				_, err = t.change("DELETE FROM blobs WHERE hash = ?1", id[:])
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
