package crypto

import (
	"fmt"
	"io"
)

// shown is all that is ever printed of a secret.
const shown = "[redacted]"

// Secret is a run of bytes that must not be printed. It redacts itself under every verb of fmt, as text and as JSON, and so
// in structured logs too. The bytes are there by conversion, []byte(s), which is easy to find in a review. fmt cannot call the
// methods of a Secret inside an unexported field of another type, and prints its bytes: keep it in an exported field or in a key of this package.
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

// hidden keeps a value inside a closure, where neither fmt nor a dumper by reflection can follow it. A pointer is not
// enough: under a wrong verb fmt prints what an unexported one points to. It is nil in the zero value of a key.
type hidden[T any] func() T

// hide returns v, hidden.
func hide[T any](v T) hidden[T] { return func() T { return v } }

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
