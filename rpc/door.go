package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// bodyGrace is how long a body may be slow.
	bodyGrace = 30 * time.Second
	// bodyRate is the pace that it must keep after that, bytes a second. A thousand
	// connections at less than this would cost an attacker nothing and us a
	// thousand buffers.
	bodyRate = 1 << 10
	// bodyStall is the longest time without a byte.
	bodyStall = 60 * time.Second
	// streamStall is the same for the sending side of a stream.
	streamStall = 5 * time.Minute
	// bodyLinger is what is left of a body when nobody wants it any more.
	bodyLinger = 5 * time.Second
	// paceStep and paceBytes are how often a deadline is renewed; more often costs
	// more than it tells.
	paceStep  = 5 * time.Second
	paceBytes = 16 << 10
)

// door is a listener that lets in a bounded number of connections, in all and
// from one place. Those beyond are closed at once: to wait would make everybody
// wait behind whoever opens the most.
type door struct {
	net.Listener
	limits Limits
	byHost bool

	mu    sync.Mutex
	all   int
	hosts map[netip.Prefix]int
}

func newDoor(l net.Listener, limits Limits, byHost bool) *door {
	return &door{Listener: l, limits: limits, byHost: byHost, hosts: make(map[netip.Prefix]int)}
}

// Accept waits for the next connection that may come in.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := remote(c.RemoteAddr().String(), nil, false)
		if !d.enter(host) {
			_ = c.Close() // nothing was said yet
			continue
		}
		return &visitor{Conn: c, leave: sync.OnceFunc(func() { d.leave(host) })}, nil
	}
}

// enter counts a connection, or reports that there are too many.
func (d *door) enter(host netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= d.limits.Connections || d.byHost && host.IsValid() && d.hosts[host] >= d.limits.PerHost {
		return false
	}
	d.all++
	d.hosts[host]++
	return true
}

func (d *door) leave(host netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.hosts[host]--; d.hosts[host] == 0 {
		delete(d.hosts, host)
	}
}

// hostOf is whom a connection is counted for: an IPv4 address or an IPv6 /64,
// which is what one customer has.
func hostOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// visitor is a connection that was let in. A peer that takes nothing of what is
// written for writeStall is disconnected, unless somebody set a deadline of their
// own.
type visitor struct {
	net.Conn
	leave func()

	mu  sync.Mutex
	own bool // a write deadline was set from outside
}

// Write writes within writeStall.
func (v *visitor) Write(b []byte) (int, error) {
	v.mu.Lock()
	own := v.own
	v.mu.Unlock()
	if !own {
		if err := v.Conn.SetWriteDeadline(time.Now().Add(writeStall)); err != nil {
			return 0, err
		}
	}
	return v.Conn.Write(b)
}

// SetWriteDeadline takes the deadline out of the door's hands.
func (v *visitor) SetWriteDeadline(t time.Time) error {
	v.mu.Lock()
	v.own = !t.IsZero()
	v.mu.Unlock()
	return v.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (v *visitor) SetDeadline(t time.Time) error {
	v.mu.Lock()
	v.own = !t.IsZero()
	v.mu.Unlock()
	return v.Conn.SetDeadline(t)
}

// Close closes and counts out.
func (v *visitor) Close() error {
	defer v.leave()
	return v.Conn.Close()
}

// pace makes the body of r keep a minimum rate and a bounded size, and ends the sending side of
// streams when the server drains. The returned function is for the request's end.
func pace(w http.ResponseWriter, r *http.Request, draining context.Context) func() {
	if r.Body == nil || r.Body == http.NoBody {
		return func() {}
	}
	control := http.NewResponseController(w)
	p := &pacedBody{ReadCloser: r.Body, control: control, begun: time.Now(), stream: isStream(r), shared: r.ProtoMajor == 1}
	r.Body = p
	if !p.stream {
		if isCall(r) && !said(r.ContentLength) {
			r.Body = http.MaxBytesReader(w, p, maxBody)
		}
		return p.finish
	}
	stop := context.AfterFunc(draining, p.end)
	return func() {
		stop()
		p.finish()
	}
}

// said reports whether a length that was declared is below the bound of a call's
// body: net/http then lets no more through, and nothing else need count.
func said(length int64) bool { return length >= 0 && length <= maxBody }

// isStream reports whether a request may be a stream: Connect says so, gRPC gives
// all its calls one type.
func isStream(r *http.Request) bool {
	t := r.Header.Get("Content-Type")
	return strings.HasPrefix(t, "application/connect+") || strings.HasPrefix(t, "application/grpc")
}

// isCall reports whether a request is a unary call; what else is posted, or put,
// is bounded by its handler.
func isCall(r *http.Request) bool {
	t := r.Header.Get("Content-Type")
	return r.Method == http.MethodPost && (strings.HasPrefix(t, "application/proto") || strings.HasPrefix(t, "application/json"))
}

// pacedBody is a request body that must not be too slow.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	stream  bool
	shared  bool // HTTP/1: the deadline is the connection's, so it must be cleared
	begun   time.Time

	mu       sync.Mutex
	n        int64
	credited int64 // n at the last renewal
	renewed  time.Time
	whole    bool // it was read to its end
	ended    bool // nothing more is to be read
	finished bool // the handler has returned, and control must not be used any more
}

// Read reads on, or fails when the body is too slow.
func (p *pacedBody) Read(b []byte) (int, error) {
	p.renew()
	n, err := p.ReadCloser.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += int64(n)
	if errors.Is(err, io.EOF) {
		p.whole = true
		if p.shared && !p.ended && !p.finished {
			_ = p.control.SetReadDeadline(time.Time{}) // the handler may take its time, and the next request
		}
	}
	return n, err
}

// renew moves the deadline on, now and then.
func (p *pacedBody) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.ended || p.finished || !p.renewed.IsZero() && now.Sub(p.renewed) < paceStep && p.n-p.credited < paceBytes {
		return
	}
	p.renewed, p.credited = now, p.n
	until := now.Add(streamStall)
	if !p.stream {
		until = now.Add(bodyStall)
		if due := p.begun.Add(bodyGrace + time.Duration(p.n/bodyRate)*time.Second); due.Before(until) {
			until = due
		}
	}
	_ = p.control.SetReadDeadline(until) // where it is not supported the connection's other limits hold
}

// end makes every further read fail.
func (p *pacedBody) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if !p.finished {
		_ = p.control.SetReadDeadline(time.Now()) // as above
	}
}

// finish is called when the handler returns. net/http then reads on, to see whether
// the connection can be used again, with whatever deadline it finds.
func (p *pacedBody) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared && !p.whole {
		_ = p.control.SetReadDeadline(time.Now().Add(bodyLinger)) // as above
	}
	p.finished = true
}
