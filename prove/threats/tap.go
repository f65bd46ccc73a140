package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"airdispatch/message"
)

// exchange is one request and its answer as they passed a tap.
type exchange struct {
	path      string
	header    http.Header
	said, got recording
}

// recording keeps all bytes that pass.
type recording struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps bytes.
func (r *recording) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

// bytes is a copy of what has passed so far.
func (r *recording) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.b.Bytes())
}

// tap stands before a server that speaks plain HTTP behind a proxy: it ends TLS,
// records what is inside, and can alter answers.
type tap struct {
	url    string
	server *http.Server

	mu    sync.Mutex
	all   []*exchange
	hooks []hook
}

// hook alters answers: those to calls of a method whose request contains some
// bytes.
type hook struct {
	method   string
	contains []byte
	alter    func(body []byte) []byte
	// caller is whose calls; zero is everybody's.
	caller message.Address
}

// newTap starts one; TLS ends with the given certificate.
func newTap(at, behind string, cert tls.Certificate) (*tap, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	t := &tap{url: "https://" + at}
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	target := &url.URL{Scheme: "http", Host: behind}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{Protocols: plain, DisableCompression: true}, FlushInterval: -1, ModifyResponse: t.answered, ErrorLog: quiet(),
	}
	t.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &exchange{path: r.URL.RequestURI(), header: r.Header.Clone()}
		t.mu.Lock()
		t.all = append(t.all, e)
		t.mu.Unlock()
		r.Body = both{io.TeeReader(r.Body, &e.said), r.Body}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e)))
	}), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}, ErrorLog: quiet()}
	go func() { _ = t.server.ServeTLS(l, "", "") }() // it ends with Close
	return t, nil
}

type exchangeKey struct{}

// both reads from one and closes the other.
type both struct {
	io.Reader
	io.Closer
}

// answered records an answer, and alters it where somebody wants that.
func (t *tap) answered(res *http.Response) error {
	e, ok := res.Request.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil
	}
	res.Body = both{io.TeeReader(res.Body, &e.got), res.Body}
	for _, h := range t.hooked(e) {
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		b = h.alter(b)
		res.Body = io.NopCloser(bytes.NewReader(b))
		res.ContentLength = int64(len(b))
		res.Header.Set("Content-Length", strconv.Itoa(len(b)))
	}
	return nil
}

// hooked are the hooks that a request meets.
func (t *tap) hooked(e *exchange) (out []hook) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.hooks {
		if !h.caller.IsZero() {
			if a, err := message.ParseAccess(e.header.Get("Authorization")); err != nil || a.From != h.caller {
				continue
			}
		}
		if strings.Contains(e.path, h.method) && bytes.Contains(append(e.said.bytes(), e.path...), h.contains) {
			out = append(out, h)
		}
	}
	return out
}

// hookFor sets a hook for answers to one caller.
func (t *tap) hookFor(caller message.Address, method string, alter func([]byte) []byte) {
	t.hook(hook{method: method, alter: alter, caller: caller})
}

// hook sets one.
func (t *tap) hook(h hook) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hooks = append(t.hooks, h)
}

// exchanges are those so far whose path contains a text and whose request some
// bytes.
func (t *tap) exchanges(path string, contains []byte) (out []*exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.all {
		if strings.Contains(e.path, path) && bytes.Contains(e.said.bytes(), contains) {
			out = append(out, e)
		}
	}
	return out
}

// wire is a connection between two parties that is recorded as it is: the bytes
// that anybody on the way sees.
type wire struct {
	net.Listener
	url    string
	behind string
	passed recording
	// cuts is how many of the next connections break after some bytes.
	cuts atomic.Int32
}

// cutAfter is where a connection breaks that is to break: in the middle of a
// call.
const cutAfter = 4000

// newWire starts one.
func newWire(at, behind string) (*wire, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	w := &wire{Listener: l, url: "https://" + at, behind: behind}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c) // it ends with the connection
		}
	}()
	return w, nil
}

func (w *wire) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", w.behind)
	if err != nil {
		return
	}
	defer far.Close()
	var from io.Reader = c
	if w.cuts.Add(-1) >= 0 {
		from = io.LimitReader(c, cutAfter)
	}
	ended := make(chan struct{}, 2)
	copies := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(io.MultiWriter(to, &w.passed), from) // however it ends
		ended <- struct{}{}
	}
	go copies(far, from)
	go copies(c, far)
	<-ended
}
