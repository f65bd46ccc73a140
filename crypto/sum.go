package crypto

import (
	"crypto/sha256"
	"hash"
)

// NewSum is Sum for what does not fit into memory.
func NewSum() hash.Hash { return sha256.New() }
