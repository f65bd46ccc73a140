package crypto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// ChunkSize is the plaintext of one chunk: small enough to check before handing out, large enough that its 16 bytes on
	// top do not matter.
	ChunkSize = 64 << 10

	// Overhead is what sealing adds to each chunk.
	Overhead = chacha20poly1305.Overhead

	// sealedChunk is a full chunk after sealing.
	sealedChunk = ChunkSize + Overhead
)

// chunkNonce returns the nonce of chunk i: 11 bytes that count, and one that marks the last chunk.
func chunkNonce(i uint64, last bool) [chacha20poly1305.NonceSize]byte {
	var n [chacha20poly1305.NonceSize]byte
	binary.BigEndian.PutUint64(n[3:11], i)
	if last {
		n[11] = 1
	}
	return n
}

// chunks returns how many chunks n bytes of plaintext make; an empty text is one empty chunk, so that its end is marked.
func chunks(n int64) int64 { return max(1, (n-1)/ChunkSize+1) }

// SealedSize returns the length of n bytes after sealing.
func SealedSize(n int64) int64 { return n + chunks(n)*Overhead }

// OpenedSize returns the length of the plaintext of n sealed bytes, and an error for a length that sealing never gives.
func OpenedSize(n int64) (int64, error) {
	count := (n-1)/sealedChunk + 1
	plain := n - count*Overhead
	if n <= 0 || plain < 0 || SealedSize(plain) != n {
		return 0, fmt.Errorf("crypto: open stream: nothing sealed is %d bytes long", n)
	}
	return plain, nil
}

// chunkReader turns a function that makes one chunk after the other into an io.Reader. Nothing of a chunk is handed out
// before the function has returned it whole.
type chunkReader struct {
	next  func() ([]byte, error) // io.EOF after the last
	ready []byte
	err   error
}

// Read hands out what is ready and makes the next chunk when nothing is.
func (c *chunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.ready) == 0 && c.err == nil {
		c.ready, c.err = c.next()
		if c.err != nil {
			c.ready = nil
		}
	}
	if len(c.ready) == 0 {
		return 0, c.err
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// failed returns a reader that only fails.
func failed(err error) io.Reader { return &chunkReader{err: err} }

// splitter cuts a stream into pieces and knows which one is the last by reading one byte ahead.
type splitter struct {
	r      io.Reader
	buf    []byte // one piece and one byte
	ahead  bool   // the byte after the piece has been read
	ended  bool
	pieces uint64
}

// newSplitter cuts r into pieces of size bytes.
func newSplitter(r io.Reader, size int) *splitter {
	return &splitter{r: r, buf: make([]byte, size+1)}
}

// next returns the next piece, its number and whether it is the last; the memory is good until the following call. Only the
// first piece can be empty. After the last piece comes io.EOF.
func (s *splitter) next() (piece []byte, i uint64, last bool, err error) {
	if s.ended {
		return nil, 0, false, io.EOF
	}
	size, have := len(s.buf)-1, 0
	if s.ahead {
		s.buf[0] = s.buf[size]
		have = 1
	}
	for have < len(s.buf) && err == nil {
		var n int
		n, err = s.r.Read(s.buf[have:])
		have += n
	}
	// io.ReadFull would not tell a source that ended from one that broke off with io.ErrUnexpectedEOF.
	if err != nil && err != io.EOF {
		return nil, 0, false, err
	}
	s.ended = have <= size
	s.ahead = !s.ended
	i = s.pieces
	s.pieces++
	return s.buf[:min(have, size)], i, s.ended, nil
}

// SealReader returns the ciphertext of what r gives, made as it is read. See PayloadKey: one key, one stream.
func (k PayloadKey) SealReader(r io.Reader) io.Reader {
	if k.aead == nil {
		return failed(errNoKey)
	}
	in, out := newSplitter(r, ChunkSize), make([]byte, 0, sealedChunk)
	return &chunkReader{next: func() ([]byte, error) {
		plain, i, last, err := in.next()
		if err != nil {
			return nil, err
		}
		nonce := chunkNonce(i, last)
		return k.aead().Seal(out, nonce[:], plain, nil), nil
	}}
}

// OpenReader returns the plaintext of the ciphertext that r gives. Each chunk is authenticated before any of it is handed
// out; a stream that ends early gives all its whole chunks and then ErrTruncated instead of io.EOF. Whoever acts on the
// plaintext waits for io.EOF.
func (k PayloadKey) OpenReader(r io.Reader) io.Reader {
	if k.aead == nil {
		return failed(errNoKey)
	}
	in, out := newSplitter(r, sealedChunk), make([]byte, 0, ChunkSize)
	return &chunkReader{next: func() ([]byte, error) {
		sealed, i, last, err := in.next()
		if err != nil {
			return nil, err
		}
		if last && i > 0 && len(sealed) == Overhead {
			return nil, ErrTruncated // an empty chunk at the end would be a second form of one text
		}
		return k.openChunk(out, sealed, i, last)
	}}
}

// openChunk opens one chunk, and tells a bad end from a bad middle.
func (k PayloadKey) openChunk(out, sealed []byte, i uint64, last bool) ([]byte, error) {
	nonce := chunkNonce(i, last)
	plain, err := k.aead().Open(out, nonce[:], sealed, nil)
	switch {
	case err == nil:
		return plain, nil
	case last:
		return nil, ErrTruncated
	default:
		return nil, ErrOpen
	}
}

// SealFrom returns the ciphertext of the first size bytes of r from its byte off on, to take up an upload where it stopped.
// The plaintext must be what it was at the first attempt: other bytes under the same key and counter would give both away.
func (k PayloadKey) SealFrom(r io.ReaderAt, size int64, off int64) (io.Reader, error) {
	if k.aead == nil {
		return nil, errNoKey
	}
	if size < 0 || off < 0 || off > SealedSize(size) {
		return nil, fmt.Errorf("crypto: seal stream: no byte %d in the sealed form of %d bytes", off, size)
	}
	i, skip := off/sealedChunk, int(off%sealedChunk)
	total := chunks(size)
	in, out := make([]byte, ChunkSize), make([]byte, 0, sealedChunk)
	return &chunkReader{next: func() ([]byte, error) {
		if i == total {
			return nil, io.EOF
		}
		plain := in[:min(ChunkSize, size-i*ChunkSize)]
		if n, err := r.ReadAt(plain, i*ChunkSize); n < len(plain) {
			return nil, fmt.Errorf("crypto: seal stream: read chunk %d: %w", i, noEOF(err))
		}
		nonce := chunkNonce(uint64(i), i == total-1)
		sealed := k.aead().Seal(out, nonce[:], plain, nil)[skip:]
		i, skip = i+1, 0
		return sealed, nil
	}}, nil
}

// noEOF keeps the end of a source that is too short from passing for the end of the stream.
func noEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// OpenAt goes on opening at the start of the given chunk, to take up a download where it stopped: r gives the ciphertext
// from byte chunk*(ChunkSize+Overhead) on, and sealedSize is the length of the whole, which tells which chunk is the last. More
// bytes than that are refused.
func (k PayloadKey) OpenAt(r io.Reader, chunk uint64, sealedSize int64) io.Reader {
	if k.aead == nil {
		return failed(errNoKey)
	}
	plainSize, err := OpenedSize(sealedSize)
	if err != nil {
		return failed(err)
	}
	total := uint64(chunks(plainSize))
	if chunk >= total {
		return failed(fmt.Errorf("crypto: open stream: no chunk %d in %d sealed bytes", chunk, sealedSize))
	}
	in, out := newSplitter(r, sealedChunk), make([]byte, 0, ChunkSize)
	return &chunkReader{next: func() ([]byte, error) {
		sealed, i, last, err := in.next()
		if err != nil {
			return nil, err
		}
		want := min(sealedChunk, sealedSize-int64(i+chunk)*sealedChunk)
		switch i += chunk; {
		case last && (i < total-1 || int64(len(sealed)) < want):
			return nil, ErrTruncated
		case int64(len(sealed)) > want || !last && i == total-1:
			return nil, ErrOpen
		}
		return k.openChunk(out, sealed, i, last)
	}}
}
