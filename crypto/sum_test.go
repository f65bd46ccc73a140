package crypto_test

import (
	"testing"

	"airdispatch/crypto"
)

// TestSame: one bit makes a difference, wherever it is.
func TestSame(t *testing.T) {
	sum := crypto.Sum([]byte("something"))
	if !crypto.Same(sum, sum) {
		t.Error("a sum differs from itself")
	}
	for n := range 256 {
		other := sum
		other[n/8] ^= 1 << (n % 8)
		if crypto.Same(sum, other) {
			t.Errorf("bit %d makes no difference", n)
		}
	}
}
