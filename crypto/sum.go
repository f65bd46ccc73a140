package crypto

import (
	"crypto/sha256"
	"crypto/subtle"
	"hash"
)

// NewSum is Sum for what does not fit into memory.
func NewSum() hash.Hash { return sha256.New() }

// Same reports whether two sums are the same, in a time that does not tell where they differ.
func Same(a, b [32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
