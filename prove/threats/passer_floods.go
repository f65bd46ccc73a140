package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

func programsThatDoNotRead(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-deaf", "ann", "bob", "deaf")
	if err != nil {
		return err
	}
	all, err := p.all(ctx, &f, "ann", "bob", "deaf")
	if err != nil {
		return err
	}
	ann, bob, deaf := all[0], all[1], all[2]
	ann.calls(bob, "ann:1")
	for n := range 8 {
		ann.calls(deaf, fmt.Sprintf("ann:d%d", n))
	}
	ann.calls(deaf, "ann:quiet") // by which ann learns of its end
	begun := time.Now()
	piece := strings.Repeat("x", 256<<10)
	var ended sync.Map
	var reading sync.WaitGroup
	last := make(chan frame, 1)
	reading.Go(func() {
		for {
			_ = ann.conn.SetReadDeadline(time.Now().Add(50 * time.Second))
			var m frame
			if err := ann.take(&m); err != nil {
				return
			}
			if m.Meta == metaConnClosed {
				ended.Store(m.ConnectionID, string(m.Data))
			}
			if m.Meta == metaClientClosed {
				last <- m
				return
			}
		}
	})
	defer reading.Wait()
	defer ann.conn.Close()
	for k := range 20 { // 40 MiB, more than buffers, a queue and a share of it
		for n := range 8 {
			ann.says(metaNone, "deaf", fmt.Sprintf("ann:d%d", n), piece)
		}
		word := fmt.Sprintf("not held up %d", k)
		ann.says(metaNone, "bob", "ann:1", word)
		bob.hears("beside who does not read", metaNone, "ann", "ann:1", word)
	}
	f.must(time.Since(begun) < 20*time.Second, "beside who does not read it took %s", time.Since(begun))
	closed := 0
	ended.Range(func(_, why any) bool {
		closed++
		f.must(why == "too much waits to be read", "a connection ended because %s", why)
		return true
	})
	f.must(closed > 0, "the control: no connection of who does not read has ended")
	select {
	case m := <-last:
		f.must(m.OtherClient == "deaf" && string(m.Data) == "it does not read what is sent to it", "ann heard %s", m)
	case <-time.After(45 * time.Second):
		f.must(false, "who does not read is still there")
	}
	ann.passes(bob, "ann:1", "all is well")
	mib, err := resident(p.s)
	f.must(err == nil && mib < 300, "the server has %d MiB, %v", mib, err)
	return f.all()
}

func framesThatKill(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-frames", "ann", "bob", "mallory")
	if err != nil {
		return err
	}
	all, err := p.all(ctx, &f, "ann", "bob")
	if err != nil {
		return err
	}
	all[0].calls(all[1], "ann:1")
	// A type of another shape, of which a decoder would make what its writer likes.
	var other, deep bytes.Buffer
	type node struct {
		Next *node
		Meta uint8
	}
	chain := &node{}
	for range 5000 {
		chain = &node{Next: chain}
	}
	_ = gob.NewEncoder(&deep).Encode(chain)
	_ = gob.NewEncoder(&other).Encode(struct {
		Meta map[string][]int
	}{map[string][]int{"a": make([]int, 100_000)}})
	bad := map[string]string{
		"nothing": "\x00", "half": "\x07\xff\x82", "too long": "\xf8\xff\xff\xff\xff\xff\xff\xff\xff", "a gigabyte": "\xfc\x40\x00\x00\x00", "another field": "\x05\xff\x82\x09\x01\x00", "a number too large": "\x05\xff\x82\x02\x7f\x00",
		"garbage": strings.Repeat("\xff", 100), "another type": other.String(), "a deep type": deep.String(),
	}
	for name, b := range bad {
		// As the first thing that is said, and after a login.
		c, err := p.dials(ctx, &f, "127.31.6.1", "gob")
		if err != nil {
			return err
		}
		_, _ = io.WriteString(c.conn, b) // the socket may be closed meanwhile
		_ = c.conn.(*net.TCPConn).CloseWrite()
		m, err := c.next()
		f.must(err != nil || m.Meta == metaAuthFailure, "%s, as the first: %s", name, m)
		_ = c.conn.Close()
		m0, why, err := p.enters(ctx, &f, "127.31.6.2", "gob", "mallory", p.secrets["mallory"])
		if err != nil || m0 == nil {
			return fmt.Errorf("%s: %s: %w", name, why, err)
		}
		_, _ = io.WriteString(m0.conn, b)
		_ = m0.conn.(*net.TCPConn).CloseWrite()
		m, err = m0.next()
		f.must(err == nil && m.Meta == metaClientClosed && strings.HasPrefix(string(m.Data), "it sent a "), "%s: %s, %v", name, m, err)
		_ = m0.conn.Close()
	}
	for name, b := range map[string]string{
		"an array": `{"Data":[]}`, "nested": `{"Meta":{"Meta":{}}}`, "a member": `{"Meta":0,"More":1}`, "a number": `{"Meta":256}`, "no end": `{"Data":"` + strings.Repeat("A", 4<<20), "not text": "{\"OtherClient\":\"\xff\"}", "a name too long": `{"OtherClient":"` + strings.Repeat("n", 65) + `"}`,
		"too much": `{"Data":"` + strings.Repeat("A", 1_400_000) + `"}`, "a terminal": `{"OtherClient":"\u001b[2J"}`, "words": "hello",
	} {
		m0, why, err := p.enters(ctx, &f, "127.31.6.3", "json", "mallory", p.secrets["mallory"])
		if err != nil || m0 == nil {
			return fmt.Errorf("%s: %s: %w", name, why, err)
		}
		_, _ = io.WriteString(m0.conn, b)
		_ = m0.conn.(*net.TCPConn).CloseWrite()
		m, err := m0.next()
		f.must(err != nil || m.Meta == metaClientClosed, "%s: %s, %v", name, m, err)
		_ = m0.conn.Close()
	}
	all[0].passes(all[1], "ann:1", "after all of it")
	all[1].idle("after all of it")
	mib, err := resident(p.s)
	f.must(err == nil && mib < 300, "the server has %d MiB, %v", mib, err)
	return f.all()
}

func silentSockets(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-silent", "ann", "bob")
	if err != nil {
		return err
	}
	silent, err := crowd(ctx, p.at, "127.31.7.1", 40)
	defer silent.leave()
	open := silent.open(ctx)
	f.must(err == nil && open == 16, "of 40 sockets of one network %d stand, %v", open, err)
	// From everywhere, and in the middle of it somebody logs in.
	var all crowds
	defer func() { all.leave() }()
	for n := range 32 {
		one, err := crowd(ctx, p.at, fmt.Sprintf("127.31.70.%d", n+1), 16)
		if err != nil {
			return err
		}
		all = append(all, one...)
	}
	there, err := p.all(ctx, &f, "ann", "bob")
	if err != nil {
		return err
	}
	begun := time.Now()
	open = all.open(ctx)
	f.must(open <= 256 && open > 100, "of 512 sockets that say nothing %d stand", open)
	there[0].calls(there[1], "ann:1")
	// More than is heard of who is nobody yet, and slowly.
	much, err := stranger(ctx, p.at, "127.31.7.2")
	if err != nil {
		return err
	}
	defer much.Close()
	_, _ = io.WriteString(much, `{"Meta":8,"OtherClient":"ann","Data":"`+strings.Repeat("A", 5000)) // it may be closed meanwhile
	_ = much.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = io.Copy(io.Discard, much)
	f.must(!errors.Is(err, os.ErrDeadlineExceeded), "more than 4 KiB are heard of who is nobody yet")
	f.fine(until(ctx, "the end of those who say nothing", func() bool { return all.open(ctx) == 0 }), "after their time")
	f.must(time.Since(begun) < 25*time.Second, "those who say nothing have ended after %s", time.Since(begun))
	there[0].passes(there[1], "ann:1", "all is well")
	return f.all()
}

func guessedSecrets(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-guesses", "ann", "bob")
	if err != nil {
		return err
	}
	const wrong, enough = "wrong name or secret", "too many wrong secrets; try again later"
	attempt := func(from, name, secret string) string {
		o, why, err := p.enters(ctx, &f, from, "json", name, secret)
		if err != nil {
			return err.Error()
		}
		if o == nil {
			return why
		}
		_ = o.conn.Close()
		return "in"
	}
	if got := attempt("127.31.8.1", "ann", p.secrets["ann"]); got != "in" {
		return fmt.Errorf("the control: ann does not log in: %s", got)
	}
	const guess = "mp1guessedguessedguessedguessedguessed"
	heard := map[string]int{}
	for range 30 { // one network guesses bob's
		heard[attempt("127.31.8.2", "bob", guess)]++
	}
	f.must(heard[wrong] >= 10 && heard[wrong] <= 13 && heard[wrong]+heard[enough] == 30, "of 30 guesses of one network: %v", heard)
	clear(heard)
	for n := range 60 { // and others too, as from everywhere
		heard[attempt(fmt.Sprintf("127.31.80.%d", n), "bob", guess)]++
	}
	f.must(heard[wrong] >= 15 && heard[wrong] <= 25 && heard[wrong]+heard[enough] == 60, "of 60 guesses of everybody: %v", heard)
	f.must(attempt("127.31.8.1", "ann", p.secrets["ann"]) == "in", "who was there before is locked out")
	for range 20 { // somebody in ann's network guesses others'
		attempt("127.31.8.1", "nobody", guess)
	}
	f.must(attempt("127.31.8.1", "ann", p.secrets["ann"]) == "in", "who was there before is locked out by others of the same network")
	f.must(len(p.secrets["ann"]) == 41 && p.secrets["ann"] != p.secrets["bob"], "secrets are %d characters", len(p.secrets["ann"]))
	log := p.s.said()
	f.must(strings.Contains(log, wrong), "the control: refusals are not logged")
	held := collector{}
	for name, secret := range p.secrets {
		held.add(name, []byte(secret), nil)
	}
	held.add("a guess", []byte(guess), nil)
	held.prepare()
	held.search("log:", []byte(log))
	if err := held.tree("data", p.s.dir); err != nil {
		return err
	}
	f.must(len(held.hits) == 0, "secrets stand in %v", held.hits)
	held.search("control:", []byte("x"+p.secrets["ann"]))
	f.must(len(held.hits) > 0 && held.files > 3, "the control: a secret is not found, in %d files", held.files)
	return f.all()
}
