package crypto

import (
	"fmt"
	"io"
)

// shown is all that is ever printed of a secret.
const shown = "[redacted]"

// Secret is a run of bytes that must not be printed. It redacts itself under every verb of fmt, as text and as JSON, and so
// in structured logs too. The bytes are there by conversion, []byte(s), which is easy to find in a review. A Secret inside
// an unexported field of another type is beyond the reach of its methods; the keys of this package therefore keep theirs
// behind a pointer.
type Secret []byte

// String returns "[redacted]".
func (s Secret) String() string { return shown }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return shown }

// Format writes "[redacted]", whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, shown) }

// MarshalText returns "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(shown), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + shown + `"`), nil }

// redacted gives the struct that embeds it the same silence that Secret has.
type redacted struct{}

// String returns "[redacted]".
func (redacted) String() string { return shown }

// GoString returns "[redacted]".
func (redacted) GoString() string { return shown }

// Format writes "[redacted]", whatever the verb.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, shown) }

// MarshalText returns "[redacted]".
func (redacted) MarshalText() ([]byte, error) { return []byte(shown), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + shown + `"`), nil }
