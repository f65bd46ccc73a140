// Package blobfile keeps blobs in a directory, one file each.
//
// # Layout
//
// An unfinished blob is part/ID, a complete one lies under the first two digits
// of its id: ab/abcd…. There is nothing beside the files: how much there is of
// a blob is the length of its file, so that an upload goes on after a crash
// where the file ends. With the last byte the whole is hashed; only bytes that
// are the id's are synced, renamed to their place and become readable, and the
// directories are synced after. What a loss of power did to an unfinished file
// is found by the hash at the end.
//
// # Rules
//
// All paths lie inside an os.Root and are made from ids, never from words that
// somebody sent. One writer at a time appends to a blob; a second one is
// refused. Memory does not depend on the size of blobs.
package blobfile

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/durable"
)

const (
	parts    = "part"
	dirPerm  = 0o700
	filePerm = 0o600
	// buffer is how much is read at a time, and how long a caller that gives up may wait.
	buffer = 1 << 20
)

// blobs is the directory.
type blobs struct {
	dir *os.Root

	// mu guards writing: which blobs somebody appends to.
	mu      sync.Mutex
	writing map[message.ID]bool
}

// Open keeps blobs in dir, which stays open as long as they are used.
func Open(dir *os.Root) (store.Blobs, error) {
	if err := mkdir(dir, parts); err != nil {
		return nil, fmt.Errorf("blobfile: open: %w", err)
	}
	return &blobs{dir: dir, writing: make(map[message.ID]bool)}, nil
}

// mkdir makes a directory that survives a crash, if it is not there.
func mkdir(dir *os.Root, name string) error {
	err := dir.Mkdir(name, dirPerm)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(dir, ".")
}

func part(id message.ID) string { return parts + "/" + hex.EncodeToString(id[:]) }

func shelf(id message.ID) string { return hex.EncodeToString(id[:1]) }

func place(id message.ID) string { return shelf(id) + "/" + hex.EncodeToString(id[:]) }

// Write appends to a blob.
func (b *blobs) Write(ctx context.Context, ref store.BlobRef, offset int64, r io.Reader) (int64, error) {
	if ref.Size < 0 || ref.Size > message.MaxBlob {
		return 0, fmt.Errorf("blobfile: write: %d bytes: %w", ref.Size, message.TooLarge)
	}
	if !b.claim(ref.ID) {
		return 0, fmt.Errorf("blobfile: write: somebody else is writing it: %w", message.Conflict)
	}
	defer b.release(ref.ID)
	size, complete, err := b.Size(ctx, ref.ID)
	if err != nil {
		return 0, err
	}
	if offset != size || size > ref.Size || complete && size != ref.Size {
		return 0, fmt.Errorf("blobfile: write: at %d of %d: %w", offset, size, message.Conflict)
	}
	if complete {
		return size, nil
	}
	f, err := b.dir.OpenFile(part(ref.ID), os.O_RDWR|os.O_CREATE|os.O_APPEND, filePerm)
	if err != nil {
		return size, coded("write", err)
	}
	size, err = b.fill(ctx, f, ref, offset, r)
	return size, coded("write", errors.Join(err, f.Close()))
}

// claim makes sure that nobody else appends to a blob.
func (b *blobs) claim(id message.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writing[id] {
		return false
	}
	b.writing[id] = true
	return true
}

func (b *blobs) release(id message.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.writing, id)
}

// fill appends r to f, and finishes the blob with its last byte.
func (b *blobs) fill(ctx context.Context, f *os.File, ref store.BlobRef, offset int64, r io.Reader) (int64, error) {
	h := crypto.NewBlobHasher()
	to := io.Writer(f)
	if offset == 0 {
		// Bytes that come in one go are hashed on their way.
		to = io.MultiWriter(f, h)
	}
	n, err := io.CopyBuffer(onlyWriter{to}, until(ctx, io.LimitReader(r, ref.Size-offset)), make([]byte, buffer))
	size := offset + n
	if size < ref.Size {
		if err == nil {
			err = f.Sync()
		}
		return size, err
	}
	id, _ := h.Sum()
	if offset > 0 {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return size, err
		}
		if id, _, err = crypto.BlobID(until(ctx, f)); err != nil {
			return size, err
		}
	}
	if id != ref.ID {
		return 0, errors.Join(message.BadSignature, b.dir.Remove(part(ref.ID)))
	}
	if err := f.Sync(); err != nil {
		return size, err
	}
	return size, b.finish(ref.ID)
}

// finish puts a blob that was checked and synced in its place.
func (b *blobs) finish(id message.ID) error {
	if err := mkdir(b.dir, shelf(id)); err != nil {
		return err
	}
	if err := b.dir.Rename(part(id), place(id)); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(b.dir, shelf(id)), durable.SyncDir(b.dir, parts))
}

// onlyWriter hides what else a writer can do, so that io.CopyBuffer uses the
// buffer and a slow reader does not keep its bytes from the file.
type onlyWriter struct{ w io.Writer }

// Write writes.
func (w onlyWriter) Write(p []byte) (int, error) { return w.w.Write(p) }

// readerFunc is a func that reads.
type readerFunc func(p []byte) (int, error)

// Read calls the func.
func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

// until reads r as long as the caller wants it.
func until(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

// Size tells how much there is.
func (b *blobs) Size(ctx context.Context, id message.ID) (int64, bool, error) {
	if err := ctx.Err(); err != nil {
		return 0, false, coded("size", err)
	}
	// First the part: a blob that is finished between the two looks is then
	// found in its place.
	unfinished, err := b.dir.Stat(part(id))
	if err == nil {
		return unfinished.Size(), false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, false, coded("size", err)
	}
	info, err := b.dir.Stat(place(id))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, coded("size", err)
	}
	return info.Size(), true, nil
}

// Open reads a complete blob.
func (b *blobs) Open(ctx context.Context, id message.ID) (store.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, coded("open", err)
	}
	f, err := b.dir.Open(place(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blobfile: open: %w", message.NotFound)
	}
	if err != nil {
		return nil, coded("open", err)
	}
	return f, nil
}

// Remove erases a blob.
func (b *blobs) Remove(ctx context.Context, id message.ID) error {
	if err := ctx.Err(); err != nil {
		return coded("remove", err)
	}
	for name, dir := range map[string]string{part(id): parts, place(id): shelf(id)} {
		err := b.dir.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = durable.SyncDir(b.dir, dir)
		}
		if err != nil {
			return coded("remove", err)
		}
	}
	return nil
}

// coded says what was being done, and gives a full disk its code.
func coded(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("blobfile: %s: %w: %w", verb, err, message.StorageFull)
	}
	return fmt.Errorf("blobfile: %s: %w", verb, err)
}
