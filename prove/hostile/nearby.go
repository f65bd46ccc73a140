package main

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"airdispatch/message"
	"airdispatch/nearby"
	"airdispatch/prove/proof"
	"airdispatch/prove/tricks"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// quietly are settings under which nothing goes to more than one host.
const quietly = "[explorer]\nperiod = \"1s\"\n[explorer.multicast]\naddress = \"\"\naddress6 = \"\"\nport = %s\n[explorer.broadcast]\naddress = \"\"\n"

// neighbour is adctl nearby serve, who chats with it, and who attacks.
type neighbour struct {
	a       *arena
	p       *program
	port    target
	config  string
	address message.Address
	crook   *message.Keyring
	n       atomic.Uint32
}

// openNearby starts two visible peers that serve, and chats with both.
func (a *arena) openNearby(ctx context.Context) (*room, error) {
	r := &room{name: "nearby", every: chatting}
	v, ask, err := a.neighbour(ctx, "nearby", r)
	if err != nil {
		return r, err
	}
	twin, askTwin, err := a.neighbour(ctx, "nearby's twin", r)
	if err != nil {
		return r, err
	}
	r.ran, r.twin, r.at = v.p, twin.p, []target{v.port}
	r.ask, r.whole = ask, v.whole
	r.still = func(ctx context.Context) error {
		return errors.Join(ask(ctx), askTwin(ctx), v.listed(ctx), v.whole(ctx))
	}
	r.cases, r.slow = v.cases(), v.slow()
	return r, nil
}

// neighbour starts one, and opens a session with it.
func (a *arena) neighbour(ctx context.Context, name string, r *room) (v *neighbour, ask func(context.Context) error, err error) {
	at, err := free()
	if err != nil {
		return nil, nil, err
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, nil, err
	}
	v = &neighbour{a: a, port: target{name: name, address: at, metrics: true}, config: filepath.Join(a.dir, port+".toml")}
	if err := os.WriteFile(v.config, fmt.Appendf(nil, quietly, port), 0o600); err != nil {
		return nil, nil, err
	}
	home := filepath.Join(a.dir, "home-"+port)
	out, err := a.town.Programs.Run(ctx, "adctl", "--home", home, "id", "new", "--no-passphrase")
	if err != nil {
		return nil, nil, err
	}
	if v.address, err = message.ParseAddress(strings.TrimSpace(out)); err != nil {
		return nil, nil, err
	}
	if v.crook, err = proof.Keyring(message.RoleUser); err != nil {
		return nil, nil, err
	}
	v.p, err = a.begin(ctx, name, "listening "+at, "--home", home, "nearby", "serve", "--listen", at, "--config", v.config, "--visible", "--verbose", "--exec", "echo=cat", "--allow", "anyone")
	if err != nil {
		return nil, nil, err
	}
	r.ends = append(r.ends, v.p.kill)
	s, err := v.session(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	n := 0
	return v, func(ctx context.Context) error {
		n++
		word := fmt.Sprintf("healthy-line-%d.", n)
		return v.p.out.heard(ctx, word, func() error { return s.Say(ctx, word) })
	}, nil
}

// session is that of the healthy peer: pinned to the keys of the address.
func (v *neighbour) session(ctx context.Context, r *room) (*nearby.Session, error) {
	keys, err := proof.Keyring(message.RoleUser)
	if err != nil {
		return nil, err
	}
	node, err := nearby.New(nearby.Config{
		ID: nearby.ID(random(16)), Port: 9, Keyring: keys, Rand: crand.Reader, Dial: (&net.Dialer{}).DialContext,
		Listen: func(context.Context, string, string) (net.PacketConn, error) {
			return nil, errors.New("nobody listens here")
		},
	})
	if err != nil {
		return nil, err
	}
	place, err := netip.ParseAddrPort(v.port.address)
	if err != nil {
		return nil, err
	}
	link, err := node.Connect(ctx, nearby.Peer{Place: place}, v.address)
	if err != nil {
		return nil, err
	}
	s, err := link.Chat(ctx)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Hear(context.WithoutCancel(ctx), func(nearby.Line) {}) // until it is closed
	}()
	r.ends = append(r.ends, func() { _ = s.Close(); <-done })
	return s, nil
}

// listed demands that a real adctl finds the peer and proves who it is.
func (v *neighbour) listed(ctx context.Context) error {
	home, err := os.MkdirTemp(v.a.dir, "home-")
	if err != nil {
		return err
	}
	if _, err := v.a.town.Programs.Run(ctx, "adctl", "--home", home, "id", "new", "--no-passphrase"); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(v.a.dir, "bin", "adctl"), "--home", home, "nearby", "list", "--config", v.config, "--peer", v.port.address, "--wait", "2s")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), v.address.String()) || !strings.Contains(string(out), "verified") {
		return fmt.Errorf("nearby list: %w: %s", err, out)
	}
	return nil
}

// dialUDP is a socket for datagrams, from one of many addresses; nobody is heard more than fifty times a second.
func (v *neighbour) dialUDP() (*net.UDPConn, error) {
	to, err := net.ResolveUDPAddr("udp4", v.port.address)
	if err != nil {
		return nil, err
	}
	n := v.n.Add(1)
	return net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 10, byte(n>>7&127), byte(n&127)+1)}, to)
}

// datagram is one of a visible peer of our kind, as long as those that announce.
func (v *neighbour) datagram(change func(w *wirev1.NearbyPeer)) []byte {
	id := [16]byte(random(16))
	h, err := message.SignHello(message.Hello{Peer: id, Port: 9, Time: time.Now(), Expires: time.Now().Add(5 * time.Minute)}, v.crook.Chain, v.crook.Signer)
	if err != nil {
		return nil // the control has had no answer either
	}
	w := &wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id[:]}, Port: 9, Hello: h.Signed, Padding: make([]byte, 100)}
	if change != nil {
		change(w)
	}
	b, err := proto.Marshal(w)
	if err != nil {
		return nil
	}
	return b
}

// throws sends datagrams and returns how many came back and the longest; none may be longer than what
// was sent.
func (v *neighbour) throws(wait time.Duration, all ...[]byte) (answers int, err error) {
	c, err := v.dialUDP()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	longest := 0
	for n, b := range all {
		longest = max(longest, len(b))
		_, _ = c.Write(b) // what is too long for a datagram does not go
		if n%16 == 15 {
			time.Sleep(2 * time.Millisecond)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	for b := make([]byte, 2048); ; answers++ {
		n, err := c.Read(b)
		if err != nil {
			return answers, nil // the time is over
		}
		if n > longest {
			return answers, fmt.Errorf("an answer of %d bytes to %d", n, longest)
		}
	}
}

// line is a message of a chat.
func line(text string) string {
	b, _ := proto.Marshal(&wirev1.NearbyMessage{SendTime: timestamppb.Now(), Message: text}) // made here, it has a form
	return string(b)
}

// plainly opens a session in the clear, as a peer of P2P v0.4 whose datagram came before.
func (v *neighbour) plainly(ctx context.Context) (*socket, error) {
	id := nearby.ID(random(16))
	for {
		c, err := v.a.plain(ctx, v.port)
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(c.LocalAddr().String())
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		to, err := net.ResolveUDPAddr("udp4", v.port.address)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		u, err := net.DialUDP("udp4", &net.UDPAddr{IP: from.Addr().AsSlice()}, to)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		b, err := proto.Marshal(&wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id[:]}, Port: int32(from.Port())})
		if err == nil {
			_, err = u.Write(b)
		}
		if err = errors.Join(err, u.Close()); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		_ = pause(ctx, 20*time.Millisecond)
		s, err := sit(c, upgrade("/ws", v.port.address, "PeerID: "+id.String()))
		if err == nil || !errors.Is(err, errNoSocket) || ctx.Err() != nil {
			return s, err
		}
		_ = pause(ctx, 100*time.Millisecond) // the datagram came when there were too many
	}
}

// sealed makes the handshake of peers, with a certificate of somebody or none.
func (v *neighbour) sealed(ctx context.Context, keys *message.Keyring) (net.Conn, error) {
	raw, err := v.a.plain(ctx, v.port)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"ad-nearby/1"}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}, InsecureSkipVerify: true}
	if keys != nil {
		der, signer, err := keys.Signer.DeviceCertificate(crand.Reader, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		if err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}}
	}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return c, nil
}

// asked makes a request over TLS and returns the status.
func (v *neighbour) asked(ctx context.Context, keys *message.Keyring, text string) (int, error) {
	c, err := v.sealed(ctx, keys)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	go pour(c, text) // it ends with the connection
	return answered(c), nil
}

// headed is a request over TLS of somebody who says who it is.
func headed(method, path string, who message.Address, body string, headers ...string) string {
	text := method + " " + path + " HTTP/1.1\r\nHost: peer.invalid\r\nAirdispatch-Address: " + who.String() + "\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", text, len(body), body)
}

// cards are those of the attacker.
func (v *neighbour) cards() string {
	b, _ := proto.Marshal(&wirev1.Identity{Cards: v.crook.Chain.Signed(0)}) // as above
	return string(b)
}

// whole does each thing in order.
func (v *neighbour) whole(ctx context.Context) error {
	for tries := 0; ; tries++ { // ten a second are answered in all
		answers, err := v.throws(300*time.Millisecond, v.datagram(nil))
		if err != nil {
			return err
		}
		if answers > 0 {
			break
		}
		if tries == 10 {
			return errors.New("a datagram has no answer")
		}
	}
	s, err := v.plainly(ctx)
	if err != nil {
		return fmt.Errorf("a session in the clear: %w", err)
	}
	word := fmt.Sprintf("whole-%x.", random(8))
	err = v.p.out.heard(ctx, word, func() error {
		return errors.Join(s.says(said(fin|opBinary, line(word))), s.says(said(fin|opPing, "x")))
	})
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("a line in the clear: %w", err)
	}
	for what, text := range map[string]string{
		"PUT /cards": headed(http.MethodPut, "/cards", v.crook.Address(), v.cards()), "GET /ping": headed(http.MethodGet, "/ping", v.crook.Address(), ""), "GET /cards": headed(http.MethodGet, "/cards", v.crook.Address(), ""),
	} {
		if what == "GET /ping" { // whose cards have to be known
			if _, err := v.asked(ctx, v.crook, headed(http.MethodPut, "/cards", v.crook.Address(), v.cards())); err != nil {
				return err
			}
		}
		if status, err := v.asked(ctx, v.crook, text); err != nil || status/100 != 2 {
			return fmt.Errorf("%s over TLS: %d, %w", what, status, err)
		}
	}
	return v.echoes(ctx)
}

// echoes connects to the process that the peer serves.
func (v *neighbour) echoes(ctx context.Context) error {
	c, err := v.sealed(ctx, v.crook)
	if err != nil {
		return err
	}
	s, err := sit(c, v.connecting())
	if err != nil {
		return fmt.Errorf("GET /connection: %w", err)
	}
	defer s.Close()
	b := make([]byte, 5)
	if _, err = io.WriteString(s, "hello"); err == nil {
		_, err = io.ReadFull(s.in, b)
	}
	if err != nil || string(b) != "hello" {
		return fmt.Errorf("the connection echoes %q, %w", b, err)
	}
	return nil
}

// connecting asks for a connection.
func (v *neighbour) connecting() string {
	return strings.Replace(headed(http.MethodGet, "/connection", v.crook.Address(), "", "Connection: Upgrade", "Upgrade: airdispatch-connection", "Airdispatch-Protocol: echo"), "Content-Length: 0\r\n", "", 1)
}

// says writes bytes.
func (s *socket) says(text string) error { return all(io.WriteString(s, text)) }

// tricky are lines that aim at a terminal.
func tricky() map[string]string {
	all := map[string]string{}
	for n, trick := range tricks.Texts() {
		all[fmt.Sprintf("trick %d", n)] = trick
	}
	return all
}
