package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// quietly are settings under which nothing goes to more than one host.
const quietly = "[explorer]\nperiod = \"%s\"\n[explorer.multicast]\naddress = \"\"\naddress6 = \"\"\nport = %s\n[explorer.broadcast]\naddress = \"\"\n"

// street is two contacts on one network, of whom bob is there for others. Nobody has a server.
type street struct {
	t        *town
	bob, ann *home
	// at is where bob answers, and where datagrams reach him: one number for TCP and UDP.
	at      string
	config  string
	serving *program
}

// street opens one, with flags of bob's and so much time between announcements.
func (t *town) street(ctx context.Context, period string, flags ...string) (*street, error) {
	s := &street{t: t}
	var err error
	if s.bob, err = t.born(ctx); err != nil {
		return nil, err
	}
	if s.ann, err = t.born(ctx); err != nil {
		return nil, err
	}
	return s, s.open(ctx, period, flags...)
}

// open makes contacts of ann and bob, and has bob be there.
func (s *street) open(ctx context.Context, period string, flags ...string) (err error) {
	if err = s.knows(ctx, s.bob, s.ann, "ann"); err != nil {
		return err
	}
	if err = s.knows(ctx, s.ann, s.bob, "bob"); err != nil {
		return err
	}
	if s.at, err = free(); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.at)
	if err != nil {
		return err
	}
	if s.config, err = s.t.file("nearby-"+port+".toml", fmt.Sprintf(quietly, period, port)); err != nil {
		return err
	}
	s.serving, err = s.bob.there(ctx, s.at, append(flags, "--config", s.config)...)
	return err
}

// knows makes somebody a contact of somebody.
func (s *street) knows(ctx context.Context, who, whom *home, name string) error {
	_, err := who.adctl(ctx, "contacts", "add", whom.address.String(), name)
	return err
}

// there is nearby serve, until ctx ends.
func (h *home) there(ctx context.Context, at string, flags ...string) (*program, error) {
	p, err := h.t.begin("adctl", append([]string{"nearby", "serve", "--home", h.dir, "--listen", at}, flags...)...)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, p.kill)
	return p, p.awaits(ctx, "listening "+at)
}

// does is a command of nearby, by somebody who looks for others where datagrams of peers are taken.
func (s *street) does(ctx context.Context, who *home, in, peers string, args ...string) (string, error) {
	flags := []string{"--config", s.config, "--wait", "5s", "--home", who.dir}
	for _, one := range strings.Fields(peers) {
		flags = append(flags, "--peer", one)
	}
	var from io.Reader
	if in != "" {
		from = strings.NewReader(in)
	}
	return s.t.runFed(ctx, who.env, from, who.dir, append(append([]string{"adctl", "nearby"}, args...), flags...)...)
}

// well is the control: ann is served as ever.
func (s *street) well(ctx context.Context, f *findings) {
	const word = "is all well?"
	heard, err := s.does(ctx, s.ann, word, s.at, "connect", "bob", "echo")
	f.must(err == nil && heard == word, "the control: a contact heard %q, %v", heard, err)
	f.must(s.serving.lives(), "the peer has ended: %s", s.serving.said.bytes())
}

// beacon is what those say, or knock with, who know an address.
func beacon(a message.Address, label string) []byte {
	b := crypto.Beacon(a.Bytes(), label, uint64(time.Now().Unix())/600)
	return b[:]
}

// knock is the name under which one is let in by who has an address.
func knock(a message.Address) string {
	return hex.EncodeToString(beacon(a, "nearby knock")) + ".invalid"
}

// ownCertificate is a certificate of somebody's device.
func ownCertificate(k *message.Keyring) ([]tls.Certificate, error) {
	der, key, err := k.Signer.DeviceCertificate(crand.Reader, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, err
}

// pinned is a handshake with a peer, by hand: under a name, with somebody's device or nobody's, from an
// address of this machine.
func pinned(ctx context.Context, at, name, from string, k *message.Keyring) (*tls.Conn, error) {
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ServerName: name, NextProtos: []string{"ad-nearby/1"}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}}
	if k != nil {
		var err error
		if c.Certificates, err = ownCertificate(k); err != nil {
			return nil, err
		}
	}
	raw, err := stranger(ctx, at, from)
	if err != nil {
		return nil, err
	}
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	conn := tls.Client(raw, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// asks writes a request to bob by hand, with the device of whoever has the keys, in the name of an address; it
// returns the status, or an error where there is no answer.
func (s *street) asks(ctx context.Context, k *message.Keyring, as message.Address, method, path string, body []byte, header ...string) (int, error) {
	conn, err := pinned(ctx, s.at, knock(s.bob.address), "127.0.0.1", k)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	req, err := http.NewRequestWithContext(ctx, method, "https://peer.invalid"+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Airdispatch-Address", as.String())
	for n := 0; n+1 < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// cardsOf are somebody's cards as they are shown.
func cardsOf(k *message.Keyring) []byte {
	b, err := proto.Marshal(&wirev1.Identity{Cards: k.Chain.Signed(0)})
	if err != nil {
		panic(err) // what was read can be written
	}
	return b
}

// saysThere is a datagram of somebody who answers at a port, with the beacon of an address, or with none.
func saysThere(id []byte, port int, a message.Address) []byte {
	w := &wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id}, Port: int32(port)}
	if !a.IsZero() {
		w.Beacon = beacon(a, "nearby beacon")
	}
	b, err := proto.Marshal(w)
	if err != nil {
		panic(err) // numbers and bytes can be written
	}
	return b
}

// decoy answers whoever looks for peers with one datagram, and counts them.
func (t *town) decoy(says []byte) (at string, err error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	t.ends(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(says, from) // who has gone needs no answer
		}
	}()
	return c.LocalAddr().String(), nil
}

// bent is a way to bob that somebody else has in hand.
type bent struct {
	// udp is where those look for bob who are led this way.
	udp string

	mu sync.Mutex
	// change is what becomes of bytes behind so many of a direction; nil passes them on.
	change func(toCaller bool, b []byte) (out []byte, end bool)
	came   int
}

// straight is how many bytes of each direction pass as they are.
const straight = 300_000

// bends makes one.
func (s *street) bends() (*bent, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.t.ends(func() { _ = l.Close() })
	w := &bent{}
	if w.udp, err = s.t.decoy(saysThere(random(16), l.Addr().(*net.TCPAddr).Port, s.bob.address)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c, s.at) // it ends with the connection
		}
	}()
	return w, nil
}

// does sets what becomes of what passes.
func (w *bent) does(change func(toCaller bool, b []byte) ([]byte, bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change = change
}

func (w *bent) carry(near net.Conn, at string) {
	defer near.Close()
	far, err := net.Dial("tcp", at)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	w.came++
	change := w.change
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { bend(near, far, true, change) })
	bend(far, near, false, change)
	both.Wait()
}

// bend passes one direction on, and its end as the end of TCP.
func bend(to, from net.Conn, toCaller bool, change func(bool, []byte) ([]byte, bool)) {
	buffer := make([]byte, 16<<10)
	for passed := 0; ; {
		n, err := from.Read(buffer)
		b, end := buffer[:n], false
		if passed += n; passed > straight && change != nil && n > 0 {
			b, end = change(toCaller, b)
		}
		if _, bad := to.Write(b); err != nil || bad != nil || end {
			_ = to.(*net.TCPConn).CloseWrite() // it may have ended already
			if end {
				_ = from.Close()
			}
			return
		}
	}
}

// reused opens a UDP socket at a port that others have too, on another address.
func reused(ctx context.Context, at string) (net.PacketConn, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
		return errors.Join(err, failed)
	}}
	return c.ListenPacket(ctx, "udp4", at)
}

// readBy is what lies in somebody's inbox, without asking a server.
func (h *home) readBy(ctx context.Context) ([]map[string]any, error) {
	return h.list(ctx, "inbox", "--offline")
}

// impostor answers where it was said that bob is: with a device of its own, and as its handler likes. It
// counts who comes, and requests besides those that anybody may make.
type impostor struct {
	udp        string
	came, said atomic.Int32
}

// veiled hides that a connection is one of TLS, for which HTTP would want a name of its own.
type veiled struct{ net.Conn }

// veils are connections of TLS that HTTP takes as they are.
type veils struct {
	net.Listener
	came *atomic.Int32
}

// Accept implements net.Listener.
func (v veils) Accept() (net.Conn, error) {
	c, err := v.Listener.Accept()
	if err == nil {
		v.came.Add(1)
	}
	return veiled{c}, err
}

// impostor answers for bob with the device of somebody else, and with bob's cards.
func (s *street) impostor(who *home) (*impostor, error) {
	return s.t.answersNearby(who.keys, s.bob, http.NotFoundHandler())
}

// answersNearby is a peer by hand: it is said to be somebody, whose cards it shows, has some device, and does as
// its handler likes.
func (t *town) answersNearby(device *message.Keyring, as *home, rest http.Handler) (*impostor, error) {
	certificate, err := ownCertificate(device)
	if err != nil {
		return nil, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"ad-nearby/1"}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}, ClientAuth: tls.RequestClientCert, Certificates: certificate,
	})
	if err != nil {
		return nil, err
	}
	p := &impostor{}
	server := &http.Server{ErrorLog: quiet(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cards" && r.Method == http.MethodGet {
			_, _ = w.Write(cardsOf(as.keys)) // who asked sees whether it came
			return
		}
		p.said.Add(1)
		rest.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(veils{l, &p.came}) }() // it ends with Close
	t.ends(func() { _ = server.Close() })
	p.udp, err = t.decoy(saysThere(random(16), l.Addr().(*net.TCPAddr).Port, as.address))
	return p, err
}
