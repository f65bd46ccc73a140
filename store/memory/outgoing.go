package memory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
)

// letter is a message of an account, all its versions.
type letter struct {
	// id is the place of its first version in the log.
	id         int64
	seq        uint64
	public     bool
	versions   []version
	body       int64
	expires    time.Time
	deliveries []*delivery
	fetched    map[fetch]bool
	uses       map[message.ID]bool
}

// version is one version, and what was said when it was taken in.
type version struct {
	store.Version
	accepted store.Accepted
}

// fetch is who has been handed which version.
type fetch struct {
	reader  message.Address
	version uint64
}

func (l *letter) newest() *version { return &l.versions[len(l.versions)-1] }

// pending reports whether some recipient has still to be alerted.
func (l *letter) pending() bool {
	return slices.ContainsFunc(l.deliveries, func(d *delivery) bool { return d.task != nil })
}

// dropTasks takes the alert tasks away with the message.
func (l *letter) dropTasks(m *tables) {
	for _, d := range l.deliveries {
		if d.task != nil {
			delete(m.tasks, d.task.ID)
		}
	}
}

// Submit keeps versions.
func (m *tables) Submit(ctx context.Context, s []store.Submission) []store.SubmitResult {
	results := make([]store.SubmitResult, len(s))
	for i := range s {
		r := &results[i]
		if r.Err = m.with(ctx, func() error { return m.submit(s[i], r) }); r.Err != nil {
			r.Accepted = store.Accepted{}
		}
	}
	return results
}

// submit decides about one submission, and then writes it.
func (m *tables) submit(s store.Submission, r *store.SubmitResult) error {
	h := s.Head
	l, exists := m.messages[h.Ref()]
	if exists && h.Version <= uint64(len(l.versions)) && l.versions[h.Version-1].ID == h.ID {
		r.Accepted = l.versions[h.Version-1].accepted
		r.Accepted.Again = true
		return nil
	}
	switch {
	case !exists && !m.hosted(h.From):
		return message.NotFound
	case !exists && h.Version != 1:
		return message.Conflict
	case exists && (h.Version != uint64(len(l.versions))+1 || h.Prev != l.newest().ID):
		r.Current = statement(l.newest().Head)
		return message.Conflict
	case exists && s.UnlessFetched && len(l.fetched) > 0:
		return message.AlreadyFetched
	}
	for _, b := range s.Blobs {
		if held, ok := m.blobs[b.ID]; !ok || !held.complete || held.size != b.Size || held.reserved[h.From].IsZero() {
			return message.NotFound
		}
	}
	body := int64(len(s.Payload))
	for _, slot := range s.Slots {
		body += int64(proto.Size(slot))
	}
	u := use{bytes: int64(proto.Size(h.Signed)) + body, forced: h.Tombstone()}
	if !exists {
		u.messages = 1
	}
	if err := m.admits(h.From, u); err != nil {
		return err
	}
	m.count(h.From, u.bytes, u.messages)
	r.Accepted = store.Accepted{Place: m.next(), At: whole(s.Now)}
	if !exists {
		l = &letter{id: int64(r.Accepted.Seq), public: h.Audience == message.Public, fetched: make(map[fetch]bool), uses: make(map[message.ID]bool)}
		m.messages[h.Ref()] = l
	}
	m.keep(l, s, body, r.Accepted)
	return nil
}

func (m *tables) hosted(a message.Address) bool { _, ok := m.accounts[a]; return ok }

// keep adds the version to its message.
func (m *tables) keep(l *letter, s store.Submission, body int64, a store.Accepted) {
	h := s.Head
	l.expires = whole(h.Expires)
	if h.Tombstone() {
		m.eraseBody(l, h.From)
		l.expires = time.Time{}
	}
	l.body += body
	l.seq = a.Seq
	l.versions = append(l.versions, version{store.Version{
		Head: statement(h.Signed), ID: h.ID, Number: h.Version, Tombstone: h.Tombstone(), At: whole(s.Now),
		Slots: slots(s.Slots), Payload: bytes.Clone(s.Payload), Blobs: slices.Clone(s.Blobs),
	}, a})
	for _, b := range s.Blobs {
		l.uses[b.ID] = true
	}
	for i, to := range h.To {
		if len(l.deliveries) <= i {
			l.deliveries = append(l.deliveries, &delivery{to: to})
		}
		d := l.deliveries[i]
		d.version, d.state, d.time, d.reason = h.Version, store.Queued, whole(s.Now), 0
		m.alertTask(l, i, h.Ref(), store.Task{Queued: s.Now, Due: s.Now})
	}
}

// eraseBody erases slots, payloads and blob references of all versions.
func (m *tables) eraseBody(l *letter, author message.Address) {
	for i := range l.versions {
		v := &l.versions[i]
		v.Slots, v.Payload, v.Blobs = nil, nil, nil
	}
	clear(l.uses)
	m.count(author, -l.body, 0)
	l.body = 0
}

// bare is a version without what lists do not ask for.
func bare(v store.Version) store.Version {
	v.Head, v.Slots, v.Payload, v.Blobs = statement(v.Head), nil, nil, nil
	return v
}

// Versions reads all versions without their bodies.
func (m *tables) Versions(ctx context.Context, ref message.Ref) (out []store.Version, err error) {
	err = m.with(ctx, func() error {
		l, ok := m.messages[ref]
		if !ok {
			return message.NotFound
		}
		for _, v := range l.versions {
			out = append(out, bare(v.Version))
		}
		return nil
	})
	return out, err
}

// Serve marks newest versions as fetched and hands them out.
func (m *tables) Serve(ctx context.Context, q store.ServeQuery) []store.Serving {
	out := make([]store.Serving, len(q.Items))
	for i := range q.Items {
		out[i].Err = m.with(ctx, func() (err error) {
			out[i].Versions, err = m.serve(q, i)
			return err
		})
	}
	return out
}

// serve serves one item.
func (m *tables) serve(q store.ServeQuery, item int) (out []store.Version, err error) {
	ref, after := q.Items[item].Ref, q.Items[item].After
	l, ok := m.messages[ref]
	if !ok {
		return nil, message.NotFound
	}
	v := l.newest()
	for _, v := range l.versions[min(after, v.Number-1):] {
		out = append(out, bare(v.Version))
	}
	if q.May != nil {
		if err := q.May(item, out); err != nil {
			return nil, err
		}
	}
	if v.Number <= after {
		return nil, nil
	}
	last := &out[len(out)-1]
	last.Slots, last.Payload, last.Blobs = slots(v.Slots), bytes.Clone(v.Payload), slices.Clone(v.Blobs)
	f := fetch{q.Reader, v.Number}
	if !q.Reader.IsZero() && !l.public && !v.Tombstone && !l.fetched[f] {
		l.fetched[f] = true
		m.next()
		m.report(store.Report{Ref: ref, To: q.Reader, Version: v.Number, State: store.Served, Time: q.Now})
	}
	return out, nil
}

// List reads a page of an author's messages.
func (m *tables) List(ctx context.Context, q store.ListQuery) (out []store.ListItem, more bool, err error) {
	err = m.with(ctx, func() error {
		for ref, l := range m.messages {
			if ref.From != q.From || l.seq <= q.After || q.Public && !l.public {
				continue
			}
			if !q.Public && !q.To.IsZero() && !slices.ContainsFunc(l.deliveries, func(d *delivery) bool { return d.to == q.To }) {
				continue
			}
			item := store.ListItem{Seq: l.seq, Ref: ref}
			for _, v := range l.versions {
				item.Versions = append(item.Versions, bare(v.Version))
			}
			last, v := &item.Versions[len(item.Versions)-1], l.newest()
			switch {
			case q.Public:
				last.Slots, last.Payload, last.Blobs = slots(v.Slots), bytes.Clone(v.Payload), slices.Clone(v.Blobs)
			case !q.To.IsZero():
				last.Slots = slots(v.Slots)
			}
			out = append(out, item)
		}
		out, more = page(out, func(i store.ListItem) uint64 { return i.Seq }, q.Limit)
		return nil
	})
	return out, more, err
}

// Expire erases what is over.
func (m *tables) Expire(ctx context.Context, now time.Time, limit int) (n int, err error) {
	err = m.with(ctx, func() error {
		over := slices.SortedFunc(maps.Keys(m.messages), func(a, b message.Ref) int {
			return cmp.Or(m.messages[a].expires.Compare(m.messages[b].expires), cmp.Compare(m.messages[a].id, m.messages[b].id))
		})
		for _, ref := range over {
			l := m.messages[ref]
			if l.expires.IsZero() || whole(now).Before(l.expires) || n >= limit {
				continue
			}
			m.eraseBody(l, ref.From)
			l.expires, l.seq = time.Time{}, m.next().Seq
			n++
		}
		return nil
	})
	return n, err
}
