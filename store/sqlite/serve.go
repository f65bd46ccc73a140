package sqlite

import (
	"context"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

const (
	// serveTries is how often Serve reads again what changed between reading and
	// marking.
	serveTries = 100
	// aheadBytes is how large a message's bodies may be to be read together with
	// its heads, before it is decided whether it may leave: two queries for a
	// message cost twice as much, and larger ones are worth the wait. A call's
	// worth of them is no more than an answer holds.
	aheadBytes = 32 << 10
)

// askedDigits are the digits of the last version known, in an asked item: it
// travels to the query as mid, author and digits, 16, 25 and 4 bytes, and all
// items in one blob. So one prepared statement serves any number of them.
const askedDigits = 4

// serveQuery reads all versions after the known one, and at least the newest,
// of the messages that the items ?1 name, ?2 bytes together, for reader ?3, on
// one snapshot. The newest comes with bodies where those are at most ?4 bytes.
const serveQuery = `WITH RECURSIVE asked(i) AS (SELECT 0 WHERE ?2 > 0 UNION ALL SELECT i + 45 FROM asked WHERE i + 45 < ?2)
	SELECT asked.i / 45, m.newest, m.public, m.body,
		EXISTS (SELECT 1 FROM fetches f WHERE f.message = m.id AND f.version = m.newest AND f.reader = (SELECT id FROM addresses WHERE address = ?3)),
		` + versionColumns + `,
		CASE WHEN v.id = (m.id << 10) + m.newest AND m.body <= ?4 THEN v.parts END,
		CASE WHEN v.id = (m.id << 10) + m.newest AND m.body <= ?4 THEN v.payload END
	FROM asked CROSS JOIN messages m ON m.mid = substr(?1, asked.i + 1, 16)
		AND m.author = (SELECT id FROM addresses WHERE address = substr(?1, asked.i + 17, 25))
	CROSS JOIN versions v ON v.id BETWEEN (m.id << 10) + min(CAST(substr(?1, asked.i + 42, 4) AS INTEGER) + 1, m.newest) AND (m.id << 10) + 1023`

// served is what one read of Serve gave of an item.
type served struct {
	item     int
	heads    []store.Version
	newest   uint64
	id, body int64
	// mark is needed before the versions may leave.
	mark bool
}

// Serve reads the newest versions and those before them, and marks that the
// reader has them before it hands them out.
func (d tables) Serve(ctx context.Context, q store.ServeQuery) []store.Serving {
	out := make([]store.Serving, len(q.Items))
	left := make([]int, len(q.Items))
	for i := range left {
		left[i] = i
	}
	for range serveTries {
		if left = d.serveSome(ctx, q, left, out); len(left) == 0 {
			return out
		}
	}
	for _, item := range left {
		out[item] = store.Serving{Err: wrap("serve", message.Unavailable)}
	}
	return out
}

// serveSome serves some items and returns those that changed meanwhile.
func (d tables) serveSome(ctx context.Context, q store.ServeQuery, items []int, out []store.Serving) (again []int) {
	found, err := d.serve(ctx, q, items)
	if err != nil {
		for _, item := range items {
			out[item].Err = wrap("serve", err)
		}
		return nil
	}
	var marks []*served
	for i := range found {
		s := &found[i]
		o := &out[s.item]
		*o = store.Serving{}
		if len(s.heads) == 0 {
			o.Err = wrap("serve", message.NotFound)
			continue
		}
		if q.May != nil {
			if o.Err = q.May(s.item, s.heads); o.Err != nil {
				continue
			}
		}
		newest := &s.heads[len(s.heads)-1]
		if newest.Number <= q.Items[s.item].After {
			continue
		}
		if s.body > aheadBytes && !newest.Tombstone {
			ok, err := d.bodies(ctx, s.id<<versionBits+int64(s.newest), newest)
			if err != nil || !ok {
				if o.Err = wrap("serve", err); err == nil {
					again = append(again, s.item)
				}
				continue
			}
		}
		o.Versions = s.heads
		if s.mark = s.mark && !newest.Tombstone; s.mark {
			marks = append(marks, s)
		}
	}
	return append(again, d.markAll(ctx, q, marks, out)...)
}

// serve reads items, on one snapshot.
func (d tables) serve(ctx context.Context, q store.ServeQuery, items []int) ([]served, error) {
	found := make([]served, len(items))
	var asked []byte
	for i, item := range items {
		found[i].item = item
		a := q.Items[item]
		asked = append(append(asked, a.Ref.MID[:]...), a.Ref.From[:]...)
		asked = fmt.Appendf(asked, "%0*d", askedDigits, min(a.After, message.MaxVersions))
	}
	const before = 5
	err := d.cells(ctx, serveQuery, []any{asked, len(asked), q.Reader[:], aheadBytes}, before+versionCells+2, func(row []cell) error {
		s := &found[row[0].n]
		v, err := readVersion(row[before:])
		s.id, s.newest, s.body = row[before].n>>versionBits, uint64(row[1].n), row[3].n
		s.mark = !q.Reader.IsZero() && row[2].n == 0 && row[4].n == 0
		s.heads = insertVersion(s.heads, v)
		return err
	})
	return found, err
}

// bodies reads what a newest version has besides its head, unless there is a
// newer one by now.
func (d tables) bodies(ctx context.Context, id int64, v *store.Version) (ok bool, err error) {
	err = d.cells(ctx, "SELECT v.parts, v.payload FROM versions v JOIN messages m ON m.id = v.id >> 10 WHERE v.id = ?1 AND m.newest = v.id & 1023",
		[]any{id}, 2, func(row []cell) error {
			ok = true
			own(&row[0], &row[1])
			if len(row[1].b) > 0 {
				v.Payload = row[1].b
			}
			return shareParts(row[0].b, v)
		})
	return ok, err
}

// markAll commits marks together, and takes back the versions of items that
// changed since they were read, which it returns.
func (d tables) markAll(ctx context.Context, q store.ServeQuery, marks []*served, out []store.Serving) (again []int) {
	if len(marks) == 0 {
		return nil
	}
	stale := make([]bool, len(marks))
	err := d.w.do(ctx, step{plain: true, run: func(t *tx) error {
		reader, err := t.number(q.Reader)
		for i, s := range marks {
			if err != nil {
				return err
			}
			var marked bool
			marked, err = t.markFetched(s, reader, q.Now)
			stale[i] = !marked
		}
		return err
	}})[0]
	for i, s := range marks {
		if err != nil || stale[i] {
			out[s.item] = store.Serving{Err: wrap("serve", err)}
		}
		if err == nil && stale[i] {
			again = append(again, s.item)
		}
	}
	return again
}

// markFetched notes that reader has the version that was read, unless the
// message has changed since; then it reports false.
func (t *tx) markFetched(s *served, reader int64, now time.Time) (bool, error) {
	n, err := t.change(`INSERT OR IGNORE INTO fetches (message, reader, version, at)
		SELECT id, ?2, newest, ?4 FROM messages WHERE id = ?1 AND newest = ?3`, s.id, reader, s.newest, millis(now))
	if err != nil {
		return false, err
	}
	if n == 0 {
		// Another call has marked it meanwhile, or it has changed.
		var one int
		return t.row("SELECT 1 FROM messages WHERE id = ?1 AND newest = ?2", []any{s.id, s.newest}, &one)
	}
	t.next()
	// As report does it, in one statement.
	n, err = t.change(`UPDATE deliveries SET version = ?4, state = ?6, time = ?5, reason = 0
		WHERE id BETWEEN ?1 AND ?2 AND recipient = ?3 AND (version < ?4 OR version = ?4 AND state IN (?7, ?8, ?9))`,
		s.id<<recipientBits, s.id<<recipientBits|(1<<recipientBits-1), reader, s.newest, millis(now),
		int(store.Served), int(store.Queued), int(store.NotTaken), int(store.Alerted))
	if n > 0 {
		t.next()
	}
	return true, err
}
