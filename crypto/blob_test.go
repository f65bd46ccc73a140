package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// slowBlobID is the definition, written down as plainly as it goes.
func slowBlobID(b []byte) [32]byte {
	text := binary.BigEndian.AppendUint64([]byte("airdispatch/1 blob\n"), uint64(len(b)))
	for len(b) > 0 {
		n := min(len(b), 1<<20)
		sum := sha256.Sum256(b[:n])
		text = append(text, sum[:]...)
		b = b[n:]
	}
	return sha256.Sum256(text)
}

// TestBlobID compares the two ways to hash with the definition, for lengths around the borders of pieces and writes of all
// sizes.
func TestBlobID(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, PieceSize - 1, PieceSize, PieceSize + 1, 2 * PieceSize, 9*PieceSize + 5} {
		b := noise(t, n)
		want := slowBlobID(b)
		for name, r := range map[string]io.Reader{"plain": bytes.NewReader(b), "data with error": iotest.DataErrReader(bytes.NewReader(b))} {
			if got, size, err := BlobID(r); err != nil || got != want || size != int64(n) {
				t.Errorf("%d bytes, %s: BlobID = %x, %d, %v", n, name, got, size, err)
			}
		}
		h := NewBlobHasher()
		for rest := b; len(rest) > 0; {
			m := min(len(rest), 1+random.IntN(3*PieceSize/2))
			if k, err := h.Write(rest[:m]); k != m || err != nil {
				t.Fatalf("Write = %d, %v", k, err)
			}
			rest = rest[m:]
			if got, size := h.Sum(); got != slowBlobID(b[:n-len(rest)]) || size != int64(n-len(rest)) {
				t.Errorf("%d bytes: Sum on the way is wrong", n)
			}
		}
		if got, size := h.Sum(); got != want || size != int64(n) {
			t.Errorf("%d bytes: Sum = %x, %d", n, got, size)
		}
	}
}

func BenchmarkBlobID(b *testing.B) {
	data := noise(b, 64<<20)
	b.SetBytes(64 << 20)
	for b.Loop() {
		if _, _, err := BlobID(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
