package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"airdispatch/message"
	"airdispatch/store"
)

const (
	entryCells   = 11
	entryColumns = `SELECT e.seq, e.author, e.mid, e.newest, e.arrived, e.folder, e.read, e.deleted, e.origin, a.head, a.slot
		FROM entries e CROSS JOIN alerts a ON a.id = (e.id << 10) + e.newest WHERE e.owner = (SELECT id FROM addresses WHERE address = ?1) `
	entryQuery   = entryColumns + "AND e.author = (SELECT id FROM addresses WHERE address = ?2) AND e.mid = ?3"
	entriesQuery = entryColumns + "AND e.seq > ?2 AND e.seq <= ?3 ORDER BY e.seq LIMIT ?4"
	noticesQuery = `SELECT n.seq, n.mid, n.version, n.time, n.folder, n.read, n.deleted, p.address, n.reason
		FROM notices n CROSS JOIN addresses p ON p.id = n.peer
		WHERE n.owner = (SELECT id FROM addresses WHERE address = ?1) AND n.seq > ?2 AND n.seq <= ?3 ORDER BY n.seq LIMIT ?4`
)

// Entries reads a page of an inbox. Both queries end at one place in the log:
// what is committed between them comes on a later page, and leaves no gap
// before the cursor of a reader who has seen what came after it.
func (d tables) Entries(ctx context.Context, owner message.Address, after uint64, limit int) ([]store.Entry, bool, error) {
	limit = max(limit, 0)
	args := []any{owner[:], after, d.w.at().Seq, limit + 1}
	out, err := d.notices(ctx, owner, args)
	if err != nil {
		return nil, false, wrap("entries", err)
	}
	messages, err := d.entries(ctx, entriesQuery, args)
	if err != nil {
		return nil, false, wrap("entries", err)
	}
	if len(out) == 0 {
		out = messages
	} else {
		out = append(out, messages...)
		slices.SortFunc(out, func(a, b store.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	if len(out) > limit {
		return out[:limit], true, nil
	}
	return out, false, nil
}

// Entry reads one message of an inbox.
func (d tables) Entry(ctx context.Context, owner message.Address, ref message.Ref) (store.Entry, error) {
	out, err := d.entries(ctx, entryQuery, []any{owner[:], ref.From[:], ref.MID[:]})
	if err == nil && len(out) == 0 {
		err = message.NotFound
	}
	if err != nil {
		return store.Entry{}, wrap("entry", err)
	}
	return out[0], nil
}

// entries reads entries that are messages. Their addresses are found when the
// rows are closed: a query in the midst of another takes a second connection.
func (d tables) entries(ctx context.Context, query string, args []any) ([]store.Entry, error) {
	var out []store.Entry
	var numbers [][2]int64
	err := d.cells(ctx, query, args, entryCells, func(row []cell) error {
		e, err := readEntry(row)
		out, numbers = append(out, e), append(numbers, [2]int64{row[1].n, row[8].n})
		return err
	})
	for i := range out {
		if err == nil {
			out[i].Ref.From, err = d.address(ctx, numbers[i][0])
		}
		if err == nil && !out[i].Deleted {
			out[i].Origin, err = d.address(ctx, numbers[i][1])
		}
	}
	return out, err
}

// readEntry is the entry in a row of entryColumns, all but its addresses.
func readEntry(row []cell) (e store.Entry, err error) {
	e = store.Entry{Seq: uint64(row[0].n), Deleted: row[7].n != 0}
	if err := row[2].fill(e.Ref.MID[:]); err != nil || e.Deleted {
		return e, err
	}
	e.Version, e.Arrived, e.Folder, e.Read = uint64(row[3].n), moment(row[4].n), store.Folder(row[5].n), row[6].n != 0
	own(&row[9], &row[10])
	if len(row[10].b) > 0 {
		if e.Slot, err = shareSlot(row[10].b); err != nil {
			return e, err
		}
	}
	e.Head, err = shareSigned(row[9].b)
	return e, err
}

// notices reads entries that are notices.
func (d tables) notices(ctx context.Context, owner message.Address, args []any) ([]store.Entry, error) {
	var out []store.Entry
	err := d.list(ctx, noticesQuery, args, func(r *sql.Rows) error {
		e := store.Entry{Ref: message.Ref{From: owner}}
		var at int64
		var reason int32
		var peer address
		if err := r.Scan(&e.Seq, fixed(e.Ref.MID[:]), &e.Version, &at, &e.Folder, &e.Read, &e.Deleted, &peer, &reason); err != nil {
			return err
		}
		if e.Deleted {
			e = store.Entry{Seq: e.Seq, Ref: e.Ref, Deleted: true}
		} else {
			e.Arrived = moment(at)
			e.Notice = &store.Notice{MID: e.Ref.MID, Version: e.Version, To: peer.Address, Reason: message.Code(reason), Time: e.Arrived}
		}
		out = append(out, e)
		return nil
	})
	return out, err
}

// Mark changes entries, and notices: those of a message of the owner's own.
func (d tables) Mark(ctx context.Context, owner message.Address, marks []store.Marking) error {
	if len(marks) == 0 {
		return nil
	}
	return d.w.one(ctx, "mark", func(t *tx) error {
		n, ok, err := t.known(owner)
		if !ok || err != nil {
			return err
		}
		for _, m := range marks {
			if err := t.mark(n, m); err != nil {
				return err
			}
			if m.Ref.From == owner {
				if err := t.markNotices(n, m); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// mark changes one entry. A deletion is final: what it erased cannot come back.
func (t *tx) mark(owner int64, m store.Marking) error {
	author, ok, err := t.known(m.Ref.From)
	if !ok || err != nil {
		return err
	}
	e, err := t.entry(owner, author, m.Ref.MID)
	if err != nil || !e.existed || e.deleted {
		return err
	}
	if m.Deleted != nil && *m.Deleted {
		return t.eraseEntry(e)
	}
	folder, read := marked(m, e.folder, e.read)
	if folder == e.folder && read == e.read {
		return nil
	}
	_, err = t.change("UPDATE entries SET folder = ?2, read = ?3, seq = ?4 WHERE id = ?1", e.id, int(folder), read, t.next().Seq)
	return err
}

// marked is what a marking makes of folder and read.
func marked(m store.Marking, folder store.Folder, read bool) (store.Folder, bool) {
	if m.Read != nil {
		read = *m.Read
	}
	if m.Archived != nil {
		switch {
		case *m.Archived:
			folder = store.Archive
		case folder == store.Archive:
			folder = store.Inbox
		}
	}
	return folder, read
}

// markNotices changes the notices about one message.
func (t *tx) markNotices(owner int64, m store.Marking) error {
	type row struct {
		id     int64
		folder store.Folder
		read   bool
	}
	var found []row
	err := t.rows("SELECT id, folder, read FROM notices WHERE owner = ?1 AND mid = ?2 AND deleted = 0 ORDER BY seq", []any{owner, m.Ref.MID[:]},
		func(r *sql.Rows) error {
			var n row
			err := r.Scan(&n.id, &n.folder, &n.read)
			found = append(found, n)
			return err
		})
	for _, n := range found {
		if err != nil {
			return err
		}
		deleted := m.Deleted != nil && *m.Deleted
		folder, read := marked(m, n.folder, n.read)
		if deleted || folder != n.folder || read != n.read {
			_, err = t.change("UPDATE notices SET folder = ?2, read = ?3, deleted = ?4, seq = ?5 WHERE id = ?1", n.id, int(folder), read, deleted, t.next().Seq)
		}
	}
	return err
}

// Notify adds a notice.
func (d tables) Notify(ctx context.Context, owner message.Address, n store.Notice) error {
	return d.w.one(ctx, "notify", func(t *tx) error {
		o, ok, err := t.account(owner)
		if err == nil && !ok {
			err = message.NotFound
		}
		if err != nil {
			return err
		}
		peer, err := t.number(n.To)
		if err != nil {
			return err
		}
		var one int
		if ok, err := t.row("SELECT 1 FROM notices WHERE owner = ?1 AND mid = ?2 AND peer = ?3", []any{o, n.MID[:], peer}, &one); ok || err != nil {
			return err
		}
		_, err = t.change(`INSERT INTO notices (owner, mid, peer, seq, version, reason, time, folder, read, deleted)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0)`, o, n.MID[:], peer, t.next().Seq, n.Version, int(n.Reason), millis(n.Time), int(store.Inbox))
		return err
	})
}
