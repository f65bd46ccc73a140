package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
)

// blob is a blob in the index.
type blob struct {
	size     int64
	complete bool
	reserved map[message.Address]time.Time
}

// Reserve counts a blob towards an account.
func (m *tables) Reserve(ctx context.Context, owner message.Address, r store.BlobRef, now time.Time) error {
	return m.with(ctx, func() error {
		if !m.hosted(owner) {
			return message.NotFound
		}
		b, ok := m.blobs[r.ID]
		if ok && b.size != r.Size {
			return message.Conflict
		}
		if ok && !b.reserved[owner].IsZero() {
			if now.After(b.reserved[owner]) {
				b.reserved[owner] = whole(now)
			}
			return nil
		}
		if err := m.admits(owner, use{bytes: r.Size}); err != nil {
			return err
		}
		m.count(owner, r.Size, 0)
		if !ok {
			b = &blob{size: r.Size, reserved: make(map[message.Address]time.Time)}
			m.blobs[r.ID] = b
		}
		b.reserved[owner] = whole(now)
		return nil
	})
}

// Release gives back the reservation of a blob that did not become complete.
func (m *tables) Release(ctx context.Context, owner message.Address, id message.ID) error {
	return m.with(ctx, func() error {
		b, ok := m.blobs[id]
		if !ok || b.complete || b.reserved[owner].IsZero() {
			return nil
		}
		delete(b.reserved, owner)
		m.count(owner, -b.size, 0)
		return nil
	})
}

// Complete marks a blob as readable.
func (m *tables) Complete(ctx context.Context, owner message.Address, id message.ID) error {
	return m.with(ctx, func() error {
		b, ok := m.blobs[id]
		if !ok || b.reserved[owner].IsZero() {
			return message.NotFound
		}
		b.complete = true
		return nil
	})
}

// uses says which owners have a message or a copy that uses a blob; of one
// message, where ref is not zero.
func (m *tables) uses(id message.ID, ref message.Ref) map[message.Address]bool {
	out := make(map[message.Address]bool)
	for r, l := range m.messages {
		if l.uses[id] && (ref == message.Ref{} || ref == r) {
			out[r.From] = true
		}
	}
	for k, e := range m.entries {
		if e.copy == nil || ref != (message.Ref{}) && ref != k.ref {
			continue
		}
		if slices.ContainsFunc(e.copy.Blobs, func(b store.BlobRef) bool { return b.ID == id }) {
			out[k.owner] = true
		}
	}
	return out
}

// Used reports whether a message uses a blob.
func (m *tables) Used(ctx context.Context, ref message.Ref, id message.ID) (used bool, err error) {
	err = m.with(ctx, func() error {
		used = len(m.uses(id, ref)) > 0
		return nil
	})
	return used, err
}

// Unused gives back reservations that nothing uses, and takes the blobs that
// nobody has reserved out of the index.
func (m *tables) Unused(ctx context.Context, before time.Time, limit int) (out []message.ID, err error) {
	err = m.with(ctx, func() error {
		type reservation struct {
			id    message.ID
			owner message.Address
		}
		var idle []reservation
		for id, b := range m.blobs {
			used := m.uses(id, message.Ref{})
			for owner, at := range b.reserved {
				if at.Before(whole(before)) && !used[owner] {
					idle = append(idle, reservation{id, owner})
				}
			}
		}
		slices.SortFunc(idle, func(a, b reservation) int {
			return m.blobs[a.id].reserved[a.owner].Compare(m.blobs[b.id].reserved[b.owner])
		})
		for _, r := range idle[:min(len(idle), max(limit, 0))] {
			delete(m.blobs[r.id].reserved, r.owner)
			m.count(r.owner, -m.blobs[r.id].size, 0)
		}
		byID := func(a, b message.ID) int { return bytes.Compare(a[:], b[:]) }
		for _, id := range slices.SortedFunc(maps.Keys(m.blobs), byID) {
			if len(m.blobs[id].reserved) == 0 && len(m.uses(id, message.Ref{})) == 0 && len(out) < limit {
				delete(m.blobs, id)
				out = append(out, id)
			}
		}
		return nil
	})
	return out, err
}

// blobs keeps bytes.
type blobs struct {
	// mu guards all.
	mu  sync.Mutex
	all map[message.ID]*piece
}

// piece is what there is of a blob.
type piece struct {
	data     []byte
	complete bool
	// writing: somebody appends.
	writing bool
}

// NewBlobs is an empty store of blobs.
func NewBlobs() store.Blobs { return &blobs{all: make(map[message.ID]*piece)} }

// Write appends to a blob.
func (b *blobs) Write(ctx context.Context, ref store.BlobRef, offset int64, r io.Reader) (int64, error) {
	p, err := b.begin(ref, offset)
	switch {
	case err != nil:
		return 0, err
	case p.complete:
		return offset, nil
	}
	data, readErr := readPart(ctx, r, ref.Size-offset)
	b.mu.Lock()
	defer b.mu.Unlock()
	p.writing = false
	if b.all[ref.ID] != p {
		return 0, fmt.Errorf("memory: write blob: it was removed meanwhile: %w", message.Conflict)
	}
	p.data = append(p.data, data...)
	size := int64(len(p.data))
	if size == ref.Size {
		if id, _, err := crypto.BlobID(bytes.NewReader(p.data)); err != nil || id != ref.ID {
			delete(b.all, ref.ID)
			return 0, fmt.Errorf("memory: write blob: %w", message.BadSignature)
		}
		p.complete = true
	}
	return size, readErr
}

// begin finds or makes the unfinished blob and makes sure that nobody else
// appends to it.
func (b *blobs) begin(ref store.BlobRef, offset int64) (*piece, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.all[ref.ID]
	if !ok {
		p = &piece{}
	}
	if p.writing || int64(len(p.data)) != offset || offset > ref.Size || ref.Size < 0 {
		return nil, fmt.Errorf("memory: write blob at %d: %w", offset, message.Conflict)
	}
	if !p.complete {
		p.writing = true
		b.all[ref.ID] = p
	}
	return p, nil
}

// readPart reads at most n bytes; more than that are an error.
func readPart(ctx context.Context, r io.Reader, n int64) ([]byte, error) {
	var out []byte
	buf := make([]byte, 64<<10)
	for int64(len(out)) < n {
		if err := ctx.Err(); err != nil {
			return out, fmt.Errorf("memory: write blob: %w", err)
		}
		k, err := r.Read(buf[:min(int64(len(buf)), n-int64(len(out)))])
		out = append(out, buf[:k]...)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("memory: write blob: %w", err)
		}
	}
	return out, nil
}

// Size tells how much there is.
func (b *blobs) Size(ctx context.Context, id message.ID) (int64, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.all[id]
	if !ok {
		return 0, false, ctx.Err()
	}
	return int64(len(p.data)), p.complete, ctx.Err()
}

// Open reads a complete blob.
func (b *blobs) Open(ctx context.Context, id message.ID) (store.Blob, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.all[id]
	if !ok || !p.complete {
		return nil, fmt.Errorf("memory: open blob: %w", cmp.Or(ctx.Err(), error(message.NotFound)))
	}
	return reader{bytes.NewReader(p.data)}, ctx.Err()
}

// Remove erases a blob.
func (b *blobs) Remove(ctx context.Context, id message.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, id)
	return ctx.Err()
}

// reader is an open blob. The bytes of a complete blob never change.
type reader struct{ *bytes.Reader }

// Close has nothing to do.
func (reader) Close() error { return nil }
