package crypto

import (
	"errors"
	"fmt"
)

// ErrUnknownKind says that bytes name a kind of key, box or suite that this version does not know. They may be well formed;
// a caller that only keeps them can keep them.
var ErrUnknownKind = errors.New("crypto: unknown kind")

// ErrOpen says that something sealed does not open: the wrong key, or not a byte of it may be believed. Which of the two it
// was cannot be known, and a sender must not be told.
var ErrOpen = errors.New("crypto: open: wrong key or altered bytes")

// ErrTruncated says that a sealed stream ends without an authentic last chunk: it was cut short, or its end was altered. It
// is also an ErrOpen.
var ErrTruncated = fmt.Errorf("crypto: open stream: no authentic last chunk: %w", ErrOpen)

// ErrPassphrase says that a passphrase does not unlock a file.
var ErrPassphrase = errors.New("crypto: unlock: wrong passphrase")
