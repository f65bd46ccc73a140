package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"

	"airdispatch/crypto"
	"airdispatch/message"
)

func sealing(t *testing.T, plain []byte) (message.Attachment, source, summary) {
	t.Helper()
	a, err := message.NewAttachment("f", "x/y", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{log: slog.New(slog.DiscardHandler)}
	src := source{r: bytes.NewReader(plain), size: int64(len(plain)), name: "f"}
	sum, err := c.hash(t.Context(), a, src)
	if err != nil {
		t.Fatal(err)
	}
	return a, src, sum
}

func TestPiecesAreWhatWasHashed(t *testing.T) {
	plain := bytes.Repeat([]byte("0123456789abcdef"), 3*crypto.PieceSize/16)
	a, src, sum := sealing(t, plain)
	key, err := a.PayloadKey()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(key.SealReader(bytes.NewReader(plain)))
	if err != nil {
		t.Fatal(err)
	}
	if id, n, err := crypto.BlobID(bytes.NewReader(whole)); err != nil || sum.id != message.ID(id) || sum.size != n {
		t.Fatalf("summary %v of %d bytes, not %x of %d: %v", sum.id, sum.size, id, n, err)
	}
	size := sum.size
	for _, st := range [][2]int64{{0, size}, {0, 1}, {1, 2}, {crypto.PieceSize - 1, crypto.PieceSize + 1}, {crypto.PieceSize, size}, {size - 1, size}, {12345, size}} {
		changed := new(atomic.Bool)
		r, err := newPieceReader(t.Context(), key, src, sum, stretch{st[0], st[1], changed})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, whole[st[0]:st[1]]) || changed.Load() {
			t.Errorf("bytes %d to %d: %d bytes, %v", st[0], st[1], len(got), err)
		}
	}
}

func TestNoChangedPieceLeaves(t *testing.T) {
	plain := make([]byte, 3*crypto.PieceSize)
	a, src, sum := sealing(t, plain)
	key, err := a.PayloadKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		now  []byte
		// good is how many bytes may leave.
		good int64
	}{
		{"a byte in the second piece", append(append(bytes.Clone(plain[:crypto.PieceSize+5]), 1), plain[crypto.PieceSize+6:]...), crypto.PieceSize},
		{"a byte in the first piece", append([]byte{1}, plain[1:]...), 0},
		{"shorter", plain[:crypto.PieceSize+5], crypto.PieceSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := new(atomic.Bool)
			r, err := newPieceReader(t.Context(), key, source{r: bytes.NewReader(tt.now), size: src.size}, sum, stretch{0, sum.size, changed})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if !errors.Is(err, errChanged) || !changed.Load() || int64(len(got)) != tt.good {
				t.Errorf("%d bytes left, %v", len(got), err)
			}
		})
	}
}

func TestPieceReaderStopsWithItsContext(t *testing.T) {
	a, src, sum := sealing(t, make([]byte, 100))
	key, err := a.PayloadKey()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := newPieceReader(ctx, key, src, sum, stretch{0, sum.size, new(atomic.Bool)})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
