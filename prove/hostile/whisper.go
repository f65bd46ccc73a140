package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// chatter is adctl in a room without servers, somebody of the original's kind who talks with it, and who attacks.
type chatter struct {
	a *arena
	p *program
	// port is that of the chat, page that of the browser, and found where datagrams are taken.
	port, page target
	found      string
}

// openWhisper starts two programs in two rooms, and talks with both.
func (a *arena) openWhisper(ctx context.Context) (*room, error) {
	r := &room{name: "whisper", every: chatting}
	v, ask, err := a.chatter(ctx, "whisper", r)
	if err != nil {
		return r, err
	}
	twin, askTwin, err := a.chatter(ctx, "whisper's twin", r)
	if err != nil {
		return r, err
	}
	r.ran, r.twin, r.at = v.p, twin.p, []target{v.port}
	r.ask, r.whole = ask, v.whole
	r.still = func(ctx context.Context) error { return errors.Join(ask(ctx), askTwin(ctx), v.whole(ctx)) }
	r.cases, r.slow = v.cases(), v.slow()
	return r, nil
}

// chatter starts one, and somebody who says things to it and hears what it says.
func (a *arena) chatter(ctx context.Context, name string, r *room) (*chatter, func(context.Context) error, error) {
	var at [4]string
	for n := range at {
		var err error
		if at[n], err = free(); err != nil {
			return nil, nil, err
		}
	}
	v := &chatter{a: a, port: target{name: name, address: at[0], metrics: true}, page: target{name: name + " page", address: at[1], metrics: true}, found: at[2]}
	var err error
	v.p, err = a.begin(ctx, name, "listening "+at[0], "whisper", "--nick", "bob", "--listen", at[0], "--http", at[1], "--discover", at[2], "--verbose")
	if err != nil {
		return nil, nil, err
	}
	r.ends = append(r.ends, v.p.kill)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	heard := &ear{wait: map[string]chan struct{}{}}
	var hearing sync.WaitGroup
	hearing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.ends = append(r.ends, func() { _ = c.Close() })
			hearing.Go(func() { _, _ = io.Copy(heard, c) }) // until it is closed
		}
	})
	r.ends = append(r.ends, func() { _ = l.Close() })
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at[0])
	if err != nil {
		return nil, nil, err
	}
	r.ends = append(r.ends, func() { _ = c.Close() })
	n := 0
	ask := func(ctx context.Context) error {
		n++
		word := fmt.Sprintf("healthy-line-%d.", n)
		return v.p.out.heard(ctx, word, func() error { return all(c.Write(object("", l.Addr().String(), "ann", word))) })
	}
	if err := ask(ctx); err != nil { // from now on it is a neighbour
		return nil, nil, err
	}
	return v, func(ctx context.Context) error {
		if err := ask(ctx); err != nil {
			return err
		}
		word := fmt.Sprintf("typed-line-%d.", n)
		return heard.heard(ctx, word, func() error { return all(io.WriteString(v.p.in, word+"\n")) })
	}, nil
}

// object is one as old peers write it; an id is made where there is none.
func object(id, addr, nick, body string, more ...string) []byte {
	if id == "" {
		id = fmt.Sprintf("%x", random(8))
	}
	o := map[string]any{"ID": id, "Addr": addr, "Body": body, "omitempty": nick, "Timestamp": time.Now().Unix()}
	for n := 0; n+1 < len(more); n += 2 {
		o[more[n]] = more[n+1]
	}
	b, _ := json.Marshal(o) // texts have a form
	return append(b, '\n')
}

// dial connects, and says where the one who connects would listen: on the own host, where nobody does.
func (v *chatter) dial(ctx context.Context) (*net.TCPConn, string, error) {
	c, err := v.a.plain(ctx, v.port)
	if err != nil {
		return nil, "", err
	}
	_ = c.SetDeadline(time.Now().Add(patience / 2))
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	return c, net.JoinHostPort(host, "9"), err
}

// whole does each thing in order.
func (v *chatter) whole(ctx context.Context) error {
	if err := v.goesOn(ctx, ""); err != nil {
		return err
	}
	mouth, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer mouth.Close()
	came := make(chan error, 1)
	go func() {
		c, err := mouth.Accept()
		if err == nil {
			err = c.Close()
		}
		came <- err
	}()
	if err := v.throws([]byte(mouth.Addr().String())); err != nil {
		return err
	}
	select {
	case err := <-came:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return errors.New("a datagram leads nobody to its sender")
	}
	if status, err := v.a.once(ctx, v.page, v.get("GET", "/", "")); err != nil || status != http.StatusOK {
		return fmt.Errorf("the page: %d, %w", status, err)
	}
	c, err := v.a.plain(ctx, v.page)
	if err != nil {
		return err
	}
	s, err := sit(c, upgrade("/live", v.page.address))
	if err != nil {
		return fmt.Errorf("the page does not move: %w", err)
	}
	defer s.Close()
	word := fmt.Sprintf("posted-%x", random(8))
	if status, err := v.a.once(ctx, v.page, v.get("POST", "/say", "body="+word)); err != nil || status != http.StatusSeeOther {
		return fmt.Errorf("a form: %d, %w", status, err)
	}
	for {
		if _, text, err := s.hears(); err != nil {
			return fmt.Errorf("what was said in the form does not come: %w", err)
		} else if strings.Contains(text, word) {
			return nil
		}
	}
}

// get is a request of a browser.
func (v *chatter) get(method, path, body string, headers ...string) []byte {
	text := method + " " + path + " HTTP/1.1\r\nHost: " + v.page.address + "\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n", len(body))
	}
	return []byte(text + "\r\n" + body)
}

// throws sends datagrams to where others announce themselves.
func (v *chatter) throws(all ...[]byte) error {
	c, err := net.Dial("udp", v.found)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, b := range all {
		_, _ = c.Write(b) // what is too long for a datagram does not go
	}
	return nil
}

// goesOn says something and then a message, which must be shown.
func (v *chatter) goesOn(ctx context.Context, text string) error {
	c, addr, err := v.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	word := fmt.Sprintf("after-%x.", random(8))
	return v.p.out.heard(ctx, word, func() error {
		pour(c, strings.ReplaceAll(text, "ADDR", addr)+"\n"+string(object("", addr, "mallory", word)))
		return nil
	})
}

// over says something that must cost the connection.
func (v *chatter) over(ctx context.Context, text string) error {
	c, addr, err := v.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	pour(c, strings.ReplaceAll(text, "ADDR", addr))
	if _, err := c.Read(make([]byte, 1)); isTimeout(err) {
		return errors.New("goes on")
	}
	return nil
}

// cut says something that never comes to its end.
func (v *chatter) cut(ctx context.Context, text string, way int) error {
	c, _, err := v.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	pour(c, text)
	switch way % 3 {
	case 0:
		return nil
	case 1:
		return c.SetLinger(0)
	}
	_ = c.CloseWrite() // it may have ended
	if _, err := c.Read(make([]byte, 1)); isTimeout(err) {
		return errors.New("the end is not noticed")
	}
	return nil
}

// shown says something that is shown as text, which the ear looks at.
func (v *chatter) shown(ctx context.Context, make func(addr, word string) []byte) error {
	c, addr, err := v.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	word := fmt.Sprintf("shown-%x.", random(8))
	return v.p.out.heard(ctx, word, func() error { return all(c.Write(make(addr, word))) })
}

// told reads the page and what moves it: no character in it may be one that does not show itself.
func (v *chatter) told(ctx context.Context) error {
	c, err := v.a.plain(ctx, v.page)
	if err != nil {
		return err
	}
	s, err := sit(c, upgrade("/live", v.page.address))
	if errors.Is(err, errNoSocket) {
		return nil // there may be sixteen
	}
	if err != nil {
		return err
	}
	defer s.Close()
	for range 50 {
		_ = s.SetDeadline(time.Now().Add(time.Second))
		op, text, err := s.hears()
		if err != nil {
			return nil
		}
		var any map[string]any
		if op == opText && json.Unmarshal([]byte(text), &any) != nil {
			return fmt.Errorf("no JSON: %.100q", text)
		}
		if why := suspect(fmt.Sprint(any)); op == opText && why != "" {
			return fmt.Errorf("%s: %.200q", why, text)
		}
	}
	return nil
}

// slow are those that take their time in a room.
func (v *chatter) slow() (out []attack) {
	dial := func() (io.WriteCloser, error) { return v.a.plain(context.Background(), v.port) }
	page := func() (io.WriteCloser, error) { return v.a.plain(context.Background(), v.page) }
	half := `{"ID":"` + never + `","Body":"`
	for name, do := range map[string]func(ctx context.Context){
		"nothing said": func(ctx context.Context) { v.a.hold(ctx, dial, "", "") }, "slow object": func(ctx context.Context) { v.a.hold(ctx, dial, "", half+strings.Repeat("a", 60)) },
		"half a large object": func(ctx context.Context) { v.a.hold(ctx, dial, half+strings.Repeat("a", 700_000), "a") }, "slow headers": func(ctx context.Context) { v.a.hold(ctx, page, "", upgrade("/live", v.page.address)) },
		"a page that is not read": func(ctx context.Context) { v.a.hold(ctx, page, strings.Repeat(string(v.get("GET", "/", "")), 50), "") }, "live, not read": func(ctx context.Context) { v.a.hold(ctx, page, upgrade("/live", v.page.address), "") },
		"neighbours that read nothing": func(ctx context.Context) { _ = v.deaf(ctx) }, // they end when they are told to
	} {
		out = append(out, attack{"whisper: " + name, func(ctx context.Context) error { do(ctx); return nil }})
	}
	return out
}

// deafs are how many neighbours read nothing; an old one may be one of 64.
const deafs = 50

// deaf lets large files be said, and then neighbours come that read nothing of them.
func (v *chatter) deaf(ctx context.Context) error {
	c, addr, err := v.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Time{})
	file := strings.Repeat("QUFB", 500_000/3)
	say := func() error {
		return all(c.Write(object("", addr, "mallory", "a-file", "FileType", "x/y", "FileContents", file)))
	}
	for range 12 {
		if err := errors.Join(say(), pause(ctx, 120*time.Millisecond)); err != nil {
			return err
		}
	}
	for range deafs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		if _, err := c.Write(object("", l.Addr().String(), "deaf", "here-I-am")); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		if err := errors.Join(say(), pause(ctx, 2*time.Second)); err != nil {
			return err
		}
	}
	return nil
}
