package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Kinds and flags of frames (RFC 9113).
const (
	kindData, kindHeaders, kindPriority, kindReset, kindSettings, kindPush, kindPing, kindAway, kindWindow, kindContinuation = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9

	flagEnd, flagEndHeaders, flagPadded, flagPriority = 1, 4, 8, 32

	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// frame is one frame.
func frame(kind, flags byte, stream uint32, payload string) string {
	return header(len(payload), kind, flags, stream) + payload
}

// header is that of a frame, whatever follows.
func header(size int, kind, flags byte, stream uint32) string {
	b := []byte{byte(size >> 16), byte(size >> 8), byte(size), kind, flags}
	return string(binary.BigEndian.AppendUint32(b, stream))
}

// field is a header in HPACK's plainest form.
func field(name, value string) string {
	return "\x00" + number(len(name)) + name + number(len(value)) + value
}

// number is a length in HPACK.
func number(n int) string {
	if n < 127 {
		return string([]byte{byte(n)})
	}
	b := []byte{127}
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return string(append(b, byte(n)))
}

// asks is the headers of a valid call.
func asks() string {
	return field(":method", "POST") + field(":scheme", "https") + field(":path", lookupPath) + field(":authority", "localhost") +
		field("content-type", protobuf) + field("connect-protocol-version", "1")
}

// opening is how every connection begins.
func opening() string { return preface + frame(kindSettings, 0, 0, "") }

// call is a whole call on a stream.
func call(stream uint32) string {
	return frame(kindHeaders, flagEndHeaders, stream, asks()) + frame(kindData, flagEnd, stream, string(lookup()))
}

// succeeded reads frames until the connection ends or a stream has an answer,
// and reports whether that is success. The static table of HPACK has status 200
// at 8.
func succeeded(c net.Conn, stream uint32, limit time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	for head := make([]byte, 9); ; {
		if _, err := io.ReadFull(c, head); err != nil {
			return false
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, payload); err != nil || head[3] == kindAway {
			return false
		}
		if head[3] == kindHeaders && binary.BigEndian.Uint32(head[5:])&(1<<31-1) == stream {
			return len(payload) > 0 && payload[0] == 0x88
		}
		if head[3] == kindReset && binary.BigEndian.Uint32(head[5:]) == stream {
			return false
		}
	}
}

// speaks sends bytes as HTTP/2, reads for a while, and reports whether stream 1
// had success. What comes is always read, so that only the server can be slow.
func (a *arena) speaks(ctx context.Context, t target, text string, limit time.Duration) (bool, error) {
	c, err := a.dial(ctx, t, "h2")
	if err != nil {
		return false, err
	}
	defer c.Close()
	done := make(chan bool, 1)
	go func() { done <- succeeded(c, 1, limit) }()
	pour(c, text)
	return <-done, nil
}

// pour writes at the pace of a fast network, and no faster: who attacks shares
// this machine with whom it attacks. The server may hang up in the middle.
func pour(c net.Conn, text string) {
	const piece, pause = 16 << 10, 2 * time.Millisecond
	_ = c.SetWriteDeadline(time.Now().Add(patience / 2))
	for len(text) > 0 {
		n, err := io.WriteString(c, text[:min(piece, len(text))])
		if err != nil {
			return
		}
		if text = text[n:]; len(text) > 0 {
			time.Sleep(pause)
		}
	}
}

// cutFrames are valid calls over HTTP/2, cut off at every byte.
func (a *arena) cutFrames() (all []attack) {
	text := opening() + call(1)
	for n := range text {
		all = append(all, against(a.doors(), fmt.Sprintf("frames cut at %d", n), func(ctx context.Context, t target) error {
			ok, err := a.speaks(ctx, t, text[:n], 300*time.Millisecond)
			if ok {
				err = errors.New("half a call had success")
			}
			return err
		})...)
	}
	return all
}

// whole makes the whole requests of which the parts must not succeed.
func (a *arena) whole(ctx context.Context, missed func(string)) error {
	for _, t := range a.targets {
		if status, err := a.once(ctx, t, valid(t)); err != nil || status != 200 {
			missed(fmt.Sprintf("%s: a whole request was answered with %d, %v", t.name, status, err))
		}
	}
	for _, t := range a.doors() {
		if ok, err := a.speaks(ctx, t, opening()+call(1), 2*time.Second); !ok || err != nil {
			missed(fmt.Sprintf("%s: a whole call over HTTP/2 had no success, %v", t.name, err))
		}
	}
	status, err := a.once(ctx, a.doors()[1], request("/airdispatch.v1.Mailbox/Account", protobuf, nil, "Authorization: "+a.access))
	if err != nil || status != 200 {
		missed(fmt.Sprintf("a whole Access was answered with %d, %v", status, err))
	}
	return nil
}

// oddFrames are frames that HTTP/2 forbids, and floods of those that it allows.
func (a *arena) oddFrames() (all []attack) {
	first := opening() + frame(kindHeaders, flagEndHeaders, 1, asks())
	long := field("x", strings.Repeat("a", 16_000))
	for name, text := range map[string]string{
		"length of 2^24-1":           opening() + header(1<<24-1, kindHeaders, flagEndHeaders, 1) + strings.Repeat("a", 100_000),
		"length of 2^24-1 of data":   first + header(1<<24-1, kindData, flagEnd, 1) + strings.Repeat("a", 100_000),
		"data on stream 0":           opening() + frame(kindData, flagEnd, 0, "a"),
		"data before headers":        opening() + frame(kindData, flagEnd, 1, "a"),
		"headers on stream 0":        opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 0, asks()),
		"headers on stream 2":        opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 2, asks()),
		"headers on stream 2^31-1":   opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1<<31-1, asks()),
		"settings with an odd size":  opening() + frame(kindSettings, 0, 0, "aaaaa"),
		"settings on a stream":       opening() + frame(kindSettings, 0, 1, ""),
		"settings that acknowledge":  opening() + frame(kindSettings, 1, 0, "aaaaaa"),
		"a window of 2^31":           opening() + frame(kindSettings, 0, 0, "\x00\x04\x80\x00\x00\x00"),
		"frames of 1 byte":           opening() + frame(kindSettings, 0, 0, "\x00\x05\x00\x00\x00\x01"),
		"push enabled twice":         opening() + frame(kindSettings, 0, 0, "\x00\x02\x00\x00\x00\x02"),
		"a push by a client":         opening() + frame(kindPush, flagEndHeaders, 1, "\x00\x00\x00\x02"+asks()),
		"window by 0":                first + frame(kindWindow, 0, 1, "\x00\x00\x00\x00"),
		"window beyond 2^31":         opening() + strings.Repeat(frame(kindWindow, 0, 0, "\x7f\xff\xff\xff"), 2),
		"reset of what is not":       opening() + frame(kindReset, 0, 99, "\x00\x00\x00\x08"),
		"reset of stream 0":          opening() + frame(kindReset, 0, 0, "\x00\x00\x00\x08"),
		"a short reset":              first + frame(kindReset, 0, 1, "\x00"),
		"a long ping":                opening() + frame(kindPing, 0, 0, "123456789"),
		"a ping on a stream":         opening() + frame(kindPing, 0, 3, "12345678"),
		"priority on itself":         opening() + frame(kindPriority, 0, 1, "\x00\x00\x00\x01\x10"),
		"continuation of nothing":    opening() + frame(kindContinuation, flagEndHeaders, 1, asks()),
		"data between headers":       opening() + frame(kindHeaders, 0, 1, asks()) + frame(kindData, flagEnd, 1, "a"),
		"continuation of another":    opening() + frame(kindHeaders, 0, 1, asks()) + frame(kindContinuation, flagEndHeaders, 3, ""),
		"padding longer than all":    opening() + frame(kindHeaders, flagEndHeaders|flagPadded, 1, "\xff"+asks()[:20]),
		"padding of data":            first + frame(kindData, flagEnd|flagPadded, 1, "\xffa"),
		"data after the end":         opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 3, field(":method", "GET")) + frame(kindData, 0, 3, "a"),
		"headers without a path":     opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, field(":method", "POST")+field(":scheme", "https")),
		"an empty path":              opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, field(":method", "POST")+field(":scheme", "https")+field(":path", "")),
		"two paths":                  opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, asks()+field(":path", "/")),
		"a pseudo header at the end": opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, field("x", "y")+asks()),
		"an unknown pseudo header":   opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, asks()+field(":x", "y")),
		"a status in a request":      opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, asks()+field(":status", "200")),
		"upper case":                 opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, asks()+field("X", "y")),
		"connection":                 opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, asks()+field("connection", "close")),
		"chunks":                     opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, asks()+field("transfer-encoding", "chunked")),
		"a return in a header":       opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, asks()+field("x", "a\r\ny: b")),
		"a length that is not so":    opening() + frame(kindHeaders, flagEndHeaders, 1, asks()+field("content-length", "5")) + frame(kindData, flagEnd, 1, string(lookup())),
		"a length of 2^64":           opening() + frame(kindHeaders, flagEndHeaders, 1, asks()+field("content-length", "18446744073709551616")) + frame(kindData, flagEnd, 1, "\x0a\x00"),
		"HPACK: index beyond":        opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, "\xff\xff\xff\xff\x0f"),
		"HPACK: index 0":             opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, "\x80"),
		"HPACK: endless number":      opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, "\xff"+strings.Repeat("\xff", 1000)),
		"HPACK: text beyond":         opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, "\x00\x7f\xff\xff\x0fa"),
		"HPACK: bad Huffman":         opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, "\x00\x84\xff\xff\xff\xff\x01a"),
		"HPACK: a table of 2^31":     opening() + frame(kindHeaders, flagEndHeaders|flagEnd, 1, "\x3f\xe1\xff\xff\xff\x07"),
		"HPACK: a bomb":              opening() + frame(kindHeaders, 0, 1, asks()+"\x40"+number(1)+"x"+number(4000)+strings.Repeat("a", 4000)) + strings.Repeat(frame(kindContinuation, 0, 1, strings.Repeat("\xbe", 16_000)), 50),
		"headers of 2 MiB":           opening() + frame(kindHeaders, 0, 1, asks()) + strings.Repeat(frame(kindContinuation, 0, 1, long), 128) + frame(kindContinuation, flagEndHeaders|flagEnd, 1, ""),
		"CONTINUATION flood":         opening() + frame(kindHeaders, 0, 1, asks()) + strings.Repeat(frame(kindContinuation, 0, 1, field("x", "y")), 20_000),
		"empty CONTINUATION flood":   opening() + frame(kindHeaders, 0, 1, asks()) + strings.Repeat(frame(kindContinuation, 0, 1, ""), 50_000),
		"another preface":            "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n" + strings.Repeat("a", 1000), "HTTP/1.1 where 2 was agreed": string(request(lookupPath, protobuf, lookup())),
	} {
		all = append(all, against(a.doors(), name, func(ctx context.Context, t target) error {
			ok, err := a.speaks(ctx, t, text, 2*time.Second)
			if ok {
				err = errors.New("had success")
			}
			return err
		})...)
	}
	for name, text := range floods() {
		all = append(all, against(a.doors(), name, func(ctx context.Context, t target) error {
			_, err := a.speaks(ctx, t, opening()+text, 2*time.Second)
			return err
		})...)
	}
	return all
}

// floods are what HTTP/2 allows, too much of it.
func floods() map[string]string {
	var resets, opened, calls strings.Builder
	for n := range uint32(20_000) {
		resets.WriteString(frame(kindHeaders, flagEndHeaders, 2*n+1, asks()) + frame(kindReset, 0, 2*n+1, "\x00\x00\x00\x08"))
		if n < 1000 {
			opened.WriteString(frame(kindHeaders, flagEndHeaders, 2*n+1, asks()))
			calls.WriteString(call(2*n + 1))
		}
	}
	return map[string]string{
		"20,000 resets": resets.String(), "1,000 open streams": opened.String(), "1,000 calls at once": calls.String(),
		"20,000 settings": strings.Repeat(frame(kindSettings, 0, 0, ""), 20_000), "20,000 pings": strings.Repeat(frame(kindPing, 0, 0, "12345678"), 20_000),
		"20,000 priorities": strings.Repeat(frame(kindPriority, 0, 1, "\x00\x00\x00\x03\x10"), 20_000),
		"20,000 windows":    strings.Repeat(frame(kindWindow, 0, 0, "\x00\x00\x00\x01"), 20_000),
		"20,000 empty data": frame(kindHeaders, flagEndHeaders, 1, asks()) + strings.Repeat(frame(kindData, 0, 1, ""), 20_000),
		"20,000 unknown":    strings.Repeat(frame(0xbe, 0xff, 7, "unknown"), 20_000),
		"goodbye and on":    frame(kindAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00") + calls.String(),
		"windows of zero":   frame(kindSettings, 0, 0, "\x00\x04\x00\x00\x00\x00") + calls.String(),
		"tables of zero":    strings.Repeat(frame(kindSettings, 0, 0, "\x00\x01\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"), 5000),
	}
}
