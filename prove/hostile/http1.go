package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// lookup is a call that anybody may make: an empty question, and a field that
// nobody knows.
func lookup() []byte { return []byte("\x0a\x00\x7a\x15nobody knows of these") }

// request is a whole request in HTTP/1.1.
func request(path, kind string, body []byte, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nConnect-Protocol-Version: 1\r\n", path, kind)
	for _, h := range headers {
		fmt.Fprintf(&b, "%s\r\n", h)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.Bytes()
}

const lookupPath, protobuf = "/airdispatch.v1.Directory/Lookup", "application/proto"

// valid is a request that succeeds at a port.
func valid(t target) []byte {
	if t.metrics {
		return []byte("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n")
	}
	return request(lookupPath, protobuf, lookup())
}

// sends writes bytes and returns the status that comes. How the connection ends
// is one of three ways: closed, reset, or closed for writing alone.
func (a *arena) sends(ctx context.Context, t target, way int, b []byte) (int, error) {
	c, err := a.dial(ctx, t, "http/1.1")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	pour(c, string(b))
	switch way % 3 {
	case 0:
		return 0, nil
	case 1:
		raw, ok := c.(*net.TCPConn)
		if s, secured := c.(*tls.Conn); secured {
			raw, ok = s.NetConn().(*net.TCPConn)
		}
		if ok {
			_ = raw.SetLinger(0)
		}
		return 0, nil
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	return answered(c), nil
}

// once sends bytes, leaves the connection open, and returns the status.
func (a *arena) once(ctx context.Context, t target, b []byte) (int, error) {
	c, err := a.dial(ctx, t, "http/1.1")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	written := make(chan struct{})
	go func() {
		defer close(written)
		pour(c, string(b))
	}()
	status := answered(c)
	_ = c.Close()
	<-written
	return status, nil
}

// never makes a case of bytes that must not succeed.
func (a *arena) never(ports []target, name string, b []byte) []attack {
	return against(ports, name, func(ctx context.Context, t target) error {
		status, err := a.once(ctx, t, b)
		return errors.Join(err, refused(status))
	})
}

// cutRequests are valid requests, cut off at every byte.
func (a *arena) cutRequests() (all []attack) {
	for _, t := range a.targets {
		b := valid(t)
		for n := range b {
			all = append(all, attack{fmt.Sprintf("%s: request cut at %d", t.name, n), func(ctx context.Context) error {
				status, err := a.sends(ctx, t, n, b[:n])
				return errors.Join(err, refused(status))
			}})
		}
	}
	return all
}

// cutHellos are beginnings of TLS, cut off at every seventh byte.
func (a *arena) cutHellos() (all []attack) {
	hello := clientHello(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	for _, t := range a.doors() {
		for n := 0; n < len(hello); n += 7 {
			all = append(all, attack{fmt.Sprintf("%s: hello cut at %d", t.name, n), func(ctx context.Context) error {
				c, err := a.plain(ctx, t)
				if err != nil {
					return err
				}
				if n%2 == 0 {
					_ = c.SetLinger(0)
				}
				_, _ = c.Write(hello[:n])
				return c.Close()
			}})
		}
	}
	return all
}

// clientHello is what a client says first.
func clientHello(config *tls.Config) []byte {
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		_ = tls.Client(here, config).Handshake() // it ends when the pipe does
		_ = here.Close()
	}()
	b := make([]byte, 16<<10)
	n, err := there.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// oddRequests are requests that HTTP/1.1 forbids, or that are far too large.
func (a *arena) oddRequests(ports []target) (all []attack) {
	post := "POST " + lookupPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\n"
	long := strings.Repeat("a", 1<<20)
	for name, text := range map[string]string{
		"a header of a mebibyte": post + "X: " + long + "\r\nContent-Length: 0\r\n\r\n", "a name of a mebibyte": post + long + ": x\r\nContent-Length: 0\r\n\r\n",
		"100,000 headers":          post + strings.Repeat("X: y\r\n", 100_000) + "Content-Length: 0\r\n\r\n",
		"a path of a mebibyte":     "POST /" + long + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
		"a method of a mebibyte":   long + " / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a line without an end":    long + long,
		"a length of 2^63":         post + "Content-Length: 9223372036854775808\r\n\r\n",
		"a length of 2^64-1":       post + "Content-Length: 18446744073709551615\r\n\r\n",
		"a length below zero":      post + "Content-Length: -1\r\n\r\n",
		"a length with a plus":     post + "Content-Length: +2\r\n\r\n\x0a\x00",
		"a length in hexadecimal":  post + "Content-Length: 0x2\r\n\r\n\x0a\x00",
		"two lengths":              post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n\x0a\x00x",
		"a list of lengths":        post + "Content-Length: 2, 3\r\n\r\n\x0a\x00x",
		"a chunk of 2^64-1":        post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		"a chunk of 2^64":          post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
		"a chunk below zero":       post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
		"a chunk without a number": post + "Transfer-Encoding: chunked\r\n\r\nz\r\n",
		"a chunk's long extension": post + "Transfer-Encoding: chunked\r\n\r\n2;" + long + "\r\n\x0a\x00\r\n0\r\n\r\n",
		"a chunk that overruns":    post + "Transfer-Encoding: chunked\r\n\r\n1\r\n\x0a\x00\r\n0\r\n\r\n",
		"two codings":              post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":            post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"an unknown coding":        post + "Transfer-Encoding: cow\r\n\r\n0\r\n\r\n",
		"chunked, misspelled":      post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"no host":                  "POST " + lookupPath + " HTTP/1.1\r\nContent-Type: application/proto\r\nContent-Length: 2\r\n\r\n\x0a\x00",
		"two hosts":                post + "Host: other\r\nContent-Length: 2\r\n\r\n\x0a\x00",
		"a host with a space":      "POST " + lookupPath + " HTTP/1.1\r\nHost: a b\r\nContent-Length: 0\r\n\r\n",
		"a space before a colon":   post + "X : y\r\nContent-Length: 2\r\n\r\n\x0a\x00",
		"a header with zero":       post + "X: a\x00b\r\nContent-Length: 2\r\n\r\n\x0a\x00",
		"a header with a return":   post + "X: a\rb\r\nContent-Length: 2\r\n\r\n\x0a\x00",
		"a name with a space":      post + "X Y: a\r\nContent-Length: 2\r\n\r\n\x0a\x00",
		"a name of nothing":        post + ": a\r\nContent-Length: 2\r\n\r\n\x0a\x00",
		"HTTP/0.9":                 "GET /\r\n\r\n", "HTTP/9.9": "POST " + lookupPath + " HTTP/9.9\r\nHost: localhost\r\n\r\n",
		"HTTP/1.10":         "POST " + lookupPath + " HTTP/1.10\r\nHost: localhost\r\n\r\n",
		"CONNECT":           "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
		"a proxy's request": "GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"TRACE":             "TRACE " + lookupPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"h2c":               "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		"websocket":         "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
		"mail":              "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
		"zeros":             strings.Repeat("\x00", 100_000), "ones": strings.Repeat("\xff", 100_000), "line feeds": strings.Repeat("\n", 100_000),
		"HTTP/2 where 1.1 was agreed": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	} {
		all = append(all, a.never(ports, name, []byte(text))...)
	}
	for name, text := range map[string]string{
		"a line folded": post + "X: a\r\n b\r\nContent-Length: 2\r\n\r\n\x0a\x00", "length and chunks": post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x0a\x00\r\n0\r\n\r\n",
		"bare line feeds": strings.ReplaceAll(post, "\r\n", "\n") + "Content-Length: 2\n\n\x0a\x00", "1,000 requests at once": strings.Repeat(string(request(lookupPath, protobuf, lookup())), 1000),
		"trailers":                       post + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\n\x0a\x00\r\n0\r\n" + strings.Repeat("X: y\r\n", 50_000) + "\r\n",
		"a continuation that is awaited": post + "Expect: 100-continue\r\nContent-Length: 4000000\r\n\r\n", "an odd expectation": post + "Expect: cake\r\nContent-Length: 2\r\n\r\n\x0a\x00",
	} {
		all = append(all, against(ports, name, func(ctx context.Context, t target) error {
			_, err := a.sends(ctx, t, 2, []byte(text))
			return err
		})...)
	}
	return all
}

// zeros is a body that opens to a quarter of a gibibyte.
func zeros() []byte {
	var b bytes.Buffer
	w, zero := gzip.NewWriter(&b), make([]byte, 1<<20)
	for range 256 {
		_, _ = w.Write(zero) // into memory
	}
	_ = w.Close()
	return b.Bytes()
}

// codings are bodies that say that they are compressed.
func (a *arena) codings() (all []attack) {
	bomb := zeros()
	for _, coding := range []string{"gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "identity, gzip", "gzip;q=1", "\tgzip"} {
		for _, path := range []string{lookupPath, "/airdispatch.v1.Mailbox/Submit"} {
			all = append(all, a.never(a.doors(), "coding "+coding+" of "+path, request(path, protobuf, bomb, "Content-Encoding: "+coding))...)
		}
	}
	framed := append([]byte{1, byte(len(bomb) >> 24), byte(len(bomb) >> 16), byte(len(bomb) >> 8), byte(len(bomb))}, bomb...)
	for _, kind := range []string{"application/connect+proto", "application/grpc", "application/grpc-web", "application/grpc+proto"} {
		for _, header := range []string{"Connect-Content-Encoding: gzip", "Grpc-Encoding: gzip", "Grpc-Encoding: identity", "X: y"} {
			all = append(all, against(a.doors(), kind+", "+header, func(ctx context.Context, t target) error {
				_, err := a.once(ctx, t, request("/airdispatch.v1.Exchange/Follow", kind, framed, header))
				return err
			})...)
		}
	}
	return all
}

// accesses are headers of Access that say less, more or other than they should.
func (a *arena) accesses() (all []attack) {
	mail := a.doors()[1:]
	account := "/airdispatch.v1.Mailbox/Account"
	try := func(name string, headers ...string) {
		all = append(all, a.never(mail, "access "+name, request(account, protobuf, nil, headers...))...)
	}
	for n := range a.access {
		try(fmt.Sprintf("cut at %d", n), "Authorization: "+a.access[:n])
	}
	_, token, _ := strings.Cut(a.access, " ")
	for _, scheme := range []string{"Bearer", "Basic", "", "Airdispatch Airdispatch", "Airdispatch,", "Airdispatch\t\t"} {
		try("with scheme "+scheme, "Authorization: "+scheme+" "+token)
	}
	for name, text := range map[string]string{
		"with padding": token + "=", "in plain base64": strings.NewReplacer("-", "+", "_", "/").Replace(token) + "==",
		"with a comma": token + ", Airdispatch " + token, "of a mebibyte": strings.Repeat(token, 4000), "of 3 KiB": strings.Repeat("A", 3<<10), "of zeros": strings.Repeat("A", len(token)),
	} {
		try(name, "Authorization: Airdispatch "+text)
	}
	try("twice", "Authorization: "+a.access, "Authorization: "+a.access)
	try("in another header", "Proxy-Authorization: "+a.access)
	try("in a cookie", "Cookie: Authorization="+a.access)
	return all
}

// paths are tricks with the paths of blobs.
func (a *arena) paths() (all []attack) {
	id := strings.Repeat("ab", 32)
	for _, path := range []string{
		"/blobs/../../../../etc/passwd", "/blobs/%2e%2e/%2e%2e/etc/passwd", "/blobs/..%2f..%2fetc%2fpasswd", "/blobs/%252e%252e%252fetc%252fpasswd", "/blobs/..\\..\\etc\\passwd",
		"/blobs/..%5c..%5cidentity", "/blobs/.", "/blobs/..", "/blobs/", "/blobs", "//blobs/" + id, "/blobs//" + id, "/blobs/" + id + "/", "/blobs/" + id + "/..", "/blobs/" + id + "%00", "/blobs/%00" + id,
		"/blobs/" + id + ".tmp", "/blobs/" + strings.ToUpper(id), "/blobs/" + id[1:], "/blobs/" + id + "a", "/blobs/" + strings.Repeat("g", 64), "/blobs/" + strings.Repeat("%61", 64), "/blobs/" + id + ";x", "/blobs/" + id + "%2f..",
		"/blobs/" + id + "?from=../x", "/blobs/" + id + "?from=ad1&mid=../..", "/blobs/" + id + "?from=" + strings.Repeat("a", 10_000), "/blobs/" + id + "?%zz", "/blobs/" + id + "?from=a&from=b&mid=c&mid=d&for=e", "/blobs/" + id + "#x",
		"/blobs/" + id + "?from=%00&mid=%00", "/blobs/identity", "/blobs/config.toml", "/blobs/mail.sqlite", "/blobs/\u0131\u0131", "/./blobs/" + id, "/x/../blobs/" + id, "/BLOBS/" + id, "blobs/" + id, "*", "http://localhost/blobs/" + id, "file:///etc/passwd",
		"/debug/pprof/", "/debug/vars", "/.git/config", "/metrics/../x", "/blobs/" + strings.Repeat("../", 1000), "/blobs/" + strings.Repeat("a/", 5000), "/blobs/%", "/blobs/%c0%ae%c0%ae/", "/blobs/%ff%fe", "/\\evil.example/%2e%2e",
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			extra := ""
			if method == "PUT" {
				extra = "Content-Range: bytes 0-0/1\r\nContent-Length: 1\r\n"
			}
			text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: %s\r\n%s\r\nx", method, path, a.access, extra)
			all = append(all, against(a.doors()[1:], method+" "+path[:min(len(path), 60)], func(ctx context.Context, t target) error {
				status, err := a.once(ctx, t, []byte(text))
				if method == "HEAD" && status == http.StatusPartialContent {
					status = 0 // how much of a blob there is, which is nothing, is no success
				}
				return errors.Join(err, refused(status))
			})...)
		}
	}
	for _, r := range []string{"bytes=0-" + strings.Repeat(",0-", 1000), "bytes=-1", "bytes=18446744073709551615-", "bytes=9-1", "bytes=", "cows=1-2", "bytes=-9223372036854775808", "bytes=0-0,-1"} {
		all = append(all, a.never(a.doors()[1:], "range "+r[:min(len(r), 40)], []byte("GET /blobs/"+id+" HTTP/1.1\r\nHost: localhost\r\nRange: "+r+"\r\n\r\n"))...)
	}
	for _, r := range []string{"bytes 0-0/0", "bytes 1-0/2", "bytes 0-18446744073709551615/18446744073709551616", "bytes 0-1/*", "bytes */1", "bytes 0-0/1099511627777", "bytes -1-0/1", "cows 0-0/1", "", "bytes 5-5/6", "bytes 0-0/-1", "bytes 00-0x0/1"} {
		all = append(all, a.never(a.doors()[1:], "content range "+r, []byte("PUT /blobs/"+id+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: "+a.access+"\r\nContent-Range: "+r+"\r\nContent-Length: 1\r\n\r\nx"))...)
	}
	return all
}
