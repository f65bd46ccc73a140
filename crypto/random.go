package crypto

import (
	"errors"
	"fmt"
	"io"
)

// RandomBytes reads exactly n bytes from rand. A source that runs dry is an error, never a short key.
func RandomBytes(rand io.Reader, n int) ([]byte, error) {
	if rand == nil {
		return nil, errors.New("crypto: read randomness: no source given")
	}
	if n < 0 {
		return nil, fmt.Errorf("crypto: read randomness: %d bytes asked for", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("crypto: read randomness: %w", err)
	}
	return b, nil
}
