package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/whisper"
	"airdispatch/whisper/web"
)

// webHeader bounds the time that a browser has for its headers.
const webHeader = 10 * time.Second

// whisperPage is the web interface of a node, while it is open.
type whisperPage struct {
	server *http.Server
	inner  *web.Server
	ran    chan error
}

// openPage serves the web interface at an address of the loopback interface: it
// has no password.
func (a *app) openPage(ctx context.Context, node *whisper.Node, at string) (*whisperPage, error) {
	host, _, err := net.SplitHostPort(at)
	if err != nil {
		return nil, daemon.Usage("--http %s: want HOST:PORT", at)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, daemon.Usage("--http %s: the page has no password, so it stays on the loopback interface: 127.0.0.1:PORT", at)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
	if err != nil {
		return nil, portTaken(fmt.Errorf("whisper: --http: %w", err))
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p := &whisperPage{inner: web.New(node, l.Addr().String(), "localhost:"+port), ran: make(chan error, 1)}
	p.server = &http.Server{
		Handler: p.inner, ReadHeaderTimeout: webHeader, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	a.sayf("page http://%s/", l.Addr())
	go func() { p.ran <- p.server.Serve(l) }()
	return p, nil
}

// close ends the page; the context that it was opened with has ended.
func (p *whisperPage) close() error {
	err := p.server.Close()
	p.inner.Wait()
	if ran := <-p.ran; !errors.Is(ran, http.ErrServerClosed) {
		err = errors.Join(err, ran)
	}
	return err
}
