package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
)

// site is a tracker and a mail server in processes of their own.
type site struct {
	town   *proof.Town
	mail   *proof.Server
	known  *message.Identity
	dir    string
	killed int

	// mu guards up.
	mu sync.Mutex
	// up is closed while the servers run.
	up chan struct{}
}

// unlimited are settings under which nobody is too fast.
var unlimited = map[string][]string{
	"admaild": {
		"AD_LIMITS__ACCOUNT_BYTES=-1", "AD_LIMITS__ACCOUNT_MESSAGES=-1", "AD_LIMITS__SUBMITS_PER_SECOND=-1", "AD_LIMITS__CALLS_PER_SECOND=-1",
		"AD_LIMITS__NETWORK_PER_SECOND=-1", "AD_LOG__LEVEL=error",
	},
	"adtrackd": {
		"AD_LIMITS__PUBLISH_PER_MINUTE=-1", "AD_LIMITS__SERVER_PER_MINUTE=-1", "AD_LIMITS__NETWORK_PER_SECOND=-1", "AD_LIMITS__LOOKUPS_PER_SECOND=-1",
		"AD_LOG__LEVEL=error",
	},
}

// open builds the programs and starts the servers below dir.
func open(ctx context.Context, dir string) (*site, error) {
	programs, err := proof.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return nil, err
	}
	s := &site{town: &proof.Town{Programs: programs, Verifier: crypto.NewVerifier()}, dir: dir, up: make(chan struct{})}
	close(s.up)
	if s.town.Tracker, err = s.start(ctx, "adtrackd"); err != nil {
		return s, err
	}
	if s.mail, err = s.start(ctx, "admaild", "--accounts", "open", "--tracker", s.town.Tracker.Reference); err != nil {
		return s, err
	}
	s.known, err = s.identity(ctx, s.town.Tracker.Reference)
	return s, err
}

// identity is who answers at a reference.
func (s *site) identity(ctx context.Context, reference string) (*message.Identity, error) {
	ref, err := message.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	c := rpc.NewClient(rpc.Config{Dial: proof.Loopback(), Verifier: s.town.Verifier})
	defer c.Close()
	_, answer, err := c.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return answer.Subject, nil
}

// start makes and starts one server.
func (s *site) start(ctx context.Context, program string, args ...string) (*proof.Server, error) {
	return s.town.Programs.Found(ctx, program, filepath.Join(s.dir, program), args, unlimited[program]...)
}

// kill ends both servers at once and starts them again.
func (s *site) kill() error {
	s.mu.Lock()
	up := make(chan struct{})
	s.up = up
	s.mu.Unlock()
	defer close(up)
	s.killed++
	s.mail.Kill()
	s.town.Tracker.Kill()
	if err := s.town.Tracker.Start(unlimited["adtrackd"]...); err != nil {
		return fmt.Errorf("the tracker: %w", err)
	}
	if err := s.mail.Start(unlimited["admaild"]...); err != nil {
		return fmt.Errorf("the mail server: %w", err)
	}
	return nil
}

// running waits for the servers to run.
func (s *site) running(ctx context.Context) {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	select {
	case <-up:
	case <-ctx.Done():
	}
}

// close ends both.
func (s *site) close() {
	for _, p := range []*proof.Server{s.mail, s.town.Tracker} {
		if p != nil {
			p.Kill()
		}
	}
}

// wires are one client's connections, which can be cut.
type wires struct {
	dial rpc.DialFunc

	// mu guards open.
	mu   sync.Mutex
	open map[net.Conn]bool
}

func newWires() *wires { return &wires{dial: proof.Loopback(), open: make(map[net.Conn]bool)} }

// Dial connects.
func (w *wires) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := w.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = true
	return &wire{Conn: c, of: w}, nil
}

// cut breaks all of them.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.Close() // whoever uses it learns so
	}
	clear(w.open)
}

// wire is one connection.
type wire struct {
	net.Conn
	of *wires
}

// Close closes it and forgets it.
func (w *wire) Close() error {
	w.of.mu.Lock()
	delete(w.of.open, w.Conn)
	w.of.mu.Unlock()
	return w.Conn.Close()
}
