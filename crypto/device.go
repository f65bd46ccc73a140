package crypto

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// DeviceCertificate makes a certificate of a device key for TLS 1.3 between two people, good from from until until, as DER,
// and what signs with it. Nobody believes the certificate by itself: the other end compares its key with a card. The signer
// is no way around SigningKey's rule that a device signs nothing without a label: it signs what TLS 1.3 has one end of a
// connection sign, which begins with TLS's own label, and nothing else.
func (k SigningKey) DeviceCertificate(rand io.Reader, from, until time.Time) (der []byte, signer crypto.Signer, err error) {
	if k.secret == nil {
		return nil, nil, errors.New("crypto: make device certificate: no key")
	}
	serial, err := RandomBytes(rand, 16)
	if err != nil {
		return nil, nil, fmt.Errorf("crypto: make device certificate: %w", err)
	}
	serial[0] &= 0x7f // positive, as RFC 5280 wants it
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: "airdispatch"},
		NotBefore:    from,
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key := k.secret()
	der, err = x509.CreateCertificate(rand, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("crypto: make device certificate: %w", err)
	}
	return der, handshakeSigner{key: hide(key)}, nil
}

// DeviceKey returns the device key that a certificate is of.
func DeviceKey(c *x509.Certificate) (VerifyKey, error) {
	key, ok := c.PublicKey.(ed25519.PublicKey)
	if !ok {
		return VerifyKey{}, fmt.Errorf("crypto: read device certificate: %w", ErrUnknownKind)
	}
	return ParseVerifyKey(append([]byte{algorithmEd25519}, key...))
}

// isHandshake reports whether b begins as what TLS 1.3 has an end sign (RFC 8446, section 4.4.3).
func isHandshake(b []byte) bool {
	spaces := bytes.Repeat([]byte{' '}, 64)
	return bytes.HasPrefix(b, append(spaces, "TLS 1.3, "...))
}

// handshakeSigner signs handshakes of TLS 1.3 and nothing else.
type handshakeSigner struct {
	redacted
	key hidden[ed25519.PrivateKey]
}

// Public returns the device's public key.
func (s handshakeSigner) Public() crypto.PublicKey { return s.key().Public() }

// Sign signs the transcript of a handshake.
func (s handshakeSigner) Sign(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if !isHandshake(message) {
		return nil, errors.New("crypto: sign: not a TLS 1.3 handshake")
	}
	return s.key().Sign(rand, message, opts)
}
