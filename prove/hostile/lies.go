package main

import (
	"bytes"
	"compress/gzip"
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// liar is a server that says something of its own to whoever asks.
type liar struct {
	// config is nil for one that speaks without TLS.
	config func(*tls.Config)
	// pin alters what the route pins, by default the right key.
	pin func(right [32]byte) [32]byte
	// says writes an answer, until it is cut off.
	says func(c net.Conn)
	// mute is set where not one byte of a request may arrive.
	mute  bool
	plain bool
}

// answer says fixed words.
func answer(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// endless says something again and again.
func endless(begin, more string, wait time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, begin)
		for err == nil {
			_, err = io.WriteString(c, more)
			time.Sleep(wait) // a slow liar; nobody waits for this one
		}
	}
}

// liars are all lies that are told to our client.
func liars() map[string]liar {
	ok := "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\n"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(bytes.Repeat([]byte{0x0a, 0}, 1<<24)) // into memory
	_ = w.Close()
	flip := func(n int) func([32]byte) [32]byte {
		return func(p [32]byte) [32]byte { p[n/8] ^= 1 << (n % 8); return p }
	}
	all := map[string]liar{
		"TLS 1.2 alone":     {config: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, says: answer(ok + "Content-Length: 0\r\n\r\n"), mute: true},
		"no TLS":            {plain: true, says: answer(ok + "Content-Length: 0\r\n\r\n")},
		"another one's pin": {pin: func([32]byte) [32]byte { return sha256.Sum256([]byte("another")) }, says: answer(ok + "Content-Length: 0\r\n\r\n"), mute: true},
		"a redirect":        {says: answer("HTTP/1.1 307 Go\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")},
		"a page":            {says: answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")},
		"compressed":        {says: answer(ok + fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", packed.Len()) + packed.String())},
		"5 MiB":             {says: answer(ok + "Content-Length: 5242880\r\n\r\n" + strings.Repeat("\x0a\x00", 5<<19))},
		"2,000,000 parts":   {says: answer(ok + "Content-Length: 4000000\r\n\r\n" + strings.Repeat("\x0a\x00", 2_000_000))},
		"half":              {says: answer(ok + "Content-Length: 100\r\n\r\nhalf")},
		"noise":             {says: answer(ok + "Content-Length: 5\r\n\r\n\xff\xff\xff\xff\xff")},
		"length 2^64-1":     {says: answer(ok + "Content-Length: 12\r\n\r\n\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a")},
		"endless header":    {says: endless("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("a", 10_000), 0)},
		"endless headers":   {says: endless("HTTP/1.1 200 OK\r\n", "X: y\r\n", 0)},
		"endless chunks":    {says: endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "2\r\n\x0a\x00\r\n", 0)},
		"endless early":     {says: endless("", "HTTP/1.1 103 Early\r\nX: y\r\n\r\n", 0)},
		"a slow header":     {says: endless("HTTP/1.1 200 OK\r\nX: ", "a", time.Second)},
		"a slow body":       {says: endless(ok+"Content-Length: 1000\r\n\r\n", "a", time.Second)},
		"an end":            {says: func(net.Conn) {}},
		"two answers":       {says: answer(strings.Repeat("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 100))},
		"an odd refusal":    {says: answer("HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"code\":\"\x1b]0;cow\",\"details\":[}")},
	}
	for n := 0; n < 256; n += 16 {
		all[fmt.Sprintf("a pin that is wrong in bit %d", n)] = liar{pin: flip(n), says: answer(ok + "Content-Length: 0\r\n\r\n"), mute: true}
	}
	return all
}

// lies are servers that lie to our client: it must come back in time and with
// an error, and say nothing to one that has not the pinned key.
func (a *arena) lies() (all []attack) {
	for name, l := range liars() {
		all = append(all, attack{"client: " + name, func(ctx context.Context) error { return a.believe(ctx, l) }})
	}
	return all
}

// believe sets a liar up and asks it.
func (a *arena) believe(ctx context.Context, l liar) error {
	certificate, key, err := crypto.NewCertificate(crand.Reader, []string{"localhost"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return err
	}
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	pin := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	if l.pin != nil {
		pin = l.pin(pin)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if l.config != nil {
		l.config(config)
	}
	heard := make(chan bool, 100)
	served := make(chan struct{})
	listener := net.Listener(at)
	if !l.plain {
		listener = tls.NewListener(at, config)
	}
	go func() {
		defer close(served)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // it ends with the connection, which the client closes
				defer c.Close()
				n, _ := c.Read(make([]byte, 64<<10))
				if n > 0 {
					heard <- true
					l.says(c)
				}
			}()
		}
	}()
	err = a.ask(ctx, "https://"+at.Addr().String(), pin)
	if e := errors.Join(at.Close()); e != nil {
		return e
	}
	<-served
	if l.mute && len(heard) > 0 {
		return errors.New("something was said to a server that has not the pinned key")
	}
	return err
}

// ask makes a call to a host under a pin; there must be an error, in time.
func (a *arena) ask(ctx context.Context, url string, pin [32]byte) error {
	k, err := proof.Keyring(message.RoleServer)
	if err != nil {
		return err
	}
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: time.Now(), Expires: time.Now().Add(time.Hour), Hosts: []message.Host{{URL: url, Pin: pin}},
	}, k.Chain, k.Signer)
	if err != nil {
		return err
	}
	p, err := a.healthy.Client.Peer(&message.Identity{Chain: k.Chain, Route: route})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	begun := time.Now()
	_, err = p.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}})
	if err == nil {
		return errors.New("was believed")
	}
	if long := time.Since(begun); long > 10*time.Second {
		return fmt.Errorf("kept the client for %s", long)
	}
	return nil
}
