package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/home"
)

// File is a file to attach.
type File struct {
	Path string
	// Name and MediaType as the reader will see them; empty: after the path.
	Name      string `json:",omitempty"`
	MediaType string `json:",omitempty"`
}

const (
	// putSize is how much one request uploads: little enough that a broken
	// connection costs seconds, a multiple of the piece that is compared.
	putSize = 64 * crypto.PieceSize
	// transferTries is how often a transfer is taken up without any progress.
	transferTries = 5
	// uploadLife is how long an unfinished upload is remembered.
	uploadLife = 30 * 24 * time.Hour
)

// source is what is uploaded.
type source struct {
	r    io.ReaderAt
	size int64
	// name for the progress.
	name string
}

// attachFile seals and uploads a file. An upload of the same file that was
// interrupted before is taken up.
func (c *Client) attachFile(ctx context.Context, f File) (message.Attachment, store.BlobRef, error) {
	var none message.Attachment
	path, err := filepath.Abs(f.Path)
	if err != nil {
		return none, store.BlobRef{}, fmt.Errorf("client: attach: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return none, store.BlobRef{}, fmt.Errorf("client: attach: %w", errors.Join(err, message.Invalid))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return none, store.BlobRef{}, fmt.Errorf("client: attach: %w", err)
	}
	if !info.Mode().IsRegular() {
		return none, store.BlobRef{}, fmt.Errorf("client: attach %s: not a regular file: %w", f.Path, message.Invalid)
	}
	if info.Size() > message.MaxBlob/2 {
		return none, store.BlobRef{}, fmt.Errorf("client: attach %s: %w", f.Path, message.TooLarge)
	}
	if err := c.home.DropUploads(ctx, time.Now().Add(-uploadLife)); err != nil {
		return none, store.BlobRef{}, err
	}
	u, err := c.home.Upload(ctx, c.me, path)
	if err != nil && !absent(err) {
		return none, store.BlobRef{}, err
	}
	if err != nil || u.Size != info.Size() || !u.Modified.Equal(info.ModTime()) {
		if u, err = c.newUpload(path, f, info); err != nil {
			return none, store.BlobRef{}, err
		}
	}
	src := source{r: file, size: info.Size(), name: u.Attachment.Name}
	a, ref, err := c.upload(ctx, u, src)
	if err != nil {
		return none, ref, fmt.Errorf("client: attach %s: %w", f.Path, err)
	}
	return a, ref, nil
}

// newUpload chooses a key for a file.
func (c *Client) newUpload(path string, f File, info os.FileInfo) (home.Upload, error) {
	name, media := f.Name, f.MediaType
	if name == "" {
		name = filepath.Base(path)
	}
	if media == "" {
		if media = mime.TypeByExtension(filepath.Ext(name)); media == "" {
			media = "application/octet-stream"
		}
	}
	a, err := message.NewAttachment(name, media, c.c.Rand)
	a.Size = info.Size()
	return home.Upload{Path: path, Size: info.Size(), Modified: info.ModTime(), Attachment: a}, err
}

// upload hashes what would be uploaded, remembers the key, and uploads what the
// server lacks. Where the bytes are not those that an interrupted upload hashed,
// a new key is chosen: one key seals one text.
func (c *Client) upload(ctx context.Context, u home.Upload, src source) (message.Attachment, store.BlobRef, error) {
	sum, err := c.hash(ctx, u.Attachment, src)
	if err != nil {
		return u.Attachment, store.BlobRef{}, err
	}
	if !u.Attachment.Blob.IsZero() && u.Attachment.Blob != sum.id {
		fresh, err := message.NewAttachment(u.Attachment.Name, u.Attachment.MediaType, c.c.Rand)
		if err != nil {
			return u.Attachment, store.BlobRef{}, err
		}
		u.Attachment.Key = fresh.Key
		if sum, err = c.hash(ctx, u.Attachment, src); err != nil {
			return u.Attachment, store.BlobRef{}, err
		}
	}
	u.Attachment.Blob = sum.id
	if u.Path != "" {
		if err := c.home.PutUpload(ctx, c.me, u, time.Now()); err != nil {
			return u.Attachment, store.BlobRef{}, err
		}
	}
	ref := store.BlobRef{ID: sum.id, Size: sum.size}
	return u.Attachment, ref, c.send(ctx, u.Attachment, src, sum)
}

// uploadBytes seals and uploads what does not fit into a payload.
func (c *Client) uploadBytes(ctx context.Context, name, media string, b []byte) (message.Attachment, store.BlobRef, error) {
	a, err := message.NewAttachment(name, media, c.c.Rand)
	if err != nil {
		return a, store.BlobRef{}, err
	}
	a.Size = int64(len(b))
	return c.upload(ctx, home.Upload{Attachment: a}, source{r: bytes.NewReader(b), size: a.Size, name: a.Name})
}

// summary is the id of a blob and the hash of each of its pieces.
type summary struct {
	id     message.ID
	size   int64
	pieces [][32]byte
}

// hash is the first pass: it seals everything and keeps nothing but hashes.
func (c *Client) hash(ctx context.Context, a message.Attachment, src source) (summary, error) {
	key, err := a.PayloadKey()
	if err != nil {
		return summary{}, err
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := key.SealTo(pw, &countingReader{ctx: ctx, r: io.NewSectionReader(src.r, 0, src.size), report: c.report(src.name, "hash", src.size)})
		pw.CloseWithError(err)
		done <- err
	}()
	pieces := &pieceHasher{}
	id, n, err := crypto.BlobID(io.TeeReader(pr, pieces))
	pr.CloseWithError(err)
	if err := errors.Join(err, <-done); err != nil {
		return summary{}, err
	}
	if n != crypto.SealedSize(src.size) {
		return summary{}, fmt.Errorf("client: the file changed while it was read: %w", message.Conflict)
	}
	return summary{id: id, size: n, pieces: pieces.sums()}, nil
}

// send is the second pass: it uploads from where the server has got to.
func (c *Client) send(ctx context.Context, a message.Attachment, src source, sum summary) error {
	report := c.report(src.name, "upload", sum.size)
	delay := backoff.NewExponentialBackOff()
	failures, begun := 0, false
	for {
		have, complete, err := c.blobSize(ctx, sum.id)
		begun = begun || err == nil
		if err == nil && complete {
			report(sum.size)
			return nil
		}
		before := have
		// A server that was killed over the last byte compares what it has when that comes again.
		have = min(have, sum.size-1)
		for err == nil && have < sum.size {
			report(have)
			var n int64
			if n, err = c.put(ctx, a, src, sum, have); err == nil {
				have += n
			}
		}
		if err == nil {
			report(sum.size)
			return nil
		}
		if have > before {
			failures = 0
			delay.Reset()
		}
		// A server that was never reached is down; one that was lost may be back.
		if failures++; !begun || failures >= transferTries || !errors.Is(err, message.Unavailable) && !errors.Is(err, message.Conflict) || errors.Is(err, errChanged) {
			return err
		}
		if err := wait(ctx, delay.NextBackOff()); err != nil {
			return err
		}
	}
}

// errChanged says that a file is not what was hashed.
var errChanged = fmt.Errorf("client: the file changed while it was uploaded: %w", message.Conflict)

// put uploads one stretch from an offset and tells how long it was. Servers
// keep what they got of a stretch that broke off.
func (c *Client) put(ctx context.Context, a message.Attachment, src source, sum summary, from int64) (int64, error) {
	// To the end of a piece, so that each can be compared before it leaves.
	to := min((from/crypto.PieceSize)*crypto.PieceSize+putSize, sum.size)
	key, err := a.PayloadKey()
	if err != nil {
		return 0, err
	}
	changed := new(atomic.Bool)
	body := func() (io.ReadCloser, error) { return newPieceReader(ctx, key, src, sum, stretch{from, to, changed}) }
	err = c.ask(ctx, func(p *rpc.Peer) error {
		first, err := body()
		if err != nil {
			return err
		}
		req := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: "/blobs/" + sum.id.String()}, Header: http.Header{}, Body: first, GetBody: body, ContentLength: to - from}
		req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, sum.size))
		req.Header.Set("Content-Type", "application/octet-stream")
		res, err := p.Do(req.WithContext(ctx))
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
	if err != nil && changed.Load() {
		err = errChanged
	}
	return to - from, err
}

// blobSize asks how much of a blob the own server has.
func (c *Client) blobSize(ctx context.Context, id message.ID) (have int64, complete bool, err error) {
	req := &http.Request{Method: http.MethodHead, URL: &url.URL{Path: "/blobs/" + id.String()}, Header: http.Header{}}
	err = c.ask(ctx, func(p *rpc.Peer) error {
		res, err := p.Do(req.WithContext(ctx))
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
		complete = res.StatusCode == http.StatusOK
		if text := res.Header.Get("Airdispatch-Have"); text != "" {
			if have, err = strconv.ParseInt(text, 10, 64); err != nil || have < 0 {
				return fmt.Errorf("client: the server's Airdispatch-Have is %q: %w", clip(text), message.Invalid)
			}
		}
		return nil
	})
	if absent(err) {
		return 0, false, nil
	}
	return have, complete, err
}

// wait waits for a while or for the context.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("client: %w", ctx.Err())
	}
}

// report is the progress of one transfer.
func (c *Client) report(name, stage string, total int64) func(done int64) {
	return func(done int64) {
		if c.c.Progress != nil {
			c.c.Progress(Progress{Name: name, Stage: stage, Done: done, Total: total})
		}
	}
}
