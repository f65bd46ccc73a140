package crypto

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// certificate makes one for tests and reads it again.
func certificate(t *testing.T, hosts ...string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	certPEM, keyPEM, err := NewCertificate(source("certificate"), hosts, from, from.AddDate(10, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(certPEM)
	if block == nil || len(rest) != 0 {
		t.Fatalf("the certificate is not one PEM block: %q", certPEM)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return pair, c
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	_, c := certificate(t, "mail.example", "127.0.0.1", "::1", "::ffff:10.0.0.1")
	roots := x509.NewCertPool()
	roots.AddCert(c)
	for _, host := range []string{"mail.example", "127.0.0.1", "::1", "10.0.0.1"} {
		if _, err := c.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: c.NotBefore.AddDate(1, 0, 0)}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"other.example", "127.0.0.2"} {
		if c.VerifyHostname(host) == nil {
			t.Errorf("%s: taken", host)
		}
	}
	if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() > 127 {
		t.Errorf("serial number %v", c.SerialNumber)
	}
}

// TestPin checks that the pin follows the key and nothing else.
func TestPin(t *testing.T) {
	t.Parallel()
	_, a := certificate(t, "a.example")
	_, b := certificate(t, "b.example")
	if Pin(a) != Pin(b) || bytes.Equal(a.Raw, b.Raw) {
		t.Error("two certificates of one key have two pins, or are one certificate")
	}
	if Pin(a) != Sum(a.RawSubjectPublicKeyInfo) {
		t.Error("the pin is not the hash of the key")
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	certPEM, _, err := NewCertificate(source("another"), []string{"a.example"}, from, from.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	other, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if Pin(other) == Pin(a) {
		t.Error("another key has the same pin")
	}
}

// TestCertificateInTLS shakes hands with TLS 1.3 over a pipe.
func TestCertificateInTLS(t *testing.T) {
	t.Parallel()
	pair, c := certificate(t, "mail.example")
	roots := x509.NewCertPool()
	roots.AddCert(c)
	left, right := net.Pipe()
	served := make(chan error, 1)
	go func() {
		s := tls.Server(left, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
		_, err := io.Copy(io.Discard, s)
		served <- err
	}()
	client := tls.Client(right, &tls.Config{
		ServerName: "mail.example", RootCAs: roots, MinVersion: tls.VersionTLS13,
		Time: func() time.Time { return c.NotBefore.AddDate(1, 0, 0) },
	})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if got := Pin(client.ConnectionState().PeerCertificates[0]); got != Pin(c) {
		t.Errorf("pin on the wire = %x, want %x", got, Pin(c))
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestCertificateRefuses(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	until := from.AddDate(1, 0, 0)
	zeros := func(n int) io.Reader { return bytes.NewReader(make([]byte, n)) }
	for name, c := range map[string]struct {
		rand        io.Reader
		hosts       []string
		from, until time.Time
	}{
		"no hosts":          {source("x"), nil, from, until},
		"ends at beginning": {source("x"), []string{"a.example"}, from, from},
		"ends before":       {source("x"), []string{"a.example"}, until, from},
		"no randomness":     {nil, []string{"a.example"}, from, until},
		"dry in the key":    {zeros(31), []string{"a.example"}, from, until},
		"dry in the serial": {io.LimitReader(source("x"), 47), []string{"a.example"}, from, until},
		"nothing but zeros": {zeros(1000), []string{"a.example"}, from, until},
		"not a host":        {source("x"), []string{"ä.example"}, from, until},
		"far too late":      {source("x"), []string{strings.Repeat("a", 9)}, from, from.AddDate(9000, 0, 0)},
	} {
		if _, _, err := NewCertificate(c.rand, c.hosts, c.from, c.until); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
