package rpc_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// FuzzCaller: no header but the one that was signed makes anybody a caller.
func FuzzCaller(f *testing.F) {
	user, server := newKeyring(f, message.RoleUser), newKeyring(f, message.RoleServer)
	good := signAccess(f, user, server.Address(), time.Now(), message.MaxAccessLife)
	raw, err := base64.RawURLEncoding.DecodeString(good[len("Airdispatch "):])
	if err != nil {
		f.Fatal(err)
	}
	var signed wirev1.Signed
	if err := proto.Unmarshal(raw, &signed); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		good, "", "Airdispatch ", "Bearer x", "airdispatch " + good[len("Airdispatch "):], good[:60], good + "A", good + " ", "\x00",
		signAccess(f, user, user.Address(), time.Now(), time.Minute),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		callers := rpc.NewCallers(server.Address(), crypto.Single{})
		a, err := callers.Caller(context.Background(), header, knows(user))
		again, errAgain := callers.Caller(context.Background(), header, knows(user))
		if a != again || (err == nil) != (errAgain == nil) {
			t.Fatalf("first %v %v, then %v %v", a, err, again, errAgain)
		}
		if err != nil {
			if !a.IsZero() || !message.CodeOf(err).Known() || message.CodeOf(err) == message.Internal {
				t.Fatalf("%v, %v", a, err)
			}
			return
		}
		// Whoever is let in shows the very statement that was signed, however it is wrapped.
		_, text, _ := cut(header)
		b, err := base64.RawURLEncoding.DecodeString(text)
		var got wirev1.Signed
		if err != nil || proto.Unmarshal(b, &got) != nil || string(got.GetBody()) != string(signed.GetBody()) || string(got.GetSignature()) != string(signed.GetSignature()) {
			t.Fatalf("let in by %q", header)
		}
	})
}

func cut(header string) (scheme, text string, ok bool) {
	for i := range header {
		if header[i] == ' ' {
			return header[:i], header[i+1:], true
		}
	}
	return header, "", false
}

// FuzzOpen: whatever answers a first contact, the peer that comes out is the one
// that was asked for, at a host that pins the certificate.
func FuzzOpen(f *testing.F) {
	m := newMemory()
	p := newParty(f, "https://memory.test")
	other := newParty(f, "https://memory.test")
	good := selfAnswer(f, p.keys, p.identity, time.Now())
	for _, s := range []*wirev1.Signed{good, selfAnswer(f, other.keys, other.identity, time.Now()), selfAnswer(f, p.keys, nil, time.Now())} {
		b, err := proto.Marshal(&wirev1.LookupResponse{Results: []*wirev1.LookupResult{{Answers: []*wirev1.Signed{s}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b, false)
		f.Add(b[:len(b)/2], true)
	}
	f.Add([]byte{}, true)
	f.Add([]byte{0xff}, false)

	var answer atomic.Pointer[[]byte]
	l := tls.NewListener(m.listen("memory.test:443"), &tls.Config{Certificates: []tls.Certificate{p.cert}, NextProtos: []string{"http/1.1"}})
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/proto")
		_, _ = w.Write(*answer.Load())
	})}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	f.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	c := newClient(f, m.dial, nil)
	f.Fuzz(func(t *testing.T, b []byte, withAddress bool) {
		answer.Store(&b)
		ref := message.Reference{URL: "https://memory.test"}
		if withAddress {
			ref.Address = p.keys.Address()
		}
		peer, got, err := c.Open(context.Background(), ref)
		if err != nil {
			if peer != nil {
				t.Fatal("a peer and an error")
			}
			return
		}
		if !withAddress || peer.Address() != p.keys.Address() || got.Subject.Route.Hosts[0].Pin != crypto.Pin(p.cert.Leaf) {
			t.Fatalf("opened %s with an address: %v", peer.Address(), withAddress)
		}
	})
}

// FuzzRefusal: a refusal is read or not, but it is never a success.
func FuzzRefusal(f *testing.F) {
	m := newMemory()
	p := newParty(f, "https://memory.test")
	f.Add(400, "13", "1700000000000", []byte(`{"reason":"quota","server_time":1}`))
	f.Add(503, "", "", []byte{})
	f.Add(302, "-7", "x", []byte(`{"address":"ad1"}`))
	f.Add(404, "6", "9223372036854775807", []byte(`{"address":"`+p.keys.Address().String()+`"}`))
	type reply struct {
		status       int
		number, time string
		body         []byte
	}
	var give atomic.Pointer[reply]
	l := tls.NewListener(m.listen("memory.test:443"), &tls.Config{Certificates: []tls.Certificate{p.cert}, NextProtos: []string{"http/1.1"}})
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r := give.Load()
		w.Header().Set(rpc.RefusalHeader, r.number)
		w.Header().Set(rpc.TimeHeader, r.time)
		w.WriteHeader(r.status)
		_, _ = w.Write(r.body)
	})}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	f.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	peer, err := newClient(f, m.dial, newKeyring(f, message.RoleUser)).Peer(p.identity)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, number, at string, body []byte) {
		if status < 300 || status > 599 {
			return
		}
		give.Store(&reply{status, number, at, body})
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/blobs/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = peer.Do(req)
		r, ok := errors.AsType[*message.Refused](err)
		if !ok {
			if !errors.Is(err, message.Unavailable) {
				t.Fatalf("%d %q: %v", status, number, err)
			}
			return
		}
		if !r.Code.Known() {
			t.Fatalf("code %d", r.Code)
		}
		if n, err := strconv.Atoi(number); err == nil && message.Code(n).Known() && r.Code != message.Code(n) {
			t.Fatalf("%s became %v", number, r.Code)
		}
	})
}
