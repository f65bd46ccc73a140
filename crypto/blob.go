package crypto

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
)

// PieceSize is the part of a blob that is hashed by itself, so that hashing uses all processors and a download can be
// checked piece by piece once the hashes of the pieces are known.
const PieceSize = 1 << 20

// BlobHasher computes the id of a blob as its ciphertext is written: SHA-256 over "airdispatch/1 blob", line feed, the length as 8
// bytes big-endian, and the SHA-256 of each piece of 1 MiB. Use NewBlobHasher.
type BlobHasher struct {
	piece  hash.Hash
	filled int // bytes in piece
	size   int64
	sums   []byte // of the pieces that are full
}

// NewBlobHasher returns a hasher that has seen nothing.
func NewBlobHasher() *BlobHasher { return &BlobHasher{piece: sha256.New()} }

// Write takes the next bytes of the blob. It never fails.
func (h *BlobHasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part := p[:min(len(p), PieceSize-h.filled)]
		_, _ = h.piece.Write(part)
		p = p[len(part):]
		h.size += int64(len(part))
		if h.filled += len(part); h.filled == PieceSize {
			h.sums = h.piece.Sum(h.sums)
			h.piece.Reset()
			h.filled = 0
		}
	}
	return n, nil
}

// Sum returns the id and the length of what has been written so far.
func (h *BlobHasher) Sum() (id [32]byte, size int64) {
	sums := h.sums[:len(h.sums):len(h.sums)]
	if h.filled > 0 {
		sums = h.piece.Sum(sums)
	}
	return blobID(h.size, sums), h.size
}

// BlobID reads r to its end on all processors and returns the blob's id and length.
func BlobID(r io.Reader) ([32]byte, int64, error) {
	var size int64
	var sums []byte
	err := inOrder(r, PieceSize, func(p *piece) {
		sum := sha256.Sum256(p.data)
		p.out = append(p.out[:0], sum[:]...)
	}, func(p *piece) error {
		if len(p.data) > 0 {
			size += int64(len(p.data))
			sums = append(sums, p.out...)
		}
		return nil
	})
	if err != nil {
		return [32]byte{}, size, err
	}
	return blobID(size, sums), size, nil
}

// blobID hashes the length and the hashes of the pieces.
func blobID(size int64, sums []byte) [32]byte {
	return Hash("blob", binary.BigEndian.AppendUint64(nil, uint64(size)), sums)
}
