package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
)

// maxInline is the largest component kept as a blob that is read along with its
// message: a body of 32 MiB is more than anybody reads, and fits into memory.
const maxInline = 32 << 20

// attachmentOf finds an attachment of what is kept of a message: by its name,
// by its number from 1 on, or the only one for an empty text. Errors:
// message.NotFound, message.Invalid where several fit.
func (i *Item) attachmentOf(name string) (message.Attachment, error) {
	all := i.Attachments()
	var found []message.Attachment
	for _, a := range all {
		if name == "" || a.Name == name {
			found = append(found, a)
		}
	}
	if n, err := strconv.Atoi(name); len(found) == 0 && err == nil && n >= 1 && n <= len(all) {
		found = all[n-1 : n]
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return message.Attachment{}, fmt.Errorf("client: %s has no attachment %q, but %s: %w", i.Ref, clip(name), offered(all), message.NotFound)
	}
	return message.Attachment{}, fmt.Errorf("client: which attachment of %s? name one, or give its number: %s: %w", i.Ref, offered(all), message.Invalid)
}

// maxOffered is how many attachments an error lists.
const maxOffered = 20

// offered lists attachments for somebody who has to choose.
func offered(all []message.Attachment) string {
	if len(all) == 0 {
		return "none at all"
	}
	var out []string
	for n, a := range all[:min(len(all), maxOffered)] {
		out = append(out, fmt.Sprintf("%d %q", n+1, clip(a.Name)))
	}
	if len(all) > maxOffered {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// Attachment finds an attachment of a message in the home: by name, by number
// from 1 on, or the only one for an empty name.
func (c *Client) Attachment(ctx context.Context, ref message.Ref, name string) (message.Attachment, error) {
	i, err := c.kept(ctx, ref)
	if err != nil {
		return message.Attachment{}, err
	}
	return i.attachmentOf(name)
}

// Save downloads an attachment into a directory under a name that must not
// exist yet; "" is the attachment's own. It writes beside it first, and takes up
// there what was interrupted; the name appears when every byte is
// authenticated. Memory stays constant. It returns the path. Errors:
// message.Conflict where the file exists, message.BadSignature, and those of a
// fetch.
func (c *Client) Save(ctx context.Context, ref message.Ref, a message.Attachment, dir, name string) (string, error) {
	if name == "" {
		name = a.Name
	}
	public, err := c.isPublic(ctx, ref)
	if err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("client: save: %w", errors.Join(err, message.Invalid))
	}
	defer root.Close()
	path := filepath.Join(dir, name)
	if _, err := root.Lstat(name); err == nil {
		return "", fmt.Errorf("client: save: %s exists: %w", path, message.Conflict)
	}
	part := fmt.Sprintf(".%s.%s.part", shorten(name), a.Blob.String()[:16])
	f, err := root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("client: save: %w", err)
	}
	err = c.saveTo(ctx, place{ref, public}, a, f)
	if err = errors.Join(err, f.Close()); err != nil {
		if errors.Is(err, message.BadSignature) || errors.Is(err, message.Recalled) || errors.Is(err, message.Expired) {
			err = errors.Join(err, root.Remove(part))
		}
		return "", fmt.Errorf("client: save %s: %w", path, err)
	}
	if err := appear(root, part, name); err != nil {
		return "", fmt.Errorf("client: save %s: %w", path, err)
	}
	return path, nil
}

// appear gives a part that is whole its name. Errors: message.Conflict where the
// name exists.
func appear(root *os.Root, part, name string) error {
	// A link fails where the name exists by now; a rename would take its place.
	err := root.Link(part, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// Not every file system has links.
		if _, statErr := root.Lstat(name); statErr != nil {
			return root.Rename(part, name)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("client: %s exists: %w", name, message.Conflict)
	}
	if err != nil {
		return err
	}
	return root.Remove(part)
}

// shorten keeps the name of a part within what file systems take.
func shorten(name string) string {
	if len(name) > 100 {
		return strings.ToValidUTF8(name[:100], "")
	}
	return name
}

// saveTo downloads into a file from where it ends.
func (c *Client) saveTo(ctx context.Context, from place, a message.Attachment, f *os.File) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	// Only whole chunks were authenticated; the last one is always read again,
	// for it says that it is the last.
	chunk := min(end, max(0, a.Size-1)) / crypto.ChunkSize
	if err := f.Truncate(chunk * crypto.ChunkSize); err != nil {
		return err
	}
	if _, err := f.Seek(chunk*crypto.ChunkSize, io.SeekStart); err != nil {
		return err
	}
	out := &chunkWriter{w: f, chunk: chunk, report: c.report(a.Name, "download", a.Size)}
	if err := c.download(ctx, from, a, out); err != nil {
		return err
	}
	return f.Sync()
}

// Download writes an attachment to w, authenticated chunk by chunk: what was
// written before an error is a true beginning of it.
func (c *Client) Download(ctx context.Context, ref message.Ref, a message.Attachment, w io.Writer) error {
	public, err := c.isPublic(ctx, ref)
	if err != nil {
		return err
	}
	return c.downloadFrom(ctx, place{ref, public}, a, w)
}

func (c *Client) downloadFrom(ctx context.Context, from place, a message.Attachment, w io.Writer) error {
	out := &chunkWriter{w: w, report: c.report(a.Name, "download", a.Size)}
	if err := c.download(ctx, from, a, out); err != nil {
		return fmt.Errorf("client: download %s: %w", a.Name, err)
	}
	return nil
}

// place is which message a blob is asked for, and whether it is public.
type place struct {
	ref    message.Ref
	public bool
}

// download writes the plaintext from a chunk on, going on where a connection
// broke.
func (c *Client) download(ctx context.Context, from place, a message.Attachment, out *chunkWriter) error {
	err := c.allStretches(ctx, from, a, out)
	if !absent(err) {
		return err
	}
	// A server says no more than that it is not there; its heads may say why.
	if refreshErr := c.refresh(ctx, from.ref); errors.Is(refreshErr, message.Expired) {
		return refreshErr
	}
	i, keptErr := c.kept(ctx, from.ref)
	switch {
	case keptErr != nil:
		return err
	case i.Head.Tombstone():
		return message.Recalled
	case i.Head.Expired(time.Now()):
		return message.Expired
	}
	return err
}

// allStretches goes on from chunk to chunk, over broken connections.
func (c *Client) allStretches(ctx context.Context, from place, a message.Attachment, out *chunkWriter) error {
	delay := backoff.NewExponentialBackOff()
	failures := 0
	for {
		before := out.chunk
		err := c.stretch(ctx, from, a, out)
		if err == nil {
			return out.flush()
		}
		if out.chunk > before {
			failures = 0
			delay.Reset()
		}
		if failures++; failures >= transferTries || !errors.Is(err, message.Unavailable) || ctx.Err() != nil {
			return err
		}
		if err := wait(ctx, delay.NextBackOff()); err != nil {
			return err
		}
	}
}

// stretch downloads from the first chunk that is missing to the end.
func (c *Client) stretch(ctx context.Context, from place, a message.Attachment, out *chunkWriter) error {
	key, err := a.PayloadKey()
	if err != nil {
		return err
	}
	total := crypto.SealedSize(a.Size)
	offset := out.chunk * (crypto.ChunkSize + crypto.Overhead)
	body, err := c.openBlob(ctx, from, a.Blob, window{offset, total})
	if err != nil {
		return err
	}
	out.pending = out.pending[:0]
	_, err = io.Copy(out, key.OpenAt(body, uint64(out.chunk), total))
	closeErr := body.Close()
	if fault, ok := errors.AsType[*writeError](err); ok {
		return fault.error
	}
	if errors.Is(err, crypto.ErrTruncated) {
		return fmt.Errorf("the connection broke off: %w", message.Unavailable)
	}
	if errors.Is(err, crypto.ErrOpen) {
		return fmt.Errorf("%w: %w", err, message.BadSignature)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && message.CodeOf(err) == message.Internal {
		err = fmt.Errorf("%w: %w", err, message.Unavailable)
	}
	return errors.Join(err, closeErr)
}

// openBlob asks for a blob's bytes from an offset on: the own server for private
// messages, the author's for public ones.
func (c *Client) openBlob(ctx context.Context, from place, id message.ID, w window) (io.ReadCloser, error) {
	query := url.Values{"from": {from.ref.From.String()}, "mid": {from.ref.MID.String()}}
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/blobs/" + id.String(), RawQuery: query.Encode()}, Header: http.Header{}}
	if w.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", w.offset))
	}
	var body io.ReadCloser
	open := func(p *rpc.Peer) error {
		res, err := p.Do(req.WithContext(ctx))
		if err != nil {
			return err
		}
		if err := checkRange(res, w); err != nil {
			return errors.Join(err, res.Body.Close())
		}
		body = res.Body
		return nil
	}
	if from.public {
		err := c.eachOrigin(ctx, from.ref.From, open)
		return body, err
	}
	err := c.ask(ctx, open)
	return body, err
}

// window is the bytes of a blob from an offset to the end.
type window struct{ offset, total int64 }

// checkRange refuses an answer that is not the bytes that were asked for.
func checkRange(res *http.Response, w window) error {
	if w.offset == 0 && res.StatusCode == http.StatusOK {
		return nil
	}
	want := fmt.Sprintf("bytes %d-%d/%d", w.offset, w.total-1, w.total)
	if res.StatusCode != http.StatusPartialContent || res.Header.Get("Content-Range") != want {
		return fmt.Errorf("client: status %d with range %q, not %q: %w", res.StatusCode, clip(res.Header.Get("Content-Range")), want, message.Invalid)
	}
	return nil
}

// isPublic reports whether a message is known as a public one.
func (c *Client) isPublic(ctx context.Context, ref message.Ref) (bool, error) {
	i, err := c.kept(ctx, ref)
	if absent(err) {
		return c.me.IsZero(), nil
	}
	if err != nil {
		return false, err
	}
	return i.Head.Audience == message.Public, nil
}

// chunkWriter writes whole chunks and remembers how many, so that a download can
// go on at one.
type chunkWriter struct {
	w       io.Writer
	chunk   int64
	pending []byte
	report  func(int64)
}

// writeError is a fault of the side that is written to: another try does not
// mend it.
type writeError struct{ error }

// Write takes opened bytes.
func (w *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		// A full chunk waits for the next byte: the last one counts only when the
		// stream has ended well.
		if len(w.pending) == crypto.ChunkSize {
			if _, err := w.w.Write(w.pending); err != nil {
				return 0, &writeError{err}
			}
			w.chunk, w.pending = w.chunk+1, w.pending[:0]
			w.report(w.chunk * crypto.ChunkSize)
		}
		take := min(len(p), crypto.ChunkSize-len(w.pending))
		w.pending = append(w.pending, p[:take]...)
		p = p[take:]
	}
	return n, nil
}

// flush writes what is left of the last chunk.
func (w *chunkWriter) flush() error {
	_, err := w.w.Write(w.pending)
	w.report(w.chunk*crypto.ChunkSize + int64(len(w.pending)))
	return err
}

// fillBlobs fetches the data of components that are kept as blobs, up to
// maxInline each; larger ones stay where they are.
func (c *Client) fillBlobs(ctx context.Context, from place, content *message.Content) error {
	if content == nil {
		return nil
	}
	for n := range content.Components {
		p := &content.Components[n]
		if p.Blob == nil || p.Blob.Size > maxInline {
			continue
		}
		var b bytes.Buffer
		if err := c.downloadFrom(ctx, from, *p.Blob, &b); err != nil {
			return err
		}
		p.Data = b.Bytes()
		if p.Data == nil {
			p.Data = []byte{}
		}
	}
	return nil
}
