package main

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"time"
)

// oddHandshakes are peers that do not speak TLS 1.3, or not as it must be.
func (a *arena) oddHandshakes(ports []target) (all []attack) {
	for name, config := range map[string]*tls.Config{
		"TLS 1.0": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "TLS 1.1": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "TLS 1.2": {MaxVersion: tls.VersionTLS12},
		"a protocol that is not spoken": {NextProtos: []string{"smtp"}}, "HTTP/3": {NextProtos: []string{"h3"}}, "255 protocols": {NextProtos: strings.Split(strings.Repeat("x,", 255)+"y", ",")},
	} {
		all = append(all, against(ports, name, func(ctx context.Context, t target) error {
			raw, err := a.plain(ctx, t)
			if err != nil {
				return err
			}
			defer raw.Close()
			config := config.Clone()
			config.InsecureSkipVerify = true
			if tls.Client(raw, config).HandshakeContext(ctx) == nil {
				return errors.New("a handshake that had to fail succeeded")
			}
			return nil
		})...)
	}
	hello := string(clientHello(&tls.Config{InsecureSkipVerify: true}))
	for name, text := range map[string]string{
		"plain HTTP": string(request(lookupPath, protobuf, lookup())), "plain HTTP/2": opening() + call(1), "SSH": "SSH-2.0-x\r\n", "SSL 2": "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x01", 40),
		"a record of 2^16-1": "\x16\x03\x01\xff\xff" + strings.Repeat("\x01", 1<<16), "a record of 0": strings.Repeat("\x16\x03\x01\x00\x00", 10_000), "alerts": strings.Repeat("\x15\x03\x01\x00\x02\x01\x00", 10_000),
		"a hello of 2^24-1": "\x16\x03\x01\x40\x00\x01\xff\xff\xff" + strings.Repeat("\x03", 1<<14), "two hellos": hello + hello, "data at once": "\x17\x03\x03\x01\x00" + strings.Repeat("a", 256), "data after a hello": hello + "\x17\x03\x03\x01\x00" + strings.Repeat("a", 256),
		"a hello in records of 1 byte": crumbs(hello), "hellos without end": strings.Repeat(hello, 200), "noise": strings.Repeat("\x16\x03\x01\x00\x10noise noise nois", 1000),
	} {
		all = append(all, against(ports, "instead of TLS "+name, func(ctx context.Context, t target) error {
			c, err := a.plain(ctx, t)
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetWriteDeadline(time.Now().Add(patience / 2))
			_, _ = c.Write([]byte(text))
			_ = c.CloseWrite()
			return refused(answered(c))
		})...)
	}
	return all
}

// crumbs cuts a handshake into records of one byte.
func crumbs(hello string) string {
	var b strings.Builder
	for _, c := range []byte(hello[5:]) {
		b.WriteString("\x16\x03\x01\x00\x01" + string([]byte{c}))
	}
	return b.String()
}
