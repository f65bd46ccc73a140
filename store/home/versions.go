package home

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Version is one fetched version of a message.
type Version struct {
	Number uint64
	Head   *wirev1.Signed
	// Content is nil in a tombstone, for a version whose content was never
	// fetched, and once it was erased.
	Content *message.Content
	// Blobs are the content's blobs with their sizes as stored.
	Blobs []store.BlobRef
	// Classical: the owner's slot was sealed to a nacl box.
	Classical bool
	Fetched   time.Time
}

// PutVersion keeps versions of a message that is there, in place of what was
// kept under their numbers; content that is there is not replaced by none. What
// can be searched becomes that of the newest with content. The data of
// components that are stored as blobs is kept too, where it is set.
// Errors: message.NotFound.
func (h *Home) PutVersion(ctx context.Context, owner message.Address, ref message.Ref, versions ...Version) error {
	return h.transact(ctx, "put version", func(tx *sql.Tx) error {
		var n int64
		err := tx.QueryRowContext(ctx, `select n from message where owner = ?1 and author = ?2 and mid = ?3`, key(owner), key(ref.From), ref.MID.Bytes()).Scan(&n)
		if err != nil {
			return err
		}
		for _, v := range versions {
			if err := putVersion(ctx, tx, n, v); err != nil {
				return err
			}
		}
		return nil
	})
}

func putVersion(ctx context.Context, tx *sql.Tx, row int64, v Version) error {
	head, err := proto.Marshal(v.Head)
	if err != nil {
		return err
	}
	var content []byte
	if v.Content != nil {
		if content, err = message.MarshalContent(v.Content); err != nil {
			return err
		}
		if content == nil {
			content = []byte{}
		}
	}
	_, err = tx.ExecContext(ctx, `insert into version (message, version, head, content, sizes, classical, fetched) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		on conflict (message, version) do update set head = ?3, content = coalesce(?4, content), sizes = iif(?4 is null, sizes, ?5),
			classical = iif(?4 is null, classical, ?6), fetched = iif(?4 is null, fetched, ?7)`,
		row, v.Number, head, content, marshalBlobs(v.Blobs), v.Classical, millis(v.Fetched))
	if err != nil || v.Content == nil {
		return err
	}
	for n, p := range v.Content.Components {
		if p.Blob == nil || p.Data == nil {
			continue
		}
		if _, err := tx.ExecContext(ctx, `insert into part (message, version, n, data) values (?1, ?2, ?3, ?4) on conflict do nothing`, row, v.Number, n, p.Data); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `update message set kept = ?2, subject = ?3, words = ?4 where n = ?1 and kept <= ?2`, row, v.Number, v.Content.Subject(), searchText(v.Content))
	return err
}

// searchText is what a search looks at: subject, body and names of attachments.
func searchText(c *message.Content) string {
	body, _ := c.Body()
	parts := []string{c.Subject(), body}
	for _, a := range c.Attachments {
		parts = append(parts, a.Name)
	}
	return fold(strings.Join(parts, "\n"))
}

// marshalBlobs keeps sizes as a Pulled that holds nothing else.
func marshalBlobs(blobs []store.BlobRef) []byte {
	w := &wirev1.Pulled{}
	for _, b := range blobs {
		w.Blobs = append(w.Blobs, &wirev1.BlobRef{Hash: b.ID[:], Size: uint64(b.Size)})
	}
	raw, err := proto.Marshal(w)
	if err != nil || raw == nil {
		return []byte{}
	}
	return raw
}

// Versions is the kept versions of a message, oldest first. Errors:
// message.NotFound where the message is not there.
func (h *Home) Versions(ctx context.Context, owner message.Address, ref message.Ref) ([]Version, error) {
	m, err := h.Message(ctx, owner, ref)
	if err != nil {
		return nil, err
	}
	rows, err := h.db.QueryContext(ctx, `select v.version, v.head, v.content, v.sizes, v.classical, v.fetched from version v join message m on m.n = v.message
		where m.owner = ?1 and m.author = ?2 and m.mid = ?3 order by v.version`, key(owner), key(ref.From), ref.MID.Bytes())
	out, err := collect(rows, err, scanVersion)
	if err != nil {
		return nil, fault("versions", err)
	}
	if !slices.ContainsFunc(out, func(v Version) bool { return v.Number == m.Version }) ||
		m.Kept != 0 && !slices.ContainsFunc(out, func(v Version) bool { return v.Number == m.Kept && v.Content != nil }) {
		return nil, fault("versions", fmt.Errorf("a version of %s is not there: %w", ref, ErrDamaged))
	}
	return out, fault("versions", h.parts(ctx, owner, ref, out))
}

// parts fills in the data of components that are stored as blobs.
func (h *Home) parts(ctx context.Context, owner message.Address, ref message.Ref, versions []Version) error {
	type part struct {
		version uint64
		n       int
		data    []byte
	}
	rows, err := h.db.QueryContext(ctx, `select p.version, p.n, p.data from part p join message m on m.n = p.message
		where m.owner = ?1 and m.author = ?2 and m.mid = ?3`, key(owner), key(ref.From), ref.MID.Bytes())
	parts, err := collect(rows, err, func(r *sql.Rows) (p part, err error) {
		err = r.Scan(&p.version, &p.n, &p.data)
		return p, err
	})
	for _, p := range parts {
		for i := range versions {
			v := &versions[i]
			if v.Number == p.version && v.Content != nil && p.n < len(v.Content.Components) && v.Content.Components[p.n].Blob != nil {
				v.Content.Components[p.n].Data = p.data
			}
		}
	}
	return err
}

func scanVersion(r *sql.Rows) (Version, error) {
	v := Version{Head: &wirev1.Signed{}}
	var head, content, sizes []byte
	var fetched int64
	if err := r.Scan(&v.Number, &head, &content, &sizes, &v.Classical, &fetched); err != nil {
		return v, err
	}
	v.Fetched = fromMillis(fetched)
	if err := proto.Unmarshal(head, v.Head); err != nil {
		return v, err
	}
	if content != nil {
		c, err := message.ParseContent(content)
		if err != nil {
			return v, err
		}
		v.Content = c
	}
	var w wirev1.Pulled
	if err := proto.Unmarshal(sizes, &w); err != nil {
		return v, err
	}
	for _, b := range w.GetBlobs() {
		id, err := message.IDFromBytes(b.GetHash())
		if err != nil {
			return v, err
		}
		v.Blobs = append(v.Blobs, store.BlobRef{ID: id, Size: int64(b.GetSize())})
	}
	return v, nil
}

// Erase removes the content of all versions of a message and keeps the heads.
func (h *Home) Erase(ctx context.Context, owner message.Address, ref message.Ref) error {
	return h.transact(ctx, "erase", func(tx *sql.Tx) error {
		return erase(ctx, tx, `owner = ?1 and author = ?2 and mid = ?3`, key(owner), key(ref.From), ref.MID.Bytes())
	})
}

// Expire erases the content of every ephemeral message that is over.
func (h *Home) Expire(ctx context.Context, now time.Time) error {
	return h.transact(ctx, "expire", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `delete from handover where expires <> 0 and expires <= ?1`, millis(now)); err != nil {
			return err
		}
		return erase(ctx, tx, `expires <> 0 and expires <= ?1 and kept <> 0`, millis(now))
	})
}

// erase removes the contents of the messages that a condition names.
func erase(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	if _, err := tx.ExecContext(ctx, `delete from part where message in (select n from message where `+where+`)`, args...); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `update version set content = null, sizes = x'' where message in (select n from message where `+where+`)`, args...); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `update message set kept = 0, subject = '', words = '' where `+where, args...)
	return err
}
