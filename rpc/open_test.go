package rpc_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// selfAnswer signs what a server says of itself.
func selfAnswer(t testing.TB, k *message.Keyring, id *message.Identity, at time.Time) *wirev1.Signed {
	t.Helper()
	s, err := message.SignAnswer(message.Answer{Tracker: k.Address(), Time: at, Found: id != nil, Subject: id}, k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func results(rs ...*wirev1.LookupResult) func(context.Context) (*wirev1.LookupResponse, error) {
	return func(context.Context) (*wirev1.LookupResponse, error) { return &wirev1.LookupResponse{Results: rs}, nil }
}

func oneAnswer(s *wirev1.Signed) func(context.Context) (*wirev1.LookupResponse, error) {
	return results(&wirev1.LookupResult{Answers: []*wirev1.Signed{s}})
}

func TestOpenRefusesWhoeverIsSomebodyElse(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	impostor := newParty(t, url) // answers at the same place, with its own keys
	otherHost := newParty(t, "https://elsewhere.test")
	otherPin := newParty(t, url)
	otherPin.route(t, message.Host{URL: url, Pin: [32]byte{1}})
	noPin := newParty(t, url)
	noPin.route(t, message.Host{URL: url})
	noRoute := &message.Identity{Chain: p.keys.Chain}
	expired := selfAnswer(t, p.keys, p.identity, time.Now().Add(-message.AnswerLife-time.Second))
	ahead := selfAnswer(t, p.keys, p.identity, time.Now().Add(message.MaxAhead+time.Minute))
	bent := selfAnswer(t, p.keys, p.identity, time.Now())
	bent.Signature[5] ^= 1

	d := &directory{party: p}
	serve(t, p, l, d)
	for _, c := range []struct {
		name   string
		want   error
		ask    *party
		answer func(context.Context) (*wirev1.LookupResponse, error)
	}{
		{"itself", nil, p, nil},
		{"another address", message.BadSignature, impostor, nil},
		{"an impostor's answer", message.BadSignature, p, oneAnswer(selfAnswer(t, impostor.keys, impostor.identity, time.Now()))},
		{"relayed by another host", message.BadSignature, impostor, oneAnswer(selfAnswer(t, impostor.keys, impostor.identity, time.Now()))},
		{"a route of other hosts", message.BadSignature, otherHost, oneAnswer(selfAnswer(t, otherHost.keys, otherHost.identity, time.Now()))},
		{"another pin", message.BadSignature, otherPin, oneAnswer(selfAnswer(t, otherPin.keys, otherPin.identity, time.Now()))},
		{"no pin and nobody vouches", message.BadSignature, noPin, oneAnswer(selfAnswer(t, noPin.keys, noPin.identity, time.Now()))},
		{"no route", message.Invalid, p, oneAnswer(selfAnswer(t, p.keys, noRoute, time.Now()))},
		{"not found", message.Invalid, p, oneAnswer(selfAnswer(t, p.keys, nil, time.Now()))},
		{"old", message.Expired, p, oneAnswer(expired)},
		{"ahead", message.Clock, p, oneAnswer(ahead)},
		{"bent", message.BadSignature, p, oneAnswer(bent)},
		{"no result", message.Invalid, p, results()},
		{"two results", message.Invalid, p, results(&wirev1.LookupResult{}, &wirev1.LookupResult{})},
		{"no answer", message.Invalid, p, results(&wirev1.LookupResult{})},
		{"empty answer", message.Invalid, p, oneAnswer(&wirev1.Signed{})},
		{"a refusal", message.RateLimited, p, results(&wirev1.LookupResult{Refusal: &wirev1.Refusal{Reason: wirev1.Reason_REASON_RATE_LIMITED}})},
		{"an error", message.Denied, p, func(context.Context) (*wirev1.LookupResponse, error) { return nil, message.Denied }},
	} {
		d.answer = c.answer
		client := newClient(t, guarded(t), newKeyring(t, message.RoleUser))
		peer, _, err := client.Open(t.Context(), reference(url, c.ask))
		if !errors.Is(err, c.want) || (peer != nil) != (c.want == nil) {
			t.Errorf("%s: %v, %v, want %v", c.name, peer, err, c.want)
		}
	}
}

// TestOpenCarriesNoAccess: whoever answers a first contact is not known yet.
func TestOpenCarriesNoAccess(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	var headers []string
	d := &directory{party: p}
	d.answer = func(ctx context.Context) (*wirev1.LookupResponse, error) {
		headers = append(headers, rpc.Authorization(ctx))
		return oneAnswer(selfAnswer(t, p.keys, p.identity, time.Now()))(ctx)
	}
	serve(t, p, l, d)
	peer, _, err := newClient(t, guarded(t), newKeyring(t, message.RoleUser)).Open(t.Context(), reference(url, p))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
		t.Fatal(err)
	}
	if len(headers) != 2 || headers[0] != "" || headers[1] == "" {
		t.Errorf("headers %q, want none and then one", headers)
	}
}

// TestSwappedCertificate: whoever takes the place of a server after the first
// contact has another key.
func TestSwappedCertificate(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	var swapped atomic.Bool
	thief := newCert(t, "server.test")
	config := rpc.ServerTLS(p.cert)
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if swapped.Load() {
			return &thief, nil
		}
		return &p.cert, nil
	}
	config.Certificates = nil
	calls := 0
	d := &directory{party: p, answer: func(ctx context.Context) (*wirev1.LookupResponse, error) {
		calls++
		return oneAnswer(selfAnswer(t, p.keys, p.identity, time.Now()))(ctx)
	}}
	serveWith(t, rpc.ServerConfig{Listener: l, TLS: config}, p, d)
	client := newClient(t, guarded(t), newKeyring(t, message.RoleUser))
	peer, _, err := client.Open(t.Context(), reference(url, p))
	if err != nil {
		t.Fatal(err)
	}
	swapped.Store(true)
	if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); !errors.Is(err, message.BadSignature) {
		t.Errorf("%v, want a bad signature", err)
	}
	if calls != 1 {
		t.Errorf("the thief was sent %d calls", calls-1)
	}
	swapped.Store(false)
	if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
		t.Errorf("the right certificate again: %v", err)
	}
}

// TestRootsDecide: a host without a pin must satisfy the roots, by name.
func TestRootsDecide(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	p.cert = newCert(t, "127.0.0.1")
	p.route(t, message.Host{URL: url})
	serve(t, p, l, nil)
	trusting := x509.NewCertPool()
	trusting.AddCert(p.cert.Leaf)
	for _, c := range []struct {
		name  string
		roots *x509.CertPool
		ref   message.Reference
		want  error
	}{
		{"trusted", trusting, message.Reference{URL: url}, nil},
		{"trusted, with the address", trusting, reference(url, p), nil},
		{"not trusted", x509.NewCertPool(), message.Reference{URL: url}, message.BadSignature},
		{"not trusted, with the address", x509.NewCertPool(), reference(url, p), message.BadSignature},
	} {
		client := rpc.NewClient(rpc.Config{Dial: guarded(t), Verifier: crypto.Single{}, Roots: c.roots})
		peer, _, err := client.Open(t.Context(), c.ref)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err == nil {
			if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		client.Close()
	}
	// The same certificate for another name.
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := rpc.NewClient(rpc.Config{Dial: guarded(t), Verifier: crypto.Single{}, Roots: trusting})
	defer client.Close()
	if _, _, err := client.Open(t.Context(), message.Reference{URL: "https://localhost:" + port}); !errors.Is(err, message.BadSignature) {
		t.Errorf("another name: %v, want a bad signature", err)
	}
}

func TestOpenOfNonsense(t *testing.T) {
	client := newClient(t, guarded(t), nil)
	for _, url := range []string{"", "http://127.0.0.1", "https://", "https://h/path", "https://u@h", "https://h?q", "ftp://h", "https://h:x"} {
		if _, _, err := client.Open(t.Context(), message.Reference{URL: url}); !errors.Is(err, message.Invalid) {
			t.Errorf("%q: %v, want invalid", url, err)
		}
	}
	if _, _, err := client.Open(t.Context(), message.Reference{URL: "https://10.0.0.1"}); !errors.Is(err, message.Denied) {
		t.Errorf("a private address: %v, want denied", err)
	}
	if _, _, err := client.Open(t.Context(), message.Reference{URL: "https://127.0.0.1:22"}); !errors.Is(err, message.Denied) {
		t.Errorf("a low port: %v, want denied", err)
	}
	l, url := loopback(t)
	_ = l.Close()
	if _, _, err := client.Open(t.Context(), message.Reference{URL: url}); !errors.Is(err, message.Unavailable) {
		t.Errorf("nobody there: %v, want unavailable", err)
	}
}

// strange runs a web server that does not speak the protocol, and returns a peer
// that takes it for one.
func strange(t *testing.T, h http.HandlerFunc) *rpc.Peer {
	t.Helper()
	p := newParty(t, "https://x.test")
	s := httptest.NewUnstartedServer(h)
	s.TLS = rpc.ServerTLS(p.cert)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	p.route(t, message.Host{URL: s.URL, Pin: crypto.Pin(p.cert.Leaf)})
	peer, err := newClient(t, guarded(t), newKeyring(t, message.RoleUser)).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	return peer
}

func TestStrangeAnswers(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	proto := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/proto") }
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want error
	}{
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, message.Unavailable},
		{"permanent redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusPermanentRedirect)
		}, message.Unavailable},
		{"a page", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html>") }, message.Unavailable},
		{"not found", http.NotFound, message.Unavailable},
		{"bad gateway", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }, message.Unavailable},
		{"too large", func(w http.ResponseWriter, r *http.Request) {
			proto(w)
			_, _ = w.Write(make([]byte, message.MaxCall+1))
		}, message.TooLarge},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			proto(w)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, message.TooLarge},
		{"endless error", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte{' '}, 64<<10)); err != nil {
					return
				}
			}
		}, message.TooLarge},
		{"huge headers", func(w http.ResponseWriter, r *http.Request) {
			proto(w)
			for i := range 20 {
				w.Header().Set("X-"+string(rune('A'+i)), string(bytes.Repeat([]byte{'x'}, 8<<10)))
			}
		}, message.Unavailable},
		{"gzip", func(w http.ResponseWriter, r *http.Request) {
			proto(w)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		}, message.Unavailable},
		{"garbage", func(w http.ResponseWriter, r *http.Request) { proto(w); _, _ = w.Write([]byte{0xff, 0xff, 0xff}) }, message.Unavailable},
		{"a torn answer", func(w http.ResponseWriter, r *http.Request) {
			proto(w)
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte{10})
			panic(http.ErrAbortHandler)
		}, message.Unavailable},
		{"an unknown reason", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			// Refusal{reason: 99}
			_, _ = io.WriteString(w, `{"code":"invalid_argument","message":"<script>","details":[{"type":"airdispatch.v1.Refusal","value":"CGM"}]}`)
		}, message.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := strange(t, c.h)
			res, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{})
			if !errors.Is(err, c.want) || res != nil {
				t.Errorf("%v, %v, want %v", res, err, c.want)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("redirects were followed %d times", n)
	}
}

// TestNothingIsCarriedAlong: no cookies, no coding, no referrer.
func TestNothingIsCarriedAlong(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9") // must not be asked
	var seen []http.Header
	peer := strange(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		w.Header().Set("Content-Type", "application/proto")
	})
	for range 2 {
		if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range seen {
		for _, name := range []string{"Cookie", "Referer", "Accept-Encoding", "Content-Encoding", "Proxy-Authorization"} {
			if v := h.Get(name); v != "" && v != "identity" {
				t.Errorf("%s: %s", name, v)
			}
		}
	}
	if len(seen) != 2 || seen[0].Get("Authorization") != seen[1].Get("Authorization") {
		t.Errorf("%d calls, or an Access signed twice", len(seen))
	}
}
