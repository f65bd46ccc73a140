package sqlite

import (
	"context"
	"fmt"

	"airdispatch/message"
	"airdispatch/store"
)

// alert is one that is ready to be written.
type alert struct {
	store.Alert
	head, slot []byte
}

// bytes is what the alert counts.
func (a *alert) bytes() int64 { return int64(len(a.head) + len(a.slot)) }

func prepareAlert(a store.Alert) (*alert, error) {
	p := &alert{Alert: a, slot: []byte{}}
	var err error
	if a.Slot != nil {
		if p.slot, err = pack(a.Slot); err != nil {
			return nil, err
		}
	}
	p.head, err = pack(a.Head.Signed)
	return p, err
}

// Alert takes alerts in, one step for each in one transaction.
func (d tables) Alert(ctx context.Context, alerts []store.Alert) []store.AlertResult {
	results := make([]store.AlertResult, len(alerts))
	steps := make([]step, 0, len(alerts))
	places := make([]int, 0, len(alerts))
	for i := range alerts {
		p, err := prepareAlert(alerts[i])
		if err != nil {
			results[i].Err = wrap("alert", err)
			continue
		}
		places = append(places, i)
		steps = append(steps, step{plain: true, run: func(t *tx) error { return t.alert(p, &results[i]) }})
	}
	for n, err := range d.w.do(ctx, steps...) {
		if err != nil {
			results[places[n]] = store.AlertResult{Err: wrap("alert", err)}
		}
	}
	return results
}

// entry is what is known of a message in an inbox before a change.
type entry struct {
	id, newest         int64
	owner, author      int64
	mid                message.MID
	folder             store.Folder
	read, deleted      bool
	tombstone          bool
	bytes              int64
	existed, showsNews bool
}

// entry reads the row of a message in an inbox.
func (t *tx) entry(owner, author int64, mid message.MID) (entry, error) {
	e := entry{owner: owner, author: author, mid: mid}
	var err error
	e.existed, err = t.row("SELECT id, newest, folder, read, deleted, tombstone, bytes FROM entries WHERE owner = ?1 AND author = ?2 AND mid = ?3",
		[]any{owner, author, mid[:]}, &e.id, &e.newest, &e.folder, &e.read, &e.deleted, &e.tombstone, &e.bytes)
	return e, err
}

// alert decides about one alert, and then writes it. An alert that contradicts
// an earlier one is refused in the result and not by an error, since the
// evidence of it is kept.
func (t *tx) alert(a *alert, r *store.AlertResult) error {
	owner, hosted, err := t.known(a.To)
	if err != nil {
		return err
	}
	if !hosted {
		return fmt.Errorf("no account: %w", message.NotFound)
	}
	// An address that is new here gets its number when the first row is written.
	var e entry
	author, met, err := t.known(a.Head.From)
	if err != nil {
		return err
	}
	if met {
		if e, err = t.entry(owner, author, a.Head.MID); err != nil {
			return err
		}
	}
	if e.existed {
		if done, err := t.alertedBefore(e, a, r); done || err != nil {
			return err
		}
	}
	e.owner, e.author, e.mid = owner, author, a.Head.MID
	e.showsNews = !e.existed || a.Head.Version > uint64(e.newest)
	fresh := !e.existed || e.deleted
	u := use{bytes: a.bytes(), forced: a.Head.Tombstone()}
	switch {
	case !e.showsNews && e.deleted:
		a.head, a.slot, u.bytes = []byte{}, []byte{}, 0
	case e.showsNews && fresh:
		u.messages = 1
		if a.Folder == store.Requests {
			if err := t.makeRoom(a, e, u); err != nil {
				return err
			}
		}
	}
	if err := t.charge(owner, u); err != nil {
		return err
	}
	place := t.next()
	if err := t.putAlert(a, e, place, u.bytes); err != nil {
		return err
	}
	r.Accepted = store.Accepted{Place: place, At: whole(a.Now)}
	return nil
}

// alertedBefore looks for an alert under the same key.
func (t *tx) alertedBefore(e entry, a *alert, r *store.AlertResult) (bool, error) {
	var id message.ID
	var acc store.Accepted
	var at int64
	var head []byte
	ok, err := t.row("SELECT head_id, epoch, seq, at, head FROM alerts WHERE id = ?1", []any{e.id<<versionBits | int64(a.Head.Version)},
		fixed(id[:]), &acc.Epoch, &acc.Seq, &at, &head)
	if err != nil || !ok {
		return false, err
	}
	if id == a.Head.ID {
		acc.At, acc.Again = moment(at), true
		r.Accepted = acc
		return true, nil
	}
	// What the owner has deleted is no evidence any more.
	if len(head) > 0 {
		if err := t.evidence(a.Head.From, "head", head, a.head); err != nil {
			return false, err
		}
	}
	r.Err = fmt.Errorf("sqlite: alert: another head under version %d: %w", a.Head.Version, message.Conflict)
	return true, nil
}

// makeRoom applies the caps of the requests. It writes only when the alert will
// then be taken.
func (t *tx) makeRoom(a *alert, e entry, u use) error {
	if a.Caps == (store.Caps{}) {
		return nil
	}
	origin, _, err := t.known(a.Origin)
	if err != nil {
		return err
	}
	var total, ofOrigin, ofSender int
	_, err = t.row(`SELECT count(*), coalesce(sum(origin = ?2), 0), coalesce(sum(author = ?3), 0) FROM entries
		WHERE owner = ?1 AND folder = 2 AND deleted = 0`, []any{e.owner, origin, e.author}, &total, &ofOrigin, &ofSender)
	if err != nil {
		return err
	}
	if a.Caps.PerSender > 0 && ofSender >= a.Caps.PerSender {
		return fmt.Errorf("requests of one sender: %w", message.Quota)
	}
	if (a.Caps.PerOrigin == 0 || ofOrigin < a.Caps.PerOrigin) && (a.Caps.PerMailbox == 0 || total < a.Caps.PerMailbox) {
		return nil
	}
	old := entry{owner: e.owner}
	var copied int64
	ok, err := t.row(`SELECT id, author, mid, bytes, coalesce((SELECT c.bytes FROM copies c WHERE c.entry = entries.id), 0) FROM entries WHERE owner = ?1 AND origin = ?2 AND folder = 2 AND deleted = 0 AND read = 0
		ORDER BY arrived, id LIMIT 1`, []any{e.owner, origin}, &old.id, &old.author, fixed(old.mid[:]), &old.bytes, &copied)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("requests: %w", message.Quota)
	}
	if fits, err := t.fits(e.owner, u.bytes-old.bytes-copied); err != nil || !fits && !u.forced {
		if err == nil {
			err = message.Quota
		}
		return err
	}
	return t.eraseEntry(old)
}

// fits reports whether an account has room for some more bytes, in place of
// something that goes.
func (t *tx) fits(owner, bytes int64) (bool, error) {
	var fits bool
	_, err := t.row(`SELECT (bytes_limit = 0 OR bytes_used + ?2 <= bytes_limit) AND (messages_limit = 0 OR messages_used <= messages_limit)
		FROM accounts WHERE owner = ?1`, []any{owner, bytes}, &fits)
	return fits, err
}

// eraseEntry deletes an entry: heads, slots and copy go, and what is left says
// that it was there, so that the same alerts are not taken in again.
func (t *tx) eraseEntry(e entry) error {
	if _, err := t.change("UPDATE entries SET deleted = 1, bytes = 0, seq = ?2 WHERE id = ?1", e.id, t.next().Seq); err != nil {
		return err
	}
	if _, err := t.change("UPDATE alerts SET head = x'', slot = x'' WHERE id BETWEEN ?1 AND ?2",
		e.id<<versionBits, e.id<<versionBits|(1<<versionBits-1)); err != nil {
		return err
	}
	if err := t.dropCopy(e); err != nil {
		return err
	}
	if _, err := t.change("DELETE FROM tasks WHERE kind = ?1 AND author = ?2 AND mid = ?3 AND peer = ?4",
		int(store.TaskPrefetch), e.author, e.mid[:], e.owner); err != nil {
		return err
	}
	return t.refund(e.owner, e.bytes, 1)
}

// putAlert writes an alert and what it changes of its entry.
func (t *tx) putAlert(a *alert, e entry, place store.Place, bytes int64) error {
	var err error
	if e.author, err = t.number(a.Head.From); err != nil {
		return err
	}
	switch {
	case !e.existed:
		e.id, err = t.insertEntry(a, e, place.Seq)
	case e.showsNews:
		err = t.updateEntry(a, e, place.Seq)
	default:
		_, err = t.change("UPDATE entries SET bytes = bytes + ?2 WHERE id = ?1", e.id, bytes)
	}
	if err != nil {
		return err
	}
	_, err = t.change("INSERT INTO alerts (id, head_id, epoch, seq, at, head, slot) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		e.id<<versionBits|int64(a.Head.Version), a.Head.ID[:], place.Epoch, place.Seq, millis(a.Now), a.head, a.slot)
	if err != nil || !e.showsNews {
		return err
	}
	if a.Head.Tombstone() {
		return t.eraseUntaken(e)
	}
	if a.PrefetchAt.IsZero() {
		return nil
	}
	_, err = t.change(`INSERT INTO tasks (id, kind, author, mid, peer, name_version, receipt, version, due, queued, attempts, noticed)
		VALUES (?8, ?1, ?2, ?3, ?4, 0, x'', ?5, ?6, ?7, 0, 0)
		ON CONFLICT DO UPDATE SET version = ?5, due = ?6, queued = ?7, attempts = 0, noticed = 0`, int(store.TaskPrefetch), e.author,
		a.Head.MID[:], e.owner, a.Head.Version, millis(a.PrefetchAt), millis(a.Now), place.Seq)
	return err
}

func (t *tx) insertEntry(a *alert, e entry, seq uint64) (int64, error) {
	origin, err := t.number(a.Origin)
	if err != nil {
		return 0, err
	}
	_, err = t.change(`INSERT INTO entries (id, owner, author, mid, seq, newest, origin, arrived, folder, read, deleted, tombstone, expires, bytes)
		VALUES (?4, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?9, ?10, ?11)`, e.owner, e.author, a.Head.MID[:], seq, a.Head.Version, origin,
		millis(a.Now), int(a.Folder), a.Head.Tombstone(), millis(a.Head.Expires), a.bytes())
	return int64(seq), err
}

// updateEntry shows the newer version.
func (t *tx) updateEntry(a *alert, e entry, seq uint64) error {
	origin, err := t.number(a.Origin)
	if err != nil {
		return err
	}
	_, err = t.change(`UPDATE entries SET seq = ?2, newest = ?3, origin = ?4, arrived = ?5, folder = ?6, read = 0, deleted = 0, tombstone = ?7,
		expires = ?8, bytes = bytes + ?9 WHERE id = ?1`, e.id, seq, a.Head.Version, origin, millis(a.Now), int(nextFolder(a, e)),
		a.Head.Tombstone(), millis(a.Head.Expires), a.bytes())
	return err
}

// nextFolder is where an entry that was there lies with a newer version.
func nextFolder(a *alert, e entry) store.Folder {
	switch {
	case e.deleted:
		return a.Folder
	case e.folder == store.Requests && a.Folder == store.Inbox:
		return store.Inbox
	case e.folder == store.Archive && !a.Head.Tombstone():
		return store.Inbox
	}
	return e.folder
}

// eraseUntaken erases, after a recall, the copy that no device has taken and
// the pending prefetch.
func (t *tx) eraseUntaken(e entry) error {
	if _, err := t.change("DELETE FROM tasks WHERE kind = ?1 AND author = ?2 AND mid = ?3 AND peer = ?4",
		int(store.TaskPrefetch), e.author, e.mid[:], e.owner); err != nil {
		return err
	}
	var taken int64
	ok, err := t.row("SELECT taken FROM copies WHERE entry = ?1", []any{e.id}, &taken)
	if !ok || err != nil || taken != 0 {
		return err
	}
	return t.dropCopy(e)
}
