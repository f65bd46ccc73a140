package town

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how much one direction of a connection holds before a writer
// waits: a socket's buffer, roughly.
const pipeBuffer = 64 << 10

// A flow is one direction of a connection. Waiting is on a sync.Cond, which
// counts as idle in a synctest bubble.
type flow struct {
	// mu guards all below.
	mu   sync.Mutex
	cond *sync.Cond
	data []byte
	// ended: the writer has closed; what is left can be read.
	ended bool
	// broken: nobody reads any more, or the link was cut.
	broken error
	read   deadline
	write  deadline
}

// newFlow makes an empty flow.
func newFlow() *flow {
	f := &flow{}
	f.cond = sync.NewCond(&f.mu)
	return f
}

// A deadline wakes the waiters of a flow when it passes.
type deadline struct {
	timer  *time.Timer
	passed bool
	// turn tells the timer of this deadline from one that was replaced while
	// it was already running.
	turn int
}

// set replaces a deadline of f; the caller holds mu.
func (f *flow) set(d *deadline, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.turn++
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		f.cond.Broadcast()
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if d.turn == turn {
			d.passed = true
			f.cond.Broadcast()
		}
	})
}

// take reads what there is, and waits where there is nothing.
func (f *flow) take(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.read.passed:
			return 0, os.ErrDeadlineExceeded
		case f.broken != nil:
			return 0, f.broken
		case len(f.data) != 0:
			n := copy(p, f.data)
			f.data = f.data[n:]
			f.cond.Broadcast()
			return n, nil
		case f.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		f.cond.Wait()
	}
}

// put writes all of p, waiting where there is no room.
func (f *flow) put(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := 0
	for {
		room := pipeBuffer - len(f.data)
		switch {
		case f.write.passed:
			return sent, os.ErrDeadlineExceeded
		case f.broken != nil:
			return sent, f.broken
		case f.ended:
			return sent, net.ErrClosed
		case sent == len(p):
			return sent, nil
		case room > 0:
			n := min(room, len(p)-sent)
			f.data = append(f.data, p[sent:sent+n]...)
			sent += n
			f.cond.Broadcast()
			continue
		}
		f.cond.Wait()
	}
}

// end says that nothing more will be written.
func (f *flow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.set(&f.write, time.Time{})
	f.cond.Broadcast()
}

// snap breaks the flow for both its ends; the first reason stays.
func (f *flow) snap(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = why
	}
	f.set(&f.read, time.Time{})
	f.set(&f.write, time.Time{})
	f.cond.Broadcast()
}

// A conn is one end of a connection.
type conn struct {
	in, out       *flow
	local, remote net.Addr
	once          sync.Once
	// gone is called when this end closes; may be nil.
	gone func()
}

// newPipe makes a connection: the end of the one who dialed, and that of the
// one who was.
func newPipe(dialer, dialed net.Addr) (near, far *conn) {
	there, back := newFlow(), newFlow()
	near = &conn{in: back, out: there, local: dialer, remote: dialed}
	far = &conn{in: there, out: back, local: dialed, remote: dialer}
	return near, far
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.take(p)
	return n, c.wrap("read", err)
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.put(p)
	return n, c.wrap("write", err)
}

// wrap gives err the form that a socket's has; io.EOF stays bare, as readers
// compare it.
func (c *conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "town", Source: c.local, Addr: c.remote, Err: err}
}

// Close implements net.Conn: what was written can still be read at the other
// end, and writing there fails.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.out.end()
		c.in.snap(net.ErrClosed)
		if c.gone != nil {
			c.gone()
		}
	})
	return nil
}

// cut breaks both directions at once, as a pulled cable that was noticed.
func (c *conn) cut() {
	c.in.snap(errCut)
	c.out.snap(errCut)
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.set(&c.in.read, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.set(&c.out.write, t)
	return nil
}
