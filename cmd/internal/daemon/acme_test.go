package daemon

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"airdispatch/crypto"
)

// authority is an ACME authority that believes every account, and asks back by
// TLS-ALPN as a real one would.
type authority struct {
	t      *testing.T
	url    string
	signer tls.Certificate
	// server is where the name leads.
	server string
	name   string

	// mu guards the rest.
	mu     sync.Mutex
	proved bool
	issued []byte
}

func newAuthority(t *testing.T, name, server string) *authority {
	t.Helper()
	cert, key, err := crypto.NewCertificate(rand.Reader, []string{"authority"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, name: name, server: server}
	if a.signer, err = tls.X509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

// ServeHTTP is the protocol of RFC 8555, for one order of one name.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Replay-Nonce", "nonce")
	order := map[string]any{
		"status": "pending", "identifiers": []any{map[string]string{"type": "dns", "value": a.name}},
		"authorizations": []string{a.url + "/authz"}, "finalize": a.url + "/finalize",
	}
	challenge := map[string]any{"type": "tls-alpn-01", "url": a.url + "/challenge", "token": "token", "status": "pending"}
	if a.proved {
		order["status"], challenge["status"] = "ready", "valid"
	}
	if a.issued != nil {
		order["status"], order["certificate"] = "valid", a.url+"/certificate"
	}
	status, body := http.StatusOK, any(order)
	switch r.URL.Path {
	case "/directory":
		body = map[string]string{"newNonce": a.url + "/nonce", "newAccount": a.url + "/account", "newOrder": a.url + "/order"}
	case "/nonce":
		return
	case "/account":
		w.Header().Set("Location", a.url+"/account/1")
		status, body = http.StatusCreated, map[string]string{"status": "valid"}
	case "/order":
		w.Header().Set("Location", a.url+"/order/1")
		status = http.StatusCreated
	case "/order/1":
	case "/authz":
		body = map[string]any{"status": challenge["status"], "identifier": map[string]string{"type": "dns", "value": a.name}, "challenges": []any{challenge}}
	case "/challenge":
		a.proved = a.asksBack()
		body = challenge
	case "/finalize":
		a.issued = a.issue(r)
		order["status"], order["certificate"] = "valid", a.url+"/certificate"
	case "/certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(a.issued)
		return
	default:
		status, body = http.StatusNotFound, map[string]string{"detail": r.URL.Path}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// asksBack connects to the server as RFC 8737 says.
func (a *authority) asksBack() bool {
	c, err := tls.Dial("tcp", a.server, &tls.Config{ServerName: a.name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		a.t.Log("asking back:", err)
		return false
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	return c.ConnectionState().NegotiatedProtocol == "acme-tls/1" && leaf.VerifyHostname(a.name) == nil
}

// issue signs the request in a JWS.
func (a *authority) issue(r *http.Request) []byte {
	var jws struct{ Payload string }
	var payload struct{ CSR string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		a.t.Error(err)
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err == nil {
		err = json.Unmarshal(b, &payload)
	}
	if err == nil {
		b, err = base64.RawURLEncoding.DecodeString(payload.CSR)
	}
	if err != nil {
		a.t.Error(err)
		return nil
	}
	request, err := x509.ParseCertificateRequest(b)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: request.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.signer.Leaf, request.PublicKey, a.signer.PrivateKey)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestACME: a server orders its certificate at an authority that asks back at
// the server's own port, and shows it.
func TestACME(t *testing.T) {
	const name = "tracker.airdispatch.test"
	dir, address := newDir(t, "--url", "https://"+name, "--tls", "acme")
	a := newAuthority(t, name, address)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	var running sync.WaitGroup
	running.Go(func() {
		var err words
		env := []string{"AD_ACME_DIRECTORY=" + a.url + "/directory", "AD_ACME_EMAIL=operator@airdispatch.test"}
		if code := testProgram().Run(ctx, []string{"serve", "--dir", dir}, Std{Out: &err, Err: &err, Environ: env}); code != ExitDone {
			t.Errorf("serve ended with %d: %s", code, err.String())
		}
	})
	defer running.Wait()
	defer cancel()
	for {
		leaf, err := shown(ctx, address, name)
		if err == nil {
			if leaf.Issuer.CommonName != a.signer.Leaf.Subject.CommonName {
				t.Errorf("the certificate shown is by %q", leaf.Issuer.CommonName)
			}
			break
		}
		if ctx.Err() != nil {
			t.Fatal("no certificate was ordered:", err)
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, acmeDir, "certificates", "*", name, name+".key"))
	if err != nil || len(kept) != 1 {
		t.Errorf("keys kept: %v, %v", kept, err)
	}
}

// shown is the certificate that a server shows for a name.
func shown(ctx context.Context, address, name string) (*x509.Certificate, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Second}, Config: &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	state := c.(*tls.Conn).ConnectionState()
	if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" {
		return nil, fmt.Errorf("version %x, protocol %q", state.Version, state.NegotiatedProtocol)
	}
	return state.PeerCertificates[0], state.PeerCertificates[0].VerifyHostname(name)
}
