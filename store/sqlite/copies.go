package sqlite

import (
	"context"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// PutCopy keeps a copy for an owner.
func (d tables) PutCopy(ctx context.Context, owner message.Address, c store.Copy) error {
	body, err := pack(&wirev1.Pulled{Heads: c.Heads, Slot: c.Slot, Payload: c.Payload, Blobs: wireBlobs(c.Blobs)})
	if err != nil {
		return wrap("put copy", err)
	}
	return d.w.one(ctx, "put copy", func(t *tx) error {
		e, err := t.entryOf(owner, c.Ref)
		if err != nil {
			return err
		}
		if !e.existed || e.deleted {
			return fmt.Errorf("no entry: %w", message.NotFound)
		}
		var version uint64
		var held, taken int64
		ok, err := t.row("SELECT version, bytes, taken FROM copies WHERE entry = ?1", []any{e.id}, &version, &held, &taken)
		if err != nil || e.tombstone || ok && version > c.Version {
			return err
		}
		if ok && version < c.Version {
			taken = 0
		}
		if err := t.charge(e.owner, use{bytes: int64(len(body)) - held}); err != nil {
			return err
		}
		if _, err := t.change("DELETE FROM uses WHERE author = ?1 AND mid = ?2 AND owner = ?3 AND copy = 1", e.author, e.mid[:], e.owner); err != nil {
			return err
		}
		for _, b := range c.Blobs {
			if err := t.putUse(e.author, e.mid, b.ID, e.owner, true); err != nil {
				return err
			}
		}
		_, err = t.change("INSERT OR REPLACE INTO copies (entry, version, at, taken, bytes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			e.id, c.Version, millis(c.At), taken, len(body), body)
		return err
	})
}

// entryOf is entry by addresses. Errors: message.NotFound without an account.
func (t *tx) entryOf(owner message.Address, ref message.Ref) (entry, error) {
	o, ok, err := t.account(owner)
	if err == nil && !ok {
		err = fmt.Errorf("no account: %w", message.NotFound)
	}
	if err != nil {
		return entry{}, err
	}
	author, ok, err := t.known(ref.From)
	if !ok || err != nil {
		return entry{}, err
	}
	return t.entry(o, author, ref.MID)
}

// Copy reads a copy.
func (d tables) Copy(ctx context.Context, owner message.Address, ref message.Ref) (store.Copy, error) {
	c := store.Copy{Ref: ref}
	var at, taken int64
	var body []byte
	ok, err := d.find(ctx, `SELECT c.version, c.at, c.taken, c.body FROM entries e JOIN copies c ON c.entry = e.id
		WHERE e.owner = (SELECT id FROM addresses WHERE address = ?1) AND e.author = (SELECT id FROM addresses WHERE address = ?2) AND e.mid = ?3`,
		[]any{owner[:], ref.From[:], ref.MID[:]}, &c.Version, &at, &taken, &body)
	if err == nil && !ok {
		err = message.NotFound
	}
	if err != nil {
		return store.Copy{}, wrap("copy", err)
	}
	var w wirev1.Pulled
	if err := unpack(body, &w); err != nil {
		return store.Copy{}, wrap("copy", err)
	}
	c.Heads, c.Slot, c.Payload, c.At, c.Taken = w.GetHeads(), w.GetSlot(), w.GetPayload(), moment(at), taken != 0
	c.Blobs, err = fromWireBlobs(w.GetBlobs())
	return c, wrap("copy", err)
}

// TakeCopy marks a copy as taken, now.
func (d tables) TakeCopy(ctx context.Context, owner message.Address, ref message.Ref, version uint64) error {
	return d.w.one(ctx, "take copy", func(t *tx) error {
		e, err := t.entryOf(owner, ref)
		if err != nil {
			return err
		}
		changed, err := t.change("UPDATE copies SET taken = CASE taken WHEN 0 THEN ?3 ELSE taken END WHERE entry = ?1 AND version = ?2",
			e.id, version, time.Now().UnixMilli())
		if err == nil && changed == 0 {
			err = message.NotFound
		}
		return err
	})
}

// DropCopies erases what need not be kept any more.
func (d tables) DropCopies(ctx context.Context, takenBefore, now time.Time, limit int) (int, error) {
	n := 0
	err := d.w.one(ctx, "drop copies", func(t *tx) error {
		var ids []int64
		err := t.rows(`SELECT entry FROM copies WHERE taken > 0 AND taken < ?1 UNION
			SELECT c.entry FROM copies c CROSS JOIN entries e ON e.id = c.entry WHERE e.expires > 0 AND e.expires <= ?2
			ORDER BY 1 LIMIT ?3`, []any{millis(takenBefore), millis(now), max(limit, 0)}, scanIDs(&ids))
		if err != nil {
			return err
		}
		for _, id := range ids {
			e := entry{id: id}
			if _, err := t.row("SELECT owner, author, mid FROM entries WHERE id = ?1", []any{id}, &e.owner, &e.author, fixed(e.mid[:])); err != nil {
				return err
			}
			if err := t.dropCopy(e); err != nil {
				return err
			}
		}
		n = len(ids)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// dropCopy erases the copy of an entry, if there is one.
func (t *tx) dropCopy(e entry) error {
	var bytes int64
	ok, err := t.row("SELECT bytes FROM copies WHERE entry = ?1", []any{e.id}, &bytes)
	if !ok || err != nil {
		return err
	}
	if _, err := t.change("DELETE FROM copies WHERE entry = ?1", e.id); err != nil {
		return err
	}
	if _, err := t.change("DELETE FROM uses WHERE author = ?1 AND mid = ?2 AND owner = ?3 AND copy = 1", e.author, e.mid[:], e.owner); err != nil {
		return err
	}
	return t.refund(e.owner, bytes, 0)
}
