package store

import (
	"context"
	"io"
	"time"

	"airdispatch/message"
)

// Blobs keeps bytes by their blob id (crypto.BlobID).
type Blobs interface {
	// Write appends r to the unfinished blob of this id and final size, at offset,
	// which must be how many bytes there are (Size). It keeps what it got when r
	// fails. With the last byte the whole is checked against the id, made durable
	// and becomes readable. It tells how many bytes there are now. Errors:
	// message.Conflict (another offset), message.BadSignature (not the bytes of
	// this id; all is dropped), message.StorageFull.
	Write(ctx context.Context, b BlobRef, offset int64, r io.Reader) (int64, error)
	// Size is how many bytes there are, and whether the blob is complete.
	Size(ctx context.Context, id message.ID) (size int64, complete bool, err error)
	// Open reads a complete blob. Errors: message.NotFound.
	Open(ctx context.Context, id message.ID) (Blob, error)
	// Remove erases a blob, complete or not; what is absent is no error.
	Remove(ctx context.Context, id message.ID) error
}

// Blob is an open blob; it can be read after Remove.
type Blob interface {
	io.ReadSeeker
	io.ReaderAt
	io.Closer
}

// BlobIndex keeps whose blobs there are and which messages use them.
type BlobIndex interface {
	// Reserve counts a blob towards an account before its bytes are read. A blob
	// that the account has reserved already counts once. Errors: message.Quota,
	// message.NotFound (no account).
	Reserve(ctx context.Context, owner message.Address, b BlobRef, now time.Time) error
	// Release gives back what an account has reserved of a blob that is not
	// complete: its bytes were not what the id says. A blob that is complete, or
	// that the account has not reserved, stays as it is, which is no error.
	Release(ctx context.Context, owner message.Address, id message.ID) error
	// Complete marks a blob as readable. Errors: message.NotFound (the account
	// has not reserved it).
	Complete(ctx context.Context, owner message.Address, id message.ID) error
	// Used reports whether a version of a message that has not been recalled or
	// expired lists the blob: served to whoever may pull that message. A copy
	// that is kept for an owner counts for the owner's message.
	Used(ctx context.Context, ref message.Ref, id message.ID) (bool, error)
	// Unused takes blobs that no message uses and that were reserved before a time
	// out of the index and returns them, for Blobs.Remove; at most limit.
	Unused(ctx context.Context, before time.Time, limit int) ([]message.ID, error)
}
