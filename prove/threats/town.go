package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
	"airdispatch/store/keyfile"
)

// town is the servers that all rows share: a tracker and two mail servers. The
// tracker, hill, and the mail server one speak plain HTTP behind taps, which see
// what is inside TLS; the mail server two has a pinned certificate and is behind
// a wire.
type town struct {
	dir, bin  string
	said      io.Writer
	cert      tls.Certificate
	verifier  crypto.Verifier
	hill      *server
	one, two  *server
	toHill    *tap
	toOne     *tap
	toTwo     *wire
	nobody    *rpc.Client
	folk      *proof.Town
	collector collector

	mu      sync.Mutex
	servers []*server
	homes   int
	spoken  strings.Builder
	told    *story
	// shown is what the machine showed of programs while the story was told.
	shown   recording
	closers []func()
}

// quiet is a log that nobody reads.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// open builds the programs and starts the town.
func open(ctx context.Context, o proof.Options) (*town, error) {
	t := &town{dir: o.Dir, bin: filepath.Join(o.Dir, "bin"), said: o.Said, verifier: crypto.NewVerifier()}
	if err := build(ctx, t.bin); err != nil {
		return t, err
	}
	if err := t.authority(); err != nil {
		return t, err
	}
	t.nobody = rpc.NewClient(rpc.Config{Dial: proof.Loopback(), Verifier: t.verifier})
	t.closers = append(t.closers, t.nobody.Close)
	var err error
	if t.hill, t.toHill, err = t.tapped(ctx, spec{program: "adtrackd", name: "hill", env: []string{
		"AD_LIMITS__PUBLISH_PER_MINUTE=-1", "AD_LIMITS__SERVER_PER_MINUTE=-1", "AD_LIMITS__NETWORK_PER_SECOND=-1", "AD_LIMITS__LOOKUPS_PER_SECOND=-1", "AD_LIMITS__NAMES=-1",
	}}); err != nil {
		return t, err
	}
	t.folk = &proof.Town{Verifier: t.verifier, Tracker: &proof.Server{Reference: t.hill.reference}}
	accounts := []string{"--accounts", "open", "--tracker", t.hill.reference}
	if t.one, t.toOne, err = t.tapped(ctx, spec{program: "admaild", name: "one", init: accounts, env: quick}); err != nil {
		return t, err
	}
	t.two, t.toTwo, err = t.wired(ctx, spec{program: "admaild", name: "two", init: accounts, env: quick})
	return t, err
}

// close ends all that runs.
func (t *town) close() {
	t.mu.Lock()
	servers, closers := t.servers, t.closers
	t.mu.Unlock()
	for _, s := range servers {
		s.kill()
	}
	for _, f := range closers {
		f()
	}
}

// ends is called when the town closes.
func (t *town) ends(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closers = append(t.closers, f)
}

// tapped starts a server behind a tap.
func (t *town) tapped(ctx context.Context, s spec) (*server, *tap, error) {
	at, err := free()
	if err != nil {
		return nil, nil, err
	}
	s.init = append(s.init, "--url", "https://"+at, "--tls", "off")
	// The server asks at its own URL whether it is there, so the tap comes first.
	behind, err := free()
	if err != nil {
		return nil, nil, err
	}
	p, err := newTap(at, behind, t.cert)
	if err != nil {
		return nil, nil, err
	}
	t.ends(func() { _ = p.server.Close() })
	s.env = append(append([]string{}, s.env...), "AD_LISTEN="+behind)
	out, err := t.serve(ctx, s)
	return out, p, err
}

// wired starts a server behind a wire.
func (t *town) wired(ctx context.Context, s spec) (*server, *wire, error) {
	at, err := free()
	if err != nil {
		return nil, nil, err
	}
	behind, err := free()
	if err != nil {
		return nil, nil, err
	}
	w, err := newWire(at, behind)
	if err != nil {
		return nil, nil, err
	}
	t.ends(func() { _ = w.Close() })
	s.init = append(s.init, "--url", "https://"+at)
	s.env = append(append([]string{}, s.env...), "AD_LISTEN="+behind)
	out, err := t.serve(ctx, s)
	return out, w, err
}

// authority makes the certificate authority that everybody in the town believes,
// and the certificate of the taps.
func (t *town) authority() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the town"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(crand.Reader, root, root, key.Public(), key)
	if err != nil {
		return err
	}
	t.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	path := filepath.Join(t.dir, "authority.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return errors.Join(os.Setenv("SSL_CERT_FILE", path), os.Setenv("SSL_CERT_DIR", filepath.Join(t.dir, "none")), os.Setenv("XDG_DATA_HOME", filepath.Join(t.dir, "none")))
}

// home is somebody who uses adctl.
type home struct {
	t       *town
	dir     string
	address message.Address
	keys    *message.Keyring
	env     []string
}

// visitor is a home with nobody in it.
func (t *town) visitor() *home {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.homes++
	return &home{t: t, dir: filepath.Join(t.dir, "homes", fmt.Sprintf("home-%d", t.homes))}
}

// born makes a home with somebody in it, who has no account.
func (t *town) born(ctx context.Context) (*home, error) {
	h := t.visitor()
	out, err := h.adctl(ctx, "id", "new", "--no-passphrase")
	if err != nil {
		return nil, err
	}
	if h.address, err = message.ParseAddress(strings.TrimSpace(out)); err != nil {
		return nil, err
	}
	h.keys, err = h.keyring("")
	return h, err
}

// moves makes a home with an account at a server.
func (t *town) moves(ctx context.Context, s *server, flags ...string) (*home, error) {
	h, err := t.born(ctx)
	if err != nil {
		return nil, err
	}
	_, err = h.adctl(ctx, append([]string{"register", "--server", s.reference, "--tracker", t.hill.reference}, flags...)...)
	return h, err
}

// keyring reads the key file of a home.
func (h *home) keyring(passphrase string) (*message.Keyring, error) {
	path, err := h.keyPath()
	if err != nil {
		return nil, err
	}
	return keyfile.Read(path, func() (crypto.Secret, error) { return crypto.Secret(passphrase), nil })
}

// keyPath is where the key file of a home is.
func (h *home) keyPath() (string, error) {
	all, err := filepath.Glob(filepath.Join(h.dir, "keys", "*"))
	if err != nil || len(all) == 0 {
		return "", fmt.Errorf("%s has no keys: %w", h.dir, err)
	}
	return all[0], nil
}

// adctl runs the client at home.
func (h *home) adctl(ctx context.Context, args ...string) (string, error) {
	return h.t.runIn(ctx, h.env, h.dir, "adctl", append(args, "--home", h.dir)...)
}

// list runs a command of the client that prints JSON.
func (h *home) list(ctx context.Context, args ...string) (out []map[string]any, err error) {
	text, err := h.adctl(ctx, append(args, "--json")...)
	for line := range strings.Lines(text) {
		one := map[string]any{}
		if e := json.Unmarshal([]byte(line), &one); e != nil {
			return out, errors.Join(err, e)
		}
		out = append(out, one)
	}
	return out, err
}

// inbox is what a home lists, requests and all.
func (h *home) inbox(ctx context.Context) ([]map[string]any, error) {
	in, err := h.list(ctx, "inbox")
	if err != nil {
		return nil, err
	}
	requests, err := h.list(ctx, "inbox", "--requests")
	return append(in, requests...), err
}

// has reports whether a list names a message, and how often.
func has(list []map[string]any, ref message.Ref) int { return named(list, ref.String()) }

// named is has for who knows the message by its text alone.
func named(list []map[string]any, ref string) (n int) {
	for _, m := range list {
		if m["id"] == ref {
			n++
		}
	}
	return n
}
