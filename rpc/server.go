package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"connectrpc.com/connect"

	"airdispatch/message"
)

// Limits of a server; a zero field is its default.
type Limits struct {
	// Header is the time for a request's headers: 10 s.
	Header time.Duration
	// Idle is how long a connection without a call is kept: 90 s.
	Idle time.Duration
	// Drain is how long calls may go on after the context ended: 10 s.
	Drain time.Duration
	// HeaderBytes of a request: 16 KiB.
	HeaderBytes int
	// PerHost is connections from one IPv4 address or IPv6 /64, which is what one
	// customer has: 64.
	PerHost int
	// Connections in all: 16384, so that file descriptors are left for the store.
	Connections int
	// Streams at once on one HTTP/2 connection: 64.
	Streams int
}

// filled returns l with its defaults.
func (l Limits) filled() Limits {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	count := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&l.Header, 10*time.Second)
	set(&l.Idle, 90*time.Second)
	set(&l.Drain, 10*time.Second)
	count(&l.HeaderBytes, 16<<10)
	count(&l.PerHost, 64)
	count(&l.Connections, 16<<10)
	count(&l.Streams, 64)
	return l
}

// ServerConfig says where and how a Server answers.
type ServerConfig struct {
	// Listener is required; Serve closes it.
	Listener net.Listener
	// TLS is ServerTLS's or another; nil is plain HTTP/1.1 and HTTP/2, for loopback
	// behind a proxy. Then connections are not counted by their address, which is
	// the proxy's.
	TLS *tls.Config
	// Log takes what went wrong inside; nil keeps nothing.
	Log *slog.Logger
	// Limits of connections and requests.
	Limits Limits
}

// Server answers calls on one listener. Mount what it shall answer, then Serve.
type Server struct {
	config ServerConfig
	mux    *http.ServeMux
	vitals *vitals
	stop   context.CancelFunc // ends vitals.draining
	calls  calls
	plain  *connect.ErrorWriter
	lot    *lot
}

// NewServer returns a server that answers nothing yet.
func NewServer(c ServerConfig) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.filled()
	draining, stop := context.WithCancel(context.Background())
	s := &Server{
		config: c, mux: http.NewServeMux(), vitals: &vitals{draining: draining}, stop: stop,
		plain: connect.NewErrorWriter(),
	}
	s.lot = newLot(c.Log, s.vitals, s.plain)
	return s
}

// ServerTLS is the configuration for one certificate: TLS 1.3 only, HTTP/2 and
// HTTP/1.1.
func ServerTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2", "http/1.1"},
		// Nobody can do anything with half an answer, so small records at the
		// beginning of a connection would only be more of them.
		DynamicRecordSizingDisabled: true,
	}
}

// Mount answers everything under path, in the form of http.ServeMux, with h. The
// pair that a Connect handler's constructor returns fits.
func (s *Server) Mount(path string, h http.Handler) { s.mux.Handle(path, h) }

// Panics is how many handlers have panicked.
func (s *Server) Panics() uint64 { return s.vitals.panics.Load() }

// Serve answers until ctx ends. Then it accepts no more, ends streams at once,
// gives calls Limits.Drain to finish, and returns nil when the last handler has
// returned. It can be called once.
func (s *Server) Serve(ctx context.Context) error {
	var parked sync.WaitGroup
	defer parked.Wait()
	defer s.stop()
	parked.Go(func() { s.lot.run(s.vitals.draining) })
	limits := s.config.Limits
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: limits.Header,
		IdleTimeout:       limits.Idle,
		MaxHeaderBytes:    limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), vitalsKey{}, s.vitals)
		},
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: limits.Streams,
			SendPingTimeout:      linkPing, PingTimeout: pingPatience, WriteByteTimeout: writeStall,
		},
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	listener := newDoor(s.config.Listener, limits, s.config.TLS != nil)
	served := make(chan error, 1)
	if s.config.TLS != nil {
		server.Protocols.SetHTTP2(true)
		server.TLSConfig = s.config.TLS.Clone()
		server.TLSConfig.MinVersion = tls.VersionTLS13
		go func() { served <- server.ServeTLS(listener, "", "") }()
	} else {
		server.Protocols.SetUnencryptedHTTP2(true)
		go func() { served <- server.Serve(listener) }()
	}
	select {
	case err := <-served:
		_ = server.Close() // the listener broke; its error is the one to tell
		s.stop()
		s.calls.wait()
		return fmt.Errorf("rpc: serve: %w", err)
	case <-ctx.Done():
	}
	return s.drain(server, served)
}

// drain ends a server in order.
func (s *Server) drain(server *http.Server, served <-chan error) error {
	s.stop()
	patience, cancel := context.WithTimeout(context.Background(), s.config.Limits.Drain)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		_ = server.Close() // whoever is still there has had its time
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("rpc: serve: %w", err)
	}
	s.calls.wait()
	return nil
}

// ServeHTTP is for net/http.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.begin()
	defer s.calls.end()
	p, r := s.lot.offer(w, r)
	if p != nil {
		w = p
	}
	s.answer(w, r)
	if p != nil && p.stay != nil {
		s.lot.moor(p)
	}
}

// answer lets whatever is mounted answer a request.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	defer s.recovered(w, r)
	defer pace(w, r, s.vitals.draining)()
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		s.refuse(w, r, message.Unsupported)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// refuse answers a request in the way of whatever protocol it came in.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code message.Code) {
	if !s.plain.IsSupported(r) {
		Refuse(w, code)
		return
	}
	if err := s.plain.Write(w, r, refusal(code, time.Now())); err != nil {
		s.config.Log.DebugContext(r.Context(), "refusal not sent", "error", err)
	}
}

// recovered keeps the server alive when a plain handler panics; Connect handlers
// have their own way to say so.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	thrown := recover()
	if thrown == nil {
		return
	}
	if thrown == http.ErrAbortHandler {
		panic(thrown)
	}
	s.vitals.panics.Add(1)
	s.config.Log.ErrorContext(r.Context(), "panic in a handler", "path", r.URL.Path, "panic", thrown, "stack", string(debug.Stack()))
	Refuse(w, message.Internal)
}

// calls counts the handlers that are running.
type calls struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // not nil once somebody waits; closed at n == 0
}

func (c *calls) begin() {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
}

func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// wait returns when no handler is running.
func (c *calls) wait() {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	<-idle
}
