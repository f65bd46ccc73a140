package whisper

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The bounds of a connection to a peer. What does not fit into its queue pushes
// the oldest out, so that a slow peer costs nobody but itself.
const (
	queueObjects = 256
	queueBytes   = 4 << 20
	dialTime     = 10 * time.Second
	writeTime    = 10 * time.Second
	drainTime    = time.Second
	firstRetry   = 300 * time.Millisecond
	lastRetry    = 30 * time.Second
	// maxTries is how often a peer is tried that nobody asked for by name.
	maxTries = 6
)

// peer is the connection to one neighbour, made again when it breaks.
type peer struct {
	addr   string
	pinned bool
	node   *Node

	// mu guards the queue.
	mu     sync.Mutex
	queue  [][]byte
	size   int
	ending bool
	// more holds one token when there is something to do.
	more chan struct{}
}

func newPeer(n *Node, addr string, pinned bool) *peer {
	return &peer{addr: addr, pinned: pinned, node: n, more: make(chan struct{}, 1)}
}

// push puts bytes at the end of the queue.
func (p *peer) push(b []byte) {
	p.mu.Lock()
	p.queue = append(p.queue, b)
	p.size += len(b)
	for len(p.queue) > queueObjects || p.size > queueBytes && len(p.queue) > 1 {
		p.size -= len(p.queue[0])
		p.queue = p.queue[1:]
	}
	p.mu.Unlock()
	p.wake()
}

// unshift puts back what could not be written.
func (p *peer) unshift(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) < queueObjects {
		p.queue = slices.Insert(p.queue, 0, b)
		p.size += len(b)
	}
}

// shift takes the first of the queue; nil where it is empty.
func (p *peer) shift() (b []byte, ending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		b = p.queue[0]
		p.queue = p.queue[1:]
		p.size -= len(b)
	}
	return b, p.ending
}

// end makes the peer go once its queue is empty.
func (p *peer) end() {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	p.wake()
}

func (p *peer) wake() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *peer) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ending
}

// run holds the connection until the context ends, the peer is given up, or end
// was called.
func (p *peer) run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstRetry, lastRetry
	for tries := 1; ; tries++ {
		if conn, err := p.dial(ctx); err == nil {
			began := time.Now()
			p.serve(ctx, conn)
			if time.Since(began) > lastRetry {
				tries = 1
				pause.Reset()
			}
		} else {
			p.node.log.Debug("no connection", "peer", p.addr, "error", err)
		}
		if ctx.Err() != nil || p.ended() {
			return
		}
		if tries >= maxTries && !p.pinned {
			p.node.lost(p, true)
			return
		}
		if !p.rest(ctx, pause.NextBackOff()) {
			return
		}
	}
}

// rest waits before the next try, and reports whether there is to be one.
func (p *peer) rest(ctx context.Context, d time.Duration) bool {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return true
		case <-p.more:
			if p.ended() {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (p *peer) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return p.node.cfg.Dial(ctx, "tcp", p.addr)
}

// serve writes what is in the queue. A peer says nothing on this connection; it
// is read only to learn of its end.
func (p *peer) serve(ctx context.Context, conn net.Conn) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn) // the end is all that there is to learn
	}()
	p.node.established(p)
	hurry := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now().Add(drainTime)) })
	p.write(ctx, conn, gone)
	hurry()
	_ = conn.Close() // what could be written was
	<-gone
	p.node.lost(p, false)
}

// write writes until the connection is gone or over.
func (p *peer) write(ctx context.Context, conn net.Conn, gone <-chan struct{}) {
	done := ctx.Done()
	var last time.Time
	for {
		b, ending := p.shift()
		if b == nil {
			if ending || done == nil {
				return
			}
			select {
			case <-p.more:
			case <-gone:
				return
			case <-done:
				done = nil
			}
			continue
		}
		until := time.Now().Add(writeTime)
		if ending || done == nil {
			if last.IsZero() {
				last = time.Now().Add(drainTime)
			}
			until = last
		}
		if err := conn.SetWriteDeadline(until); err != nil {
			p.unshift(b)
			return
		}
		if _, err := conn.Write(b); err != nil {
			p.unshift(b)
			return
		}
	}
}
