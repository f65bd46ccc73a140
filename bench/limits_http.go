package bench

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"airdispatch/crypto"
)

// certificate is a self-signed one for loopback, and the pool that trusts it.
func certificate() (tls.Certificate, *x509.CertPool, error) {
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return cert, roots, nil
}

// site is a plain net/http server on loopback and its clients.
type site struct {
	url     string
	clients []*http.Client
	stop    func()
}

// protocol of a site.
type protocol int

const (
	plain    protocol = iota // HTTP/1.1 over TCP
	overTLS                  // HTTP/1.1 over TLS 1.3
	overTLS2                 // HTTP/2 over TLS 1.3
)

// newSite serves h to n clients, each with connections of its own.
func newSite(p protocol, n int, h http.Handler) (*site, error) {
	cert, roots, err := certificate()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(p != overTLS2)
	server.Protocols.SetHTTP2(p == overTLS2)
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	s := &site{url: "https://" + l.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p == plain {
			_ = server.Serve(l)
		} else {
			_ = server.ServeTLS(l, "", "")
		}
	}()
	if p == plain {
		s.url = "http://" + l.Addr().String()
	}
	for range n {
		t := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
			ForceAttemptHTTP2: p == overTLS2, DisableCompression: true, MaxIdleConnsPerHost: 64,
		}
		s.clients = append(s.clients, &http.Client{Transport: t})
	}
	s.stop = func() {
		for _, c := range s.clients {
			c.CloseIdleConnections()
		}
		_ = server.Close()
		<-done
	}
	return s, nil
}

// exchange is an HTTP exchange that signs and verifies as a submit does: the
// server checks the signatures of n messages and signs n answers. Nothing is
// kept.
func exchange(p protocol, workers, n int) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		key, err := crypto.NewSigningKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		body := make([]byte, row)
		one := append(key.Sign("head", body), body...)
		v := crypto.NewVerifier()
		s, err := newSite(p, workers, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
			if err != nil || len(got) != n*len(one) {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			cs := make([]crypto.Check, n)
			for i := range cs {
				m := got[i*len(one):][:len(one)]
				cs[i] = crypto.Check{Kind: "head", Key: key.Public(), Body: m[64:], Signature: m[:64]}
			}
			var answer []byte
			for i, good := range v.VerifyAll(cs) {
				if !good {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				receipt := cs[i].Body[:128]
				answer = append(append(answer, key.Sign("receipt", receipt)...), receipt...)
			}
			_, _ = w.Write(answer)
		}))
		if err != nil {
			return nil, err
		}
		request := bytes.Repeat(one, n)
		return &Run{Close: s.stop, Do: func(w int) error {
			return s.roundTrip(w, http.MethodPost, "/", request)
		}}, nil
	}
}

// gets fetches size bytes a call.
func gets(p protocol, workers, size int) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		body := make([]byte, size)
		s, err := newSite(p, workers, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
		if err != nil {
			return nil, err
		}
		return &Run{Close: s.stop, Do: func(w int) error { return s.roundTrip(w, http.MethodGet, "/", nil) }}, nil
	}
}

// getsFile fetches a file of size bytes a call: what anything kept on a disk costs.
func getsFile(p protocol, workers, size int) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		path := filepath.Join(dir, "body")
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			return nil, err
		}
		s, err := newSite(p, workers, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }))
		if err != nil {
			return nil, err
		}
		return &Run{Close: s.stop, Do: func(w int) error { return s.roundTrip(w, http.MethodGet, "/", nil) }}, nil
	}
}

// asks sends a small question and gets size bytes a call: the exchange of a
// look-up without what it means.
func asks(p protocol, workers, size int) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		body, question := make([]byte, size), make([]byte, 64)
		s, err := newSite(p, workers, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, io.LimitReader(r.Body, 4<<20)); err == nil {
				_, _ = w.Write(body)
			}
		}))
		if err != nil {
			return nil, err
		}
		return &Run{Close: s.stop, Do: func(w int) error { return s.roundTrip(w, http.MethodPost, "/", question) }}, nil
	}
}

// puts sends size bytes a call.
func puts(p protocol, workers, size int) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		s, err := newSite(p, workers, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
		if err != nil {
			return nil, err
		}
		body := make([]byte, size)
		return &Run{Close: s.stop, Do: func(w int) error { return s.roundTrip(w, http.MethodPut, "/", body) }}, nil
	}
}

// roundTrip makes one exchange and reads the answer to its end.
func (s *site) roundTrip(worker int, method, path string, body []byte) error {
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequest(method, s.url+path, in)
	if err != nil {
		return err
	}
	res, err := s.clients[worker].Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}
