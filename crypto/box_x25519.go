package crypto

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/nacl/box"
)

// naclPublic is an X25519 public key that has been checked.
type naclPublic [32]byte

// naclPrivate is an X25519 private key with its public half.
type naclPrivate struct{ pub, key [32]byte }

// parseNaCl reads a public key of kind BoxNaCl.
func parseNaCl(key []byte) (sealer, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("nacl: %d bytes, want 32", len(key))
	}
	if err := checkX25519(key); err != nil {
		return nil, fmt.Errorf("nacl: %w", err)
	}
	return naclPublic(key), nil
}

// deriveNaCl reads a private key of kind BoxNaCl; its seed is the scalar.
func deriveNaCl(seed []byte) (opener, error) {
	key, err := ecdh.X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, fmt.Errorf("nacl: %w", err)
	}
	return &naclPrivate{pub: [32]byte(key.PublicKey().Bytes()), key: [32]byte(seed)}, nil
}

// seal makes a sealed box; info has no place in one.
func (p naclPublic) seal(rand io.Reader, _, plain []byte) ([]byte, error) {
	if rand == nil {
		return nil, errors.New("nacl: no source of randomness given")
	}
	return box.SealAnonymous(nil, plain, (*[32]byte)(&p), rand)
}

// open opens a sealed box.
func (k *naclPrivate) open(_, sealed []byte) ([]byte, error) {
	plain, ok := box.OpenAnonymous(nil, sealed, &k.pub, &k.key)
	if !ok {
		return nil, ErrOpen
	}
	return plain, nil
}

// public returns the public half.
func (k *naclPrivate) public() []byte { return k.pub[:] }
