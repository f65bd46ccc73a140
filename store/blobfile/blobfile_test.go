package blobfile_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/blobfile"
	"airdispatch/store/storetest"
)

func directory(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

func open(t *testing.T) store.Blobs {
	t.Helper()
	root, _ := directory(t)
	b, err := blobfile.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBlobs(t *testing.T) { storetest.RunBlobs(t, open) }

// TestResumeAfterCrash: an upload goes on where the file ends, whatever is in it.
func TestResumeAfterCrash(t *testing.T) {
	ctx := context.Background()
	root, dir := directory(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	id, size, err := crypto.BlobID(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	ref := store.BlobRef{ID: id, Size: size}
	part := filepath.Join(dir, "part", hex.EncodeToString(id[:]))
	for _, c := range []struct {
		name    string
		content []byte
		want    error
	}{
		{"half of it", data[:len(data)/2], nil},
		{"zeros that a loss of power left", append(bytes.Clone(data[:1000]), make([]byte, 500)...), message.BadSignature},
		{"all of it, but not in its place", data, nil},
	} {
		b, err := blobfile.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(part, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		have, complete, err := b.Size(ctx, id)
		if err != nil || complete || have != int64(len(c.content)) {
			t.Fatalf("%s: %d, %v, %v", c.name, have, complete, err)
		}
		n, err := b.Write(ctx, ref, have, bytes.NewReader(data[have:]))
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || n != size) {
			t.Fatalf("%s: %d, %v, want %v", c.name, n, err, c.want)
		}
		r, err := b.Open(ctx, id)
		if (err == nil) != (c.want == nil) {
			t.Fatalf("%s: open: %v", c.name, err)
		}
		if err == nil {
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s: %d bytes, %v", c.name, len(got), err)
			}
			_ = r.Close()
		}
		if err := b.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}

// stopped reads what there is, and then has no room.
type stopped struct{ io.Reader }

func (s stopped) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("test: %w", message.StorageFull)
	}
	return n, err
}

// TestStoppedUpload: who breaks an upload off for want of room is told so, and
// what came before stays, to go on from.
func TestStoppedUpload(t *testing.T) {
	ctx, b := context.Background(), open(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	id, size, err := crypto.BlobID(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	ref, half := store.BlobRef{ID: id, Size: size}, size/2
	if _, err := b.Write(ctx, ref, 0, stopped{bytes.NewReader(data[:half])}); !errors.Is(err, message.StorageFull) {
		t.Fatalf("%v, want %v", err, message.StorageFull)
	}
	if have, complete, err := b.Size(ctx, id); err != nil || complete || have != half {
		t.Fatalf("%d, %t, %v; want %d of it", have, complete, err, half)
	}
	if have, err := b.Write(ctx, ref, half, bytes.NewReader(data[half:])); err != nil || have != size {
		t.Fatalf("the rest: %d, %v", have, err)
	}
}

func TestTooLarge(t *testing.T) {
	for _, size := range []int64{-1, message.MaxBlob + 1} {
		if _, err := open(t).Write(context.Background(), store.BlobRef{Size: size}, 0, nil); !errors.Is(err, message.TooLarge) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestPrivate(t *testing.T) {
	root, dir := directory(t)
	b, err := blobfile.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	id, size, err := crypto.BlobID(strings.NewReader("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(context.Background(), store.BlobRef{ID: id, Size: size}, 0, strings.NewReader("secret")); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", p, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		panic(err)
	}
	b, err := blobfile.Open(root)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	text := "an attachment, encrypted"
	id, size, err := crypto.BlobID(strings.NewReader(text))
	if err != nil {
		panic(err)
	}
	ref := store.BlobRef{ID: id, Size: size}
	// An upload that breaks off, and goes on where it was.
	fmt.Println(b.Write(ctx, ref, 0, strings.NewReader(text[:10])))
	have, complete, err := b.Size(ctx, id)
	fmt.Println(have, complete, err)
	fmt.Println(b.Write(ctx, ref, have, strings.NewReader(text[have:])))
	// Output:
	// 10 <nil>
	// 10 false <nil>
	// 24 <nil>
}
