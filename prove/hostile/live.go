package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// crooks is how many identities attackers have at the relay: one may have so many sockets.
const crooks = 8

// relayed is the relay of a mail server, somebody who calls somebody there, and who attacks.
type relayed struct {
	a       *arena
	port    target
	server  message.Address
	ann     *proof.Person
	bob     *proof.Person
	mallory *proof.Person // has an account, so may be called
	crooks  []*message.Keyring
	turn    atomic.Uint32
}

// openLive has bob take ann's calls at the relay, and nobody else's.
func (a *arena) openLive(ctx context.Context, reference string) (*room, error) {
	ref, err := message.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	link, _, _ := strings.Cut(reference, "#")
	v := &relayed{a: a, port: target{name: "live", address: strings.TrimPrefix(link, "https://")}, server: ref.Address}
	r := &room{name: "live connections", every: pace, whole: v.whole}
	for _, p := range []**proof.Person{&v.ann, &v.bob, &v.mallory} {
		if *p, err = a.town.Join(ctx, reference); err != nil {
			return r, err
		}
		r.ends = append(r.ends, (*p).Client.Close)
	}
	for range crooks {
		k, err := proof.Keyring(message.RoleUser)
		if err != nil {
			return r, err
		}
		v.crooks = append(v.crooks, k)
	}
	stream, err := v.connect(ctx, r)
	if err != nil {
		return r, err
	}
	n := 0
	r.ask = func(ctx context.Context) error {
		n++
		said := fmt.Appendf(nil, "%0512d", n)
		end, _ := ctx.Deadline()
		if err := errors.Join(stream.SetDeadline(end), all(stream.Write(said))); err != nil {
			return err
		}
		heard := make([]byte, len(said))
		if _, err := io.ReadFull(stream, heard); err != nil {
			return err
		}
		if !bytes.Equal(said, heard) {
			return errors.New("the echo is another")
		}
		return nil
	}
	r.still = func(ctx context.Context) error { return errors.Join(r.ask(ctx), v.whole(ctx)) }
	r.cases, r.slow = v.cases(), v.slow()
	return r, nil
}

// all is the error of a write of everything.
func all(_ int, err error) error { return err }

// connect makes the healthy connection.
func (v *relayed) connect(ctx context.Context, r *room) (*relay.Stream, error) {
	serving := make(chan struct{}, 1)
	callee, err := relay.NewLine(relay.LineConfig{
		Self: v.bob.Address(), Rand: crand.Reader, Protocols: []string{"echo"}, OnServing: func() {
			select {
			case serving <- struct{}{}:
			default:
			}
		},
		Open: func(ctx context.Context) (*relay.Socket, error) { return relay.Open(ctx, v.bob.Peer) },
		OnCall: func(_ context.Context, in *relay.Incoming) {
			if in.From != v.ann.Address() {
				in.Refuse(relay.Refused)
				return
			}
			s := in.Accept()
			_, _ = io.Copy(s, s) // who waits for it notices
		},
	})
	if err != nil {
		return nil, err
	}
	caller, err := relay.NewLine(relay.LineConfig{
		Self: v.ann.Address(), Rand: crand.Reader, Linger: time.Hour, Open: func(ctx context.Context) (*relay.Socket, error) { return relay.Open(ctx, v.ann.Peer) },
	})
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	for _, l := range []*relay.Line{callee, caller} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = l.Run(run) // until the arena closes
		}()
		r.ends = append(r.ends, func() { <-done })
	}
	r.ends = append(r.ends, cancel) // what is last is done first
	select {
	case <-serving:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return caller.Call(ctx, v.bob.Address(), "echo", nil)
}

// form is one of the two that frames have.
type form struct {
	name string
	op   byte
	text func(f *wirev1.LiveFrame) string
}

func forms() []form {
	return []form{
		{relay.Binary, opBinary, func(f *wirev1.LiveFrame) string { b, _ := proto.Marshal(f); return string(b) }}, // made here, it has a form
		{relay.Text, opText, func(f *wirev1.LiveFrame) string { b, _ := protojson.Marshal(f); return string(b) }},
	}
}

// says is a frame in a form, as a message.
func (f form) says(frames ...*wirev1.LiveFrame) string {
	out := ""
	for _, one := range frames {
		out += said(fin|f.op, f.text(one))
	}
	return out
}

// opening asks for a socket of a form.
func (f form) opening() string {
	return upgrade(relay.Path, "localhost", "Sec-WebSocket-Protocol: "+f.name)
}

// hello is that of somebody, whose cards nobody knows here.
func (v *relayed) hello(k *message.Keyring) (*wirev1.LiveFrame, error) {
	access, err := message.SignAccess(k.Chain, v.server, time.Now(), time.Minute, k.Signer)
	if err != nil {
		return nil, err
	}
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{
		Session: random(16), Authorization: access, Bundle: &wirev1.Identity{Cards: k.Chain.Signed(0)},
	}}}, nil
}

// random is bytes that nobody has seen.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = crand.Read(b) // it never fails
	return b
}

// crook is one of the attackers, each in turn.
func (v *relayed) crook() *message.Keyring { return v.crooks[int(v.turn.Add(1))%len(v.crooks)] }

// welcomed opens a socket of somebody who is let in.
func (v *relayed) welcomed(ctx context.Context, f form, k *message.Keyring) (*socket, error) {
	c, err := v.a.dial(ctx, v.port, "http/1.1")
	if err != nil {
		return nil, err
	}
	s, err := sit(c, f.opening())
	if err != nil {
		return nil, err
	}
	hello, err := v.hello(k)
	if err == nil {
		_, err = io.WriteString(s, f.says(hello))
	}
	for err == nil {
		var got *wirev1.LiveFrame
		if got, err = s.frame(f); err == nil && got.GetWelcome() != nil {
			return s, nil
		}
		if err == nil && got.GetRefusal() != nil {
			err = message.OpenRefusal(got.GetRefusal())
		}
	}
	return nil, errors.Join(fmt.Errorf("no welcome: %w", err), s.Close())
}

// frame reads the next message of a relay.
func (s *socket) frame(f form) (*wirev1.LiveFrame, error) {
	for {
		op, payload, err := s.hears()
		if err != nil || op == opClose {
			return nil, errors.Join(io.EOF, err)
		}
		out := &wirev1.LiveFrame{}
		switch {
		case op == opText && f.op == opText:
			return out, protojson.Unmarshal([]byte(payload), out)
		case op == opBinary && f.op == opBinary:
			return out, proto.Unmarshal([]byte(payload), out)
		case op == opText || op == opBinary:
			return nil, errors.New("an answer in the other form")
		}
	}
}

// whole opens a socket in each form.
func (v *relayed) whole(ctx context.Context) error {
	for _, f := range forms() {
		s, err := v.welcomed(ctx, f, v.crook())
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if on, err := s.goes(f.says(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}})); !on || err != nil {
			return fmt.Errorf("%s: does not go on: %w", f.name, err)
		}
	}
	return nil
}

// cases are those at the relay.
func (v *relayed) cases() (all []attack) {
	add := func(name string, do func(ctx context.Context) error) { all = append(all, attack{"live: " + name, do}) }
	for _, f := range forms() {
		opening := f.opening()
		for n := range opening {
			add(fmt.Sprintf("%s: opening cut at %d", f.name, n), func(ctx context.Context) error {
				status, err := v.a.sends(ctx, v.port, n, []byte(opening[:n]))
				if status == http.StatusSwitchingProtocols {
					err = errors.New("a socket was opened")
				}
				return err
			})
		}
		if hello, err := v.hello(v.crooks[0]); err == nil {
			for n := 0; n < len(f.says(hello)); n += 3 {
				add(fmt.Sprintf("%s: hello cut at %d", f.name, n), func(ctx context.Context) error { return v.cut(ctx, f, n) })
			}
		}
		for name, text := range violations(relay.MaxFrame, f.op) {
			add(f.name+": "+name, func(ctx context.Context) error { return v.ends(ctx, f, text) })
			add(f.name+" before the hello: "+name, func(ctx context.Context) error { return v.stranger(ctx, f, text) })
		}
		for name, text := range tiresome(f.op) {
			add(f.name+": "+name, func(ctx context.Context) error { return v.any(ctx, f, text) })
		}
		for name, one := range unsound() {
			add(f.name+": "+name, func(ctx context.Context) error { return v.ends(ctx, f, f.says(one)) })
		}
		for name, hello := range v.hellos() {
			add(f.name+": hello "+name, func(ctx context.Context) error { return v.stranger(ctx, f, f.says(hello)) })
		}
		for name, frames := range v.streams() {
			add(f.name+": "+name, func(ctx context.Context) error { return v.any(ctx, f, f.says(frames...)) })
		}
		for name, lie := range lied() {
			add(f.name+": a callee and "+name, func(ctx context.Context) error { return v.lies(ctx, f, lie) })
		}
	}
	for name, body := range broken() {
		add("protobuf: "+name, func(ctx context.Context) error { return v.any(ctx, forms()[0], said(fin|opBinary, body)) })
	}
	for name, body := range badJSON() {
		add("JSON: "+name, func(ctx context.Context) error { return v.ends(ctx, forms()[1], said(fin|opText, body)) })
	}
	for _, name := range []string{"", "airdispatch.live.v1", "airdispatch.live.v2+proto", "AIRDISPATCH", strings.Repeat("x,", 2000) + "y", "\"airdispatch.live.v1+proto\""} {
		add("subprotocol "+name[:min(len(name), 30)], func(ctx context.Context) error {
			c, err := v.a.dial(ctx, v.port, "http/1.1")
			if err != nil {
				return err
			}
			s, err := sit(c, upgrade(relay.Path, "localhost", "Sec-WebSocket-Protocol: "+name))
			if err != nil {
				return nil // it was refused
			}
			return ended(s.goes(said(fin|opBinary, "\x62\x00")))
		})
	}
	return append(all, v.a.refusing(v.port, strange(relay.Path, "localhost", "Sec-WebSocket-Protocol: "+relay.Binary))...)
}

// ended demands that a socket did not go on.
func ended(on bool, err error) error {
	if on {
		err = errors.New("the socket goes on")
	}
	return err
}

// cut sends a beginning of a hello, which must not be welcome.
func (v *relayed) cut(ctx context.Context, f form, n int) error {
	c, err := v.a.dial(ctx, v.port, "http/1.1")
	if err != nil {
		return err
	}
	s, err := sit(c, f.opening())
	if err != nil {
		return err
	}
	defer s.Close()
	hello, err := v.hello(v.crook())
	if err != nil {
		return err
	}
	text := f.says(hello)
	pour(s, text[:min(n, len(text)-1)])
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it may have ended
	}
	if got, err := s.frame(f); err == nil && got.GetWelcome() != nil {
		return errors.New("half a hello was welcome")
	}
	return nil
}

// ends says something on a socket of somebody who was let in, which must end it.
func (v *relayed) ends(ctx context.Context, f form, text string) error {
	s, err := v.welcomed(ctx, f, v.crook())
	if err != nil {
		return err
	}
	return ended(s.goes(text))
}

// any says something that ends the socket, or does not.
func (v *relayed) any(ctx context.Context, f form, text string) error {
	s, err := v.welcomed(ctx, f, v.crook())
	if err != nil {
		return err
	}
	_, err = s.goes(text)
	return err
}

// stranger says something before anybody knows who it is: there must be no welcome.
func (v *relayed) stranger(ctx context.Context, f form, text string) error {
	c, err := v.a.dial(ctx, v.port, "http/1.1")
	if err != nil {
		return err
	}
	s, err := sit(c, f.opening())
	if err != nil {
		return err
	}
	defer s.Close()
	go pour(s, text+said(fin|opClose, "\x03\xe8")) // it ends with the socket
	for {
		got, err := s.frame(f)
		if isTimeout(err) {
			return errors.New("is neither welcome nor refused")
		}
		if err != nil {
			return nil
		}
		if got.GetWelcome() != nil {
			return errors.New("was welcome")
		}
	}
}

// slow are those that take their time at the relay.
func (v *relayed) slow() (all []attack) {
	for _, f := range forms() {
		dial := func() (io.WriteCloser, error) { return v.a.dial(context.Background(), v.port, "http/1.1") }
		in := func() (io.WriteCloser, error) { return v.welcomed(context.Background(), f, v.crook()) }
		ping := f.says(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}})
		for name, do := range map[string]func(ctx context.Context){
			"slow opening": func(ctx context.Context) { v.a.hold(ctx, dial, "", f.opening()) }, "no hello": func(ctx context.Context) { v.a.hold(ctx, dial, f.opening(), "") },
			"slow hello": func(ctx context.Context) {
				v.a.hold(ctx, dial, f.opening(), saidHead(fin|f.op, 1000)+strings.Repeat("\x0a", 60))
			},
			"slow frame": func(ctx context.Context) { v.a.hold(ctx, in, saidHead(fin|f.op, 60_000), strings.Repeat("\x0a", 60)) },
			"not read":   func(ctx context.Context) { v.a.hold(ctx, in, strings.Repeat(ping, 3000), "") },
		} {
			all = append(all, attack{"live: " + name, func(ctx context.Context) error { do(ctx); return nil }})
		}
	}
	return all
}

// badJSON is JSON that is no frame.
func badJSON() map[string]string {
	id := base64.StdEncoding.EncodeToString(make([]byte, 16))
	return map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "a text": `"ping"`, "half": `{"ping":{`, "lists, 60,000 deep": strings.Repeat("[", 60_000), "objects, 10,000 deep": strings.Repeat(`{"a":`, 10_000), "closed, 10,000 deep": `{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}",
		"two kinds": `{"ping":{},"pong":{}}`, "a kind twice": `{"ping":{},"ping":{}}`, "a number for a frame": `{"ping":7}`, "two frames": `{"ping":{}}{"ping":{}}`, "bad base64": `{"data":{"connection":"!!","bytes":"YQ=="}}`, "a lone surrogate": `{"call":{"protocol":"\ud800"}}`,
		"bad text": "{\"call\":{\"protocol\":\"\xff\"}}", "offset 1e400": `{"data":{"connection":"` + id + `","offset":1e400,"bytes":"YQ=="}}`, "offset -1": `{"data":{"connection":"` + id + `","offset":-1,"bytes":"YQ=="}}`, "offset 2^64": `{"data":{"connection":"` + id + `","offset":"18446744073709551616","bytes":"YQ=="}}`,
		"a long number": `{"credit":{"connection":"` + id + `","consumed":` + strings.Repeat("9", 50_000) + `}}`, "10,000 protocols": `{"serve":{"protocols":[` + strings.Repeat(`"a",`, 10_000) + `"a"]}}`, "zero": "\x00",
	}
}
