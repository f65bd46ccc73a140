package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// program is one that goes on: a listener, a peer in a room.
type program struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out, said recording
	done      chan struct{}
}

// begin starts a program in the background; it ends with the town.
func (t *town) begin(name string, args ...string) (*program, error) {
	p := &program{cmd: exec.Command(filepath.Join(t.bin, name), args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "TMPDIR="+t.temporary(name))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.said
	p.cmd.WaitDelay = time.Second // what it has started may hold its outputs
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended, whoever waits for it sees
	}()
	t.ends(p.kill)
	return p, nil
}

// kill ends it by SIGKILL.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// lives reports whether it goes on.
func (p *program) lives() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// awaits waits until it has written something, on either output.
func (p *program) awaits(ctx context.Context, text string) error {
	err := until(ctx, fmt.Sprintf("%q", text), func() bool {
		return !p.lives() || bytes.Contains(p.out.bytes(), []byte(text)) || bytes.Contains(p.said.bytes(), []byte(text))
	})
	if err == nil && !p.lives() && !bytes.Contains(p.out.bytes(), []byte(text)) {
		err = errors.New("it has ended")
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, p.said.bytes())
	}
	return err
}

// resident is the memory of a server, in MiB.
func resident(s *server) (int, error) { return memoryOf(s.cmd.Process.Pid) }

// memoryOf is the resident memory of a process, in MiB.
func memoryOf(pid int) (int, error) {
	now, _, err := proof.Memory(pid)
	return int(now), err
}

// parlour is somebody who listens, and a contact of theirs who may call.
type parlour struct {
	server   *server // where bob lives
	bob, ann *home
	listener *program
	ran      string // a file with a line for every process that was started
}

// parlour opens one at a server; ann lives at the server one.
func (t *town) parlour(ctx context.Context, at *server) (p *parlour, err error) {
	p = &parlour{server: at}
	if p.bob, err = t.moves(ctx, at); err != nil {
		return nil, err
	}
	if p.ann, err = t.moves(ctx, t.one); err != nil {
		return nil, err
	}
	if _, err = p.bob.adctl(ctx, "contacts", "add", p.ann.address.String(), "ann"); err != nil {
		return nil, err
	}
	p.ran = filepath.Join(p.bob.dir, "ran")
	if err = os.WriteFile(p.ran, nil, 0o600); err != nil {
		return nil, err
	}
	p.listener, err = p.bob.listens(ctx, "echo", "--exec", "echo $ADCTL_PEER >>'"+p.ran+"'; exec cat")
	return p, err
}

// parlourAndStranger opens one where somebody lives too who is no contact of anybody.
func (t *town) parlourAndStranger(ctx context.Context, at *server) (p *parlour, mallory *proof.Person, err error) {
	if p, err = t.parlour(ctx, at); err != nil {
		return nil, nil, err
	}
	mallory, err = t.person(ctx, at)
	return p, mallory, err
}

// meddledParlour opens one at a server behind a meddler.
func (t *town) meddledParlour(ctx context.Context, name string) (*parlour, *meddler, error) {
	at, m, err := t.meddled(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	p, err := t.parlour(ctx, at)
	return p, m, err
}

// listens starts a listener, and waits until callers reach it. It ends with ctx: the connections
// of all rows come from one host, which may have so many.
func (h *home) listens(ctx context.Context, protocol string, flags ...string) (*program, error) {
	p, err := h.t.begin("adctl", append([]string{"listen", protocol, "--home", h.dir}, flags...)...)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, p.kill)
	return p, p.awaits(ctx, "listening")
}

// started is who got a process so far.
func (p *parlour) started() string {
	b, err := os.ReadFile(p.ran)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// echoes has ann say something to bob, and returns what came back.
func (p *parlour) echoes(ctx context.Context, said string) (string, error) {
	return p.ann.t.runFed(ctx, p.ann.env, strings.NewReader(said), p.ann.dir, "adctl", "connect", p.bob.address.String(), "echo", "--home", p.ann.dir)
}

// well is the control: ann is served as ever.
func (p *parlour) well(ctx context.Context, f *findings) {
	const word = "is all well?"
	heard, err := p.echoes(ctx, word)
	f.must(err == nil && heard == word, "the control: a contact heard %q, %v", heard, err)
	f.must(p.listener.lives(), "the listener has ended: %s", p.listener.said.bytes())
}

// hand is a socket of somebody who writes frames by hand.
type hand struct {
	ws *websocket.Conn
}

// knocker counts the addresses of this machine from which hands come.
var knocks atomic.Uint32

// socket opens a WebSocket to a server, from an address of its own.
func (t *town) socket(ctx context.Context, s *server, form string) (*websocket.Conn, error) {
	n := knocks.Add(1)
	from := net.IPv4(127, 21, byte(n>>8), byte(n))
	link, _, _ := strings.Cut(s.reference, "#")
	dial := func(ctx context.Context, network, at string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
		raw, err := d.DialContext(ctx, network, at)
		if err != nil {
			return nil, err
		}
		return tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}), nil // who it is, is no question here
	}
	ws, _, err := websocket.Dial(ctx, "wss"+strings.TrimPrefix(link, "https")+relay.Path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialTLSContext: dial}}, Subprotocols: []string{form},
	})
	if err == nil {
		ws.SetReadLimit(1 << 20)
		t.ends(func() { _ = ws.CloseNow() })
	}
	return ws, err
}

// access signs an access to a server.
func access(k *message.Keyring, s *server) (string, error) {
	ref, err := message.ParseReference(s.reference)
	if err != nil {
		return "", err
	}
	return message.SignAccess(k.Chain, ref.Address, time.Now(), time.Minute, k.Signer)
}

// sits opens a socket in a session, in somebody's name. The error is also the refusal.
func (t *town) sits(ctx context.Context, s *server, k *message.Keyring, session []byte) (*hand, error) {
	ws, err := t.socket(ctx, s, relay.Binary)
	if err != nil {
		return nil, err
	}
	h := &hand{ws}
	signed, err := access(k, s)
	if err != nil {
		return nil, err
	}
	return h, h.greets(ctx, signed, session, &wirev1.Identity{Cards: k.Chain.Signed(0)})
}

// greets says hello, and returns why it was not welcome.
func (h *hand) greets(ctx context.Context, access string, session []byte, cards *wirev1.Identity) error {
	h.says(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: session, Authorization: access, Bundle: cards}}})
	f, err := h.hears(ctx)
	switch {
	case err != nil:
		return err
	case f.GetWelcome() != nil:
		return nil
	case f.GetRefusal() != nil:
		return message.OpenRefusal(f.GetRefusal())
	}
	return fmt.Errorf("no welcome: %v", f)
}

// says writes frames; one that cannot be written shows in what is heard.
func (h *hand) says(ctx context.Context, all ...*wirev1.LiveFrame) {
	for _, f := range all {
		if b, err := proto.Marshal(f); err == nil {
			_ = h.ws.Write(ctx, websocket.MessageBinary, b)
		}
	}
}

// hears reads a frame.
func (h *hand) hears(ctx context.Context) (*wirev1.LiveFrame, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, b, err := h.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	f := &wirev1.LiveFrame{}
	return f, proto.Unmarshal(b, f)
}

// calls asks for a connection, and returns its name and the answer's reason.
func (h *hand) calls(ctx context.Context, to message.Address, protocol string) (id []byte, why wirev1.LiveReason, err error) {
	id = random(16)
	h.says(ctx, callTo(id, to, protocol))
	for {
		f, err := h.hears(ctx)
		if err != nil {
			return id, 0, err
		}
		if a := f.GetAnswer(); a != nil && bytes.Equal(a.GetConnection(), id) {
			return id, a.GetReason(), nil
		}
	}
}

// random is bytes that nobody has seen.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = crand.Read(b) // it never fails
	return b
}

func callTo(id []byte, to message.Address, protocol string) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id, To: to.Bytes(), Protocol: protocol}}}
}

func dataOf(id []byte, offset int, b []byte) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: id, Offset: uint64(offset), Bytes: b}}}
}

func closeOf(id []byte, why wirev1.LiveReason) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{Connection: id, Reason: why}}}
}

// line is what somebody has who uses the room relay itself, at a server.
func (t *town) line(ctx context.Context, s *server, k *message.Keyring, c relay.LineConfig) (*relay.Line, error) {
	signed, err := access(k, s)
	if err != nil {
		return nil, err
	}
	c.Self, c.Rand, c.Linger = k.Address(), crand.Reader, time.Minute
	c.Bundle = &wirev1.Identity{Cards: k.Chain.Signed(0)}
	c.Open = func(ctx context.Context) (*relay.Socket, error) {
		link, _, _ := strings.Cut(s.reference, "#")
		ws, _, err := websocket.Dial(ctx, "wss"+strings.TrimPrefix(link, "https")+relay.Path, &websocket.DialOptions{
			HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
			Subprotocols: []string{relay.Binary}, HTTPHeader: http.Header{"Authorization": {signed}},
		})
		return ws, err
	}
	l, err := relay.NewLine(c)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx)
	}()
	t.ends(func() { <-done }) // ctx is that of a row, and has ended
	return l, nil
}

// meddler is a mail server's operator: it ends TLS before the server and does to live
// frames what it likes. All else passes.
type meddler struct {
	mu sync.Mutex
	// change is what becomes of a frame; nil passes it on.
	change  func(toClient bool, f *wirev1.LiveFrame) []*wirev1.LiveFrame
	sockets []*websocket.Conn
	seen    recording
	ids     [][]byte // of connections that stood
	hellos  []*wirev1.LiveHello
}

// meddled starts a mail server behind a meddler.
func (t *town) meddled(ctx context.Context, name string) (*server, *meddler, error) {
	at, err := free()
	if err != nil {
		return nil, nil, err
	}
	behind, err := free()
	if err != nil {
		return nil, nil, err
	}
	m := &meddler{}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, nil, err
	}
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: behind})
			r.SetXForwarded()
		},
		Transport: &http.Transport{Protocols: plain, DisableCompression: true}, FlushInterval: -1, ErrorLog: quiet(),
	}
	h := &http.Server{TLSConfig: tlsWith(t.cert), ErrorLog: quiet(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == relay.Path {
			m.carry(w, r, behind)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = h.ServeTLS(l, "", "") }() // it ends with Close
	t.ends(func() { _ = h.Close() })
	s, err := t.serve(ctx, spec{
		program: "admaild", name: name, env: append([]string{"AD_LISTEN=" + behind}, quick...),
		init: []string{"--accounts", "open", "--tracker", t.hill.reference, "--url", "https://" + at, "--tls", "off"},
	})
	return s, m, err
}

// does sets what becomes of frames.
func (m *meddler) does(change func(toClient bool, f *wirev1.LiveFrame) []*wirev1.LiveFrame) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change = change
}

// breaks breaks every socket, as a network does.
func (m *meddler) breaks() {
	m.mu.Lock()
	all := m.sockets
	m.sockets = nil
	m.mu.Unlock()
	for _, ws := range all {
		_ = ws.CloseNow()
	}
}

// carry passes the frames of one socket.
func (m *meddler) carry(w http.ResponseWriter, r *http.Request, behind string) {
	far, _, err := websocket.Dial(r.Context(), "ws://"+behind+relay.Path, &websocket.DialOptions{
		Subprotocols: []string{relay.Binary}, HTTPHeader: http.Header{"Authorization": r.Header.Values("Authorization"), "X-Forwarded-For": {"127.0.0.1"}},
	})
	if err != nil {
		http.Error(w, "behind", http.StatusBadGateway)
		return
	}
	near, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{relay.Binary}, InsecureSkipVerify: true})
	if err != nil {
		_ = far.CloseNow()
		return
	}
	m.mu.Lock()
	m.sockets = append(m.sockets, near, far)
	m.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { m.pass(near, far, false) })
	both.Go(func() { m.pass(far, near, true) })
	both.Wait()
}

// pass passes frames one way, as the operator likes.
func (m *meddler) pass(from, to *websocket.Conn, toClient bool) {
	defer func() { _ = from.CloseNow(); _ = to.CloseNow() }()
	from.SetReadLimit(1 << 20)
	for {
		_, b, err := from.Read(context.Background())
		if err != nil {
			return
		}
		f := &wirev1.LiveFrame{}
		if proto.Unmarshal(b, f) != nil {
			return
		}
		m.mu.Lock()
		_, _ = m.seen.Write(b)
		if a := f.GetAnswer(); a != nil && a.GetReason() == 0 {
			m.ids = append(m.ids, a.GetConnection())
		}
		if h := f.GetHello(); h != nil {
			m.hellos = append(m.hellos, h)
		}
		all := []*wirev1.LiveFrame{f}
		if m.change != nil {
			all = m.change(toClient, f)
		}
		m.mu.Unlock()
		for _, f := range all {
			b, err := proto.Marshal(f)
			if err != nil || to.Write(context.Background(), websocket.MessageBinary, b) != nil {
				return
			}
		}
	}
}
