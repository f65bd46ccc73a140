package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"airdispatch/relay"
)

// livePiece is what one write carries on a connection.
const livePiece = 64 << 10

// liveGroup is live connections beside what a process does that copies from one TCP
// connection to another, with and without TLS between the ends.
func liveGroup() Group {
	const plain, sealed, relayed, many = "TCP, copied", "TCP, copied, TLS between the ends", "live connection", "live connections, 8 at once"
	const shaken, connected = "TCP, copied: connect, TLS both ways, close", "live: connect, prove, close"
	return Group{
		Name: "live", Title: "Live connections, writes of 64 KiB",
		Cases: []Case{
			{Name: plain, Bytes: livePiece, Open: carried(copied(false))}, {Name: sealed, Bytes: livePiece, Open: carried(copied(true))},
			{Name: relayed, Bytes: livePiece, Open: carried(openLive)}, {Name: many, Workers: 8, Bytes: livePiece, Open: carried(openLive)},
			{Name: shaken, Open: shakes(copied(true))}, {Name: connected, Open: shakes(openLive)},
		},
		Ratios: []Ratio{
			{Of: relayed, To: plain, Note: "four more TLS crossings, each byte sealed three times"}, {Of: relayed, To: sealed, Note: "two of them on the way to and from the server"},
			{Of: many, To: relayed}, {Of: connected, To: shaken, Note: "two messages more, through the server"},
		},
	}
}

// between makes connections between two ends, through something.
type between struct {
	connect func() (near, far net.Conn, err error)
	close   func()
}

// carried writes pieces at one end and reads them at the other, each worker on a
// connection of its own.
func carried(open func(dir string) (*between, error)) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		b, err := open(dir)
		if err != nil {
			return nil, err
		}
		const most = 8
		nears, fars := make([]net.Conn, most), make([]net.Conn, most)
		var reading sync.WaitGroup
		r := &Run{Close: func() {
			for i := range nears {
				if nears[i] != nil {
					_ = nears[i].Close()
					_ = fars[i].Close()
				}
			}
			reading.Wait()
			b.close()
		}}
		for i := range most {
			if nears[i], fars[i], err = b.connect(); err != nil {
				r.Close()
				return nil, err
			}
			reading.Go(func() { _, _ = io.Copy(io.Discard, fars[i]) }) // until it is closed
		}
		piece := make([]byte, livePiece)
		r.Do = func(w int) error {
			_, err := nears[w].Write(piece)
			return err
		}
		return r, nil
	}
}

// shakes makes connections and closes them, one after the other.
func shakes(open func(dir string) (*between, error)) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		b, err := open(dir)
		if err != nil {
			return nil, err
		}
		return &Run{Close: b.close, Do: func(int) error {
			near, far, err := b.connect()
			if err != nil {
				return err
			}
			return errors.Join(near.Close(), far.Close())
		}}, nil
	}
}

// copied is a process that copies, as one does that looks at what it passes: without
// splice(2). With TLS both ends prove themselves, as those of a live connection do.
func copied(sealed bool) func(string) (*between, error) {
	return func(string) (*between, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		out, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		var copying sync.WaitGroup
		copying.Go(func() {
			for in, err := l.Accept(); err == nil; in, err = l.Accept() {
				on, err := net.Dial("tcp", out.Addr().String())
				if err != nil {
					_ = in.Close()
					continue
				}
				pass := func(to, from net.Conn) {
					_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from}) // until either is closed
					_, _ = to.Close(), from.Close()
				}
				copying.Go(func() { pass(on, in) })
				copying.Go(func() { pass(in, on) })
			}
		})
		certificate, _, err := certificate()
		b := &between{close: func() { _, _ = l.Close(), out.Close(); copying.Wait() }}
		b.connect = func() (net.Conn, net.Conn, error) {
			near, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return nil, nil, err
			}
			far, err := out.Accept()
			if err != nil || !sealed {
				return near, far, err
			}
			config := &tls.Config{
				Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13,
				SessionTicketsDisabled: true, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}, // as relay.Secure has it
			}
			a, z := tls.Client(near, config), tls.Server(far, config)
			proved := make(chan error, 1)
			go func() { proved <- z.Handshake() }()
			return a, z, errors.Join(a.Handshake(), <-proved)
		}
		return b, err
	}
}

// openLive is a mail server with two people, who connect through it.
func openLive(dir string) (*between, error) {
	h, err := openMail(dir)
	if err != nil {
		return nil, err
	}
	people, err := h.residents(2)
	if err != nil {
		h.close()
		return nil, err
	}
	ann, bob := people[0], people[1]
	ctx, cancel := context.WithCancel(everyone())
	var running sync.WaitGroup
	b := &between{close: func() { cancel(); running.Wait(); leave(people); h.close() }}
	line := func(p *person, c relay.LineConfig) (*relay.Line, error) {
		c.Self, c.Rand, c.Linger = p.keys.Address(), rand.Reader, time.Hour
		c.Open = func(ctx context.Context) (*relay.Socket, error) { return relay.Open(ctx, p.peer) }
		l, err := relay.NewLine(c)
		if err == nil {
			running.Go(func() { _ = l.Run(ctx) })
		}
		return l, err
	}
	fars, serving := make(chan net.Conn, 1), make(chan struct{}, 1)
	_, err = line(bob, relay.LineConfig{
		Protocols: []string{"bench"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(ctx context.Context, in *relay.Incoming) {
			if c, err := relay.Secure(ctx, in.Accept(), relay.Ends{Keyring: bob.keys, Peer: ann.keys.Chain, Rand: rand.Reader}); err == nil {
				fars <- c
			}
		},
	})
	if err != nil {
		b.close()
		return nil, err
	}
	<-serving
	l, err := line(ann, relay.LineConfig{})
	if err != nil {
		b.close()
		return nil, err
	}
	b.connect = func() (net.Conn, net.Conn, error) {
		s, err := l.Call(ctx, bob.keys.Address(), "bench", nil)
		if err != nil {
			return nil, nil, err
		}
		near, err := relay.Secure(ctx, s, relay.Ends{Keyring: ann.keys, Peer: bob.keys.Chain, Caller: true, Rand: rand.Reader})
		if err != nil {
			return nil, nil, err
		}
		return near, <-fars, nil
	}
	return b, nil
}
