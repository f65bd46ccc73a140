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

// entryKey names a message in an inbox.
type entryKey struct {
	owner message.Address
	ref   message.Ref
}

// entry is a message in an inbox.
type entry struct {
	// id is the place of its first alert in the log.
	id        uint64
	seq       uint64
	newest    uint64
	alerts    map[uint64]*alert
	origin    message.Address
	arrived   time.Time
	folder    store.Folder
	read      bool
	deleted   bool
	tombstone bool
	expires   time.Time
	bytes     int64
	copy      *copied
}

// alert is one version's; head and slot are nil where the owner has deleted it.
type alert struct {
	id       message.ID
	head     *wirev1.Signed
	slot     *wirev1.Slot
	accepted store.Accepted
}

// noticeKey names a notice.
type noticeKey struct {
	owner message.Address
	mid   message.MID
	to    message.Address
}

// notice is a notice in an inbox.
type notice struct {
	store.Notice
	seq           uint64
	folder        store.Folder
	read, deleted bool
}

// Alert takes alerts in.
func (m *tables) Alert(ctx context.Context, alerts []store.Alert) []store.AlertResult {
	results := make([]store.AlertResult, len(alerts))
	for i := range alerts {
		r := &results[i]
		if r.Err = m.with(ctx, func() error { return m.alert(alerts[i], r) }); r.Err != nil {
			r.Accepted = store.Accepted{}
		}
	}
	return results
}

// alert decides about one alert, and then writes it.
func (m *tables) alert(a store.Alert, r *store.AlertResult) error {
	key := entryKey{a.To, a.Head.Ref()}
	if !m.hosted(a.To) {
		return message.NotFound
	}
	e, existed := m.entries[key]
	if existed {
		if held, ok := e.alerts[a.Head.Version]; ok {
			return m.alertedBefore(a, held, r)
		}
	}
	shows := !existed || a.Head.Version > e.newest
	u := use{bytes: int64(proto.Size(a.Head.Signed)), forced: a.Head.Tombstone()}
	if a.Slot != nil {
		u.bytes += int64(proto.Size(a.Slot))
	}
	kept := &alert{id: a.Head.ID, head: statement(a.Head.Signed), slot: proto.CloneOf(a.Slot)}
	var old *entry
	var oldKey entryKey
	switch {
	case !shows && e.deleted:
		kept.head, kept.slot, u.bytes = nil, nil, 0
	case shows && (!existed || e.deleted):
		u.messages = 1
		if a.Folder == store.Requests {
			var err error
			if oldKey, old, err = m.room(a); err != nil {
				return err
			}
		}
	}
	room := u
	if old != nil {
		room.bytes, room.messages = room.bytes-old.bytes-old.copyBytes(), 0
		if account := m.accounts[a.To]; account.MessagesLimit > 0 && account.MessagesUsed > account.MessagesLimit && !u.forced {
			return message.Quota
		}
	}
	if err := m.admits(a.To, room); err != nil {
		return err
	}
	if old != nil {
		m.eraseEntry(oldKey, old)
	}
	m.count(a.To, u.bytes, u.messages)
	kept.accepted = store.Accepted{Place: m.next(), At: whole(a.Now)}
	r.Accepted = kept.accepted
	if !existed {
		e = &entry{id: kept.accepted.Seq, alerts: make(map[uint64]*alert)}
		m.entries[key] = e
	}
	e.alerts[a.Head.Version] = kept
	e.bytes += u.bytes
	if shows {
		m.show(key, e, a, kept.accepted.Seq)
	}
	return nil
}

// alertedBefore answers an alert under a key that was used.
func (m *tables) alertedBefore(a store.Alert, held *alert, r *store.AlertResult) error {
	if held.id == a.Head.ID {
		r.Accepted = held.accepted
		r.Accepted.Again = true
		return nil
	}
	if held.head != nil {
		m.addEvidence(a.Head.From, evidence{"head", held.head, a.Head.Signed})
	}
	return message.Conflict
}

// room applies the caps of the requests, and says which entry makes room.
func (m *tables) room(a store.Alert) (entryKey, *entry, error) {
	var total, ofOrigin, ofSender int
	var oldKey entryKey
	var old *entry
	for k, e := range m.entries {
		if k.owner != a.To || e.folder != store.Requests || e.deleted {
			continue
		}
		total++
		if k.ref.From == a.Head.From {
			ofSender++
		}
		if e.origin != a.Origin {
			continue
		}
		ofOrigin++
		if !e.read && (old == nil || e.arrived.Before(old.arrived) || e.arrived.Equal(old.arrived) && e.id < old.id) {
			oldKey, old = k, e
		}
	}
	switch c := a.Caps; {
	case c.PerSender > 0 && ofSender >= c.PerSender:
		return oldKey, nil, message.Quota
	case (c.PerOrigin == 0 || ofOrigin < c.PerOrigin) && (c.PerMailbox == 0 || total < c.PerMailbox):
		return oldKey, nil, nil
	case old == nil:
		return oldKey, nil, message.Quota
	}
	return oldKey, old, nil
}

// show makes the alert the entry's newest.
func (m *tables) show(key entryKey, e *entry, a store.Alert, seq uint64) {
	switch {
	case e.newest == 0 || e.deleted || e.folder == store.Requests && a.Folder == store.Inbox:
		e.folder = a.Folder
	case e.folder == store.Archive && !a.Head.Tombstone():
		e.folder = store.Inbox
	}
	e.seq, e.newest, e.origin, e.arrived = seq, a.Head.Version, a.Origin, whole(a.Now)
	e.read, e.deleted, e.tombstone, e.expires = false, false, a.Head.Tombstone(), whole(a.Head.Expires)
	if a.Head.Tombstone() {
		m.dropPrefetch(key)
		if e.copy != nil && e.copy.taken.IsZero() {
			m.dropCopy(key, e)
		}
		return
	}
	if a.PrefetchAt.IsZero() {
		return
	}
	t := store.Task{
		Kind: store.TaskPrefetch, Ref: key.ref, Version: a.Head.Version, Peer: a.To, Queued: whole(a.Now), Due: whole(a.PrefetchAt),
		ID: int64(seq)<<kindBits | int64(store.TaskPrefetch),
	}
	for _, held := range m.tasks {
		if named(&held.Task, &t) {
			t.ID = held.ID
		}
	}
	m.tasks[t.ID] = &task{Task: t}
}

func (m *tables) dropPrefetch(key entryKey) {
	for id, t := range m.tasks {
		if t.Kind == store.TaskPrefetch && t.Ref == key.ref && t.Peer == key.owner {
			delete(m.tasks, id)
		}
	}
}

// eraseEntry deletes an entry; what is left says that it was there.
func (m *tables) eraseEntry(key entryKey, e *entry) {
	m.dropCopy(key, e)
	m.dropPrefetch(key)
	m.count(key.owner, -e.bytes, -1)
	e.deleted, e.bytes, e.seq = true, 0, m.next().Seq
	for _, a := range e.alerts {
		a.head, a.slot = nil, nil
	}
}

// value is the entry as it is handed out.
func (e *entry) value(ref message.Ref) store.Entry {
	if e.deleted {
		return store.Entry{Seq: e.seq, Ref: ref, Deleted: true}
	}
	a := e.alerts[e.newest]
	return store.Entry{
		Seq: e.seq, Ref: ref, Version: e.newest, Head: statement(a.head), Slot: proto.CloneOf(a.slot), Origin: e.origin,
		Arrived: e.arrived, Folder: e.folder, Read: e.read,
	}
}

// Entries reads a page of an inbox.
func (m *tables) Entries(ctx context.Context, owner message.Address, after uint64, limit int) (out []store.Entry, more bool, err error) {
	err = m.with(ctx, func() error {
		for k, e := range m.entries {
			if k.owner == owner && e.seq > after {
				out = append(out, e.value(k.ref))
			}
		}
		for k, n := range m.notices {
			if k.owner != owner || n.seq <= after {
				continue
			}
			e := store.Entry{Seq: n.seq, Ref: message.Ref{From: owner, MID: n.MID}, Deleted: n.deleted}
			if !n.deleted {
				word := n.Notice
				e.Version, e.Arrived, e.Folder, e.Read, e.Notice = n.Version, n.Time, n.folder, n.read, &word
			}
			out = append(out, e)
		}
		out, more = page(out, func(e store.Entry) uint64 { return e.Seq }, limit)
		return nil
	})
	return out, more, err
}

// Entry reads one message of an inbox.
func (m *tables) Entry(ctx context.Context, owner message.Address, ref message.Ref) (out store.Entry, err error) {
	err = m.with(ctx, func() error {
		e, ok := m.entries[entryKey{owner, ref}]
		if !ok {
			return message.NotFound
		}
		out = e.value(ref)
		return nil
	})
	return out, err
}

// Mark changes entries, and notices: those of a message of the owner's own.
func (m *tables) Mark(ctx context.Context, owner message.Address, marks []store.Marking) error {
	return m.with(ctx, func() error {
		for _, k := range marks {
			key := entryKey{owner, k.Ref}
			if e, ok := m.entries[key]; ok && !e.deleted {
				m.mark(key, e, k)
			}
			if k.Ref.From == owner {
				m.markNotices(owner, k)
			}
		}
		return nil
	})
}

func (m *tables) mark(key entryKey, e *entry, k store.Marking) {
	if k.Deleted != nil && *k.Deleted {
		m.eraseEntry(key, e)
		return
	}
	folder, read := marked(k, e.folder, e.read)
	if folder != e.folder || read != e.read {
		e.folder, e.read, e.seq = folder, read, m.next().Seq
	}
}

// marked is what a marking makes of folder and read.
func marked(k store.Marking, folder store.Folder, read bool) (store.Folder, bool) {
	if k.Read != nil {
		read = *k.Read
	}
	if k.Archived != nil && *k.Archived {
		folder = store.Archive
	}
	if k.Archived != nil && !*k.Archived && folder == store.Archive {
		folder = store.Inbox
	}
	return folder, read
}

func (m *tables) markNotices(owner message.Address, k store.Marking) {
	var found []*notice
	for key, n := range m.notices {
		if key.owner == owner && key.mid == k.Ref.MID && !n.deleted {
			found = append(found, n)
		}
	}
	slices.SortFunc(found, func(a, b *notice) int { return int(a.seq) - int(b.seq) })
	for _, n := range found {
		folder, read := marked(k, n.folder, n.read)
		deleted := k.Deleted != nil && *k.Deleted
		if deleted || folder != n.folder || read != n.read {
			n.folder, n.read, n.deleted, n.seq = folder, read, deleted, m.next().Seq
		}
	}
}

// Notify adds a notice.
func (m *tables) Notify(ctx context.Context, owner message.Address, n store.Notice) error {
	return m.with(ctx, func() error {
		if !m.hosted(owner) {
			return message.NotFound
		}
		key := noticeKey{owner, n.MID, n.To}
		if _, ok := m.notices[key]; ok {
			return nil
		}
		n.Time = whole(n.Time)
		m.notices[key] = &notice{Notice: n, seq: m.next().Seq, folder: store.Inbox}
		return nil
	})
}
