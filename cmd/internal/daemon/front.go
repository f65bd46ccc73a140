package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"airdispatch/message"
	"airdispatch/rpc"
)

// Front is a server's face: the listener with everything that is mounted on
// it, its health, and its metrics.
type Front struct {
	// Server is where services are mounted.
	Server *rpc.Server
	// Registry is where the program's own metrics go.
	Registry *prometheus.Registry

	site    *Site
	metrics net.Listener
	ready   atomic.Pointer[string]
}

// maxMetricsHeader is more than a scraper says. The port is for this machine
// alone, but whoever runs something here is not yet the operator.
const maxMetricsHeader = 16 << 10

// notYet is why a server is not ready before it says so.
const notYet = "starting"

// Front opens the listeners of a site. What connects from now on is answered
// once Serve runs.
func (s *Site) Front(ctx context.Context) (*Front, error) {
	l, err := listen(ctx, string(s.Settings.Listen))
	if err != nil {
		return nil, err
	}
	f := &Front{site: s, Registry: prometheus.NewRegistry()}
	if err := s.certificate.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("certificate: %w", err), l.Close())
	}
	if s.Settings.Metrics != "" {
		if f.metrics, err = listen(ctx, string(s.Settings.Metrics)); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	f.Server = rpc.NewServer(rpc.ServerConfig{Listener: l, TLS: s.certificate.tls, Log: s.Log})
	f.Busy(notYet)
	f.Server.Mount("/healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }))
	f.Server.Mount("/readyz", http.HandlerFunc(f.readyz))
	f.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "airdispatch_panics_total", Help: "Handlers that panicked.",
	}, func() float64 { return float64(f.Server.Panics()) }))
	return f, nil
}

// listen opens a listener, and says what to do where it cannot.
func listen(ctx context.Context, address string) (net.Listener, error) {
	c := net.ListenConfig{Control: givingUp}
	l, err := c.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen at %s: the port is in use: is the server running already? else choose another in %s", address, ConfigFile)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen at %s: not permitted: ports below 1024 need CAP_NET_BIND_SERVICE, as the systemd unit has it", address)
	case err != nil:
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	return l, nil
}

// Busy makes /readyz say why the server is not ready.
func (f *Front) Busy(why string) { f.ready.Store(&why) }

// Ready makes /readyz say yes, and tells the operator.
func (f *Front) Ready() {
	if old := f.ready.Swap(new(string)); old != nil && *old != "" {
		_, _ = fmt.Fprintf(f.site.Stderr, "listening %s\n", f.site.Reference())
	}
}

// readyz answers whether the server can do its work.
func (f *Front) readyz(w http.ResponseWriter, r *http.Request) {
	if why := *f.ready.Load(); why != "" {
		say(w, http.StatusServiceUnavailable, why)
		return
	}
	if err := f.site.DB.PingContext(r.Context()); err != nil {
		f.site.Log.Error("not ready", "error", err)
		say(w, http.StatusServiceUnavailable, "database")
		return
	}
	say(w, http.StatusOK, "ok")
}

// say answers in plain text.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}

// Serve answers until ctx ends, then drains.
func (f *Front) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sides sync.WaitGroup
	defer sides.Wait()
	if f.metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(f.Registry, promhttp.HandlerOpts{}))
		s := &http.Server{
			Handler: mux, MaxHeaderBytes: maxMetricsHeader,
			ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		}
		sides.Go(func() { _ = s.Serve(f.metrics) })
		sides.Go(func() { <-ctx.Done(); _ = s.Close() })
	}
	return f.Server.Serve(ctx)
}

// Together runs all parts until ctx ends or one of them fails, which ends the
// others too; it waits for all and returns what went wrong.
func Together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for n, part := range parts {
		running.Go(func() {
			if errs[n] = part(ctx); errs[n] != nil {
				cancel()
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// Reference is where and who the server is.
func (s *Site) Reference() message.Reference {
	return message.Reference{URL: strings.TrimSuffix(string(s.Settings.URL), "/"), Address: s.Keyring.Address()}
}
