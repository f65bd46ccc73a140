package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
)

// The names of the pinned certificate's files in the data directory, and of
// the directory of those ordered at an authority.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
	acmeDir  = "acme"
)

const (
	// pinnedLife is the validity of a pinned certificate. Nobody looks at it:
	// the route says which key counts, and is renewed weekly.
	pinnedLife = 20 * 366 * 24 * time.Hour
	// reloadEvery is how often files are looked at for a change, at most.
	reloadEvery = 10 * time.Second
)

// writePinned makes the certificate of a pinned server.
func writePinned(root *os.Root, host string, rand io.Reader, now time.Time) error {
	cert, key, err := crypto.NewCertificate(rand, []string{host}, now.Add(-24*time.Hour), now.Add(pinnedLife))
	if err != nil {
		return err
	}
	return errors.Join(writeNew(root, keyFile, key), writeNew(root, certFile, cert))
}

// certificate is what a server shows: how, and which key others may rely on.
type certificate struct {
	// tls is nil for plain HTTP.
	tls *tls.Config
	pin [32]byte
	// start begins to order certificates; it is called once the listener is
	// open, because the authority asks back there.
	start func(context.Context) error
	// close ends what keeps the certificate fresh.
	close func()
}

// openCertificate prepares the certificate that the settings ask for.
func openCertificate(dir string, s *Settings, log *slog.Logger) (*certificate, error) {
	c := &certificate{start: func(context.Context) error { return nil }, close: func() {}}
	switch s.TLS {
	case TLSOff:
		return c, nil
	case TLSPinned:
		pair, err := loadPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
		if err != nil {
			return nil, err
		}
		c.tls, c.pin = rpc.ServerTLS(*pair), crypto.Pin(pair.Leaf)
		return c, nil
	case TLSFiles:
		f := &certFiles{cert: inDir(dir, s.TLSCert), key: inDir(dir, s.TLSKey), log: log}
		pair, err := loadPair(f.cert, f.key)
		if err != nil {
			return nil, err
		}
		f.pair = pair
		c.tls = rpc.ServerTLS(*pair)
		c.tls.Certificates, c.tls.GetCertificate = nil, f.certificate
		return c, nil
	case TLSACME:
		return acmeCertificate(dir, s, log)
	}
	return nil, fmt.Errorf("tls = %q is unknown", s.TLS)
}

// inDir is path, seen from dir unless it is absolute.
func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// loadPair reads a certificate and its key, which others must not be able to
// read.
func loadPair(cert, key string) (*tls.Certificate, error) {
	if err := private(key); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", cert, err)
	}
	return &pair, nil
}

// private refuses a file with secrets that others than its owner can read.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s can be read by others; run: chmod 600 %s: %w", path, path, message.Denied)
	}
	return nil
}

// certFiles shows the certificate in files that somebody else renews.
type certFiles struct {
	cert, key string
	log       *slog.Logger

	// mu guards the rest.
	mu      sync.Mutex
	pair    *tls.Certificate
	looked  time.Time
	changed time.Time
}

// certificate is the newest certificate that could be read.
func (f *certFiles) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) < reloadEvery {
		return f.pair, nil
	}
	f.looked = now
	info, err := os.Stat(f.cert)
	if err != nil || info.ModTime().Equal(f.changed) {
		return f.pair, nil
	}
	pair, err := loadPair(f.cert, f.key)
	if err != nil {
		// Half renewed, perhaps: the old one is shown until the new one fits.
		f.log.Warn("certificate not reloaded", "error", err)
		return f.pair, nil
	}
	f.pair, f.changed = pair, info.ModTime()
	return f.pair, nil
}

// acmeCertificate orders a certificate for the host of the URL, by the
// TLS-ALPN challenge on the server's own port, and keeps it renewed.
func acmeCertificate(dir string, s *Settings, log *slog.Logger) (*certificate, error) {
	port, err := s.Listen.port()
	if err != nil {
		return nil, err
	}
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil },
		Logger:           zap.NewNop(),
	})
	config = certmagic.New(cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: filepath.Join(dir, acmeDir)}, Logger: zap.NewNop(),
		OnEvent: func(ctx context.Context, event string, data map[string]any) error {
			log.InfoContext(ctx, "certificate", "event", event, "name", data["identifier"], "error", data["error"])
			return nil
		},
	})
	issuer := certmagic.ACMEIssuer{
		Agreed: true, Email: s.ACMEEmail, DisableHTTPChallenge: true, Logger: zap.NewNop(), CA: certmagic.LetsEncryptProductionCA,
		// Our own listener answers the challenge; nobody is to open another.
		AltTLSALPNPort: port,
	}
	if s.ACMEDirectory != "" {
		issuer.CA = s.ACMEDirectory
	}
	config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, issuer)}
	t := config.TLSConfig()
	t.MinVersion = tls.VersionTLS13
	t.NextProtos = slices.Concat([]string{"h2", "http/1.1"}, t.NextProtos)
	start := func(ctx context.Context) error { return config.ManageAsync(ctx, []string{s.URL.Host()}) }
	return &certificate{tls: t, start: start, close: cache.Stop}, nil
}

// host is what the server's route says of it.
func (c *certificate) host(s *Settings) message.Host {
	return message.Host{URL: string(s.URL), Pin: c.pin}
}

// leafOf reads the first certificate of a file.
func leafOf(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}
