package passer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/message"
	"airdispatch/passer"
)

// TestNameIsUsableAgain: a name may log in again, after it left and while it is there;
// the newer client takes over.
func TestNameIsUsableAgain(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "b")
	for range 3 {
		o := w.enter("a", "gob")
		must(t, o.conn.Close())
	}
	first, b := w.enter("a", "gob"), w.enter("b", "json")
	first.call(b, "a:1")
	second := w.enter("a", "json")
	first.hears(Message{Meta: clientClosed, OtherClient: "a", Data: []byte("another client has logged in under this name")})
	first.ends()
	b.hears(Message{Meta: clientClosed, OtherClient: "a", Data: []byte("another client has logged in under this name")})
	b.say(none, "a", "a:1", "for the first")
	b.hears(Message{Meta: noSuchConnection, OtherClient: "a", ConnectionID: "a:1"})
	second.call(b, "a:1")
	b.say(none, "a", "a:1", "for the second")
	second.hears(Message{none, "b", "a:1", []byte("for the second")})
	if n := w.server.Counts(); n.Clients != 2 || n.Connections != 1 {
		t.Errorf("%+v", n)
	}
}

// TestWATIsNotForwarded: what would end an old client goes no further than the server.
func TestWATIsNotForwarded(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "b")
	a, b := w.enter("a", "gob"), w.enter("b", "gob")
	a.call(b, "a:1")
	for _, meta := range []uint8{wat, clientClosed, auth, authOk, authFailure, 11, 255} {
		a.say(meta, "b", "a:1", "data")
		a.say(meta, "b", "", "")
	}
	a.say(none, "b", "a:1", "after all that")
	b.hears(Message{none, "a", "a:1", []byte("after all that")})
	a.echo()
}

// TestNobodyElseSpeaksOnAConnection: a frame counts only on the connection of its sender, its
// target and its id; what was sent does not come back.
func TestNobodyElseSpeaksOnAConnection(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "b", "m", "a:")
	a, b, m := w.enter("a", "gob"), w.enter("b", "gob"), w.enter("m", "gob")
	a.call(b, "a:1")
	for _, to := range []string{"a", "b"} {
		for _, meta := range []uint8{none, connAck} {
			m.say(meta, to, "a:1", "injected")
			m.hears(Message{Meta: noSuchConnection, OtherClient: to, ConnectionID: "a:1"})
		}
		for _, meta := range []uint8{connClosed, noSuchConnection, unknownProto, clientClosed} {
			m.say(meta, to, "a:1", "injected") // nobody answers to an end
		}
		// Nor is an id taken that is another's, or that stands.
		for _, id := range []string{"a:1", "a:2", "b:1", "", "m", "m:", "n:1"} {
			m.say(connSyn, to, id, "injected")
			m.hears(Message{Meta: noSuchConnection, OtherClient: to, ConnectionID: id})
		}
	}
	a.say(connSyn, "m", "a:1", "the same id, to somebody else")
	a.hears(Message{Meta: noSuchConnection, OtherClient: "m", ConnectionID: "a:1"})
	a.say(connSyn, "a", "a:9", "to oneself")
	a.hears(Message{Meta: noSuchConnection, OtherClient: "a", ConnectionID: "a:9"})
	a.say(none, "m", "a:1", "an own id, for somebody else")
	a.hears(Message{Meta: noSuchConnection, OtherClient: "m", ConnectionID: "a:1"})
	a.say(none, "b", "a:1", "still there")
	b.hears(Message{none, "a", "a:1", []byte("still there")})
	b.say(none, "a", "a:1", "so it is")
	a.hears(Message{none, "b", "a:1", []byte("so it is")})
	// The caller cannot take its own call, nor the callee end it as not known once it is.
	a.say(connSyn, "m", "a:3", "p")
	m.hears(Message{connSyn, "a", "a:3", []byte("p")})
	a.say(connAck, "m", "a:3", "")
	a.say(unknownProto, "m", "a:3", "")
	m.say(connAck, "a", "a:3", "")
	a.hears(Message{Meta: connAck, OtherClient: "m", ConnectionID: "a:3"})
	m.say(connAck, "a", "a:3", "")
	m.say(unknownProto, "a", "a:3", "")
	m.say(none, "a", "a:3", "stands")
	a.hears(Message{none, "m", "a:3", []byte("stands")})
}

// TestLeavingTellsOnlyPartners: whoever had a connection with who leaves is told, once.
func TestLeavingTellsOnlyPartners(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "b", "c")
	a, b, c := w.enter("a", "gob"), w.enter("b", "gob"), w.enter("c", "json")
	a.call(b, "a:1")
	a.call(b, "a:2")
	c.call(a, "c:1")
	c.say(connClosed, "a", "c:1", "")
	a.hears(Message{Meta: connClosed, OtherClient: "c", ConnectionID: "c:1"})
	must(t, a.conn.Close())
	b.hears(Message{Meta: clientClosed, OtherClient: "a"})
	b.echo()
	c.echo()
}

// TestLogins: a refusal is said, in words, and the same for a name that is not there as
// for a wrong secret.
func TestLogins(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "suspended")
	s := w.book.accounts["suspended"]
	s.Suspended = true
	w.book.accounts["suspended"] = s
	for _, framing := range []string{"gob", "json"} {
		for _, c := range []struct {
			first Message
			want  Message
		}{
			{Message{auth, "a", "", []byte("guess")}, Message{authFailure, "a", "", []byte("wrong name or secret")}},
			{Message{auth, "a", "", nil}, Message{authFailure, "a", "", []byte("wrong name or secret")}},
			{Message{auth, "nobody", "", []byte("guess")}, Message{authFailure, "nobody", "", []byte("wrong name or secret")}},
			{Message{auth, "", "", []byte("guess")}, Message{authFailure, "", "", []byte("wrong name or secret")}},
			{Message{auth, "suspended", "", secret("suspended")}, Message{authFailure, "suspended", "", []byte("the account is suspended")}},
			{Message{connSyn, "a", "a:1", []byte("p")}, Message{authFailure, "a", "", []byte("the first message must be Auth")}},
			{Message{auth, "a", "", bytes.Repeat([]byte("x"), passer.MaxGreeting)}, Message{authFailure, "", "", []byte("the first message is malformed")}},
		} {
			o := speak(t, w.dial(), framing)
			must(t, o.put(c.first))
			o.hears(c.want)
			o.ends()
		}
	}
	if strings.Contains(w.log.String(), "guess") || !strings.Contains(w.log.String(), "wrong name or secret") {
		t.Errorf("the log: %s", w.log)
	}
	if n := w.server.Counts(); n.Refused != 14 {
		t.Errorf("%+v", n)
	}
}

// TestGuessing: after some wrong secrets a host is heard no more, and neither is a name;
// but nobody who has logged in before is locked out by it.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := openWorld(t, l, passer.Limits{}, "a", "b")
		attempt := func(host, name, secret string) string {
			o := speak(t, l.dial(host), "gob")
			defer synctest.Wait() // until the server has put the place back
			defer o.conn.Close()
			o.say(auth, name, "", secret)
			m := o.next()
			if m.Meta == authOk {
				return "in"
			}
			return string(m.Data)
		}
		const wrong, enough = "wrong name or secret", "too many wrong secrets; try again later"
		expect := func(host, name, secret, want string) {
			t.Helper()
			if got := attempt(host, name, secret); got != want {
				t.Fatalf("%s from %s: %s, want %s", name, host, got, want)
			}
		}
		right := string(secret("a"))
		expect("10.0.0.1", "a", right, "in")
		for range passer.GuessesOfNetwork {
			expect("10.0.0.2", "b", "guess", wrong)
		}
		expect("10.0.0.2", "b", string(secret("b")), enough)
		expect("10.0.0.2", "a", right, enough)
		for n := range passer.GuessesOfName - passer.GuessesOfNetwork {
			expect(fmt.Sprintf("10.0.1.%d", n), "b", "guess", wrong)
		}
		expect("10.0.2.1", "b", string(secret("b")), enough)
		// Whoever has been in comes in, from where it was, whatever others do there.
		for range passer.GuessesOfNetwork {
			expect("10.0.0.1", "b", "guess", enough)
			expect("10.0.0.1", "c", "guess", wrong)
		}
		expect("10.0.0.1", "c", "guess", enough)
		expect("10.0.0.1", "a", right, "in")
		// A guess costs also there.
		for range passer.GuessesOfNetwork {
			expect("10.0.0.1", "a", "guess", wrong)
		}
		expect("10.0.0.1", "a", right, enough)
		time.Sleep(11 * time.Second)
		expect("10.0.0.1", "a", right, "in")
		expect("10.0.2.1", "b", string(secret("b")), "in")
		_ = w
	})
}

// TestFloodOfSockets: whoever does not log in takes nobody's place.
func TestFloodOfSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := openWorld(t, l, passer.Limits{}, "a")
		var idle []net.Conn
		for range passer.GreetingPerNetwork {
			idle = append(idle, l.dial("10.0.0.1"))
		}
		synctest.Wait()
		over := l.dial("10.0.0.1")
		if _, err := over.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("one too many: %v", err)
		}
		for n := range 2 * passer.GreetingInAll {
			idle = append(idle, l.dial(fmt.Sprintf("10.1.%d.%d", n/200, n%200)))
			synctest.Wait()
		}
		if _, greeting := w.server.Queued(); greeting != passer.GreetingInAll {
			t.Fatalf("%d sockets are nobody's", greeting)
		}
		// In the middle of it somebody logs in, from where the flood began.
		o := speak(t, l.dial("10.0.0.1"), "gob")
		o.say(auth, "a", "", string(secret("a")))
		o.hears(Message{Meta: authOk, OtherClient: "a"})
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if _, greeting := w.server.Queued(); greeting != 0 {
			t.Fatalf("%d sockets are nobody's after their time", greeting)
		}
		o.name = "a"
		o.echo()
		for _, c := range append(idle, over) {
			_ = c.Close()
		}
	})
}

// TestOneSlowReaderHoldsUpNobody: who does not read loses its connections, and then
// itself, with a reason; who writes to it goes on all the time.
func TestOneSlowReaderHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := openWorld(t, l, passer.Limits{QueueBytes: 4 << 20}, "a", "b", "c")
		a, b, slow := w.enterBy(l, "a"), w.enterBy(l, "b"), w.enterOn(l.dial("10.0.0.1"), "c")
		a.call(b, "a:1")
		a.call(slow, "a:2")
		a.call(slow, "a:3")
		began, piece := time.Now(), strings.Repeat("x", 64<<10)
		for range 17 { // a connection's share is a little over 16 of them
			a.say(none, "c", "a:2", piece)
		}
		a.hears(Message{connClosed, "c", "a:2", []byte("too much waits to be read")})
		a.say(none, "c", "a:3", "another connection has its own share")
		a.say(none, "b", "a:1", "and others are not held up")
		b.hears(Message{none, "a", "a:1", []byte("and others are not held up")})
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("it took %s", waited)
		}
		time.Sleep(31 * time.Second)
		a.hears(Message{clientClosed, "c", "", []byte("it does not read what is sent to it")})
		if n := w.server.Counts(); n.Clients != 2 || n.Connections != 1 {
			t.Errorf("%+v", n)
		}
		w.enterBy(l, "c")
	})
}

// TestSlowReaderOfItsOwnFaults: who asks for answers and does not read them goes too.
func TestSlowReaderOfItsOwnFaults(t *testing.T) {
	w := newWorld(t, passer.Limits{QueueBytes: 64 << 10, BytesPerSecond: -1}, "a")
	a := w.enter("a", "json")
	text, err := json.Marshal(Message{OtherClient: strings.Repeat("n", 64), ConnectionID: strings.Repeat("i", 128), Data: []byte("x")})
	must(t, err)
	for {
		if _, err = a.conn.Write(text); err != nil {
			break
		}
	}
	if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
		t.Fatal("nobody ended it")
	}
}

// TestMalformedFramesEndTheClient: and nobody else.
func TestMalformedFramesEndTheClient(t *testing.T) {
	for _, bad := range []string{
		"\x00", "\x01\x00", "\x07\xff\x82", "\xf8\xff\xff\xff\xff\xff\xff\xff\xff", "\xfc\x7f\xff\xff\xff", "\x05\xff\x82\x09\x01\x00",
		"\x05\xff\x82\x02\x7f\x00", "\x80", strings.Repeat("\xff", 100),
	} {
		w := newWorld(t, passer.Limits{}, "a", "b")
		a, b := w.enter("a", "gob"), w.enter("b", "json")
		a.call(b, "a:1")
		_, err := a.conn.Write([]byte(bad))
		must(t, err)
		must(t, a.conn.(*net.TCPConn).CloseWrite())
		got := b.next()
		if got.Meta != clientClosed || got.OtherClient != "a" || !strings.HasPrefix(string(got.Data), "it sent a ") {
			t.Errorf("%q: b heard %s", bad, got)
		}
		a.hears(Message{clientClosed, "a", "", got.Data})
		a.ends()
		_, err = b.conn.Write([]byte("{\"Data\":[]}\n"))
		must(t, err)
		b.hears(Message{clientClosed, "b", "", []byte("it sent a malformed frame")})
	}
}

// TestJSONIsText: what is not UTF-8 is no frame, and is not made into one.
func TestJSONIsText(t *testing.T) {
	for text, good := range map[string]bool{"{\"OtherClient\":\"\xff\"}": false, "{\"ConnectionID\":\"a:\xc3\"}": false, "{\"OtherClient\":\"é\"}": true} {
		if m, err := passer.NewJSON(strings.NewReader(text)).ReadMessage(); (err == nil) != good {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
}

// TestSilence: what nobody answers or uses ends.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := openWorld(t, l, passer.Limits{Idle: time.Hour}, "a", "b")
		a, b := w.enterBy(l, "a"), w.enterBy(l, "b")
		a.say(connSyn, "b", "a:1", "p")
		b.hears(Message{connSyn, "a", "a:1", []byte("p")})
		time.Sleep(36 * time.Second)
		a.hears(Message{noSuchConnection, "b", "a:1", []byte("nobody answers")})
		b.hears(Message{noSuchConnection, "a", "a:1", []byte("nobody answers")})
		b.say(connAck, "a", "a:1", "")
		b.hears(Message{Meta: noSuchConnection, OtherClient: "a", ConnectionID: "a:1"})
		time.Sleep(50 * time.Minute)
		a.echo()
		time.Sleep(30 * time.Minute)
		b.hears(Message{clientClosed, "b", "", []byte("nothing was said for too long")})
		a.echo()
	})
}

// TestAccountsThatChange: whose account is removed, changed or suspended while they are
// there is sent away.
func TestAccountsThatChange(t *testing.T) {
	for what, change := range map[string]func(b *book){
		"removed":   func(b *book) { delete(b.accounts, "a") },
		"suspended": func(b *book) { a := b.accounts["a"]; a.Suspended = true; b.accounts["a"] = a },
		"changed":   func(b *book) { a := b.accounts["a"]; a.Secret[0]++; b.accounts["a"] = a },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				w := openWorld(t, l, passer.Limits{}, "a", "b")
				a, b := w.enterBy(l, "a"), w.enterBy(l, "b")
				time.Sleep(time.Minute)
				a.echo()
				w.book.mu.Lock()
				change(w.book)
				w.book.mu.Unlock()
				time.Sleep(36 * time.Second)
				a.hears(Message{clientClosed, "a", "", []byte("the account was removed, changed or suspended")})
				b.echo()
			})
		})
	}
}

// TestBlocked: whom the owner of an address has blocked does not learn that a client of
// it is there.
func TestBlocked(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "b")
	a, b := w.enter("a", "gob"), w.enter("b", "gob")
	w.book.mu.Lock()
	w.book.blocked[[2]message.Address{w.book.accounts["a"].Address, w.book.accounts["b"].Address}] = true
	w.book.mu.Unlock()
	a.say(connSyn, "b", "a:1", "p")
	a.hears(Message{Meta: noSuchConnection, OtherClient: "b", ConnectionID: "a:1"})
	b.call(a, "b:1")
}

// TestLimits: clients of an address, clients in all, connections of a client, the length
// of a protocol's name.
func TestLimits(t *testing.T) {
	w := newWorld(t, passer.Limits{Clients: 3, ClientsPerAddress: 2, Connections: 2}, "a", "b", "c", "d", "e")
	for _, name := range []string{"b", "c"} {
		x := w.book.accounts[name]
		x.Address = w.book.accounts["a"].Address
		w.book.accounts[name] = x
	}
	a, b := w.enter("a", "gob"), w.enter("b", "gob")
	full := func(name string) {
		t.Helper()
		o := speak(t, w.dial(), "gob")
		o.say(auth, name, "", string(secret(name)))
		o.hears(Message{authFailure, name, "", []byte("too many clients")})
	}
	full("c")
	a2 := w.enter("a", "gob") // takes over, and so adds none
	d := w.enter("d", "gob")
	full("e")
	d.call(a2, "d:1")
	d.call(a2, "d:2")
	d.say(connSyn, "b", "d:3", "p")
	d.hears(Message{Meta: noSuchConnection, OtherClient: "b", ConnectionID: "d:3"})
	b.say(connSyn, "d", "b:1", "p")
	b.hears(Message{Meta: noSuchConnection, OtherClient: "d", ConnectionID: "b:1"})
	b.say(connSyn, "a", "b:2", strings.Repeat("p", 257))
	b.hears(Message{Meta: unknownProto, OtherClient: "a", ConnectionID: "b:2"})
	d.say(connClosed, "a", "d:2", "")
	a2.hears(Message{Meta: connClosed, OtherClient: "d", ConnectionID: "d:2"})
	b.call(a2, "b:3")
	a.hears(Message{clientClosed, "a", "", []byte("another client has logged in under this name")})
}

// TestPace: an address sends so much a second, and others are not held up by it.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := openWorld(t, l, passer.Limits{BytesPerSecond: 1 << 20, BurstBytes: 2 << 20}, "a", "b", "c")
		a, b, c := w.enterBy(l, "a"), w.enterBy(l, "b"), w.enterBy(l, "c")
		a.call(b, "a:1")
		c.call(b, "c:1")
		began := time.Now()
		var sending sync.WaitGroup
		sending.Go(func() {
			for range 8 {
				a.say(none, "b", "a:1", strings.Repeat("x", 1<<20))
			}
		})
		c.say(none, "b", "c:1", "not held up")
		got := 0
		for got < 8<<20 {
			m := b.next()
			if m.ConnectionID == "c:1" {
				if time.Since(began) > 100*time.Millisecond {
					t.Errorf("c waited for %s", time.Since(began))
				}
				continue
			}
			got += len(m.Data)
		}
		sending.Wait()
		if took := time.Since(began); took < 5*time.Second || took > 8*time.Second {
			t.Errorf("8 MiB took %s", took)
		}
	})
}

// TestSecrets: they are words, no two alike, and print as nothing.
func TestSecrets(t *testing.T) {
	if _, err := passer.NewSecret(strings.NewReader("short")); err == nil {
		t.Error("a secret of too little")
	}
	one, err := passer.NewSecret(strings.NewReader(strings.Repeat("1", 20)))
	must(t, err)
	two, err := passer.NewSecret(strings.NewReader(strings.Repeat("2", 20)))
	must(t, err)
	if bytes.Equal(one, two) || passer.HashSecret(one) == passer.HashSecret(two) || !strings.HasPrefix(string(one), "mp1") || len(one) < 35 {
		t.Errorf("%s and %s", []byte(one), []byte(two))
	}
	if text := fmt.Sprintf("%v %s %q %x", one, one, one, one); strings.Contains(text, string(one)) {
		t.Errorf("it prints as %s", text)
	}
	for name, good := range map[string]bool{"a": true, "clientA": true, "é": true, strings.Repeat("n", 64): true, "": false, "a:b": false, "a b": false,
		"a\n": false, "\xff": false, strings.Repeat("n", 65): false, (message.Address{1}).String(): false} {
		if err := passer.CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// pipes is a listener in memory, whose connections come from where they say.
type pipes struct {
	ctx    context.Context
	cancel context.CancelFunc
	queue  chan net.Conn
}

func newPipes() *pipes {
	p := &pipes{queue: make(chan net.Conn)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.queue:
		return c, nil
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.cancel(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// from is a connection that says where it comes from.
type from struct {
	net.Conn
	remote net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.remote }

// dial connects from a host.
func (p *pipes) dial(host string) net.Conn {
	near, far := net.Pipe()
	p.queue <- from{far, &net.TCPAddr{IP: net.ParseIP(host), Port: 1}}
	return near
}

// mailbox is a connection on which all that comes is taken at once, as a system's
// buffers do for a program that reads late.
type mailbox struct {
	net.Conn
	got  chan []byte
	rest []byte
}

func newMailbox(c net.Conn) *mailbox {
	m := &mailbox{Conn: c, got: make(chan []byte, 1<<16)}
	go func() {
		defer close(m.got)
		for {
			b := make([]byte, 64<<10)
			n, err := c.Read(b)
			if n > 0 {
				m.got <- b[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	return m
}

func (m *mailbox) Read(b []byte) (int, error) {
	if len(m.rest) == 0 {
		var ok bool
		if m.rest, ok = <-m.got; !ok {
			return 0, io.EOF
		}
	}
	n := copy(b, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// dialRead connects somebody who reads.
func (p *pipes) dialRead(host string) net.Conn { return newMailbox(p.dial(host)) }

// enterBy logs somebody in over a listener in memory.
func (w *world) enterBy(l *pipes, name string) *old {
	w.t.Helper()
	return w.enterOn(l.dialRead("10.0.0.1"), name)
}

// enterOn logs somebody in on a connection.
func (w *world) enterOn(conn net.Conn, name string) *old {
	w.t.Helper()
	o := speak(w.t, conn, "gob")
	w.t.Cleanup(func() { _ = o.conn.Close() })
	o.name = name
	o.say(auth, name, "", string(secret(name)))
	o.hears(Message{Meta: authOk, OtherClient: name})
	return o
}
