package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// copied is a copy, and when a device took it.
type copied struct {
	store.Copy
	taken time.Time
	bytes int64
}

// copyBytes is what an entry's copy counts.
func (e *entry) copyBytes() int64 {
	if e.copy == nil {
		return 0
	}
	return e.copy.bytes
}

func cloneCopy(c store.Copy) store.Copy {
	c.Heads, c.Slot, c.Payload, c.Blobs, c.At = statements(c.Heads), proto.CloneOf(c.Slot), bytes.Clone(c.Payload), slices.Clone(c.Blobs), whole(c.At)
	return c
}

// copySize is what a copy counts: its serialised form.
func copySize(c store.Copy) int64 {
	w := &wirev1.Pulled{Heads: c.Heads, Slot: c.Slot, Payload: c.Payload}
	for _, b := range c.Blobs {
		w.Blobs = append(w.Blobs, &wirev1.BlobRef{Hash: b.ID[:], Size: uint64(b.Size)})
	}
	return int64(proto.Size(w))
}

// PutCopy keeps a copy for an owner.
func (m *tables) PutCopy(ctx context.Context, owner message.Address, c store.Copy) error {
	return m.with(ctx, func() error {
		e, ok := m.entries[entryKey{owner, c.Ref}]
		if !ok || e.deleted {
			return message.NotFound
		}
		if e.tombstone || e.copy != nil && e.copy.Version > c.Version {
			return nil
		}
		next := &copied{Copy: cloneCopy(c), bytes: copySize(c)}
		u := use{bytes: next.bytes - e.copyBytes()}
		if err := m.admits(owner, u); err != nil {
			return err
		}
		m.count(owner, u.bytes, 0)
		if e.copy != nil && e.copy.Version == c.Version {
			next.taken = e.copy.taken
		}
		e.copy = next
		return nil
	})
}

// Copy reads a copy.
func (m *tables) Copy(ctx context.Context, owner message.Address, ref message.Ref) (out store.Copy, err error) {
	err = m.with(ctx, func() error {
		e, ok := m.entries[entryKey{owner, ref}]
		if !ok || e.copy == nil {
			return message.NotFound
		}
		out = cloneCopy(e.copy.Copy)
		out.Taken = !e.copy.taken.IsZero()
		return nil
	})
	return out, err
}

// TakeCopy marks a copy as taken, now.
func (m *tables) TakeCopy(ctx context.Context, owner message.Address, ref message.Ref, version uint64) error {
	return m.with(ctx, func() error {
		e, ok := m.entries[entryKey{owner, ref}]
		if !ok || e.copy == nil || e.copy.Version != version {
			return message.NotFound
		}
		if e.copy.taken.IsZero() {
			e.copy.taken = time.Now()
		}
		return nil
	})
}

// DropCopies erases what need not be kept any more.
func (m *tables) DropCopies(ctx context.Context, takenBefore, now time.Time, limit int) (n int, err error) {
	err = m.with(ctx, func() error {
		var over []entryKey
		for k, e := range m.entries {
			if e.copy == nil {
				continue
			}
			taken := !e.copy.taken.IsZero() && e.copy.taken.Before(takenBefore)
			if taken || !e.expires.IsZero() && !whole(now).Before(e.expires) {
				over = append(over, k)
			}
		}
		slices.SortFunc(over, func(a, b entryKey) int { return cmp.Compare(m.entries[a].id, m.entries[b].id) })
		for _, k := range over[:min(len(over), max(limit, 0))] {
			m.dropCopy(k, m.entries[k])
			n++
		}
		return nil
	})
	return n, err
}

func (m *tables) dropCopy(key entryKey, e *entry) {
	m.count(key.owner, -e.copyBytes(), 0)
	e.copy = nil
}
