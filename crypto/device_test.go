package crypto

import (
	stdcrypto "crypto"
	"crypto/ed25519"
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

func TestDeviceCertificateSignsHandshakesOnly(t *testing.T) {
	key := signingKey(t, "device")
	from := time.Unix(1_700_000_000, 0)
	der, signer, err := key.DeviceCertificate(source("certificate"), from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DeviceKey(cert); err != nil || got != key.Public() {
		t.Errorf("key of the certificate: %v, %v; want %v", got, err, key.Public())
	}
	for _, forbidden := range []string{"", "airdispatch/1 head\nbody", "TLS 1.3, client", strings.Repeat(" ", 64) + "TLS 1.2, x"} {
		if _, err := signer.Sign(nil, []byte(forbidden), stdcrypto.Hash(0)); err == nil {
			t.Errorf("signed %q", forbidden)
		}
	}
	message := []byte(strings.Repeat(" ", 64) + "TLS 1.3, client CertificateVerify\x00hash")
	sig, err := signer.Sign(nil, message, stdcrypto.Hash(0))
	public := key.Public()
	if err != nil || !ed25519.Verify(public[:], message, sig) {
		t.Errorf("handshake not signed: %v", err)
	}
	if _, _, err := (SigningKey{}).DeviceCertificate(source("certificate"), from, from.Add(time.Hour)); err == nil {
		t.Error("a certificate of no key")
	}
}

func TestDeviceKeyOfAnotherKind(t *testing.T) {
	if _, err := DeviceKey(&x509.Certificate{}); err == nil {
		t.Error("read a key from nothing")
	}
}
