package mailserver

import (
	"context"
	"fmt"
	"io"

	"airdispatch/message"
	"airdispatch/store"
)

// roomEvery is how many bytes of an upload are taken between two looks at the
// free space. Uploads that go on at the same time were all let in on the same
// room; together they overrun the reserve by this much each, and no more.
const roomEvery = 1 << 20

// write appends to a blob as long as there is room beside the reserve: one
// account's attachments do not keep others from sending letters. What was
// written stays, and the upload can go on from there. Errors:
// message.StorageFull.
func (s *Server) write(ctx context.Context, b store.BlobRef, off int64, r io.Reader) (int64, error) {
	if err := s.room(b.Size - off); err != nil {
		return off, err
	}
	return s.c.Store.Blobs.Write(ctx, b, off, &roomReader{s: s, r: r, left: roomEvery})
}

// room reports whether n bytes fit beside the reserve. Errors: message.StorageFull.
func (s *Server) room(n int64) error {
	if s.c.Free == nil || s.c.Limits.ReserveBytes < 0 {
		return nil
	}
	free, err := s.c.Free()
	if err != nil {
		return fmt.Errorf("mailserver: upload: free space: %w", err)
	}
	if free-n < s.c.Limits.ReserveBytes {
		return fmt.Errorf("mailserver: upload: no room for %d bytes beside the reserve: %w", n, message.StorageFull)
	}
	return nil
}

// roomReader reads r while there is room.
type roomReader struct {
	s *Server
	r io.Reader
	// left is how many bytes may pass before the next look.
	left int64
}

// Read reads, and looks first where it is time to.
func (r *roomReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		if err := r.s.room(0); err != nil {
			return 0, err
		}
		r.left = roomEvery
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}
