package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/encoding/protojson"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store/keyfile"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// byHand connects to what somebody serves, as a program does that was written from
// docs/protocol.md §14 with an encoder of JSON and a library for TLS: nothing of relay
// or client is in it. It sends a file, half-closes, and compares what comes back.
//
//	byhand ann $TWO_REF bob echo FILE
func byHand(ts *testscript.TestScript, _ bool, args []string) {
	me, them := keysOf(ts, args[0]), keysOf(ts, args[2])
	want, err := os.ReadFile(ts.MkAbs(args[4]))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := openJSON(ctx, me, args[1])
	ts.Check(err)
	defer s.ws.CloseNow()
	c, err := s.call(them.Address(), args[3])
	ts.Check(err)
	defer c.end()
	der, key, err := me.Signer.DeviceCertificate(rand.Reader, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	ts.Check(err)
	secured := tls.Client(c, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}, NextProtos: []string{"ad-live/1/" + hex.EncodeToString(c.id)}, InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			shown, err := crypto.DeviceKey(state.PeerCertificates[0])
			if err == nil && !them.Chain.Head().Lists(shown) {
				err = errors.New("somebody else has answered")
			}
			return err
		},
	})
	ts.Check(secured.HandshakeContext(ctx))
	said := make(chan error, 1)
	go func() {
		_, err := secured.Write(want)
		said <- errors.Join(err, secured.CloseWrite())
	}()
	got, err := io.ReadAll(secured)
	ts.Check(err)
	ts.Check(<-said)
	if !bytes.Equal(got, want) {
		ts.Fatalf("%d bytes came back of %d, or others", len(got), len(want))
	}
	ts.Check(c.finish())
}

// keysOf are the keys of a home without a passphrase.
func keysOf(ts *testscript.TestScript, home string) *message.Keyring {
	all, err := filepath.Glob(filepath.Join(ts.MkAbs(home), "keys", "*"))
	ts.Check(err)
	if len(all) == 0 {
		ts.Fatalf("%s has no keys", home)
	}
	k, err := keyfile.Read(all[0], func() (crypto.Secret, error) { return nil, errors.New("no passphrase") })
	ts.Check(err)
	return k
}

// jsonSocket is a socket with frames as JSON, under the Access that is said in the hello.
type jsonSocket struct {
	ctx   context.Context
	ws    *websocket.Conn
	cards json.RawMessage // for those who do not know one
}

// frameFields are those of a frame.
type frameFields map[string]any

func openJSON(ctx context.Context, me *message.Keyring, reference string) (*jsonSocket, error) {
	url, server, _ := strings.Cut(reference, "#")
	audience, err := message.ParseAddress(server)
	if err != nil {
		return nil, err
	}
	access, err := message.SignAccess(me.Chain, audience, time.Now(), time.Minute, me.Signer)
	if err != nil {
		return nil, err
	}
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	ws, _, err := websocket.Dial(ctx, "wss"+strings.TrimPrefix(url, "https")+"/ws", &websocket.DialOptions{
		HTTPClient: insecure, Subprotocols: []string{"airdispatch.live.v1+json"},
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(64 << 10)
	s := &jsonSocket{ctx: ctx, ws: ws}
	if s.cards, err = protojson.Marshal(&wirev1.Identity{Cards: me.Chain.Signed(0)}); err != nil {
		return nil, err
	}
	hello := frameFields{"session": make([]byte, 16), "authorization": access}
	for range 2 {
		if err := s.say("hello", hello); err != nil {
			return nil, err
		}
		kind, f, err := s.hear()
		if err != nil || kind == "welcome" {
			return s, err
		}
		if kind != "refusal" || f["reason"] != "REASON_NEED_BUNDLE" {
			return nil, fmt.Errorf("%s: %v", kind, f)
		}
		hello["bundle"] = s.cards
	}
	return nil, errors.New("not welcome, with cards neither")
}

func (s *jsonSocket) say(kind string, f frameFields) error {
	b, err := json.Marshal(map[string]frameFields{kind: f})
	if err != nil {
		return err
	}
	return s.ws.Write(s.ctx, websocket.MessageText, b)
}

func (s *jsonSocket) hear() (kind string, f frameFields, err error) {
	_, b, err := s.ws.Read(s.ctx)
	if err != nil {
		return "", nil, err
	}
	var frame map[string]frameFields
	if err := json.Unmarshal(b, &frame); err != nil || len(frame) != 1 {
		return "", nil, fmt.Errorf("not a frame as JSON: %q", b)
	}
	for kind, f = range frame {
	}
	return kind, f, nil
}

// jsonConn is a connection on such a socket.
type jsonConn struct {
	net.Conn // what it has not: TLS asks for no more than the methods below
	s        *jsonSocket
	id       []byte

	mu   sync.Mutex
	cond *sync.Cond
	in   []byte
	// heard came and was read, sent was said; credited is how far it was taken.
	heard, sent, credited int
	closed                frameFields
	err                   error
	listening             sync.WaitGroup
}

func (s *jsonSocket) call(to message.Address, protocol string) (*jsonConn, error) {
	c := &jsonConn{s: s, id: make([]byte, 16)}
	c.cond = sync.NewCond(&c.mu)
	_, _ = rand.Read(c.id) // it never fails
	if err := s.say("call", frameFields{"connection": c.id, "to": to.Bytes(), "protocol": protocol, "bundle": s.cards}); err != nil {
		return nil, err
	}
	if kind, f, err := s.hear(); err != nil || kind != "answer" || f["reason"] != nil {
		return nil, fmt.Errorf("called, and heard %s %v: %w", kind, f, err)
	}
	c.listening.Go(c.listen)
	return c, nil
}

// listen takes frames until the socket ends.
func (c *jsonConn) listen() {
	for {
		kind, f, err := c.s.hear()
		c.mu.Lock()
		switch {
		case err != nil:
			c.err = err
		case kind == "data":
			text, _ := f["bytes"].(string)
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil || jsonNumber(f["offset"]) != c.heard+len(c.in) {
				c.err = fmt.Errorf("data at %v, %w", f["offset"], err)
			}
			c.in = append(c.in, b...)
		case kind == "credit":
			c.credited = jsonNumber(f["consumed"])
		case kind == "close":
			c.closed = f
		}
		over := c.err != nil
		c.cond.Broadcast()
		c.mu.Unlock()
		if over {
			return
		}
	}
}

// jsonNumber is one of 64 bits, as protobuf's JSON has it: in quotes, and absent for 0.
func jsonNumber(v any) int {
	n, err := strconv.Atoi(fmt.Sprint(v))
	if v != nil && err != nil {
		return -1
	}
	return n
}

// Read implements net.Conn.
func (c *jsonConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	for len(c.in) == 0 && c.closed == nil && c.err == nil {
		c.cond.Wait()
	}
	n := copy(b, c.in)
	c.in, c.heard = c.in[n:], c.heard+n
	heard, err := c.heard, c.err
	c.mu.Unlock()
	if n == 0 {
		return 0, errors.Join(errors.New("closed"), err)
	}
	return n, c.s.say("credit", frameFields{"connection": c.id, "consumed": heard})
}

// Write implements net.Conn.
func (c *jsonConn) Write(b []byte) (int, error) {
	for at := 0; at < len(b); {
		c.mu.Lock()
		for c.sent >= c.credited+256<<10 && c.closed == nil && c.err == nil {
			c.cond.Wait()
		}
		if c.closed != nil || c.err != nil {
			defer c.mu.Unlock()
			return at, fmt.Errorf("closed: %v, %w", c.closed, c.err)
		}
		n := min(len(b)-at, 32<<10, c.credited+256<<10-c.sent)
		offset := c.sent
		c.sent += n
		c.mu.Unlock()
		if err := c.s.say("data", frameFields{"connection": c.id, "offset": offset, "bytes": b[at : at+n]}); err != nil {
			return at, err
		}
		at += n
	}
	return len(b), nil
}

// Close implements net.Conn.
func (c *jsonConn) Close() error { return nil }

// SetDeadline implements net.Conn; the socket has one.
func (c *jsonConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (c *jsonConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (c *jsonConn) SetWriteDeadline(time.Time) error { return nil }

// finish closes in order, and waits until the other end has.
func (c *jsonConn) finish() error {
	c.mu.Lock()
	sent := c.sent
	c.mu.Unlock()
	if err := c.s.say("close", frameFields{"connection": c.id, "reason": "LIVE_REASON_DONE", "offset": sent}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.closed == nil && c.err == nil {
		c.cond.Wait()
	}
	if c.closed["reason"] != "LIVE_REASON_DONE" || jsonNumber(c.closed["offset"]) != c.heard {
		return fmt.Errorf("closed with %v at %d, %w", c.closed, c.heard, c.err)
	}
	return nil
}

// end ends the socket, and waits for who reads from it.
func (c *jsonConn) end() {
	_ = c.s.ws.CloseNow() // all was said
	c.listening.Wait()
}
