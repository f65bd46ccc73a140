package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Message is what MessagePasser programs send: the name of the type goes over the wire.
type Message struct {
	Meta         uint8
	OtherClient  string
	ConnectionID string
	Data         []byte
}

// The numbers of Meta.
const (
	passBytes uint8 = iota
	passWAT
	passNoSuch
	passUnknown
	passClosed
	passSyn
	passAck
	passConnClosed
	passAuth
	passAuthOk
	passFailure
)

// rogues are how many names attackers have of their own: each may be logged in once.
const rogues = 12

// passing is the port of a mail server for MessagePasser programs.
type passing struct {
	a       *arena
	port    target
	secrets map[string]string
	free    chan string // names of attackers that are not in use
}

// old is a socket that speaks as an old program does.
type old struct {
	net.Conn
	name      string
	put, take func(any) error
}

// speak lays a framing over a connection: gob or JSON.
func speak(c net.Conn, framing string) *old {
	_ = c.SetDeadline(time.Now().Add(patience / 2))
	o := &old{Conn: c, put: json.NewEncoder(c).Encode, take: json.NewDecoder(c).Decode}
	if framing == "gob" {
		o.put, o.take = gob.NewEncoder(c).Encode, gob.NewDecoder(c).Decode
	}
	return o
}

// enter logs in under a name.
func (p *passing) enter(c net.Conn, name, framing string) (*old, error) {
	o := speak(c, framing)
	o.name = name
	var m Message
	err := o.put(Message{Meta: passAuth, OtherClient: name, Data: []byte(p.secrets[name])})
	if err == nil {
		err = o.take(&m)
	}
	if err == nil && m.Meta != passAuthOk {
		err = fmt.Errorf("logged in as %s: %d %q", name, m.Meta, m.Data)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return o, nil
}

// openPasser makes names at a mail server that serves, and has ann, in gob, talk with bob, in JSON.
func (a *arena) openPasser(ctx context.Context, reference, dir, port string) (*room, error) {
	p := &passing{a: a, port: target{name: "passer", address: port, metrics: true}, secrets: map[string]string{}, free: make(chan string, rogues)}
	r := &room{name: "MessagePasser programs", every: pace, whole: p.whole}
	// Each group has an account of its own, whose pace they share.
	for _, names := range [][]string{{"ann", "bob"}, {"mute0", "loud0", "mute1", "loud1"}, {"victim-gob", "victim-json"}, make([]string, rogues)} {
		owner, err := a.town.Join(ctx, reference)
		if err != nil {
			return r, err
		}
		r.ends = append(r.ends, owner.Client.Close)
		for n, name := range names {
			if name == "" {
				name = fmt.Sprintf("rogue%d", n)
				p.free <- name
			}
			out, err := a.town.Programs.Run(ctx, "admaild", "passer", "add", name, owner.Address().String(), "--dir", dir)
			if err != nil {
				return r, err
			}
			p.secrets[name] = strings.TrimSpace(out)
		}
	}
	ann, err := p.talk(ctx, r)
	if err != nil {
		return r, err
	}
	n := 0
	r.ask = func(ctx context.Context) error {
		n++
		said := fmt.Appendf(nil, "%0512d", n)
		end, _ := ctx.Deadline()
		if err := errors.Join(ann.SetDeadline(end), ann.put(Message{passBytes, "bob", "ann:1", said})); err != nil {
			return err
		}
		for {
			var m Message
			if err := ann.take(&m); err != nil {
				return err
			}
			switch {
			case m.OtherClient == "bob" && m.ConnectionID == "ann:1" && m.Meta == passBytes && bytes.Equal(m.Data, said):
				return nil
			case m.OtherClient == "bob" && m.ConnectionID == "ann:1":
				return fmt.Errorf("ann heard %d %.40q on her connection", m.Meta, m.Data)
			}
		}
	}
	r.still = func(ctx context.Context) error { return errors.Join(r.ask(ctx), p.whole(ctx)) }
	r.cases, r.slow = p.cases(), p.slow()
	return r, nil
}

// talk makes the healthy connection: bob says everything back that ann says, and takes nobody else's.
func (p *passing) talk(ctx context.Context, r *room) (*old, error) {
	var both []*old
	for name, framing := range map[string]string{"ann": "gob", "bob": "json"} {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.port.address)
		if err != nil {
			return nil, err
		}
		r.ends = append(r.ends, func() { _ = c.Close() })
		o, err := p.enter(c, name, framing)
		if err != nil {
			return nil, err
		}
		both = append(both, o)
	}
	ann, bob := both[0], both[1]
	if ann.name == "bob" {
		ann, bob = bob, ann
	}
	if err := bob.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	go func() { // until the connection is closed
		for {
			var m Message
			if bob.take(&m) != nil {
				return
			}
			reply := Message{passUnknown, m.OtherClient, m.ConnectionID, nil}
			switch {
			case m.Meta == passSyn && m.OtherClient == "ann":
				reply.Meta = passAck
			case m.Meta == passBytes:
				reply.Meta, reply.Data = passBytes, m.Data
			case m.Meta != passSyn:
				continue
			}
			if bob.put(reply) != nil {
				return
			}
		}
	}()
	var m Message
	err := errors.Join(ann.put(Message{passSyn, "bob", "ann:1", []byte("echo")}), ann.take(&m))
	if err == nil && m.Meta != passAck {
		err = fmt.Errorf("bob does not take the call: %d %s", m.Meta, m.Data)
	}
	return ann, err
}

// rogue logs an attacker in, under a name that nobody uses meanwhile.
func (p *passing) rogue(ctx context.Context, framing string) (o *old, leave func(), err error) {
	name := <-p.free
	if o, err = p.as(ctx, name, framing); err != nil {
		p.free <- name
		return nil, nil, err
	}
	return o, func() { _ = o.Close(); p.free <- name }, nil
}

// as logs in under a name, from somewhere.
func (p *passing) as(ctx context.Context, name, framing string) (*old, error) {
	c, err := p.a.plain(ctx, p.port)
	if err != nil {
		return nil, err
	}
	return p.enter(c, name, framing)
}

// served demands that somebody who is logged in still is: a word to nobody is answered.
func (o *old) served() (bool, error) {
	id := o.name + ":served?"
	if o.put(Message{passBytes, "nobody", id, []byte("x")}) != nil {
		return false, nil
	}
	for {
		var m Message
		err := o.take(&m)
		switch {
		case isTimeout(err):
			return false, errors.New("is neither served nor sent away")
		case err != nil:
			return false, nil
		case m.Meta == passNoSuch && m.ConnectionID == id:
			return true, nil
		}
	}
}

// whole logs in and exchanges something, in both framings.
func (p *passing) whole(ctx context.Context) error {
	for _, framing := range []string{"gob", "json"} {
		o, leave, err := p.rogue(ctx, framing)
		if err != nil {
			return fmt.Errorf("%s: %w", framing, err)
		}
		on, err := o.served()
		leave()
		if !on || err != nil {
			return fmt.Errorf("%s: is not served: %w", framing, err)
		}
	}
	return nil
}

// recorded is what a program says in a framing.
func recorded(framing string, all ...Message) string {
	var b bytes.Buffer
	put := json.NewEncoder(&b).Encode
	if framing == "gob" {
		put = gob.NewEncoder(&b).Encode
	}
	for _, m := range all {
		if put(m) != nil {
			return "" // it has a form
		}
	}
	return b.String()
}

// cases are those at the port.
func (p *passing) cases() (all []attack) {
	add := func(name string, do func(ctx context.Context) error) {
		all = append(all, attack{"passer: " + name, do})
	}
	for _, framing := range []string{"gob", "json"} {
		opening := recorded(framing, Message{passAuth, "rogue0", "", []byte(p.secrets["rogue0"])})
		if framing == "json" {
			opening = strings.TrimSpace(opening)
		}
		for n := range opening {
			add(fmt.Sprintf("%s: login cut at %d", framing, n), func(ctx context.Context) error { return p.out(ctx, opening[:n], n) })
		}
		for name, m := range p.logins("victim-" + framing) {
			add(framing+": login "+name, func(ctx context.Context) error { return p.out(ctx, recorded(framing, m), 2) })
		}
		for name, frames := range p.frames() {
			add(framing+": "+name, func(ctx context.Context) error { return p.logged(ctx, framing, frames) })
		}
		for name, text := range map[string]map[string]string{"gob": oddGob(), "json": p.oddObjects()}[framing] {
			add(framing+": "+name, func(ctx context.Context) error { return p.out(ctx, text, 2) })
			add(framing+", logged in: "+name, func(ctx context.Context) error { return p.raw(ctx, framing, text) })
		}
	}
	for n := range 256 {
		add(fmt.Sprintf("a first byte of %d", n), func(ctx context.Context) error {
			return p.out(ctx, string([]byte{byte(n)})+strings.Repeat("\x01", 300), n)
		})
	}
	return all
}

// out says something before anybody knows who it is: there must be no AuthOk. How it ends is one of
// three ways, as of a request.
func (p *passing) out(ctx context.Context, text string, way int) error {
	c, err := p.a.plain(ctx, p.port)
	if err != nil {
		return err
	}
	defer c.Close()
	pour(c, text)
	switch way % 3 {
	case 0:
		return nil
	case 1:
		_ = c.SetLinger(0)
		return nil
	}
	_ = c.CloseWrite() // it may have ended
	_ = c.SetReadDeadline(time.Now().Add(patience / 2))
	b, err := io.ReadAll(io.LimitReader(c, 1<<20))
	if isTimeout(err) {
		return errors.New("is neither let in nor sent away")
	}
	for take := range map[string]bool{"json": true, "gob": true} {
		var m Message
		if (&old{}).reads(take, b, &m) == nil && m.Meta == passAuthOk {
			return errors.New("was let in")
		}
	}
	return nil
}

// reads reads one message of some bytes.
func (*old) reads(framing string, b []byte, into *Message) error {
	if framing == "gob" {
		return gob.NewDecoder(bytes.NewReader(b)).Decode(into)
	}
	return json.NewDecoder(bytes.NewReader(b)).Decode(into)
}

// logins are first messages in somebody's name that let nobody in. There are fewer of them than wrong
// secrets that are heard for one name.
func (p *passing) logins(name string) map[string]Message {
	right := []byte(p.secrets[name])
	all := map[string]Message{
		"with a wrong secret": {passAuth, name, "", []byte("wrong")}, "without a secret": {passAuth, name, "", nil}, "with half a secret": {passAuth, name, "", right[:10]}, "with more than the secret": {passAuth, name, "", append(right[:len(right):len(right)], 0)},
		"of nobody": {passAuth, "nobody", "", right}, "of no name": {passAuth, "", "", right}, "in another writing": {passAuth, strings.ToUpper(name), "", right}, "with a space": {passAuth, name + " ", "", right}, "with a zero": {passAuth, name + "\x00", "", right}, "with a colon": {passAuth, name + ":", "", right},
		"as ann": {passAuth, "ann", "", right}, "with an escape": {passAuth, "\x1b]0;x\x07", "", right}, "of 65 bytes": {passAuth, strings.Repeat("a", 65), "", right}, "of 4,000 bytes": {passAuth, strings.Repeat("a", 4000), "", right}, "of bad text": {passAuth, "\xff\xfe", "", right},
		"with a secret of a mebibyte": {passAuth, name, "", make([]byte, 1<<20)}, "with a connection of a mebibyte": {passAuth, name, strings.Repeat("a", 1<<20), right}, "as one's address": {passAuth, p.a.healthy.Address().String(), "", right}, "with SQL": {passAuth, "' OR 1=1 --", "", right},
	}
	for n := range uint8(16) {
		if n != passAuth {
			all[fmt.Sprintf("of kind %d", n)] = Message{n, name, name + ":1", right}
		}
	}
	return all
}

// frames are what somebody who is logged in may send, about connections of others or too much: ann's and
// bob's connection must not notice. The name of the sender stands for ME.
func (p *passing) frames() map[string][]Message {
	many := func(n int, f func(n int) Message) (out []Message) {
		for i := range n {
			out = append(out, f(i))
		}
		return out
	}
	all := map[string][]Message{
		"calls to bob": many(100, func(n int) Message { return Message{passSyn, "bob", fmt.Sprint("ME:", n), []byte("echo")} }), "one call 100 times": many(100, func(int) Message { return Message{passSyn, "bob", "ME:1", []byte("echo")} }),
		"calls to nobody": many(100, func(n int) Message { return Message{passSyn, "nobody", fmt.Sprint("ME:", n), nil} }), "calls to oneself": many(50, func(n int) Message { return Message{passSyn, "ME", fmt.Sprint("ME:", n), nil} }), "a call in ann's name": {{passSyn, "bob", "ann:2", []byte("echo")}, {passSyn, "bob", "ann:1", []byte("echo")}},
		"bytes for nobody": many(200, func(n int) Message { return Message{passBytes, "nobody", fmt.Sprint("ME:", n), make([]byte, 1000)} }), "a protocol of 10,000 bytes": {{passSyn, "bob", "ME:1", make([]byte, 10_000)}}, "names of odd letters": {{passSyn, "bob", "ME:\u202e", nil}, {passSyn, "\u200b", "ME:1", nil}},
		"a name of 65 bytes": {{passBytes, strings.Repeat("a", 65), "ME:1", nil}}, "a connection of 129 bytes": {{passBytes, "bob", strings.Repeat("a", 129), nil}}, "bytes of a mebibyte and 1": {{passBytes, "bob", "ann:1", make([]byte, 1<<20+1)}}, "bytes of 4 MiB": {{passBytes, "bob", "ann:1", make([]byte, 4<<20)}},
		"an escape": {{passBytes, "bob\x1b[2J", "ME:1", nil}}, "a zero": {{passBytes, "bob", "ann:1\x00", nil}}, "a line feed": {{passSyn, "bob", "ME:\n1", nil}}, "500 calls at once": many(500, func(n int) Message { return Message{passSyn, "bob", fmt.Sprint("ME:flood", n), []byte("flood")} }),
	}
	for n := range uint8(16) {
		for _, to := range []string{"ann", "bob"} {
			all[fmt.Sprintf("kind %d on their connection to %s", n, to)] = many(3, func(int) Message { return Message{n, to, "ann:1", []byte("injected")} })
		}
	}
	all["kind 255"] = []Message{{255, "bob", "ann:1", []byte("injected")}}
	return all
}

// logged sends frames as somebody who is logged in, who is served afterwards or sent away.
func (p *passing) logged(ctx context.Context, framing string, frames []Message) error {
	o, leave, err := p.rogue(ctx, framing)
	if err != nil {
		return err
	}
	defer leave()
	for _, m := range frames {
		m.OtherClient, m.ConnectionID = strings.ReplaceAll(m.OtherClient, "ME", o.name), strings.ReplaceAll(m.ConnectionID, "ME", o.name)
		if o.put(m) != nil {
			return nil // it was sent away
		}
	}
	_, err = o.served()
	return err
}

// raw sends bytes as somebody who is logged in.
func (p *passing) raw(ctx context.Context, framing, text string) error {
	o, leave, err := p.rogue(ctx, framing)
	if err != nil {
		return err
	}
	defer leave()
	pour(o, text)
	if half, ok := o.Conn.(*net.TCPConn); ok {
		_ = half.CloseWrite() // it may have ended
	}
	for {
		var m Message
		err := o.take(&m)
		if isTimeout(err) {
			return errors.New("is not sent away after the end")
		}
		if err != nil {
			return nil
		}
		if m.Meta == passBytes || m.Meta == passAuthOk {
			return fmt.Errorf("heard %d %q", m.Meta, m.Data)
		}
	}
}

// oddGob is what is no stream of messages in gob.
func oddGob() map[string]string {
	right := recorded("gob", Message{passAuth, "rogue0", "", []byte("x")})
	definition := right[:int(right[0])+1]
	value := right[len(definition):]
	other := func(v any) string {
		var b bytes.Buffer
		_ = gob.NewEncoder(&b).Encode(v) // into memory
		return b.String()
	}
	type inner struct{ A, B []byte }
	deepest := ""
	for n := range 100 {
		deepest = string([]byte{byte(n + 1), 0x81, 3, 1}) + deepest
	}
	return map[string]string{
		"a length of 2^64-1": "\xf8\xff\xff\xff\xff\xff\xff\xff\xff" + definition, "a length of 2^63": "\xf8\x80\x00\x00\x00\x00\x00\x00\x00", "a length of 2^31": "\xfc\x80\x00\x00\x00" + strings.Repeat("a", 1000), "a length of 9 bytes": "\xf7\x01\x01\x01\x01\x01\x01\x01\x01\x01", "a length of 128 bytes": "\x80" + strings.Repeat("\xff", 128),
		"a length of 0": "\x00", "lengths of 0": strings.Repeat("\x00", 10_000), "a value first": value, "two definitions": definition + right, "a definition alone": definition, "definitions": strings.Repeat(definition, 1000), "a value of another type": definition + "\x07\xff\x84\x01\x08\x01\x01x\x00",
		"a field too many": definition + "\x0a\xff\x80\x05\x01x\x00\x00\x00\x00\x00", "a text beyond the frame": definition + "\x06\xff\x80\x02\x7fab", "a text of 2^64-1": definition + "\x0e\xff\x80\x02\xf8\xff\xff\xff\xff\xff\xff\xff\xffab", "bytes of 2^62": definition + "\x0d\xff\x80\x04\xf8\x40\x00\x00\x00\x00\x00\x00\x00", "a step of 2^64-1": definition + "\x0c\xff\x80\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x00",
		"a kind of 256": definition + "\x08\xff\x80\x01\xfe\x01\x00\x00\x00", "a frame of 5 MiB": definition + "\xfd\x50\x00\x00" + strings.Repeat("a", 5<<20), "a map": other(map[string][]byte{"a": nil}), "a list of lists": other([][][][]int{{{{1}}}}), "a struct of structs": other(struct{ A, B inner }{}), "a text": other("hello"), "an interface": other(struct{ A any }{nil}),
		"a definition, deep": deepest, "noise": strings.Repeat("\x7f\x81\x03\x01", 5000), "HTTP": "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("a", 500),
	}
}

// oddObjects is what is no stream of messages in JSON.
func (p *passing) oddObjects() map[string]string {
	right := strings.TrimSpace(recorded("json", Message{passAuth, "rogue0", "", []byte(p.secrets["rogue0"])}))
	change := func(old, to string) string { return strings.Replace(right, old, to, 1) }
	return map[string]string{
		"objects, 100,000 deep": strings.Repeat(`{"Data":`, 100_000), "lists, 100,000 deep": `{"Data":` + strings.Repeat("[", 100_000), "a text without end": `{"OtherClient":"` + strings.Repeat("a", 2<<20), "escapes without end": `{"OtherClient":"` + strings.Repeat(`\"`, 1<<20), "a key without end": `{"` + strings.Repeat("k", 2<<20),
		"a megabyte of spaces": strings.Repeat(" \n\t\r", 1<<18), "a kind of 256": change(`"Meta":8`, `"Meta":256`), "a kind of -1": change(`"Meta":8`, `"Meta":-1`), "a kind of 8.5": change(`"Meta":8`, `"Meta":8.5`), "a kind of 1e400": change(`"Meta":8`, `"Meta":1e400`), "a kind in words": change(`"Meta":8`, `"Meta":"8"`), "a number of a mebibyte": change(`"Meta":8`, `"Meta":`+strings.Repeat("8", 1<<20)),
		"a member more": change(`"Meta":8`, `"Meta":8,"Admin":true`), "bad base64": change(`"Data":"`, `"Data":"!!`), "a list for bytes": `{"Meta":8,"OtherClient":"rogue0","ConnectionID":"","Data":[1,2]}`, "a lone surrogate": change("rogue0", `\ud800`), "bad text": change("rogue0", "\xff\xfe"), "zero in a name": change("rogue0", `\u0000`), "an escape in a name": change("rogue0", `\u001b[2J`),
		"a list": "[" + right + "]", "two lists": "[][]", "null": "null" + right, "a comment": "/* */" + right, "a byte order mark": "\ufeff" + right, "an object in an object": `{"Meta":` + right + `}`, "one brace": "{", "braces": strings.Repeat("{}", 1), "closing ones": "}}}}", "quotes": `{"""""`, "two at once, wrong": change("rogue0", "nobody") + change("rogue0", "nobody"),
	}
}

// slow are those that take their time at the port.
func (p *passing) slow() (all []attack) {
	dial := func() (io.WriteCloser, error) { return p.a.plain(context.Background(), p.port) }
	right := recorded("gob", Message{passAuth, "nobody", "", make([]byte, 200)})
	for name, do := range map[string]func(ctx context.Context){
		"nothing said": func(ctx context.Context) { p.a.hold(ctx, dial, "", "") }, "slow gob": func(ctx context.Context) { p.a.hold(ctx, dial, "", right) },
		"slow JSON": func(ctx context.Context) {
			p.a.hold(ctx, dial, "", `{"Meta":8,"OtherClient":"`+strings.Repeat("a", 60))
		}, "slow spaces": func(ctx context.Context) { p.a.hold(ctx, dial, "", strings.Repeat(" ", 60)) },
		"nothing read": func(ctx context.Context) { p.deaf(ctx, "0") }, "nothing read by another": func(ctx context.Context) { p.deaf(ctx, "1") },
	} {
		all = append(all, attack{"passer: " + name, func(ctx context.Context) error { do(ctx); return nil }})
	}
	return all
}

// deaf fills what waits for an accomplice who reads nothing, again and again.
func (p *passing) deaf(ctx context.Context, which string) {
	fill := func() error {
		mute, err := p.as(ctx, "mute"+which, "gob")
		if err != nil {
			return err
		}
		defer mute.Close()
		loud, err := p.as(ctx, "loud"+which, "json")
		if err != nil {
			return err
		}
		defer loud.Close()
		go func() { _, _ = io.Copy(io.Discard, loud) }() // until it leaves
		id := loud.name + ":1"
		var m Message
		err = errors.Join(loud.put(Message{passSyn, mute.name, id, nil}), mute.take(&m), mute.put(Message{passAck, loud.name, id, nil}))
		for n := 0; err == nil && n < 100; n++ {
			if err = loud.put(Message{passBytes, mute.name, id, make([]byte, 500_000)}); err == nil {
				err = pause(ctx, 100*time.Millisecond)
			}
		}
		return err
	}
	for ctx.Err() == nil {
		_ = fill() // it is sent away, as it must be
		_ = pause(ctx, time.Second)
	}
}
