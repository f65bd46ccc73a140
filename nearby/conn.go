package nearby

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"airdispatch/message"
)

const (
	// record is how much is given to TLS at once: one record of it.
	record = 16 << 10
	// closeWithin is how long Close and Abort wait, first for what was written to go out, then for the
	// other end to close: a socket that is closed while something comes in is reset, and what the
	// other end has not read yet is lost with it.
	closeWithin = time.Second
)

// Conn is a connection with a peer that has proved who it is: a net.Conn with
// half-close. Safe for concurrent use.
type Conn struct {
	raw      *steady
	tls      *tls.Conn
	in       io.Reader
	peer     message.Address
	protocol string
	leave    func()

	reading, writing sync.Mutex // held for one Read or Write
	// watch is the goroutine that waits for the other end to close, once it has said all.
	watch sync.WaitGroup
	ended chan struct{}
	over  sync.Once // closes ended

	// mu guards what follows, and deadlines.
	mu     sync.Mutex
	heard  bool
	closed bool
}

// newConn is a connection over a handshake that has been made. early is what of it was read already.
func newConn(t *tls.Conn, raw *steady, early []byte) *Conn {
	raw.live.Store(true)
	return &Conn{raw: raw, tls: t, in: io.MultiReader(bytes.NewReader(bytes.Clone(early)), t), leave: func() {}, ended: make(chan struct{})}
}

// Peer is who is at the other end.
func (c *Conn) Peer() message.Address { return c.peer }

// Protocol is what the connection was made for.
func (c *Conn) Protocol() string { return c.protocol }

// Ended is closed once the other end has closed the connection or it broke: nothing that is
// written arrives any more. It is noticed by a Read; what had come can still be read.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

func (c *Conn) end() { c.over.Do(func() { close(c.ended) }) }

func (c *Conn) state() (heard, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard, c.closed
}

// Read reads. io.EOF says that the other end has said all that it will; that it was cut off is
// another error, Gone.
func (c *Conn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	heard, closed := c.state()
	switch {
	case closed:
		return 0, net.ErrClosed
	case heard:
		return 0, io.EOF
	}
	n, err := c.in.Read(b)
	if err == io.EOF {
		c.allHeard()
		return n, err
	}
	return n, c.fault("read", err)
}

// fault is an error as callers know it.
func (c *Conn) fault(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, closed := c.state(); closed {
		return net.ErrClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.end()
	if errors.Is(err, Gone) {
		return fmt.Errorf("nearby: %s: %w", what, Gone)
	}
	return fmt.Errorf("nearby: %s: %w: %w", what, err, Gone)
}

// allHeard waits from now on for the other end to close.
func (c *Conn) allHeard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.heard {
		return
	}
	c.heard = true
	_ = c.raw.Conn.SetReadDeadline(time.Time{}) // where it fails, so does the read
	c.watch.Go(func() {
		_, _ = io.Copy(io.Discard, c.raw.Conn) // after TLS has ended there is nothing
		c.end()
	})
}

// Write writes all of b, waiting where the other end does not read. After a deadline it can
// go on: what was not written is not half written.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n := 0
	for {
		if _, closed := c.state(); closed {
			return n, net.ErrClosed
		}
		if err := c.raw.settle(); err != nil {
			return n, c.fault("write", err)
		}
		if n == len(b) {
			return n, nil
		}
		m, err := c.tls.Write(b[n:min(n+record, len(b))])
		n += m
		if err != nil {
			return n, c.fault("write", err)
		}
	}
}

// CloseWrite says that one has said all: the other end reads io.EOF, and may go on writing.
func (c *Conn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, closed := c.state(); closed {
		return net.ErrClosed
	}
	return c.fault("close", c.finish())
}

// finish says the end behind all that was written.
func (c *Conn) finish() error {
	if err := c.raw.settle(); err != nil {
		return err
	}
	if err := c.tls.CloseWrite(); err != nil {
		return err
	}
	return c.raw.settle()
}

// Close ends the connection in both directions: what was written is still brought, to
// whoever reads it.
func (c *Conn) Close() error { return c.leaveBy(c.finish) }

// Abort ends the connection in both directions without the word that all was said: what was
// written is still brought, and then the other end's Read fails with Gone, where after Close it
// says io.EOF. What CloseWrite has said before stays said.
func (c *Conn) Abort() error { return c.leaveBy(c.raw.settle) }

// leaveBy closes after a last word.
func (c *Conn) leaveBy(word func() error) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	_, _ = c.raw.Conn.SetReadDeadline(time.Unix(1, 0)), c.raw.until(time.Unix(1, 0)) // a Read and a Write that wait end here
	c.mu.Unlock()

	c.writing.Lock()
	_ = c.raw.until(time.Now().Add(closeWithin)) // where it fails, so does what follows
	if word() == nil {
		c.raw.closeWrite()
	}
	c.writing.Unlock()
	c.reading.Lock()
	c.watch.Wait()
	if c.raw.Conn.SetReadDeadline(time.Now().Add(closeWithin)) == nil {
		_, _ = io.Copy(io.Discard, c.raw.Conn)
	}
	c.reading.Unlock()
	c.end()
	err := c.raw.Conn.Close()
	c.leave()
	return err
}

// LocalAddr is where the connection is on this host.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr is where the other end is.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline sets both.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline is for Read.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.heard:
		return nil // nothing waits any more
	}
	return c.raw.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is for Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return c.raw.until(t)
}

// steady lies beneath TLS. Once it is live it gives what TLS alone does not: a
// deadline that breaks off a record leaves the rest of it here, to go out first, where
// TLS would be spoilt for good; and the end of TCP without a word of TLS is no
// end that looks in order.
type steady struct {
	net.Conn
	live atomic.Bool
	// late is when Write has to end; nil for never.
	late atomic.Pointer[time.Time]

	// mu guards left.
	mu   sync.Mutex
	left []byte
}

// until sets when Write has to end.
func (s *steady) until(t time.Time) error {
	s.late.Store(&t)
	return s.Conn.SetWriteDeadline(t)
}

// Read reads.
func (s *steady) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err == io.EOF && s.live.Load() {
		err = Gone
	}
	return n, err
}

// Write takes all of p, of which some may be left.
func (s *steady) Write(p []byte) (int, error) {
	if !s.live.Load() {
		return s.Conn.Write(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) > 0 {
		s.left = append(s.left, p...) // at most what one Write of a Conn makes, and the end
		return len(p), nil
	}
	n, err := s.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.left, err, n = bytes.Clone(p[n:]), nil, len(p)
	}
	return n, err
}

// settle writes what is left, and fails where the deadline has passed.
func (s *steady) settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.late.Load(); t != nil && !t.IsZero() && !time.Now().Before(*t) {
		return os.ErrDeadlineExceeded
	}
	if len(s.left) == 0 {
		return nil
	}
	n, err := s.Conn.Write(s.left)
	if s.left = s.left[n:]; len(s.left) == 0 {
		s.left = nil
	}
	return err
}

// SetDeadline sets both, for as long as this is not live.
func (s *steady) SetDeadline(t time.Time) error {
	if s.live.Load() {
		return nil // TLS has its own of them for its end; here the caller's count
	}
	return s.Conn.SetDeadline(t)
}

// SetWriteDeadline is for Write, for as long as this is not live.
func (s *steady) SetWriteDeadline(t time.Time) error {
	if s.live.Load() {
		return nil // as above
	}
	return s.Conn.SetWriteDeadline(t)
}

// closeWrite tells the other end that this one is gone altogether, where the network can.
func (s *steady) closeWrite() {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it is closed in a moment anyway
	}
}
