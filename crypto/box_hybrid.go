package crypto

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"io"
)

// hybridKeySize is an ML-KEM-768 encapsulation key of 1,184 bytes followed by an X25519 public key of 32.
const hybridKeySize = 1184 + 32

const (
	// kemVectors is how much of the encapsulation key is polynomials, 12 bits a coefficient; the seed of a matrix follows.
	kemVectors = 1152
	// kemModulus is what every coefficient lies below (FIPS 203, section 7.2).
	kemModulus = 3329
)

// hybridPublic seals with HPKE in base mode.
type hybridPublic struct{ key []byte }

// hybridPrivate opens with HPKE in base mode.
type hybridPrivate struct{ key hpke.PrivateKey }

// parseHybrid reads a public key of kind BoxHybrid. It makes the standard library's check of the encapsulation key without its
// expansion of the matrix, which only a sealer needs: a server reads a box with every card and seals to hardly any, and the
// expansion costs more than all else about reading a card.
func parseHybrid(key []byte) (sealer, error) {
	if len(key) != hybridKeySize {
		return nil, fmt.Errorf("hybrid: %d bytes, want %d", len(key), hybridKeySize)
	}
	if err := checkX25519(key[hybridKeySize-32:]); err != nil {
		return nil, fmt.Errorf("hybrid: %w", err)
	}
	for b := key[:kemVectors]; len(b) != 0; b = b[3:] {
		low, high := uint16(b[0])|uint16(b[1]&15)<<8, uint16(b[1]>>4)|uint16(b[2])<<4
		if low >= kemModulus || high >= kemModulus {
			return nil, errors.New("hybrid: a coefficient that is not below the modulus")
		}
	}
	return hybridPublic{key}, nil
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
	key, err := hpke.MLKEM768X25519().NewPublicKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("hybrid: %w", err)
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, plain)
}

// open opens what was sealed under info.
func (k hybridPrivate) open(info, sealed []byte) ([]byte, error) {
	return hpke.Open(k.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, sealed)
}

// public returns the public half.
func (k hybridPrivate) public() []byte { return k.key.PublicKey().Bytes() }
