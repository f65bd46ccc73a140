package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// message numbers and keys of a ref, for the WHERE of queries with the
// author's address as ?1 and the mid as ?2.
const ofRef = "author = (SELECT id FROM addresses WHERE address = ?1) AND mid = ?2"

// versionColumns are what readVersion reads.
const (
	versionColumns = "v.id, v.head_id, v.tombstone, v.at, v.head"
	versionCells   = 5
)

// readVersion is the version in a row that begins with versionColumns; parts and
// payload may come behind.
func readVersion(row []cell) (store.Version, error) {
	v := store.Version{Number: uint64(row[0].n & (1<<versionBits - 1)), Tombstone: row[2].n != 0, At: moment(row[3].n)}
	if err := row[1].fill(v.ID[:]); err != nil {
		return v, err
	}
	head := row[4]
	if len(row) == versionCells {
		own(&head)
	} else {
		parts, payload := row[5], row[6]
		own(&head, &parts, &payload)
		if err := shareParts(parts.b, &v); err != nil {
			return v, err
		}
		if len(payload.b) > 0 {
			v.Payload = payload.b
		}
	}
	var err error
	v.Head, err = shareSigned(head.b)
	return v, err
}

// insertVersion keeps versions in order, which they are already, as a rule: to
// sort here and not there keeps payloads out of the database's sorter.
func insertVersion(l []store.Version, v store.Version) []store.Version {
	at, _ := slices.BinarySearchFunc(l, v.Number, func(v store.Version, n uint64) int { return cmp.Compare(v.Number, n) })
	return slices.Insert(l, at, v)
}

// Versions reads all versions without their bodies.
func (d tables) Versions(ctx context.Context, ref message.Ref) ([]store.Version, error) {
	var out []store.Version
	err := d.cells(ctx, "SELECT "+versionColumns+` FROM messages m CROSS JOIN versions v
		WHERE m.`+ofRef+" AND v.id BETWEEN m.id << 10 AND (m.id << 10) + 1023 ORDER BY v.id", []any{ref.From[:], ref.MID[:]}, versionCells,
		func(row []cell) error {
			v, err := readVersion(row)
			out = append(out, v)
			return err
		})
	if err == nil && len(out) == 0 {
		err = message.NotFound
	}
	return out, wrap("versions", err)
}

// listQuery is List's query for q: the page of messages first, then their
// versions, all on one snapshot.
func listQuery(q store.ListQuery) (string, []any) {
	args := []any{q.From[:], q.After, max(q.Limit, 0) + 1}
	which, parts, payload := "", "NULL", "NULL"
	newest := "CASE WHEN v.id = (m.id << 10) + m.newest THEN v."
	switch {
	case q.Public:
		which, parts, payload = "AND x.public = 1", newest+"parts END", newest+"payload END"
	case !q.To.IsZero():
		which = `AND x.public = 0 AND EXISTS (SELECT 1 FROM deliveries d WHERE d.id BETWEEN x.id << 8 AND (x.id << 8) + 255
			AND d.recipient = (SELECT id FROM addresses WHERE address = ?4))`
		parts = newest + "parts END"
		args = append(args, q.To[:])
	}
	return fmt.Sprintf(`SELECT m.seq, m.mid, %s, %s, %s FROM
		(SELECT x.id, x.mid, x.seq, x.newest FROM messages x WHERE x.author = (SELECT id FROM addresses WHERE address = ?1)
		AND x.seq > ?2 %s ORDER BY x.seq LIMIT ?3) m
		CROSS JOIN versions v ON v.id BETWEEN m.id << 10 AND (m.id << 10) + 1023 ORDER BY m.seq`, versionColumns, parts, payload, which), args
}

// List reads a page of an author's messages.
func (d tables) List(ctx context.Context, q store.ListQuery) ([]store.ListItem, bool, error) {
	var items []store.ListItem
	query, args := listQuery(q)
	err := d.cells(ctx, query, args, 2+versionCells+2, func(row []cell) error {
		seq, ref := uint64(row[0].n), message.Ref{From: q.From}
		if err := row[1].fill(ref.MID[:]); err != nil {
			return err
		}
		v, err := readVersion(row[2:])
		if n := len(items); n == 0 || items[n-1].Seq != seq {
			items = append(items, store.ListItem{Seq: seq, Ref: ref})
		}
		last := &items[len(items)-1]
		if q.To != (message.Address{}) && !q.Public {
			v.Blobs = nil
		}
		last.Versions = insertVersion(last.Versions, v)
		return err
	})
	if err != nil {
		return nil, false, wrap("list", err)
	}
	if limit := max(q.Limit, 0); len(items) > limit {
		return items[:limit], true, nil
	}
	return items, false, nil
}

// Expire erases what is over.
func (d tables) Expire(ctx context.Context, now time.Time, limit int) (int, error) {
	n := 0
	err := d.w.one(ctx, "expire", func(t *tx) error {
		var ids []int64
		if err := t.rows("SELECT id FROM messages WHERE expires <= ?1 ORDER BY expires, id LIMIT ?2", []any{millis(now), max(limit, 0)}, scanIDs(&ids)); err != nil {
			return err
		}
		for _, id := range ids {
			if err := t.expire(id); err != nil {
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

// expire erases one message's bodies.
func (t *tx) expire(id int64) error {
	h := held{id: id}
	var author int64
	var mid message.MID
	if _, err := t.row("SELECT author, mid, body FROM messages WHERE id = ?1", []any{id}, &author, fixed(mid[:]), &h.body); err != nil {
		return err
	}
	if err := t.eraseBody(h, author, mid); err != nil {
		return err
	}
	_, err := t.change("UPDATE messages SET body = 0, expires = NULL, seq = ?2 WHERE id = ?1", id, t.next().Seq)
	return err
}
