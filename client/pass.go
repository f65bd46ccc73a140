package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
)

// forgetUpload removes the memory of an upload whose message was accepted, so
// that the same file gets another key the next time.
func (c *Client) forgetUpload(ctx context.Context, f File) error {
	path, err := filepath.Abs(f.Path)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return c.home.RemoveUpload(context.WithoutCancel(ctx), c.me, path)
}

// used are the blobs that content uses, each once.
func used(content *message.Content, refs []store.BlobRef) []store.BlobRef {
	wanted := make(map[message.ID]bool)
	for _, a := range content.Blobs() {
		wanted[a.Blob] = true
	}
	var out []store.BlobRef
	for _, r := range distinct(refs) {
		if wanted[r.ID] {
			out = append(out, r)
		}
	}
	return out
}

// pass brings a blob of another message to the own server as it is, sealed:
// the server compares it with its id, the reader with the key that goes along.
func (c *Client) pass(ctx context.Context, p Passed) (store.BlobRef, error) {
	ref := store.BlobRef{ID: p.Attachment.Blob, Size: crypto.SealedSize(p.Attachment.Size)}
	report := c.report(p.Attachment.Name, "upload", ref.Size)
	for failures := 0; ; failures++ {
		have, complete, err := c.blobSize(ctx, ref.ID)
		if err != nil {
			return ref, err
		}
		if complete {
			report(ref.Size)
			return ref, nil
		}
		err = c.passFrom(ctx, p, ref, have)
		if err == nil {
			report(ref.Size)
			return ref, nil
		}
		if failures >= transferTries || !errors.Is(err, message.Unavailable) || ctx.Err() != nil {
			return ref, fmt.Errorf("client: pass on %s: %w", p.Attachment.Name, err)
		}
	}
}

// passFrom copies from an offset to the end.
func (c *Client) passFrom(ctx context.Context, p Passed, ref store.BlobRef, from int64) error {
	body, err := c.openBlob(ctx, place{p.Of, p.Public}, ref.ID, window{from, ref.Size})
	if err != nil {
		return err
	}
	defer body.Close()
	req := &http.Request{
		Method: http.MethodPut, URL: &url.URL{Path: "/blobs/" + ref.ID.String()}, Header: http.Header{},
		Body: io.NopCloser(&countingReader{ctx: ctx, r: body, done: from, report: c.report(p.Attachment.Name, "upload", ref.Size)}), ContentLength: ref.Size - from,
	}
	req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, ref.Size-1, ref.Size))
	req.Header.Set("Content-Type", "application/octet-stream")
	peer, _, err := c.server(ctx)
	if err != nil {
		return err
	}
	res, err := peer.Do(req.WithContext(ctx))
	if err != nil {
		return err
	}
	return res.Body.Close()
}
