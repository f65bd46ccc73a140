package relay

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// maxCandidates bounds where a caller may be sent to look.
	maxCandidates = 8
	// maxOffer bounds an offer, in bytes.
	maxOffer = 1 << 10
	// lowestPort is the first port that a caller dials: those below belong to protocols that
	// somebody might want it to speak to.
	lowestPort = 1024
	// offerWithin is how long a callee's port is open for its one caller.
	offerWithin = 10 * time.Second
	// proveWithin is how long a socket may be nobody's, at either end.
	proveWithin = 3 * time.Second
	// maxUnproved is how many sockets of a port may be nobody's at once; more wait outside.
	maxUnproved = 16
	// maxPorts is how many ports one line has open at once.
	maxPorts = 64
	// tokenSize is the bytes of a token.
	tokenSize = 16
)

// Direct is what it takes to do without the relay, where both ends can reach each
// other and both are willing: each learns addresses of the other. A nil function never does its part.
type Direct struct {
	// Listen opens a port for one caller, and says where it can be reached.
	Listen func(ctx context.Context) (net.Listener, []netip.AddrPort, error)
	// Dial connects to where the other end says that it waits. It is what decides which addresses
	// another person may have one connect to.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// willing reports whether an end would do its part.
func (e Ends) willing() bool {
	return e.Direct != nil && (e.Caller && e.Direct.Dial != nil || !e.Caller && e.Direct.Listen != nil)
}

// directName is the name of the handshake on a direct socket.
func directName(token []byte) string { return directPrefix + hex.EncodeToString(token) }

// offer opens a port and says so to the caller, as the first thing in the sealed
// channel; an offer without a candidate where that cannot be.
func (c *Conn) offer(ctx context.Context, e Ends) error {
	var l net.Listener
	w := &wirev1.LiveOffer{}
	name := ""
	if release, ok := c.stream.line.port(); ok {
		var at []netip.AddrPort
		var err error
		if l, at, err = e.Direct.Listen(ctx); err == nil {
			w, name, err = newOffer(at, e.Rand)
		}
		if err == nil {
			err = c.stream.line.spawn(func() {
				g := c.stream.await(l, name, e)
				release()
				if g != nil {
					g.run()
				}
			})
		}
		if err != nil {
			release()
			c.stream.line.c.Log.DebugContext(ctx, "relay: no direct way is offered", "error", err)
			if l != nil {
				_ = l.Close() // nobody was told of it
			}
			w = &wirev1.LiveOffer{}
		}
	}
	b, err := proto.Marshal(w)
	if err != nil {
		return fmt.Errorf("relay: offer: %w", err)
	}
	_, err = c.tls.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// newOffer names a port, and the handshake on it.
func newOffer(at []netip.AddrPort, random io.Reader) (*wirev1.LiveOffer, string, error) {
	token, err := crypto.RandomBytes(random, tokenSize)
	if err != nil {
		return nil, "", fmt.Errorf("relay: offer: %w", err)
	}
	w := &wirev1.LiveOffer{Token: token}
	for _, a := range at[:min(len(at), maxCandidates)] {
		w.Candidates = append(w.Candidates, a.String())
	}
	return w, directName(token), nil
}

// parseOffer reads an offer. What is no candidate that anybody should dial is
// passed over. Errors: message.TooLarge, message.Invalid.
func parseOffer(b []byte) (candidates []netip.AddrPort, token []byte, err error) {
	if len(b) > maxOffer {
		return nil, nil, fmt.Errorf("relay: offer of %d bytes: %w", len(b), message.TooLarge)
	}
	w := &wirev1.LiveOffer{}
	if err := proto.Unmarshal(b, w); err != nil || len(w.GetCandidates()) > maxCandidates || len(w.GetCandidates()) > 0 && len(w.GetToken()) != tokenSize {
		return nil, nil, fmt.Errorf("relay: not an offer: %w", message.Invalid)
	}
	for _, text := range w.GetCandidates() {
		to, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, nil, fmt.Errorf("relay: not an offer: %w", message.Invalid)
		}
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		if a := to.Addr(); to.Port() < lowestPort || a.Zone() != "" || !a.IsGlobalUnicast() && !a.IsLoopback() || slices.Contains(candidates, to) {
			continue
		}
		candidates = append(candidates, to)
	}
	return candidates, w.GetToken(), nil
}

// errNotMeant refuses a socket that does not know the token, or comes second.
var errNotMeant = errors.New("relay: not the handshake that this port waits for")

// await takes the one caller that a port was opened for. Whoever does not say the
// token gets no certificate to look at.
func (s *Stream) await(l net.Listener, name string, e Ends) *leg {
	ctx, cancel := context.WithTimeout(context.Background(), offerWithin)
	defer cancel()
	config, err := e.config(name)
	if err != nil {
		_ = l.Close() // nobody will be taken
		return nil
	}
	var taken atomic.Bool
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if !slices.Equal(h.SupportedProtos, []string{name}) || taken.Swap(true) {
			return nil, errNotMeant
		}
		return nil, nil
	}
	defer s.whileOpen(ctx, cancel)()
	won := make(chan *leg, 1)
	places := make(chan struct{}, maxUnproved)
	var all sync.WaitGroup
	closed := context.AfterFunc(ctx, func() { _ = l.Close() })
	for ctx.Err() == nil {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		raw, err := l.Accept()
		if err != nil {
			break
		}
		all.Go(func() {
			if g := s.prove(ctx, raw, tls.Server(raw, config), false); g != nil {
				won <- g // the token is good for one
				cancel()
			}
			<-places
		})
	}
	if closed() {
		_ = l.Close() // the caller came, or the port broke
	}
	cancel()
	all.Wait()
	select {
	case g := <-won:
		return g
	default:
		return nil
	}
}

// whileOpen has cancel called when the other end is gone, until the function that
// it returns is called.
func (s *Stream) whileOpen(ctx context.Context, cancel func()) (stop func()) {
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	})
	return func() { cancel(); watching.Wait() }
}

// seek looks for the callee where it says that it is, and carries the stream on
// the first socket on which it has proved itself.
func (c *Conn) seek(e Ends) {
	s := c.stream
	b, ok := c.preface.await(c.tls, s.ended)
	if !ok {
		return
	}
	candidates, token, err := parseOffer(b)
	if err != nil || len(candidates) == 0 {
		s.line.c.Log.Debug("relay: no direct way was offered", "error", err)
		return
	}
	config, err := e.config(directName(token))
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), offerWithin)
	defer s.whileOpen(ctx, cancel)()
	won := make(chan *leg, len(candidates))
	var all sync.WaitGroup
	for _, to := range candidates {
		all.Go(func() {
			dialing, done := context.WithTimeout(ctx, proveWithin)
			raw, err := e.Direct.Dial(dialing, to)
			done()
			if err != nil {
				s.line.c.Log.Debug("relay: a direct way leads nowhere", "to", to, "error", err)
				return
			}
			if g := s.prove(ctx, raw, tls.Client(raw, config), true); g != nil {
				won <- g
				cancel()
			}
		})
	}
	all.Wait()
	close(won)
	for g := range won { // one at most: the token is good for one
		g.run()
	}
}

// prove makes a socket a leg of the stream, where the other end proves on it who it
// is, and that it knows the connection. Otherwise the socket is closed.
func (s *Stream) prove(ctx context.Context, raw net.Conn, t *tls.Conn, caller bool) *leg {
	ctx, cancel := context.WithTimeout(ctx, proveWithin)
	defer cancel()
	err := t.HandshakeContext(ctx)
	g := newLeg(s, raw, t)
	if err == nil {
		err = g.meet(ctx, caller)
	}
	if err != nil {
		s.line.c.Log.Debug("relay: nobody to talk to directly", "error", err)
		_ = raw.Close() // nothing was said on it
		return nil
	}
	return g
}

// preface is the offer, which comes before all that the callee says.
type preface struct {
	done  atomic.Bool
	mu    sync.Mutex // guards part
	part  []byte
	offer chan []byte // gets it, once
}

// read reads until the offer is whole. After a deadline it can go on.
func (p *preface) read(from io.Reader) error {
	if p.done.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.done.Load() {
		n := 2
		if len(p.part) >= n {
			n += int(binary.BigEndian.Uint16(p.part))
		}
		switch {
		case n > 2+maxOffer:
			return fmt.Errorf("relay: an offer of %d bytes: %w", n-2, Broken)
		case n > 2 && len(p.part) == n, n == 2 && len(p.part) == 2:
			p.done.Store(true)
			p.offer <- p.part[2:]
			return nil
		}
		b := make([]byte, n-len(p.part))
		m, err := from.Read(b)
		p.part = append(p.part, b[:m]...)
		if m == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// await is the offer, whoever reads it; not ok where none comes any more.
func (p *preface) await(from io.Reader, ended <-chan struct{}) ([]byte, bool) {
	err := p.read(from)
	if nerr, ok := errors.AsType[net.Error](err); err != nil && (!ok || !nerr.Timeout()) {
		return nil, false
	}
	select {
	case b := <-p.offer:
		return b, true
	case <-ended: // a reader's deadline has passed, and the reader did not come again
		return nil, false
	}
}
