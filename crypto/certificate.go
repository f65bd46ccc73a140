package crypto

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"time"
)

// NewCertificate makes a self-signed certificate for the given host names and IP addresses, good from from until until, and
// its private key, both as PEM. The key is ECDSA on P-256, which every TLS client takes; browsers refuse Ed25519. Key and
// serial number come from rand, the signature's randomness from the system. Nobody believes such a certificate by itself: a
// route pins its key, see Pin.
func NewCertificate(rand io.Reader, hosts []string, from, until time.Time) (certPEM, keyPEM []byte, err error) {
	if len(hosts) == 0 || !until.After(from) {
		return nil, nil, errors.New("crypto: make certificate: needs a host and an end after its beginning")
	}
	key, err := newP256(rand)
	if err != nil {
		return nil, nil, fmt.Errorf("crypto: make certificate: %w", err)
	}
	serial, err := RandomBytes(rand, 16)
	if err != nil {
		return nil, nil, fmt.Errorf("crypto: make certificate: %w", err)
	}
	serial[0] &= 0x7f // positive, as RFC 5280 wants it
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: "airdispatch"},
		NotBefore:             from,
		NotAfter:              until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip, err := netip.ParseAddr(host); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.Unmap().AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err := x509.CreateCertificate(rand, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("crypto: make certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("crypto: make certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}

// newP256 reads a private key from rand. Of all 32-byte strings one in 2^32 is no scalar, so a few tries are more than
// enough; a source that gives none in four is broken.
func newP256(rand io.Reader) (*ecdsa.PrivateKey, error) {
	for range 4 {
		b, err := RandomBytes(rand, 32)
		if err != nil {
			return nil, err
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("source of randomness gives no key")
}

// Pin returns what a route says of a server's certificate: the SHA-256 of its SubjectPublicKeyInfo. It outlives the
// certificate and changes with the key.
func Pin(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }
