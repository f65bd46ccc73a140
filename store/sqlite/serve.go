package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// message numbers and keys of a ref, for the WHERE of queries with the
// author's address as ?1 and the mid as ?2.
const ofRef = "author = (SELECT id FROM addresses WHERE address = ?1) AND mid = ?2"

// serveTries is how often Serve reads again when the message changed between
// reading and marking.
const serveTries = 100

// versionRow is what a query about versions gives.
type versionRow struct {
	version     store.Version
	id, at      int64
	head, parts sql.RawBytes
	payload     []byte
}

// into are the places to scan to, in the order of versionColumns.
func (r *versionRow) into() []any {
	return []any{&r.id, fixed(r.version.ID[:]), &r.version.Tombstone, &r.at, &r.head}
}

const versionColumns = "v.id, v.head_id, v.tombstone, v.at, v.head"

// value is the version that the row holds.
func (r *versionRow) value() (store.Version, error) {
	v := r.version
	v.Number, v.At = uint64(r.id&(1<<versionBits-1)), moment(r.at)
	var err error
	if v.Head, err = unpackSigned(r.head); err != nil {
		return v, err
	}
	if len(r.parts) > 0 {
		var parts wirev1.Submission
		if err := unpack(r.parts, &parts); err != nil {
			return v, err
		}
		v.Slots = parts.GetSlots()
		if v.Blobs, err = fromWireBlobs(parts.GetBlobs()); err != nil {
			return v, err
		}
	}
	if len(r.payload) > 0 {
		v.Payload = r.payload
	}
	return v, nil
}

// Versions reads all versions without their bodies.
func (d tables) Versions(ctx context.Context, ref message.Ref) ([]store.Version, error) {
	var out []store.Version
	err := d.list(ctx, "SELECT "+versionColumns+` FROM messages m CROSS JOIN versions v
		WHERE m.`+ofRef+" AND v.id BETWEEN m.id << 10 AND (m.id << 10) + 1023 ORDER BY v.id", []any{ref.From[:], ref.MID[:]},
		func(r *sql.Rows) error {
			var row versionRow
			if err := r.Scan(row.into()...); err != nil {
				return err
			}
			v, err := row.value()
			out = append(out, v)
			return err
		})
	if err == nil && len(out) == 0 {
		err = message.NotFound
	}
	return out, wrap("versions", err)
}

// served is what one read of Serve gave.
type served struct {
	versions []store.Version
	id       int64
	newest   uint64
	// mark is needed before the versions may leave.
	mark bool
}

// Serve reads the newest version and those before it, and marks that the
// reader has it before it hands it out.
func (d tables) Serve(ctx context.Context, ref message.Ref, reader message.Address, after uint64, now time.Time) ([]store.Version, error) {
	for range serveTries {
		s, err := d.serve(ctx, ref, reader, after)
		if err != nil {
			return nil, wrap("serve", err)
		}
		if !s.mark {
			return s.versions, nil
		}
		var marked bool
		err = wrap("serve", d.w.do(ctx, step{plain: true, run: func(t *tx) (err error) {
			marked, err = t.markFetched(s, reader, now)
			return err
		}})[0])
		if err != nil {
			return nil, err
		}
		if marked {
			return s.versions, nil
		}
	}
	return nil, wrap("serve", message.Unavailable)
}

// serve reads, on one snapshot.
func (d tables) serve(ctx context.Context, ref message.Ref, reader message.Address, after uint64) (served, error) {
	var s served
	var fetched bool
	found := false
	err := d.list(ctx, "SELECT m.id, m.newest, EXISTS (SELECT 1 FROM fetches f WHERE f.message = m.id AND f.version = m.newest AND f.reader = "+
		"(SELECT id FROM addresses WHERE address = ?4)), "+versionColumns+`,
		CASE WHEN v.id = (m.id << 10) + m.newest THEN v.parts END, CASE WHEN v.id = (m.id << 10) + m.newest THEN v.payload END
		FROM messages m LEFT JOIN versions v ON v.id BETWEEN (m.id << 10) + ?3 + 1 AND (m.id << 10) + 1023
		WHERE m.`+ofRef+" ORDER BY v.id", []any{ref.From[:], ref.MID[:], min(after, message.MaxVersions), reader[:]},
		func(r *sql.Rows) error {
			found = true
			var row versionRow
			var id *int64
			var headID, head sql.RawBytes
			var tombstone *bool
			var at *int64
			if err := r.Scan(&s.id, &s.newest, &fetched, &id, &headID, &tombstone, &at, &head, &row.parts, &row.payload); err != nil {
				return err
			}
			if id == nil {
				return nil
			}
			row.id, row.at, row.head, row.version.Tombstone = *id, *at, head, *tombstone
			copy(row.version.ID[:], headID)
			v, err := row.value()
			s.versions = append(s.versions, v)
			return err
		})
	if err == nil && !found {
		err = message.NotFound
	}
	if n := len(s.versions); n > 0 {
		s.mark = !reader.IsZero() && !fetched && !s.versions[n-1].Tombstone
	}
	return s, err
}

// markFetched notes that reader has the version that was read, unless the
// message has changed since; then it reports false.
func (t *tx) markFetched(s served, reader message.Address, now time.Time) (bool, error) {
	var newest uint64
	ok, err := t.row("SELECT newest FROM messages WHERE id = ?1", []any{s.id}, &newest)
	if err != nil {
		return false, err
	}
	if !ok || newest != s.newest {
		return false, nil
	}
	n, err := t.number(reader)
	if err != nil {
		return false, err
	}
	if _, err := t.change("INSERT OR IGNORE INTO fetches (message, reader, version, at) VALUES (?1, ?2, ?3, ?4)", s.id, n, newest, millis(now)); err != nil {
		return false, err
	}
	t.next()
	return true, nil
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
	err := d.list(ctx, query, args, func(r *sql.Rows) error {
		var row versionRow
		var seq uint64
		ref := message.Ref{From: q.From}
		if err := r.Scan(append([]any{&seq, fixed(ref.MID[:])}, append(row.into(), &row.parts, &row.payload)...)...); err != nil {
			return err
		}
		v, err := row.value()
		if n := len(items); n == 0 || items[n-1].Seq != seq {
			items = append(items, store.ListItem{Seq: seq, Ref: ref})
		}
		last := &items[len(items)-1]
		if q.To != (message.Address{}) && !q.Public {
			v.Blobs = nil
		}
		// In order already, as a rule: to sort here and not there keeps payloads
		// out of the database's sorter.
		at, _ := slices.BinarySearchFunc(last.Versions, v.Number, func(v store.Version, n uint64) int { return cmp.Compare(v.Number, n) })
		last.Versions = slices.Insert(last.Versions, at, v)
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
