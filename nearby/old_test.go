package nearby_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"airdispatch/nearby"
)

// oldPeer is a peer of P2P v0.4, written from what is known of its wire: it
// does not know a single name of ours.
type oldPeer struct {
	t    testing.TB
	id   nearby.ID
	udp  net.PacketConn
	http *http.Client
	port uint16
}

func newOldPeer(t testing.TB, port uint16) *oldPeer {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	o := &oldPeer{t: t, id: nearby.ID{0xaa, 1, 2, 3}, udp: c, port: port, http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		o.http.CloseIdleConnections()
		must(t, c.Close())
	})
	return o
}

// emit sends its datagram and returns the answer.
func (o *oldPeer) emit(to *peer) []byte {
	o.t.Helper()
	b := make([]byte, 1024)
	size := 0
	until(o.t, "an answer", func() bool {
		_, err := o.udp.WriteTo(oldDatagram(o.id, o.port), net.UDPAddrFromAddrPort(to.udp))
		must(o.t, err)
		must(o.t, o.udp.SetReadDeadline(time.Now().Add(time.Second)))
		size, _, err = o.udp.ReadFrom(b) // it may not be there yet
		return err == nil
	})
	return b[:size]
}

// get asks and returns status and body.
func (o *oldPeer) get(to *peer, path, id string) (int, []byte) {
	o.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+to.at.String()+path, nil)
	must(o.t, err)
	if id != "" {
		req.Header.Set("PeerID", id)
	}
	res, err := o.http.Do(req)
	must(o.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(o.t, err)
	return res.StatusCode, b
}

// field reads one field of serialised protobuf the way that any reader does.
func field(t testing.TB, b []byte, number uint64) []byte {
	t.Helper()
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		b = b[n:]
		var value []byte
		switch tag & 7 {
		case 0:
			_, n = binary.Uvarint(b)
			value, b = b[:n], b[n:]
		case 2:
			size, n := binary.Uvarint(b)
			value, b = b[n:n+int(size)], b[n+int(size):]
		default:
			t.Fatalf("wire type %d", tag&7)
		}
		if tag>>3 == number {
			return value
		}
	}
	return nil
}

func TestOldPeer(t *testing.T) {
	for _, visible := range []bool{false, true} {
		p := start(t, func(c *nearby.Config) { c.Visible = visible })
		o := newOldPeer(t, 8001)

		for _, path := range []string{"/peers", "/ws"} {
			for _, id := range []string{"", o.id.String(), "nonsense"} {
				if status, _ := o.get(p, path, id); status != http.StatusForbidden {
					t.Errorf("%s of a stranger %q: %d", path, id, status)
				}
			}
		}
		if status, body := o.get(p, "/ping", ""); status != 200 || string(body) != "ok" {
			t.Errorf("ping: %d %q", status, body)
		}

		asked := oldDatagram(o.id, o.port)
		answer := o.emit(p)
		if len(answer) > len(asked) {
			t.Errorf("%d bytes were answered with %d", len(asked), len(answer))
		}
		id := p.ID()
		if got := field(t, field(t, answer, 1), 1); string(got) != string(id[:]) {
			t.Errorf("answered with the id %x, not %x", got, id)
		}
		if port, _ := binary.Uvarint(field(t, answer, 2)); uint16(port) != p.at.Port() {
			t.Errorf("answered with port %d", port)
		}

		peers := p.Peers()
		if len(peers) != 1 || peers[0].ID != o.id || peers[0].Proved || !peers[0].Address.IsZero() || peers[0].Place.String() != "127.0.0.1:8001" {
			t.Fatalf("peers: %+v", peers)
		}
		// A known peer that has moved is known at its new place.
		o.port = 9001
		o.emit(p)
		if peers := p.Peers(); len(peers) != 1 || peers[0].Place.Port() != 9001 {
			t.Errorf("after it has moved: %+v", peers)
		}

		if status, body := o.get(p, "/peers", o.id.String()); status != 200 || len(body) != 0 {
			t.Errorf("peers of the only one: %d, %x", status, body)
		}
		second := newOldPeer(t, 7007)
		second.id[0] = 0xbb
		second.emit(p)
		status, body := o.get(p, "/peers", o.id.String())
		one := field(t, body, 1)
		if got := field(t, field(t, one, 1), 1); status != 200 || string(got) != string(second.id[:]) || string(field(t, one, 4)) != "127.0.0.1" {
			t.Errorf("peers: %d, %x", status, body)
		}
		o.chats(p)
	}
}

// chats opens a session as P2P v0.4 does, and talks both ways.
func (o *oldPeer) chats(p *peer) {
	t := o.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws := o.dial(ctx, p)
	// Message{send_time Timestamp{seconds}, message}.
	frame := append([]byte{0x0a, 0x06, 0x08}, binary.AppendUvarint(nil, 1_800_000_000)...)
	frame = append(append(frame, 0x12, 0x06), "hällo"...)
	must(t, ws.Write(ctx, websocket.MessageBinary, frame))
	heard := take(t, "a line", p.said)
	if heard.line.Text != "hällo" || heard.line.Time.Unix() != 1_800_000_000 || heard.session.Peer.ID != o.id || heard.session.Peer.Proved {
		t.Errorf("heard %+v from %+v", heard.line, heard.session.Peer)
	}
	must(t, heard.session.Say(ctx, "yes?"))
	kind, b, err := ws.Read(ctx)
	must(t, err)
	if kind != websocket.MessageBinary || string(field(t, b, 2)) != "yes?" || field(t, b, 1) == nil {
		t.Errorf("read %v %x", kind, b)
	}
	must(t, ws.Close(websocket.StatusNormalClosure, ""))

	for name, send := range map[string]func(*websocket.Conn) error{
		"text":             func(c *websocket.Conn) error { return c.Write(ctx, websocket.MessageText, []byte("hello")) },
		"no protobuf":      func(c *websocket.Conn) error { return c.Write(ctx, websocket.MessageBinary, []byte{0x12, 0xff}) },
		"a text not UTF-8": func(c *websocket.Conn) error { return c.Write(ctx, websocket.MessageBinary, []byte{0x12, 1, 0xff}) },
	} {
		ws := o.dial(ctx, p)
		must(t, send(ws))
		if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusInternalError {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

func (o *oldPeer) dial(ctx context.Context, p *peer) *websocket.Conn {
	o.t.Helper()
	ws, _, err := websocket.Dial(ctx, "ws://"+p.at.String()+"/ws", &websocket.DialOptions{HTTPClient: o.http, HTTPHeader: http.Header{"PeerID": {o.id.String()}}})
	must(o.t, err)
	o.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// TestStopping: for as long as a session has not ended the node says that it stops.
func TestStopping(t *testing.T) {
	p := start(t, nil)
	o := newOldPeer(t, 8001)
	o.emit(p)
	o.dial(t.Context(), p) // it never answers that it is to close
	if status, _ := o.get(p, "/ping", ""); status != 200 {
		t.Fatalf("ping: %d", status)
	}
	p.stop()
	until(t, "503", func() bool {
		status, _ := o.get(p, "/ping", "")
		return status == http.StatusServiceUnavailable
	})
	for _, path := range []string{"/peers", "/ws"} {
		if status, _ := o.get(p, path, o.id.String()); status != http.StatusServiceUnavailable {
			t.Errorf("%s while stopping: %d", path, status)
		}
	}
	<-p.stopped
}

// TestChatWithOldPeer: ours opens the session.
func TestChatWithOldPeer(t *testing.T) {
	p := start(t, nil)
	got := make(chan string, 1)
	header := make(chan string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	old := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header <- r.Header.Get("PeerID")
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_, b, _ := ws.Read(r.Context())
		got <- string(field(t, b, 2))
		_ = ws.Write(r.Context(), websocket.MessageBinary, append([]byte{0x12, 3}, "pla"...))
		_, _, _ = ws.Read(r.Context()) // it answers that it is closed
	})}
	go old.Serve(l) //nolint:errcheck // it ends with Close
	defer old.Close()
	o := newOldPeer(t, uint16(l.Addr().(*net.TCPAddr).Port))
	o.emit(p)
	s, err := p.ChatPlain(t.Context(), p.Peers()[0])
	must(t, err)
	must(t, s.Say(t.Context(), "bla"))
	if id := take(t, "a header", header); id != p.ID().String() {
		t.Errorf("came as %s", id)
	}
	if text := take(t, "a line", got); text != "bla" {
		t.Errorf("said %q", text)
	}
	heard := make(chan nearby.Line, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Hear(ctx, func(l nearby.Line) { heard <- l }) }()
	if line := take(t, "a line", heard); line.Text != "pla" {
		t.Errorf("heard %q", line.Text)
	}
	cancel()
	must(t, take(t, "the end", done))
	_ = s.Close()
}
