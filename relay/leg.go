package relay

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// legPing is how often a leg is heard of that has nothing to say, and legPatience after
	// how long without a word it is given up: soon, since there is the relay.
	legPing     = 3 * time.Second
	legPatience = 10 * time.Second
)

// leg is a socket between the two ends of one stream, and carries its frames
// instead of the relay: four bytes of length, big-endian, and a LiveFrame.
type leg struct {
	s    *Stream
	raw  net.Conn
	tls  *tls.Conn
	wake chan struct{}
	// heard is the time of the last frame, in Unix nanoseconds.
	heard atomic.Int64
	// in and out are the reader's and the writer's.
	in  []byte
	out outlet
}

func newLeg(s *Stream, raw net.Conn, t *tls.Conn) *leg {
	return &leg{s: s, raw: raw, tls: t, wake: make(chan struct{}, 1)}
}

// nudge wakes the writer.
func (g *leg) nudge() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// meet has both ends say what they have of the stream, the caller first, and takes
// the stream away from the relay.
func (g *leg) meet(ctx context.Context, caller bool) error {
	stop := context.AfterFunc(ctx, func() { _ = g.raw.Close() })
	f, err := g.greet(caller)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return err
	case f.GetResume() == nil || ID(f.GetResume().GetConnection()) != g.s.id:
		return fmt.Errorf("relay: leg: it does not begin as it should: %w", message.Invalid)
	case !g.s.depart(g, f.GetResume().GetReceived()):
		return fmt.Errorf("relay: leg: the connection is over: %w", Gone)
	}
	return nil
}

// greet exchanges the first frames.
func (g *leg) greet(caller bool) (*wirev1.LiveFrame, error) {
	if caller {
		if err := g.send(resumeFrame(g.s.id, g.s.at())); err != nil {
			return nil, err
		}
		return g.next()
	}
	f, err := g.next()
	if err != nil {
		return nil, err
	}
	return f, g.send(resumeFrame(g.s.id, g.s.at()))
}

// run carries the stream until it is over or the leg breaks; then the stream goes
// back to the relay.
func (g *leg) run() {
	g.heard.Store(time.Now().UnixNano())
	var reading sync.WaitGroup
	reading.Go(func() {
		err := g.listen()
		g.note("ended", err)
		g.s.comeBack(g)
		_ = g.raw.Close() // the writer ends too
		g.nudge()
	})
	err := g.write()
	_ = g.raw.Close() // all was said, or nobody hears it
	reading.Wait()
	g.note("was left", err)
	g.s.comeBack(g)
	g.s.line.reap(g.s)
}

// note says why the stream leaves the leg, where it is not over.
func (g *leg) note(how string, err error) {
	if g.s.Err() == nil {
		g.s.line.c.Log.Debug("relay: a direct way "+how, "error", err)
	}
}

// write sends what the stream has to say.
func (g *leg) write() error {
	ping := time.NewTicker(legPing)
	defer ping.Stop()
	for {
		said := false
		for f, more := g.s.pull(g, &g.out); f != nil; {
			if err := g.send(f); err != nil {
				return err
			}
			if said = true; !more {
				break
			}
			f, more = g.s.pull(g, &g.out)
		}
		if f, over := g.s.last(g); over {
			if f == nil {
				return nil
			}
			return g.send(f)
		}
		select {
		case <-g.wake:
		case now := <-ping.C:
			if now.UnixNano()-g.heard.Load() > int64(legPatience) {
				return fmt.Errorf("relay: leg: %w: %w", message.Unavailable, errSilent)
			}
			if said {
				continue
			}
			if err := g.send(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}}); err != nil {
				return err
			}
		}
	}
}

// send writes one frame.
func (g *leg) send(f *wirev1.LiveFrame) error {
	_, b, err := appendFrameTo(append(g.out.frame[:0], 0, 0, 0, 0), false, f)
	if err == nil {
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
		g.out.frame = b
		// Without this, whoever does not read would hold up the way back to the relay.
		_ = g.raw.SetWriteDeadline(time.Now().Add(legPatience))
		_, err = g.tls.Write(b)
		g.out.rest()
	}
	if err != nil {
		return fmt.Errorf("relay: leg: send: %w: %w", message.Unavailable, err)
	}
	return nil
}

// next reads one frame.
func (g *leg) next() (*wirev1.LiveFrame, error) {
	var head [4]byte
	if _, err := io.ReadFull(g.tls, head[:]); err != nil {
		return nil, fmt.Errorf("relay: leg: receive: %w: %w", message.Unavailable, err)
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > MaxFrame {
		return nil, fmt.Errorf("relay: leg: frame of %d bytes: %w", n, message.TooLarge)
	}
	if cap(g.in) < n || cap(g.in) > 8*smallFrame && n < smallFrame {
		g.in = make([]byte, n)
	}
	if _, err := io.ReadFull(g.tls, g.in[:n]); err != nil {
		return nil, fmt.Errorf("relay: leg: receive: %w: %w", message.Unavailable, err)
	}
	return parseFrame(false, g.in[:n])
}

// listen takes the frames of a leg until it breaks. What is not of this stream breaks it.
func (g *leg) listen() error {
	s := g.s
	for {
		f, err := g.next()
		if err != nil {
			return err
		}
		g.heard.Store(time.Now().UnixNano())
		switch frame := f.GetKind().(type) {
		case *wirev1.LiveFrame_Data:
			err = g.mine(frame.Data.GetConnection())
			if err == nil && s.data(frame.Data, g) {
				g.nudge()
			}
		case *wirev1.LiveFrame_Credit:
			if err = g.mine(frame.Credit.GetConnection()); err == nil {
				s.credit(frame.Credit.GetConsumed())
				g.nudge()
			}
		case *wirev1.LiveFrame_Close:
			if err = g.mine(frame.Close.GetConnection()); err == nil {
				s.close(frame.Close)
				g.nudge()
			}
		}
		if err != nil {
			return err
		}
		s.line.reap(s)
	}
}

// mine refuses frames of another connection.
func (g *leg) mine(id []byte) error {
	if ID(id) != g.s.id {
		return fmt.Errorf("relay: leg: a frame of another connection: %w", message.Invalid)
	}
	return nil
}
