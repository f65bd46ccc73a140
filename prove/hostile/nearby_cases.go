package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// cases are those at a peer nearby.
func (v *neighbour) cases() (out []attack) {
	add := func(name string, do func(ctx context.Context) error) {
		out = append(out, attack{"nearby: " + name, do})
	}
	whole := v.datagram(nil)
	for n := range whole {
		add(fmt.Sprintf("datagram cut at %d", n), func(context.Context) error { return all(v.throws(10*time.Millisecond, v.datagram(nil)[:n])) })
	}
	for name, change := range v.forged() {
		add("datagram: "+name, func(context.Context) error { return all(v.throws(30*time.Millisecond, v.datagram(change))) })
	}
	for name, b := range junk() {
		add("datagram: "+name, func(context.Context) error {
			answers, err := v.throws(50*time.Millisecond, b)
			if answers > 0 {
				err = errors.New("was answered")
			}
			return err
		})
	}
	add("its own answer back", v.reflected)
	add("one datagram 500 times", func(context.Context) error { return v.flood(func(int) []byte { return whole }) })
	add("500 peers of one host", func(context.Context) error { return v.flood(func(int) []byte { return v.datagram(nil) }) })
	opening := upgrade("/ws", v.port.address, "PeerID: "+nearby.ID(random(16)).String())
	for n := range opening {
		add(fmt.Sprintf("opening cut at %d", n), func(ctx context.Context) error {
			status, err := v.a.sends(ctx, v.port, n, []byte(opening[:n]))
			return errors.Join(err, refused(status), noSocket(status))
		})
	}
	out = append(out, v.a.refusing(v.port, strange("/ws", v.port.address, "PeerID: "+nearby.ID(random(16)).String()))...)
	for name, id := range map[string]string{
		"without an id": "", "with an id of nobody": nearby.ID(random(16)).String(), "with no id": "PeerID: x", "with half an id": "PeerID: 01234567-89ab", "with a long id": "PeerID: " + strings.Repeat("0", 10_000), "with two ids": "PeerID: " + nearby.ID(random(16)).String() + "\r\nPeerID: " + nearby.ID(random(16)).String(), "with zeros": "PeerID: " + nearby.ID{}.String(),
	} {
		for _, path := range []string{"/ws", "/peers"} {
			out = append(out, v.a.never([]target{v.port}, path+" "+name, []byte(strings.Replace(upgrade(path, v.port.address, id), "\r\n\r\n\r\n", "\r\n\r\n", 1)))...)
		}
	}
	const most = nearby.MaxLine + 1<<10
	for name, text := range violations(most, opBinary) {
		add("session: "+name, func(ctx context.Context) error { return v.ends(ctx, text) })
	}
	for name, text := range tiresome(opBinary) {
		add("session: "+name, func(ctx context.Context) error { return v.any(ctx, text) })
	}
	for name, body := range broken() {
		add("session: protobuf: "+name, func(ctx context.Context) error { return v.any(ctx, said(fin|opBinary, body)) })
	}
	for name, trick := range tricky() {
		add("session: "+name, func(ctx context.Context) error { return v.told(ctx, trick) })
	}
	add("session: 200 lines at once", func(ctx context.Context) error { return v.any(ctx, strings.Repeat(said(fin|opBinary, line("")), 200)) })
	return append(out, v.sealedCases()...)
}

// noSocket demands that a status is not that of a socket.
func noSocket(status int) error {
	if status == http.StatusSwitchingProtocols {
		return errors.New("a socket was opened")
	}
	return nil
}

// forged are datagrams that say what is not so, or too much.
func (v *neighbour) forged() map[string]func(w *wirev1.NearbyPeer) {
	files := map[string]string{}
	for n := range 40 {
		files[fmt.Sprint("\x1b[2J", n)] = "\u202e"
	}
	hello := func(h message.Hello, tamper bool) func(w *wirev1.NearbyPeer) {
		return func(w *wirev1.NearbyPeer) {
			if h.Peer == ([16]byte{}) {
				h.Peer = [16]byte(w.GetId().GetValue())
			}
			signed, err := message.SignHello(h, v.crook.Chain, v.crook.Signer)
			if err != nil {
				return
			}
			if w.Hello = signed.Signed; tamper {
				w.Hello.Signature = append([]byte{w.GetHello().GetSignature()[0] ^ 1}, w.GetHello().GetSignature()[1:]...)
			}
		}
	}
	now := time.Now()
	return map[string]func(w *wirev1.NearbyPeer){
		"a hello that was altered": hello(message.Hello{Port: 9, Time: now, Expires: now.Add(time.Minute)}, true), "another one's hello": hello(message.Hello{Peer: [16]byte{1}, Port: 9, Time: now, Expires: now.Add(time.Minute)}, false), "a hello of another port": hello(message.Hello{Port: 10, Time: now, Expires: now.Add(time.Minute)}, false),
		"an old hello": hello(message.Hello{Port: 9, Time: now.Add(-time.Hour), Expires: now.Add(-time.Minute)}, false), "a hello from the future": hello(message.Hello{Port: 9, Time: now.Add(time.Hour), Expires: now.Add(2 * time.Hour)}, false), "a hello for ever": hello(message.Hello{Port: 9, Time: now, Expires: now.Add(1000 * time.Hour)}, false), "a hello that ends first": hello(message.Hello{Port: 9, Time: now, Expires: now.Add(-time.Hour)}, false),
		"a hello of nothing": func(w *wirev1.NearbyPeer) { w.Hello = &wirev1.Signed{} }, "a hello of noise": func(w *wirev1.NearbyPeer) {
			w.Hello = &wirev1.Signed{Body: random(300), Key: random(33), Signature: random(64)}
		}, "a signature of nothing": func(w *wirev1.NearbyPeer) { w.Hello.Signature = nil }, "a key of zeros": func(w *wirev1.NearbyPeer) { w.Hello.Key = make([]byte, 33) },
		"another place": func(w *wirev1.NearbyPeer) { w.IsPublicIp, w.Ip = true, "93.184.216.34" }, "a beacon": func(w *wirev1.NearbyPeer) { w.Hello, w.Beacon = nil, random(16) }, "a beacon of 15 bytes": func(w *wirev1.NearbyPeer) { w.Beacon = random(15) }, "a beacon of 200 bytes": func(w *wirev1.NearbyPeer) { w.Hello, w.Beacon = nil, random(200) },
		"files of odd names": func(w *wirev1.NearbyPeer) { w.Hello, w.Files = nil, files }, "more than 1,024 bytes": func(w *wirev1.NearbyPeer) { w.Padding = make([]byte, 1024) }, "60,000 bytes": func(w *wirev1.NearbyPeer) { w.Padding = make([]byte, 60_000) }, "an answer": func(w *wirev1.NearbyPeer) { w.Answer = true }, "the least": func(w *wirev1.NearbyPeer) { w.Hello, w.Padding = nil, nil },
	}
}

// junk are datagrams that are none: nobody may be answered.
func junk() map[string][]byte {
	id := append([]byte{0x0a, 0x12, 0x0a, 0x10}, random(16)...)
	with := func(more string) []byte { return append(append([]byte{}, id...), more...) }
	all := map[string][]byte{
		"nothing": {}, "a port alone": {0x10, 1}, "an id of 1 byte": {0x0a, 3, 0x0a, 1, 7, 0x10, 1}, "an id of 17 bytes": append(append([]byte{0x0a, 0x13, 0x0a, 0x11}, random(17)...), 0x10, 1), "no port": with(""), "port 0": with("\x10\x00"), "port 65,536": with("\x10\x80\x80\x04"), "port -1": with("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "port 2^31": with("\x10\x80\x80\x80\x80\x08"),
		"a host that is none": with("\x10\x01\x22\x03abc\x28\x01"), "no host": with("\x10\x01\x28\x01"), "the inside": with("\x10\x01\x22\x09127.0.0.1\x28\x01"), "everybody": with("\x10\x01\x22\x0f255.255.255.255\x28\x01"), "a group": with("\x10\x01\x22\x09235.5.5.1\x28\x01"), "a zone": with("\x10\x01\x22\x0afe80::1%lo\x28\x01"), "a host of bad text": with("\x10\x01\x22\x02\xff\xfe\x28\x01"),
		"an empty hello": with("\x10\x01\x82\x01\x00"), "a length of 2^63": with("\x10\x01\x9a\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "an end of no group": with("\x10\x01\x0c"), "groups, 900 deep": []byte(strings.Repeat("\x0b", 900)), "messages, 200 deep": []byte(deep(200)), "zeros": make([]byte, 1000), "ones": []byte(strings.Repeat("\xff", 1000)),
		"1,025 bytes": with("\x10\x01" + strings.Repeat("\x9a\x01\x00", 400)), "HTTP": []byte("GET /ping HTTP/1.1\r\n\r\n"), "a query for names": []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\xff\x00\x01"), "a place of whisper": []byte("127.0.0.1:9"),
	}
	for name, body := range broken() {
		if len(body) < 60_000 {
			all["protobuf: "+name] = []byte(body)
		}
	}
	return all
}

// reflected sends the peer what it says of itself.
func (v *neighbour) reflected(ctx context.Context) error {
	c, err := v.dialUDP()
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 2048)
	for range 10 {
		if _, err := c.Write(v.datagram(nil)); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.Read(b)
		if err != nil {
			continue // ten a second are answered in all
		}
		answers, err := v.throws(50*time.Millisecond, b[:n], b[:n], b[:n])
		if answers > 0 {
			err = errors.New("was answered")
		}
		return err
	}
	return ctx.Err()
}

// flood sends 500 datagrams from one host, of which few may be answered.
func (v *neighbour) flood(make func(n int) []byte) error {
	many := [][]byte{}
	for n := range 500 {
		many = append(many, make(n))
	}
	begun := time.Now()
	answers, err := v.throws(100*time.Millisecond, many...)
	if most := 4 * (2 + int(time.Since(begun)/time.Second)); answers > most {
		err = fmt.Errorf("%d answers to one host, at most %d", answers, most)
	}
	return err
}

// ends says something in a session that must end it.
func (v *neighbour) ends(ctx context.Context, text string) error {
	s, err := v.plainly(ctx)
	if err != nil {
		return err
	}
	return ended(s.goes(text))
}

// any says something that ends the session, or does not.
func (v *neighbour) any(ctx context.Context, text string) error {
	s, err := v.plainly(ctx)
	if err != nil {
		return err
	}
	_, err = s.goes(text)
	if err != nil && strings.Count(text, said(fin|opBinary, line(""))[:3]) > 100 {
		return nil // ten lines a second are read, and so it takes longer
	}
	return err
}

// told says a line that aims at a terminal: it is shown as text, which the ear looks at.
func (v *neighbour) told(ctx context.Context, trick string) error {
	s, err := v.plainly(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	word := fmt.Sprintf("told-%x.", random(8))
	return v.p.out.heard(ctx, word, func() error { return s.says(said(fin|opBinary, line(trick+" "+word))) })
}

// sealedCases are those over TLS.
func (v *neighbour) sealedCases() (out []attack) {
	add := func(name string, do func(ctx context.Context) error) {
		out = append(out, attack{"nearby: TLS: " + name, do})
	}
	me, he := v.crook.Address(), v.a.healthy.Address()
	hello := clientHello(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"ad-nearby/1"}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}})
	for n := 0; n < len(hello); n += 7 {
		add(fmt.Sprintf("hello cut at %d", n), func(ctx context.Context) error { return all(v.a.sends(ctx, v.port, n, hello[:n])) })
	}
	out = append(out, v.a.oddHandshakes([]target{v.port})...)
	out = append(out, v.a.oddRequests([]target{v.port})...)
	connecting := v.connecting()
	for n := range connecting {
		add(fmt.Sprintf("connection cut at %d", n), func(ctx context.Context) error {
			c, err := v.sealed(ctx, v.crook)
			if err != nil {
				return err
			}
			defer c.Close()
			pour(c, connecting[:n])
			if n%2 == 0 {
				return nil
			}
			if half, ok := c.(*tls.Conn); ok {
				_ = half.CloseWrite() // it may have ended
			}
			return noSocket(answered(c))
		})
	}
	never := func(name string, keys *message.Keyring, text string) {
		add(name, func(ctx context.Context) error {
			status, err := v.asked(ctx, keys, text)
			return errors.Join(err, refused(status), noSocket(status))
		})
	}
	for name, body := range broken() {
		never("PUT /cards: "+name, v.crook, headed(http.MethodPut, "/cards", me, body))
		never("POST /letters: "+name, v.crook, headed(http.MethodPost, "/letters", me, body))
	}
	for _, path := range []string{"/files", "/files/" + strings.Repeat("0", 64), "/files/../id", "/files/%2e%2e%2fid", "/files/", "/files/" + strings.Repeat("a", 10_000), "/letters", "/cards/..", "/debug/pprof/", "/metrics", "/connection", "/ping/.."} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			never(method+" "+path[:min(len(path), 40)], v.crook, headed(method, path, me, ""))
		}
	}
	for name, keys := range map[string]*message.Keyring{"with no certificate": nil, "with another's": v.crook} {
		for _, path := range []string{"/ping", "/peers", "/files", "/ws"} {
			never("GET "+path+" in another's name, "+name, keys, headed(http.MethodGet, path, he, ""))
		}
		never("PUT /cards in another's name, "+name, keys, headed(http.MethodPut, "/cards", he, v.cards()))
		never("a letter in another's name, "+name, keys, headed(http.MethodPost, "/letters", he, "\x0a\x00"))
	}
	for name, change := range map[string][2]string{
		"to nothing": {"Airdispatch-Protocol: echo", "Airdispatch-Protocol: "}, "to what is not served": {"Protocol: echo", "Protocol: ssh"}, "to an escape": {"Protocol: echo", "Protocol: \x1b[2J"}, "to 10,000 letters": {"Protocol: echo", "Protocol: " + strings.Repeat("a", 10_000)}, "to two": {"Protocol: echo", "Protocol: echo, ssh"},
		"in another's name": {me.String(), he.String()}, "in no name": {me.String(), "x"}, "with another upgrade": {"airdispatch-connection", "websocket"}, "with no upgrade": {"Upgrade: airdispatch-connection\r\n", ""}, "with headers without end": {"\r\n\r\n", "\r\n" + strings.Repeat("X: y\r\n", 50_000)},
	} {
		never("connection "+name, v.crook, strings.Replace(connecting, change[0], change[1], 1))
	}
	for name, text := range map[string]string{"a mebibyte": strings.Repeat("a", 1<<20), "zeros": strings.Repeat("\x00", 100_000), "nothing": "", "TLS again": string(hello)} {
		add("connection, and "+name, func(ctx context.Context) error { return v.through(ctx, text) })
	}
	return out
}

// through makes a connection to the process that the peer serves, writes, reads nothing, and leaves.
func (v *neighbour) through(ctx context.Context, text string) error {
	c, err := v.sealed(ctx, v.crook)
	if err != nil {
		return err
	}
	s, err := sit(c, v.connecting())
	if errors.Is(err, errNoSocket) {
		return nil // one address may have so many
	}
	if err != nil {
		return err
	}
	defer s.Close()
	_ = s.SetWriteDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.WriteString(s, text) // nobody reads what comes back
	return nil
}

// slow are those that take their time nearby.
func (v *neighbour) slow() (out []attack) {
	dial := func() (io.WriteCloser, error) { return v.a.plain(context.Background(), v.port) }
	over := func() (io.WriteCloser, error) { return v.sealed(context.Background(), v.crook) }
	hello := string(clientHello(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"ad-nearby/1"}}))
	session := func() (io.WriteCloser, error) { return v.plainly(context.Background()) }
	for name, do := range map[string]func(ctx context.Context){
		"nothing said": func(ctx context.Context) { v.a.hold(ctx, dial, "", "") }, "slow headers": func(ctx context.Context) { v.a.hold(ctx, dial, "", upgrade("/ws", v.port.address)) }, "slow hello": func(ctx context.Context) { v.a.hold(ctx, dial, "", hello) },
		"slow cards": func(ctx context.Context) {
			v.a.hold(ctx, over, "PUT /cards HTTP/1.1\r\nHost: x\r\nAirdispatch-Address: "+v.crook.Address().String()+"\r\nContent-Length: 200000\r\n\r\n", strings.Repeat("\x0a", 60))
		},
		"slow line": func(ctx context.Context) {
			v.a.hold(ctx, session, saidHead(fin|opBinary, 10_000), strings.Repeat("a", 60))
		},
	} {
		out = append(out, attack{"nearby: " + name, func(ctx context.Context) error { do(ctx); return nil }})
	}
	return out
}
