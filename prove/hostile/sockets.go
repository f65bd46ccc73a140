package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Kinds of frames of a WebSocket (RFC 6455), and what else stands in the first byte.
const (
	opMore, opText, opBinary, opClose, opPing, opPong byte = 0, 1, 2, 8, 9, 10

	fin byte = 0x80
)

// said is a frame as a client sends it, masked with zeros, which alter nothing.
func said(first byte, payload string) string { return saidHead(first, uint64(len(payload))) + payload }

// saidHead is the head of a frame, whatever follows.
func saidHead(first byte, size uint64) string {
	b := []byte{first}
	switch {
	case size < 126:
		b = append(b, 0x80|byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), size)
	}
	return string(append(b, 0, 0, 0, 0))
}

// upgrade asks for a WebSocket.
func upgrade(path, host string, headers ...string) string {
	text := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	return text + "\r\n"
}

// socket is a WebSocket of somebody who writes frames by hand.
type socket struct {
	net.Conn
	in *bufio.Reader
}

// errNoSocket is an answer other than 101.
var errNoSocket = errors.New("no socket")

// sit asks for a socket on a connection, which is closed where there is none.
func sit(c net.Conn, opening string) (*socket, error) {
	_ = c.SetDeadline(time.Now().Add(patience / 2))
	s := &socket{c, bufio.NewReader(c)}
	if _, err := io.WriteString(c, opening); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	res, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.Join(fmt.Errorf("%w: %d", errNoSocket, res.StatusCode), c.Close())
	}
	return s, nil
}

// hears reads a frame of a server.
func (s *socket) hears() (op byte, payload string, err error) {
	var head [10]byte
	if _, err = io.ReadFull(s.in, head[:2]); err != nil {
		return 0, "", err
	}
	size := uint64(head[1] & 127)
	switch size {
	case 126:
		_, err = io.ReadFull(s.in, head[2:4])
		size = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(s.in, head[2:10])
		size = binary.BigEndian.Uint64(head[2:])
	}
	if err == nil && size > 8<<20 {
		err = fmt.Errorf("a frame of %d bytes", size)
	}
	if err != nil {
		return 0, "", err
	}
	b := make([]byte, size)
	_, err = io.ReadFull(s.in, b)
	return head[0] & 15, string(b), err
}

// goes says bytes and then a ping, and reports whether the server has answered that, and so gone
// on, or ended the socket. Neither in time is an error.
func (s *socket) goes(text string) (on bool, err error) {
	_ = s.SetDeadline(time.Now().Add(patience / 2))
	written := make(chan struct{})
	go func() {
		defer close(written)
		pour(s, text+said(fin|opPing, "still there?"))
	}()
	defer func() { <-written }()
	defer s.Close()
	for {
		op, payload, err := s.hears()
		switch {
		case err == nil && op == opPong && payload == "still there?":
			return true, nil
		case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
			return false, errors.New("neither goes on nor ends")
		case err != nil || op == opClose:
			return false, nil
		}
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}

// violations are what no client of a WebSocket may say: each must end the socket. limit is the most that
// a message may have, and op the kind that is spoken.
func violations(limit int, op byte) map[string]string {
	const far = 1<<63 - 1
	big := strings.Repeat("a", 64<<10)
	other := opText + opBinary - op
	return map[string]string{
		"a frame that is not masked": string([]byte{fin | op, 1, 'a'}), "reserved bit 1": said(fin|0x40|op, "a"), "reserved bit 2": said(fin|0x20|op, "a"), "reserved bit 3": said(fin|0x10|op, "a"),
		"kind 3": said(fin|3, "a"), "kind 7": said(fin|7, "a"), "kind 11": said(fin|11, "a"), "kind 15": said(fin|15, "a"), "more of nothing": said(fin|opMore, "a"),
		"another message inside": said(op, "a") + said(fin|op, "b"), "a ping of 126 bytes": said(fin|opPing, strings.Repeat("p", 126)), "a ping of 64 KiB": said(fin|opPing, big), "a ping of 2^63-1": saidHead(fin|opPing, far),
		"half a ping": said(opPing, "p") + said(fin|opMore, "q"), "half a close": said(opClose, "\x03\xe8"), "a close of 1 byte": said(fin|opClose, "x"), "a close with code 1005": said(fin|opClose, "\x03\xed"), "a close with code 0": said(fin|opClose, "\x00\x00"),
		"a close of bad text": said(fin|opClose, "\x03\xe8\xff\xfe"), "a close of 126 bytes": said(fin|opClose, "\x03\xe8"+strings.Repeat("c", 124)), "a close": said(fin|opClose, "\x03\xe8"), "a close of nothing": said(fin|opClose, ""),
		"a length of 2^63": string([]byte{fin | op, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), "a length of 2^64-1": string([]byte{fin | op, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0}),
		"a length of 2^63-1": saidHead(fin|op, far) + big + strings.Repeat(big, limit>>16+1), "a message that is too long": said(fin|op, strings.Repeat("a", limit+1)),
		"too long in pieces": said(op, big[:1024]) + strings.Repeat(said(opMore, big[:1024]), limit>>10+1), "too long in bytes": said(op, "a") + strings.Repeat(said(opMore, "a"), limit+1),
		"the other kind": said(fin|other, "a"), "the other kind, empty": said(fin|other, ""), "HTTP again": "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "zeros": strings.Repeat("\x00", 1000), "ones": strings.Repeat("\xff", 1000),
		"bad text": said(fin|opText, "\xff\xfe\xc0\x80"),
	}
}

// tiresome is what a client may say, and too much of it: the server goes on, or ends it.
func tiresome(op byte) map[string]string {
	return map[string]string{
		"5,000 pings": strings.Repeat(said(fin|opPing, "p"), 5000), "5,000 pongs": strings.Repeat(said(fin|opPong, "p"), 5000), "20,000 empty pieces": said(op, "") + strings.Repeat(said(opMore, ""), 20_000) + said(fin|opMore, ""),
		"pings between pieces": said(op, "") + strings.Repeat(said(fin|opPing, "p")+said(opMore, ""), 2000) + said(fin|opMore, ""), "pongs of 125 bytes": strings.Repeat(said(fin|opPong, strings.Repeat("p", 125)), 2000),
		"long lengths": string([]byte{fin | opPing, 0x80 | 126, 0, 1, 0, 0, 0, 0, 'p'}), "longest lengths": string([]byte{fin | opPong, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'p'}),
	}
}

// strange are openings of a WebSocket that no server takes.
func strange(path, host string, headers ...string) map[string]string {
	ok := upgrade(path, host, headers...)
	key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	change := func(old, to string) string { return strings.Replace(ok, old, to, 1) }
	return map[string]string{
		"no key": change(key, ""), "a short key": change(key, "Sec-WebSocket-Key: YQ==\r\n"), "a key that is none": change(key, "Sec-WebSocket-Key: !!!!\r\n"), "two keys": change(key, key+key), "a key of 10,000 bytes": change(key, "Sec-WebSocket-Key: "+strings.Repeat("a", 10_000)+"\r\n"),
		"version 8": change("Version: 13", "Version: 8"), "no version": change("Sec-WebSocket-Version: 13\r\n", ""), "another upgrade": change("Upgrade: websocket", "Upgrade: h2c"), "no upgrade": change("Upgrade: websocket\r\n", ""), "no connection": change("Connection: Upgrade\r\n", ""),
		"a connection that closes": change("Connection: Upgrade", "Connection: close"), "POST": change("GET ", "POST "), "HTTP/1.0": change("HTTP/1.1", "HTTP/1.0"), "PUT with a body": change("GET ", "PUT ") + "Content-Length: 5\r\n\r\nhello",
		"a header of a mebibyte": change("\r\n\r\n", "\r\nX: "+strings.Repeat("a", 1<<20)+"\r\n\r\n"), "100,000 headers": change("\r\n\r\n", "\r\n"+strings.Repeat("X: y\r\n", 100_000)+"\r\n"), "headers without end": change("\r\n\r\n", "\r\n"+strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 1000)),
		"a header with zero": change("\r\n\r\n", "\r\nX: a\x00b\r\n\r\n"), "two hosts": change("\r\n\r\n", "\r\nHost: other\r\n\r\n"), "no host": change("Host: "+host+"\r\n", ""), "a path up": change(path, "/../"+path[1:]+"/.."),
	}
}

// refusing makes cases of openings that must lead to no socket.
func (a *arena) refusing(t target, openings map[string]string) (all []attack) {
	for name, text := range openings {
		all = append(all, attack{t.name + ": opening: " + name, func(ctx context.Context) error {
			status, err := a.once(ctx, t, []byte(text))
			if status == http.StatusSwitchingProtocols {
				err = errors.New("a socket was opened")
			}
			return err
		}})
	}
	return all
}
