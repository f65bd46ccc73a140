package crypto

import (
	"crypto/hpke"
	"fmt"
	"io"
)

// hybridKeySize is an ML-KEM-768 encapsulation key of 1,184 bytes followed by an X25519 public key of 32.
const hybridKeySize = 1184 + 32

// hybridPublic seals with HPKE in base mode.
type hybridPublic struct{ key hpke.PublicKey }

// hybridPrivate opens with HPKE in base mode.
type hybridPrivate struct{ key hpke.PrivateKey }

// parseHybrid reads a public key of kind BoxHybrid.
func parseHybrid(key []byte) (sealer, error) {
	if len(key) != hybridKeySize {
		return nil, fmt.Errorf("hybrid: %d bytes, want %d", len(key), hybridKeySize)
	}
	if err := checkX25519(key[hybridKeySize-32:]); err != nil {
		return nil, fmt.Errorf("hybrid: %w", err)
	}
	public, err := hpke.MLKEM768X25519().NewPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("hybrid: %w", err)
	}
	return hybridPublic{public}, nil
}

// deriveHybrid reads a private key of kind BoxHybrid, kept as its seed of 32 bytes.
func deriveHybrid(seed []byte) (opener, error) {
	key, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, fmt.Errorf("hybrid: %w", err)
	}
	return hybridPrivate{key}, nil
}

// seal seals under info; the standard library takes the randomness from the system.
func (p hybridPublic) seal(_ io.Reader, info, plain []byte) ([]byte, error) {
	return hpke.Seal(p.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, plain)
}

// open opens what was sealed under info.
func (k hybridPrivate) open(info, sealed []byte) ([]byte, error) {
	return hpke.Open(k.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, sealed)
}

// public returns the public half.
func (k hybridPrivate) public() []byte { return k.key.PublicKey().Bytes() }
