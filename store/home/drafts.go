package home

import (
	"context"
	"database/sql"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Draft is a message that was not sent, or not wholly. Its body is the
// caller's to read.
type Draft struct {
	ID   int64
	Body []byte
	// Trouble is why it was not sent, for people.
	Trouble string
	Time    time.Time
}

// PutDraft keeps a draft; with ID 0 it is a new one. It returns the ID.
// Errors: message.NotFound.
func (h *Home) PutDraft(ctx context.Context, owner message.Address, d Draft) (int64, error) {
	if d.ID != 0 {
		err := changed(h.db.ExecContext(ctx, `update draft set body = ?3, trouble = ?4, time = ?5 where owner = ?1 and n = ?2`,
			key(owner), d.ID, d.Body, d.Trouble, millis(d.Time)))
		return d.ID, fault("put draft", err)
	}
	r, err := h.db.ExecContext(ctx, `insert into draft (owner, body, trouble, time) values (?1, ?2, ?3, ?4)`, key(owner), d.Body, d.Trouble, millis(d.Time))
	if err != nil {
		return 0, fault("put draft", err)
	}
	n, err := r.LastInsertId()
	return n, fault("put draft", err)
}

// Draft is one draft. Errors: message.NotFound.
func (h *Home) Draft(ctx context.Context, owner message.Address, id int64) (Draft, error) {
	all, err := h.drafts(ctx, `where owner = ?1 and n = ?2`, key(owner), id)
	if err == nil && len(all) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		return Draft{}, fault("draft", err)
	}
	return all[0], nil
}

// Drafts is all drafts of an owner, oldest first.
func (h *Home) Drafts(ctx context.Context, owner message.Address) ([]Draft, error) {
	if err := h.count(ctx, "draft"); err != nil {
		return nil, fault("drafts", err)
	}
	all, err := h.drafts(ctx, `where owner = ?1`, key(owner))
	return all, fault("drafts", err)
}

// RemoveDraft forgets a draft. Errors: message.NotFound.
func (h *Home) RemoveDraft(ctx context.Context, owner message.Address, id int64) error {
	return fault("remove draft", changed(h.db.ExecContext(ctx, `delete from draft where owner = ?1 and n = ?2`, key(owner), id)))
}

func (h *Home) drafts(ctx context.Context, where string, args ...any) ([]Draft, error) {
	rows, err := h.db.QueryContext(ctx, `select n, body, trouble, time from draft `+where+` order by n`, args...)
	return collect(rows, err, func(r *sql.Rows) (Draft, error) {
		var d Draft
		var ms int64
		err := r.Scan(&d.ID, &d.Body, &d.Trouble, &ms)
		d.Time = fromMillis(ms)
		return d, err
	})
}

// Upload is a file whose upload has begun: the key that its bytes are sealed
// with, for as long as the file is the same.
type Upload struct {
	// Path is absolute; Size and Modified tell whether the file changed.
	Path     string
	Size     int64
	Modified time.Time
	// Attachment as it will stand in the message.
	Attachment message.Attachment
}

// Upload finds the upload of a file. Errors: message.NotFound.
func (h *Home) Upload(ctx context.Context, owner message.Address, path string) (Upload, error) {
	u := Upload{Path: path}
	var modified int64
	var raw []byte
	err := h.db.QueryRowContext(ctx, `select size, modified, attachment from upload where owner = ?1 and path = ?2`, key(owner), path).
		Scan(&u.Size, &modified, &raw)
	if err != nil {
		return u, fault("upload", err)
	}
	u.Modified = time.Unix(0, modified)
	var w wirev1.Attachment
	if err := proto.Unmarshal(raw, &w); err != nil {
		return u, fault("upload", err)
	}
	u.Attachment = message.Attachment{Name: w.GetName(), MediaType: w.GetMediaType(), Size: int64(w.GetSize()), Key: w.GetKey()}
	if len(w.GetHash()) != 0 {
		u.Attachment.Blob, err = message.IDFromBytes(w.GetHash())
	}
	return u, fault("upload", err)
}

// PutUpload keeps an upload in place of what was kept for its path.
func (h *Home) PutUpload(ctx context.Context, owner message.Address, u Upload, now time.Time) error {
	a := u.Attachment
	raw, err := proto.Marshal(&wirev1.Attachment{Name: a.Name, MediaType: a.MediaType, Size: uint64(a.Size), Hash: a.Blob[:], Key: a.Key})
	if err != nil {
		return fault("put upload", err)
	}
	_, err = h.db.ExecContext(ctx, `insert into upload (owner, path, size, modified, attachment, time) values (?1, ?2, ?3, ?4, ?5, ?6)
		on conflict (owner, path) do update set size = ?3, modified = ?4, attachment = ?5, time = ?6`,
		key(owner), u.Path, u.Size, u.Modified.UnixNano(), raw, millis(now))
	return fault("put upload", err)
}

// RemoveUpload forgets an upload; what is absent is no error.
func (h *Home) RemoveUpload(ctx context.Context, owner message.Address, path string) error {
	_, err := h.db.ExecContext(ctx, `delete from upload where owner = ?1 and path = ?2`, key(owner), path)
	return fault("remove upload", err)
}

// DropUploads forgets uploads that were begun before a time.
func (h *Home) DropUploads(ctx context.Context, before time.Time) error {
	_, err := h.db.ExecContext(ctx, `delete from upload where time < ?1`, millis(before))
	return fault("drop uploads", err)
}
