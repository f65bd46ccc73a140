package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// memory is a network in memory: host:port to listener. Its connections have
// buffers, as the kernel's do: over net.Pipe two ends that write at once, as in a
// TLS handshake that one of them refuses, wait for each other.
type memory struct {
	mu    sync.Mutex
	hosts map[string]*pipes
}

func newMemory() *memory { return &memory{hosts: make(map[string]*pipes)} }

// listen returns a listener at address.
func (m *memory) listen(address string) *pipes {
	p := &pipes{queue: make(chan net.Conn), closed: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[address] = p
	return p
}

// dial is a rpc.DialFunc.
func (m *memory) dial(ctx context.Context, _, address string) (net.Conn, error) {
	m.mu.Lock()
	p, ok := m.hosts[address]
	m.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("no host %s", address)
	}
	a, b := newHalf(), newHalf()
	select {
	case p.queue <- &pipe{in: a, out: b}:
		return &pipe{in: b, out: a}, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipes is one listener of a memory.
type pipes struct {
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.queue:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// window is how much one end may write ahead.
const window = 64 << 10

// half is one direction of a pipe.
type half struct {
	mu     sync.Mutex
	change *sync.Cond
	buf    []byte
	closed bool

	readBy, writeBy time.Time
}

func newHalf() *half {
	h := &half{}
	h.change = sync.NewCond(&h.mu)
	return h
}

func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && !h.closed && !past(h.readBy) {
		h.change.Wait()
	}
	switch {
	case past(h.readBy):
		return 0, os.ErrDeadlineExceeded
	case len(h.buf) == 0:
		return 0, io.EOF
	}
	n := copy(b, h.buf)
	h.buf = h.buf[n:]
	h.change.Broadcast()
	return n, nil
}

func (h *half) write(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(b) {
		for len(h.buf) >= window && !h.closed && !past(h.writeBy) {
			h.change.Wait()
		}
		switch {
		case h.closed:
			return n, io.ErrClosedPipe
		case past(h.writeBy):
			return n, os.ErrDeadlineExceeded
		}
		m := min(window-len(h.buf), len(b)-n)
		h.buf = append(h.buf, b[n:n+m]...)
		n += m
		h.change.Broadcast()
	}
	return n, nil
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.change.Broadcast()
}

// by sets a deadline and wakes whoever waits when it comes.
func (h *half) by(deadline *time.Time, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*deadline = t
	h.change.Broadcast()
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.change.Broadcast()
		})
	}
}

// pipe is one end of a connection.
type pipe struct{ in, out *half }

func (p *pipe) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.write(b) }

func (p *pipe) Close() error {
	p.in.close()
	p.out.close()
	return nil
}

func (p *pipe) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "memory"} }
func (p *pipe) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (p *pipe) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.by(&p.in.readBy, t)
	return nil
}

func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.out.by(&p.out.writeBy, t)
	return nil
}
