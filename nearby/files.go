package nearby

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// MaxFiles is how many files a peer may share.
	MaxFiles = 1000
	// MaxFileName is how long the name of one may be.
	MaxFileName = 255
	// maxFileList bounds a list of them.
	maxFileList = MaxFiles * (MaxFileName + 64)
)

// File is one that a peer shares.
type File struct {
	Name string
	Size int64
	// Hash is the SHA-256 of what is in it.
	Hash message.ID
}

// Shelf is what a node shares with contacts.
type Shelf interface {
	// Files is what there is.
	Files(ctx context.Context) ([]File, error)
	// Open opens one of them. Errors: message.NotFound.
	Open(ctx context.Context, hash message.ID) (io.ReadSeekCloser, error)
}

// CheckFileName refuses, with message.Invalid, a name under which a file cannot be
// saved without surprise: with a separator, a dot in front, or what does not show.
func CheckFileName(name string) error {
	if name == "" || len(name) > MaxFileName || name[0] == '.' || strings.ContainsAny(name, `/\:`) {
		return fmt.Errorf("nearby: file name of %d bytes: %w", len(name), message.Invalid)
	}
	for _, r := range name {
		if !message.Visible(r) || r == '\n' || r == '\t' {
			return fmt.Errorf("nearby: file name that does not show: %w", message.Invalid)
		}
	}
	return nil
}

// listFiles tells a contact what is shared.
func (n *Node) listFiles(w http.ResponseWriter, r *http.Request) {
	_, err := n.contact(r)
	out := &wirev1.NearbyFiles{}
	if err == nil && n.c.Files != nil {
		var all []File
		all, err = n.c.Files.Files(r.Context())
		for _, f := range all[:min(len(all), MaxFiles)] {
			out.Files = append(out.Files, &wirev1.NearbyFile{Name: f.Name, Size: f.Size, Hash: f.Hash[:]})
		}
	}
	if err != nil {
		refuse(w, err)
		return
	}
	send(w, out)
}

// sendFile sends one to a contact, from anywhere in it.
func (n *Node) sendFile(w http.ResponseWriter, r *http.Request) {
	_, err := n.contact(r)
	var body io.ReadSeekCloser
	if err == nil {
		var hash message.ID
		if hash, err = parseHash(r.PathValue("hash")); err == nil && n.c.Files == nil {
			err = message.NotFound
		}
		if err == nil {
			body, err = n.c.Files.Open(r.Context(), hash)
		}
	}
	if err != nil {
		refuse(w, err)
		return
	}
	defer func() { _ = body.Close() }() // it was only read
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, body)
}

func parseHash(s string) (message.ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return message.ID{}, fmt.Errorf("nearby: no hash: %w", message.Invalid)
	}
	return message.IDFromBytes(b)
}

// Files is what the peer shares.
func (l *Link) Files(ctx context.Context) ([]File, error) {
	res, err := l.ask(ctx, request{method: http.MethodGet, path: "/files"})
	if err != nil {
		return nil, err
	}
	w, err := answerOf(res, maxFileList, &wirev1.NearbyFiles{})
	if err != nil {
		return nil, err
	}
	if len(w.GetFiles()) > MaxFiles {
		return nil, fmt.Errorf("nearby: %d files: %w", len(w.GetFiles()), message.TooLarge)
	}
	var out []File
	for _, f := range w.GetFiles() {
		hash, err := message.IDFromBytes(f.GetHash())
		if err != nil || f.GetSize() < 0 || CheckFileName(f.GetName()) != nil {
			continue // it cannot be fetched; the others can
		}
		out = append(out, File{Name: f.GetName(), Size: f.GetSize(), Hash: hash})
	}
	return out, nil
}

// Part is where a file is fetched into: what is there already is read again, to
// verify it, and the rest is written behind it.
type Part interface {
	io.ReadWriteSeeker
	// Truncate cuts it.
	Truncate(size int64) error
}

// Fetch fetches a file into what there is of it, and verifies it all. progress may be nil. Errors:
// message.BadSignature where it is not the file that was listed; nothing of the part is good then.
func (l *Link) Fetch(ctx context.Context, f File, into Part, progress func(done int64)) error {
	if progress == nil {
		progress = func(int64) {}
	}
	sum := crypto.NewSum()
	have, err := into.Seek(0, io.SeekEnd)
	if err == nil && have > f.Size {
		have = 0
		err = into.Truncate(0)
	}
	if err == nil {
		_, err = into.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = io.CopyN(sum, into, have)
	}
	if err != nil {
		return fmt.Errorf("nearby: fetch %s: %w", f.Hash, err)
	}
	progress(have)
	if have < f.Size {
		if err := l.rest(ctx, f, have, &metered{io.MultiWriter(into, sum), have, progress}); err != nil {
			return err
		}
	}
	if got := message.ID(sum.Sum(nil)); got != f.Hash {
		return fmt.Errorf("nearby: fetch: not the file that was listed: %w", message.BadSignature)
	}
	return nil
}

// rest fetches what is missing.
func (l *Link) rest(ctx context.Context, f File, have int64, w io.Writer) error {
	r := request{method: http.MethodGet, path: "/files/" + f.Hash.String(), header: http.Header{}}
	if have > 0 {
		r.header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	res, err := l.ask(ctx, r)
	if err != nil {
		return err
	}
	if have > 0 && res.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", have, f.Size-1, f.Size) {
		return errors.Join(fmt.Errorf("nearby: fetch: not the bytes that were asked for: %w", message.Invalid), res.Body.Close())
	}
	n, err := io.Copy(w, io.LimitReader(res.Body, f.Size-have))
	err = errors.Join(err, res.Body.Close())
	if err == nil && n < f.Size-have {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("nearby: fetch: %w: %w", err, message.Unavailable)
	}
	return nil
}

// metered reports how far a transfer is.
type metered struct {
	io.Writer
	done     int64
	progress func(int64)
}

// Write writes and reports.
func (m *metered) Write(p []byte) (int, error) {
	n, err := m.Writer.Write(p)
	m.done += int64(n)
	m.progress(m.done)
	return n, err
}
