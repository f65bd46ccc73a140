package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
)

// readAll reads r to its end and says what there was before an error.
func readAll(r io.Reader) ([]byte, error) { return io.ReadAll(r) }

// sealAll seals with the whole-payload sealer, the yardstick for the streams.
func sealAll(t testing.TB, key PayloadKey, plain []byte) []byte {
	t.Helper()
	sealed, err := key.Seal(SuiteChaCha, plain)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// TestStreamsAgree checks that every way to seal writes the same bytes and every way to open reads them.
func TestStreamsAgree(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	for _, n := range append(sizes, 40*ChunkSize+1) {
		plain := noise(t, n)
		want := sealAll(t, key, plain)
		for name, r := range map[string]io.Reader{
			"plain": bytes.NewReader(plain), "data with error": iotest.DataErrReader(bytes.NewReader(plain)),
			"halves": iotest.HalfReader(bytes.NewReader(plain)),
		} {
			if got, err := readAll(key.SealReader(r)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %s: SealReader differs: %v", n, name, err)
			}
		}
		var out bytes.Buffer
		if m, err := key.SealTo(&out, bytes.NewReader(plain)); err != nil || m != int64(len(want)) || !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%d bytes: SealTo differs: %d, %v", n, m, err)
		}
		for name, r := range map[string]io.Reader{
			"plain": bytes.NewReader(want), "data with error": iotest.DataErrReader(bytes.NewReader(want)),
			"halves": iotest.HalfReader(bytes.NewReader(want)),
		} {
			if got, err := readAll(key.OpenReader(r)); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %s: OpenReader differs: %v", n, name, err)
			}
		}
		if err := iotest.TestReader(key.OpenReader(bytes.NewReader(want)), plain); err != nil {
			t.Errorf("%d bytes: OpenReader is no good reader: %v", n, err)
		}
	}
}

// TestResume takes up uploads and downloads everywhere around the borders.
func TestResume(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	for _, n := range sizes {
		plain := noise(t, n)
		want := sealAll(t, key, plain)
		size := int64(len(want))
		for _, off := range []int64{0, 1, 15, 16, 17, sealedChunk - 1, sealedChunk, sealedChunk + 1, size - 17, size - 1, size} {
			if off < 0 || off > size {
				continue
			}
			r, err := key.SealFrom(bytes.NewReader(plain), int64(n), off)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(r); err != nil || !bytes.Equal(got, want[off:]) {
				t.Errorf("%d bytes from %d: SealFrom differs: %v", n, off, err)
			}
		}
		for i := range chunks(int64(n)) {
			got, err := readAll(key.OpenAt(bytes.NewReader(want[i*sealedChunk:]), uint64(i), size))
			if err != nil || !bytes.Equal(got, plain[i*ChunkSize:]) {
				t.Errorf("%d bytes from chunk %d: OpenAt differs: %v", n, i, err)
			}
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	for _, c := range [][2]int64{{10, -1}, {10, 27}, {-1, 0}, {0, 17}} {
		if _, err := key.SealFrom(strings.NewReader("0123456789"), c[0], c[1]); err == nil {
			t.Errorf("SealFrom takes size %d from %d", c[0], c[1])
		}
	}
	r, err := key.SealFrom(strings.NewReader("short"), 6, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source that is too short: %v", err)
	}
	broken := errors.New("broken")
	r, err = key.SealFrom(brokenAt{broken}, 6, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(r); !errors.Is(err, broken) {
		t.Errorf("a source that breaks: %v", err)
	}
	sealed := sealAll(t, key, noise(t, 2*ChunkSize))
	size := int64(len(sealed))
	for name, c := range map[string]struct {
		from, to int64
		chunk    uint64
		size     int64
	}{
		"no such chunk":        {0, 0, 2, size},
		"far beyond":           {0, 0, 1<<64 - 1, size},
		"impossible size":      {0, size, 0, 5},
		"negative size":        {0, size, 0, -1},
		"smaller than said":    {0, size, 0, size + 1},
		"a chunk less":         {0, size - sealedChunk, 0, size},
		"larger than said":     {0, size, 0, size - 1},
		"a chunk more":         {0, size, 0, sealedChunk},
		"wrong place":          {sealedChunk, size, 0, size},
		"nothing at all":       {0, 0, 0, size},
		"cut in the last":      {sealedChunk, size - 1, 1, size},
		"cut before the first": {0, 5, 0, size},
	} {
		if _, err := readAll(key.OpenAt(bytes.NewReader(sealed[c.from:c.to]), c.chunk, c.size)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// brokenAt is a source that fails.
type brokenAt struct{ err error }

func (b brokenAt) ReadAt([]byte, int64) (int, error) { return 0, b.err }

// TestStreamTruncation cuts at every border of chunks and beside it: what came before is handed out, then ErrTruncated.
func TestStreamTruncation(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	plain := noise(t, 3*ChunkSize+50)
	sealed := sealAll(t, key, plain)
	for i := range int64(4) {
		for _, by := range []int64{-17, -16, -1, 0, 1, 15, 16, 17, 65} {
			cut := i*sealedChunk + by
			if cut < 0 || cut >= int64(len(sealed)) {
				continue
			}
			got, err := readAll(key.OpenReader(bytes.NewReader(sealed[:cut])))
			if !errors.Is(err, ErrTruncated) || !errors.Is(err, ErrOpen) {
				t.Errorf("cut at %d: %v", cut, err)
			}
			if !bytes.HasPrefix(plain, got) || len(got)%ChunkSize != 0 {
				t.Errorf("cut at %d: %d bytes that are not whole chunks", cut, len(got))
			}
		}
	}
}

// TestStreamTampering changes every byte of a small stream and some in each chunk of a large one; nothing of a bad chunk is
// handed out.
func TestStreamTampering(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	small := sealAll(t, key, noise(t, 50))
	for i := range small {
		if got, err := readAll(key.OpenReader(bytes.NewReader(flipped(small, 8*i)))); !errors.Is(err, ErrOpen) || len(got) != 0 {
			t.Errorf("byte %d changed: %d bytes, %v", i, len(got), err)
		}
	}
	plain := noise(t, 3*ChunkSize)
	sealed := sealAll(t, key, plain)
	for i := range 3 {
		for _, at := range []int{0, 1000, sealedChunk - 1} {
			r := key.OpenReader(bytes.NewReader(flipped(sealed, 8*(i*sealedChunk+at))))
			got, err := readAll(r)
			if !errors.Is(err, ErrOpen) || !bytes.Equal(got, plain[:i*ChunkSize]) {
				t.Errorf("chunk %d changed at %d: %d bytes, %v", i, at, len(got), err)
			}
			if errors.Is(err, ErrTruncated) != (i == 2) {
				t.Errorf("chunk %d changed at %d: %v", i, at, err)
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, ErrOpen) {
				t.Errorf("after an error the stream goes on: %d, %v", n, err)
			}
		}
	}
}

// TestSourceThatBreaks checks that no way of sealing takes a broken source for the end of the text, which would give an
// authentic stream of half the text; least of all a source that breaks with io.ErrUnexpectedEOF.
func TestSourceThatBreaks(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	for _, broken := range []error{errors.New("broken"), io.ErrUnexpectedEOF} {
		for _, n := range sizes {
			source := func() io.Reader { return io.MultiReader(bytes.NewReader(noise(t, n)), iotest.ErrReader(broken)) }
			_, err1 := readAll(key.SealReader(source()))
			_, err2 := key.SealTo(io.Discard, source())
			_, err3 := readAll(key.OpenReader(source()))
			_, _, err4 := BlobID(source())
			_, err5 := readAll(key.OpenAt(source(), 0, 1<<30))
			for i, err := range []error{err1, err2, err3, err4, err5} {
				if i == 2 && errors.Is(err, ErrOpen) && n > sealedChunk { // noise is no ciphertext
					continue
				}
				if i == 4 && errors.Is(err, ErrOpen) && n > sealedChunk || errors.Is(err, broken) {
					continue
				}
				t.Errorf("%d bytes, way %d: %v, want %v", n, i+1, err, broken)
			}
		}
	}
}

// failAfter is a writer that takes n bytes.
type failAfter struct{ n int }

func (f *failAfter) Write(p []byte) (int, error) {
	if len(p) > f.n {
		n := f.n
		f.n = 0
		return n, io.ErrShortWrite
	}
	f.n -= len(p)
	return len(p), nil
}

// TestWriterThatBreaks checks that SealTo stops, counts right and leaves nothing that opens.
func TestWriterThatBreaks(t *testing.T) {
	t.Parallel()
	key := payloadKey(t)
	for _, n := range []int{0, 1, sealedChunk, 5*sealedChunk + 3} {
		m, err := key.SealTo(&failAfter{n}, bytes.NewReader(noise(t, 50*ChunkSize)))
		if !errors.Is(err, io.ErrShortWrite) || m != int64(n) {
			t.Errorf("a writer of %d bytes: %d, %v", n, m, err)
		}
	}
}

func TestStreamZeroKey(t *testing.T) {
	t.Parallel()
	var key PayloadKey
	_, err1 := readAll(key.SealReader(strings.NewReader("x")))
	_, err2 := readAll(key.OpenReader(strings.NewReader("x")))
	_, err3 := key.SealTo(io.Discard, strings.NewReader("x"))
	_, err4 := key.SealFrom(strings.NewReader("x"), 1, 0)
	_, err5 := readAll(key.OpenAt(strings.NewReader("x"), 0, 17))
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if !errors.Is(err, errNoKey) {
			t.Errorf("way %d: %v", i+1, err)
		}
	}
	if n, err := payloadKey(t).SealReader(strings.NewReader("x")).Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, ChunkSize - 1, ChunkSize, ChunkSize + 1, 10 * ChunkSize, 1 << 40} {
		got, err := OpenedSize(SealedSize(n))
		if err != nil || got != n {
			t.Errorf("%d becomes %d and then %d, %v", n, SealedSize(n), got, err)
		}
	}
	for _, n := range []int64{-1 << 63, -1, 0, 15, sealedChunk + 1, sealedChunk + 16, 1<<63 - 1} {
		_, err := OpenedSize(n)
		want := n == 1<<63-1 && SealedSize(n/sealedChunk*ChunkSize+n%sealedChunk-Overhead) == n
		if (err == nil) != want {
			t.Errorf("OpenedSize(%d): %v", n, err)
		}
	}
}

func FuzzOpenReader(f *testing.F) {
	key := payloadKey(f)
	f.Add(sealAll(f, key, nil), uint64(0))
	f.Add(sealAll(f, key, []byte("text")), uint64(0))
	f.Add(sealAll(f, key, noise(f, ChunkSize+1)), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, chunk uint64) {
		got, err := readAll(key.OpenReader(bytes.NewReader(b)))
		if err == nil && !bytes.Equal(sealAll(t, key, got), b) {
			t.Error("bytes are taken that are not what Seal writes")
		}
		whole, errWhole := key.Open(SuiteChaCha, b)
		if (err == nil) != (errWhole == nil) || err == nil && !bytes.Equal(got, whole) {
			t.Errorf("stream and whole differ: %v, %v", err, errWhole)
		}
		_, _ = readAll(key.OpenAt(bytes.NewReader(b), chunk, int64(len(b))))
	})
}

// BenchmarkSeal64MiB seals as much beside age, which is the same construction on one processor.
func BenchmarkSeal64MiB(b *testing.B) {
	const size = 64 << 20
	plain, key := noise(b, size), payloadKey(b)
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	for name, seal := range map[string]func() error{
		"SealTo":     func() error { _, err := key.SealTo(io.Discard, bytes.NewReader(plain)); return err },
		"SealReader": func() error { _, err := io.Copy(io.Discard, key.SealReader(bytes.NewReader(plain))); return err },
		"Seal":       func() error { _, err := key.Seal(SuiteChaCha, plain); return err },
		"age": func() error {
			w, err := age.Encrypt(io.Discard, identity.Recipient())
			if err != nil {
				return err
			}
			_, err = io.Copy(w, bytes.NewReader(plain))
			return errors.Join(err, w.Close())
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := seal(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen64MiB(b *testing.B) {
	sealed, key := sealAll(b, payloadKey(b), noise(b, 64<<20)), payloadKey(b)
	b.SetBytes(64 << 20)
	for b.Loop() {
		if n, err := io.Copy(io.Discard, key.OpenReader(bytes.NewReader(sealed))); err != nil || n != 64<<20 {
			b.Fatal(fmt.Errorf("%d bytes: %w", n, err))
		}
	}
}
