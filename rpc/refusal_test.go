package rpc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// everyCode is the closed list, as the schema has it.
func everyCode(t *testing.T) []message.Code {
	t.Helper()
	var all []message.Code
	for n := range wirev1.Reason_name {
		if c := message.Code(n); n != 0 {
			if !c.Known() {
				t.Errorf("reason %d has no code", n)
			}
			all = append(all, c)
		}
	}
	return all
}

const secret = "the cause of it all"

// TestEveryRefusalArrives: the code and the clock arrive, by a call, a stream and a
// plain request, and nothing else does.
func TestEveryRefusalArrives(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	var give error
	e := &exchange{
		posts:  func(context.Context) (*wirev1.PostsResponse, error) { return nil, give },
		follow: func(context.Context, *connect.ServerStream[wirev1.FollowResponse]) error { return give },
		alerts: func(_ context.Context, s *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error {
			if _, err := s.Receive(); err != nil {
				return err
			}
			return give
		},
	}
	serve(t, p, l, nil, mountExchange(e), func(s *rpc.Server) {
		s.Mount("/blobs/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { rpc.Refuse(w, give) }))
	})
	peer, err := newClient(t, guarded(t), newKeyring(t, message.RoleUser)).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func() error{
		"call": func() error {
			_, err := peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{})
			return err
		},
		"stream": func() error {
			s, err := peer.Exchange().Follow(t.Context(), &wirev1.FollowRequest{})
			if err != nil {
				return err
			}
			for s.Receive() {
			}
			return errors.Join(s.Err(), s.Close())
		},
		"both ways": func() error {
			s, err := peer.Exchange().AlertStream(t.Context())
			if err != nil {
				return err
			}
			if err := s.Send(&wirev1.AlertRequest{}); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			_, err = s.Receive()
			_ = s.CloseRequest()
			_ = s.CloseResponse()
			return err
		},
		"GET":  func() error { return plain(t, peer, http.MethodGet) },
		"HEAD": func() error { return plain(t, peer, http.MethodHead) },
		"PUT":  func() error { return plain(t, peer, http.MethodPut) },
	}
	for _, code := range everyCode(t) {
		give = fmt.Errorf("store: %s: %w", secret, code)
		for way, ask := range ways {
			err := ask()
			r, ok := errors.AsType[*message.Refused](err)
			if !ok || r.Code != code || time.Since(r.ServerTime).Abs() > time.Minute {
				t.Errorf("%s: %v by %s: %v", code, give, way, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%v by %s tells the cause", code, way)
			}
		}
	}
	// The address of a needed bundle comes along.
	give = fmt.Errorf("store: %w", message.Need(p.keys.Address()))
	for _, way := range []string{"call", "stream", "both ways", "GET"} {
		if r, ok := errors.AsType[*message.Refused](ways[way]()); !ok || r.Address != p.keys.Address() {
			t.Errorf("%s: no address with need_bundle", way)
		}
	}
	// What wraps no code is internal.
	for _, give = range []error{errors.New(secret), io.ErrUnexpectedEOF, connect.NewError(connect.CodeInternal, errors.New(secret))} {
		err := ways["call"]()
		want := message.Internal
		if errors.Is(give, io.ErrUnexpectedEOF) {
			want = message.Invalid // a body that ended in the middle
		}
		if !errors.Is(err, want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v: %v, want %v", give, err, want)
		}
	}
}

// plain makes one plain request and returns its error.
func plain(t *testing.T, peer *rpc.Peer, method string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "/blobs/x", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := peer.Do(req)
	if res != nil {
		_ = res.Body.Close()
	}
	return err
}

// TestWhatAPeerSees looks at the bytes.
func TestWhatAPeerSees(t *testing.T) {
	log := &bytes.Buffer{}
	d := &directory{answer: func(context.Context) (*wirev1.LookupResponse, error) {
		return nil, fmt.Errorf("store: %s: %w", secret, message.Quota)
	}}
	_, h := wirev1connect.NewDirectoryHandler(d, rpc.Options(textLog(log))...)
	post := func(contentType string, body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, wirev1connect.DirectoryLookupProcedure, body)
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := post("application/json", strings.NewReader("{}"))
	if body := w.Body.String(); !strings.Contains(body, "over quota") || strings.Contains(body, secret) || w.Code != http.StatusTooManyRequests {
		t.Errorf("%d %s", w.Code, body)
	}
	if log.Len() != 0 {
		t.Errorf("a refusal is no failure, but was logged: %s", log)
	}
	d.answer = func(context.Context) (*wirev1.LookupResponse, error) { return nil, errors.New(secret) }
	w = post("application/json", strings.NewReader("{}"))
	if body := w.Body.String(); !strings.Contains(body, "internal error") || strings.Contains(body, secret) {
		t.Errorf("%d %s", w.Code, body)
	}
	if !strings.Contains(log.String(), secret) {
		t.Error("the cause was not logged")
	}
	log.Reset()
	d.answer = func(context.Context) (*wirev1.LookupResponse, error) { panic(secret) }
	w = post("application/json", strings.NewReader("{}"))
	if body := w.Body.String(); !strings.Contains(body, "internal error") || strings.Contains(body, secret) {
		t.Errorf("%d %s", w.Code, body)
	}
	if !strings.Contains(log.String(), secret) || !strings.Contains(log.String(), "refusal_test.go") {
		t.Error("the panic was not logged with its place")
	}
	d.answer = results(&wirev1.LookupResult{Answers: []*wirev1.Signed{{Body: make([]byte, 64<<10)}}})
	w = post("application/json", strings.NewReader("{}"))
	if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "" || w.Body.Len() < 64<<10 {
		t.Errorf("%d, %d bytes in coding %q", w.Code, w.Body.Len(), w.Header().Get("Content-Encoding"))
	}
}

func TestTooLargeAndUnreadable(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	serve(t, p, l, &directory{answer: func(context.Context) (*wirev1.LookupResponse, error) {
		return &wirev1.LookupResponse{Results: []*wirev1.LookupResult{{Answers: []*wirev1.Signed{{Body: make([]byte, message.MaxCall)}}}}}, nil
	}}, mountExchange(&exchange{alerts: func(_ context.Context, s *connect.BidiStream[wirev1.AlertRequest, wirev1.AlertResponse]) error {
		_, err := s.Receive()
		return err
	}}))
	peer, err := newClient(t, guarded(t), nil).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	large := &wirev1.LookupRequest{Queries: []*wirev1.Query{{Name: strings.Repeat("x", message.MaxCall)}}}
	if _, err := peer.Directory().Lookup(t.Context(), large); !errors.Is(err, message.TooLarge) {
		t.Errorf("a large request: %v, want too large", err)
	}
	if _, err := peer.Directory().Lookup(t.Context(), &wirev1.LookupRequest{}); !errors.Is(err, message.TooLarge) {
		t.Errorf("a large answer: %v, want too large", err)
	}
	// Somebody who does not keep to the limit.
	tr := transportFor(t)
	careless := wirev1connect.NewExchangeClient(doerFunc(tr.RoundTrip), url)
	s, err := careless.AlertStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Send(&wirev1.AlertRequest{Items: []*wirev1.AlertItem{{To: make([]byte, message.MaxCall)}}})
	_ = s.CloseRequest()
	if _, err := s.Receive(); connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("a large message: %v, want too large", err)
	}
	_ = s.CloseResponse()
	for _, contentType := range []string{"application/proto", "application/json"} {
		endless := &endlessReader{limit: 64 << 20}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+wirev1connect.DirectoryLookupProcedure, endless)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		res, err := tr.RoundTrip(req)
		if err != nil {
			continue // cut off before it was answered
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK || endless.n > 16<<20 {
			t.Errorf("%s: %s after %d bytes", contentType, res.Status, endless.n)
		}
	}
}

// endlessReader gives zeros, and counts them.
type endlessReader struct{ n, limit int64 }

func (e *endlessReader) Read(b []byte) (int, error) {
	if e.n >= e.limit {
		return 0, io.EOF
	}
	clear(b)
	e.n += int64(len(b))
	return len(b), nil
}

// TestCodingsAreRefused: a small body that opens to a large one is not opened.
func TestCodingsAreRefused(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	called := false
	serve(t, p, l, &directory{answer: func(context.Context) (*wirev1.LookupResponse, error) {
		called = true
		return &wirev1.LookupResponse{}, nil
	}}, func(s *rpc.Server) {
		s.Mount("/blobs/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	})
	var zipped, empty bytes.Buffer // as JSON and as protobuf
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("{}"))
	_ = z.Close()
	_ = gzip.NewWriter(&empty).Close()
	envelope := append([]byte{1, 0, 0, 0, byte(empty.Len())}, empty.Bytes()...)
	for _, c := range []struct {
		path, contentType, header, coding string
		body                              []byte
	}{
		{wirev1connect.DirectoryLookupProcedure, "application/json", "Content-Encoding", "gzip", zipped.Bytes()},
		{wirev1connect.DirectoryLookupProcedure, "application/proto", "Content-Encoding", "gzip", empty.Bytes()},
		{wirev1connect.DirectoryLookupProcedure, "application/proto", "Content-Encoding", "br", zipped.Bytes()},
		{wirev1connect.DirectoryLookupProcedure, "application/proto", "Content-Encoding", "identity, gzip", zipped.Bytes()},
		{wirev1connect.DirectoryLookupProcedure, "application/grpc+proto", "Grpc-Encoding", "gzip", envelope},
		{wirev1connect.DirectoryLookupProcedure, "application/grpc-web+proto", "Grpc-Encoding", "gzip", envelope},
		{"/blobs/x", "application/octet-stream", "Content-Encoding", "gzip", zipped.Bytes()},
	} {
		client := &http.Client{Transport: transportFor(t)}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+c.path, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", c.contentType)
		req.Header.Set(c.header, c.coding)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		grpc := strings.HasPrefix(c.contentType, "application/grpc") // which says it in trailers
		if called || !grpc && res.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s %s %s: %d %q, called %v", c.path, c.contentType, c.coding, res.StatusCode, b, called)
		}
		called = false
	}
}

// TestHandlersThatAreNotThere is about what Connect and net/http answer alone.
func TestHandlersThatAreNotThere(t *testing.T) {
	l, url := loopback(t)
	p := newParty(t, url)
	serve(t, p, l, nil, func(s *rpc.Server) {
		s.Mount(wirev1connect.NewTrackerHandler(wirev1connect.UnimplementedTrackerHandler{}, rpc.Options(nil)...))
	})
	peer, err := newClient(t, guarded(t), nil).Peer(p.identity)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Tracker().Claim(t.Context(), &wirev1.ClaimRequest{}); !errors.Is(err, message.Unsupported) {
		t.Errorf("an unimplemented call: %v, want unsupported", err)
	}
	if _, err := peer.Mailbox().Account(t.Context(), &wirev1.AccountRequest{}); err == nil {
		t.Error("a service that is not mounted answers")
	}
	if err := plain(t, peer, http.MethodGet); !errors.Is(err, message.NotFound) {
		t.Errorf("a path that is not there: %v, want not found", err)
	}
}

func TestStatusesOfStrangers(t *testing.T) {
	for status, want := range map[int]error{
		301: message.Invalid, 302: message.Invalid, 304: message.Invalid, 400: message.Invalid, 401: message.Unauthenticated,
		403: message.Denied, 404: message.NotFound, 408: message.Unavailable, 413: message.TooLarge, 418: message.Invalid,
		429: message.RateLimited, 500: message.Internal, 502: message.Unavailable, 503: message.Unavailable, 504: message.Unavailable,
	} {
		peer := strange(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://example.test/")
			w.Header().Set(rpc.TimeHeader, "soon")
			w.WriteHeader(status)
		})
		if err := plain(t, peer, http.MethodGet); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
	}
	for _, number := range []string{"99", "-1", "0", "x", "99999999999999999999"} {
		peer := strange(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(rpc.RefusalHeader, number)
			w.WriteHeader(http.StatusBadRequest)
		})
		err := plain(t, peer, http.MethodGet)
		if _, ok := errors.AsType[*message.Refused](err); !ok {
			t.Errorf("refusal %s: %v", number, err)
		}
	}
}

func TestDoTakesAPathOnly(t *testing.T) {
	peer := strange(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	for _, url := range []string{"https://elsewhere.test/x", "//elsewhere.test/x", "http:x"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Do(req); !errors.Is(err, message.Invalid) {
			t.Errorf("%s: %v, want invalid", url, err)
		}
	}
}
