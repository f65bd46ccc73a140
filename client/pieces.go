package client

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"airdispatch/crypto"
)

// pieceHasher hashes what is written to it, piece by piece. It never fails.
type pieceHasher struct {
	buffer []byte
	done   [][32]byte
}

// Write takes the next bytes.
func (h *pieceHasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), crypto.PieceSize-len(h.buffer))
		h.buffer = append(h.buffer, p[:take]...)
		p = p[take:]
		if len(h.buffer) == crypto.PieceSize {
			h.done = append(h.done, crypto.Sum(h.buffer))
			h.buffer = h.buffer[:0]
		}
	}
	return n, nil
}

// sums are the hashes of all pieces, the last one included.
func (h *pieceHasher) sums() [][32]byte {
	if len(h.buffer) == 0 {
		return h.done
	}
	return append(h.done, crypto.Sum(h.buffer))
}

// stretch is which bytes of a blob to make; changed is set where the source is
// not what was hashed.
type stretch struct {
	from, to int64
	changed  *atomic.Bool
}

// pieceReader is the ciphertext of a source from one offset to another. It
// seals whole pieces and lets none leave that is not what was hashed.
type pieceReader struct {
	ctx    context.Context
	sealed io.Reader
	pieces [][32]byte
	piece  int
	// skip is how much of the first piece the server has already.
	skip, left int64
	// room is for one piece; ready is what of it was not handed out yet.
	room, ready []byte
	changed     *atomic.Bool
}

func newPieceReader(ctx context.Context, key crypto.PayloadKey, src source, sum summary, st stretch) (io.ReadCloser, error) {
	first := st.from / crypto.PieceSize
	sealed, err := key.SealFrom(src.r, src.size, first*crypto.PieceSize)
	if err != nil {
		return nil, err
	}
	return &pieceReader{
		ctx: ctx, sealed: sealed, pieces: sum.pieces, piece: int(first), skip: st.from - first*crypto.PieceSize, left: st.to - st.from,
		room: make([]byte, crypto.PieceSize), changed: st.changed,
	}, nil
}

// Read hands out compared bytes.
func (r *pieceReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.ready) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ready[:min(int64(len(r.ready)), r.left)])
	r.ready, r.left = r.ready[n:], r.left-int64(n)
	return n, nil
}

// next seals one piece and compares it.
func (r *pieceReader) next() error {
	n, err := io.ReadFull(r.sealed, r.room)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	// A file that became shorter ends early, and differs.
	if r.piece >= len(r.pieces) || crypto.Sum(r.room[:n]) != r.pieces[r.piece] {
		r.changed.Store(true)
		return errChanged
	}
	r.ready = r.room[min(r.skip, int64(n)):n]
	r.piece, r.skip = r.piece+1, 0
	if len(r.ready) == 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Close ends the reading.
func (r *pieceReader) Close() error { return nil }

// countingReader tells how much was read, and stops with its context.
type countingReader struct {
	ctx    context.Context
	r      io.Reader
	done   int64
	report func(int64)
}

// Read reads on.
func (r *countingReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if n > 0 {
		r.done += int64(n)
		r.report(r.done)
	}
	return n, err
}
