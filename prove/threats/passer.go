package main

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/prove/proof"
)

func passerRows() []row {
	return []row{
		{"M5", "who does not read loses connections and then itself, with a reason, and who writes to it goes on", programsThatDoNotRead},
		{"M9", "who is blocked learns of no program, and a name that is suspended or removed ends within a minute", unwelcomePrograms},
		{"M1", "a newer login takes over, and the older program is told and closed; without the secret nobody does", loginsAgain},
		{"M2", "what would end an old program goes no further than the server", nothingEndsOthers},
		{"M3", "nobody speaks on, ends, takes up or takes the name of a foreign connection", foreignPairs},
		{"M4", "what bounces has no data in it", nothingBounces},
		{"M6", "frames that are none end who sends them, and nobody else", framesThatKill},
		{"M7", "sockets without a login are few, and end, and others log in beside them", silentSockets},
		{"M8", "guesses are counted, lock out nobody who was there before, and no secret stands in a log or a file", guessedSecrets},
		{"M10", "a port that would show secrets to a network is not opened unless that is said", portInTheClear},
	}
}

// frame is what programs of MessagePasser send.
type frame struct {
	Meta         uint8
	OtherClient  string
	ConnectionID string
	Data         []byte
}

// The numbers of the original.
const (
	metaNone = iota
	metaWAT
	metaNoSuchConnection
	metaUnknownProto
	metaClientClosed
	metaConnSyn
	metaConnAck
	metaConnClosed
	metaAuth
	metaAuthOk
	metaAuthFailure
)

// String shows a frame.
func (m frame) String() string {
	return fmt.Sprintf("%d %s %s %.60q", m.Meta, m.OtherClient, m.ConnectionID, m.Data)
}

// port is a mail server with a port for such programs, and names there.
type port struct {
	t      *town
	s      *server
	at     string
	people map[string]*proof.Person
	// secrets are those of the names.
	secrets map[string]string
}

// passer starts one that ends with ctx; every name is somebody else's.
func (t *town) passer(ctx context.Context, server string, names ...string) (*port, error) {
	p := &port{t: t, people: map[string]*proof.Person{}, secrets: map[string]string{}}
	var err error
	if p.at, err = free(); err != nil {
		return nil, err
	}
	p.s, err = t.serve(ctx, spec{program: "admaild", name: server, init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: append([]string{"AD_PASSER__LISTEN=" + p.at}, quick...)})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, p.s.kill)
	for _, name := range names {
		if p.people[name], err = t.person(ctx, p.s); err != nil {
			return nil, err
		}
		out, err := p.rules(ctx, "passer", "add", name, p.people[name].Address().String())
		if err != nil {
			return nil, err
		}
		p.secrets[name] = trimmed(out)
	}
	return p, nil
}

// rules is a command of the operator.
func (p *port) rules(ctx context.Context, args ...string) (string, error) {
	return p.t.run(ctx, p.s.dir, "admaild", append(args, "--dir", p.s.dir)...)
}

// old is a program that speaks by hand; what it does not expect it notes.
type old struct {
	name string
	conn net.Conn
	put  func(any) error
	take func(any) error
	f    *findings
}

// dials connects from an address of this machine, in one of the framings.
func (p *port) dials(ctx context.Context, f *findings, from, framing string) (*old, error) {
	c, err := stranger(ctx, p.at, from)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	o := &old{conn: c, f: f, put: json.NewEncoder(c).Encode, take: json.NewDecoder(c).Decode}
	if framing == "gob" {
		o.put, o.take = gob.NewEncoder(c).Encode, gob.NewDecoder(c).Decode
	}
	return o, nil
}

// enters logs in, and returns what the answer was where that was no welcome.
func (p *port) enters(ctx context.Context, f *findings, from, framing, name, secret string) (o *old, why string, err error) {
	if o, err = p.dials(ctx, f, from, framing); err != nil {
		return nil, "", err
	}
	o.name = name
	o.says(metaAuth, name, "", secret)
	m, err := o.next()
	if err == nil && (m.Meta != metaAuthOk || m.OtherClient != name) {
		_ = o.conn.Close()
		return nil, string(m.Data), nil
	}
	return o, "", err
}

// all logs in all names, each in the other framing than the one before.
func (p *port) all(ctx context.Context, f *findings, names ...string) (out []*old, err error) {
	for n, name := range names {
		o, why, err := p.enters(ctx, f, "127.0.0.1", []string{"gob", "json"}[n%2], name, p.secrets[name])
		if err != nil || o == nil {
			return nil, fmt.Errorf("%s does not log in: %s: %w", name, why, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// says sends a frame; one that cannot be sent shows in what is heard.
func (o *old) says(meta uint8, to, id, data string) {
	_ = o.put(frame{meta, to, id, []byte(data)})
}

// next reads a frame.
func (o *old) next() (m frame, err error) {
	_ = o.conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // where it fails, so does the read
	return m, o.take(&m)
}

// hears notes where the next frame is another one.
func (o *old) hears(what string, meta uint8, from, id, data string) {
	want := frame{meta, from, id, []byte(data)}
	m, err := o.next()
	o.f.must(err == nil && m.String() == want.String(), "%s: %s heard %s (%v), and not %s", what, o.name, m, err, want)
}

// ends notes where the server has not closed the connection.
func (o *old) ends(what string) {
	m, err := o.next()
	o.f.must(errors.Is(err, io.EOF), "%s: %s heard %s (%v), and not the end", what, o.name, m, err)
}

// calls makes a connection to somebody who takes it: the control of all that is refused.
func (o *old) calls(to *old, id string) {
	o.says(metaConnSyn, to.name, id, "greetings")
	to.hears("a call", metaConnSyn, o.name, id, "greetings")
	to.says(metaConnAck, o.name, id, "")
	o.hears("a call", metaConnAck, to.name, id, "")
}

// passes says something over a connection, and notes where it does not come as the next thing that is heard.
func (o *old) passes(to *old, id, word string) {
	o.says(metaNone, to.name, id, word)
	to.hears("the control: what is said", metaNone, o.name, id, word)
}

// idle notes where something has come that was not waited for: the server answers in order.
func (o *old) idle(what string) {
	id := o.name + ":idle"
	o.says(metaNone, "nobody", id, "x")
	o.hears(what, metaNoSuchConnection, "nobody", id, "")
}

func loginsAgain(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-again", "ann", "bob")
	if err != nil {
		return err
	}
	all, err := p.all(ctx, &f, "ann", "bob")
	if err != nil {
		return err
	}
	first, bob := all[0], all[1]
	first.calls(bob, "ann:1")
	for _, guess := range []string{"", "mp1" + strings.Repeat("q", 38), p.secrets["bob"], p.secrets["ann"][:40], strings.ToUpper(p.secrets["ann"]), p.secrets["ann"] + "\x00"} {
		_, why, err := p.enters(ctx, &f, "127.31.1.1", "gob", "ann", guess)
		f.must(err == nil && why == "wrong name or secret", "with another secret: %s, %v", why, err)
	}
	first.passes(bob, "ann:1", "still the first")
	const why = "another client has logged in under this name"
	second, refused, err := p.enters(ctx, &f, "127.31.1.2", "json", "ann", p.secrets["ann"])
	if err != nil || second == nil {
		return fmt.Errorf("a newer login: %s: %w", refused, err)
	}
	first.hears("the older one", metaClientClosed, "ann", "", why)
	first.ends("the older one")
	bob.hears("who has a connection", metaClientClosed, "ann", "", why)
	bob.says(metaNone, "ann", "ann:1", "for the first")
	bob.hears("the older one's connection", metaNoSuchConnection, "ann", "ann:1", "")
	second.calls(bob, "ann:1")
	bob.passes(second, "ann:1", "for the second")
	second.idle("the newer one")
	return f.all()
}

func nothingEndsOthers(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-wat", "ann", "bob", "mallory")
	if err != nil {
		return err
	}
	all, err := p.all(ctx, &f, "ann", "bob", "mallory")
	if err != nil {
		return err
	}
	ann, bob, mallory := all[0], all[1], all[2]
	ann.calls(bob, "ann:1")
	mallory.calls(bob, "mallory:1")
	for _, meta := range []uint8{metaWAT, metaClientClosed, metaAuth, metaAuthOk, metaAuthFailure, 11, 99, 255} {
		for _, id := range []string{"mallory:1", "ann:1", ""} {
			mallory.says(meta, "bob", id, "data")
			mallory.says(meta, "ann", id, "data")
		}
	}
	mallory.passes(bob, "mallory:1", "after all that")
	ann.passes(bob, "ann:1", "and between others")
	for _, o := range all {
		o.idle("after what would end it")
	}
	return f.all()
}

func foreignPairs(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-foreign", "ann", "bob", "mallory", "annie")
	if err != nil {
		return err
	}
	all, err := p.all(ctx, &f, "ann", "bob", "mallory", "annie")
	if err != nil {
		return err
	}
	ann, bob := all[0], all[1]
	ann.calls(bob, "ann:1")
	for _, m := range all[2:] {
		for _, to := range []string{"ann", "bob", p.people["ann"].Address().String(), p.people["bob"].Address().String()} {
			for _, meta := range []uint8{metaNone, metaConnAck} {
				m.says(meta, to, "ann:1", "injected")
				m.hears("into a foreign connection", metaNoSuchConnection, to, "ann:1", "")
			}
			for _, meta := range []uint8{metaConnClosed, metaNoSuchConnection, metaUnknownProto, metaClientClosed} {
				m.says(meta, to, "ann:1", "injected") // nobody answers to an end
			}
			for _, id := range []string{"ann:1", "ann:2", "bob:1", ":1", "", m.name, m.name + ":"} {
				m.says(metaConnSyn, to, id, "injected")
				m.hears("a name that is not one's own", metaNoSuchConnection, to, id, "")
			}
		}
		m.idle("who tries")
	}
	// Nor do those of a connection use it for anybody else.
	ann.says(metaNone, "mallory", "ann:1", "one's own connection, for somebody else")
	ann.hears("for somebody else", metaNoSuchConnection, "mallory", "ann:1", "")
	ann.says(metaConnSyn, "mallory", "ann:1", "a name that is in use")
	ann.hears("a name that is in use", metaNoSuchConnection, "mallory", "ann:1", "")
	ann.says(metaConnSyn, "mallory", "ann:3", "p")
	all[2].hears("a call", metaConnSyn, "ann", "ann:3", "p")
	ann.says(metaConnAck, "mallory", "ann:3", "")
	ann.says(metaUnknownProto, "mallory", "ann:3", "")
	ann.idle("who takes its own call")
	ann.passes(bob, "ann:1", "still there")
	bob.passes(ann, "ann:1", "so it is")
	bob.idle("who was meant")
	all[2].idle("who was called")
	return f.all()
}

func nothingBounces(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-bounce", "ann", "bob")
	if err != nil {
		return err
	}
	all, err := p.all(ctx, &f, "ann", "bob")
	if err != nil {
		return err
	}
	ann, bob := all[0], all[1]
	ann.calls(bob, "ann:1")
	secret := "a secret that was meant for " + strings.Repeat("bob ", 100)
	// Whoever repeats a frame of somebody's, or answers one in the name of nobody, gets nothing of it back, and
	// what bounces off bob to ann has nothing of what bob has put into it.
	for _, to := range []string{"bob", "nobody", ""} {
		for _, meta := range []uint8{metaNone, metaConnAck, metaConnSyn} {
			ann.says(meta, to, "ann:none:"[:len("ann:none:")-1], map[bool]string{true: "p", false: secret}[meta == metaConnSyn && to == "bob"])
			if meta == metaConnSyn && to == "bob" {
				bob.hears("a call", metaConnSyn, "ann", "ann:none", "p")
				bob.says(metaNoSuchConnection, "ann", "ann:none", secret)
			}
			want := uint8(metaNoSuchConnection)
			if meta == metaConnSyn && to != "bob" {
				want = metaUnknownProto // what is too long for the name of a protocol
			}
			ann.hears("what bounces", want, to, "ann:none", "")
		}
	}
	for n, meta := range []uint8{metaNoSuchConnection, metaConnClosed, metaUnknownProto} {
		id := fmt.Sprintf("ann:end%d", n)
		ann.says(metaConnSyn, "bob", id, "p")
		bob.hears("a call", metaConnSyn, "ann", id, "p")
		bob.says(meta, "ann", id, secret)
		ann.hears("an end", meta, "bob", id, "")
	}
	ann.passes(bob, "ann:1", secret)
	ann.idle("the end")
	return f.all()
}

func unwelcomePrograms(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-unwelcome", "bob", "cat")
	if err != nil {
		return err
	}
	// Ann has a home, from which she blocks bob.
	ann, err := t.moves(ctx, p.s)
	if err != nil {
		return err
	}
	out, err := p.rules(ctx, "passer", "add", "ann", ann.address.String())
	if err != nil {
		return err
	}
	p.secrets["ann"] = trimmed(out)
	all, err := p.all(ctx, &f, "ann", "bob", "cat")
	if err != nil {
		return err
	}
	a, b, c := all[0], all[1], all[2]
	b.calls(a, "bob:1")
	b.says(metaConnClosed, "ann", "bob:1", "")
	a.hears("an end", metaConnClosed, "bob", "bob:1", "")
	if _, err := ann.adctl(ctx, "block", p.people["bob"].Address().String()); err != nil {
		return err
	}
	for _, to := range []string{"ann", "nobody", ann.address.String(), (message.Address{1}).String()} {
		b.says(metaConnSyn, to, "bob:2", "p")
		b.hears("who is blocked", metaNoSuchConnection, to, "bob:2", "")
	}
	a.idle("whose owner has blocked")
	c.calls(a, "cat:1")
	// Accounts that are taken away while they are in use.
	begun := time.Now()
	if _, err := p.rules(ctx, "user", "suspend", p.people["bob"].Address().String()); err != nil {
		return err
	}
	if _, err := p.rules(ctx, "passer", "remove", "cat"); err != nil {
		return err
	}
	const why = "the account was removed, changed or suspended"
	for _, o := range []*old{b, c} {
		_ = o.conn.SetReadDeadline(time.Now().Add(50 * time.Second))
		var m frame
		err := o.take(&m)
		f.must(err == nil && m.Meta == metaClientClosed && string(m.Data) == why, "%s heard %s, %v", o.name, m, err)
		o.ends("who was sent away")
	}
	f.must(time.Since(begun) < time.Minute, "they were sent away after %s", time.Since(begun))
	a.hears("who has a connection", metaClientClosed, "cat", "", why)
	for name, want := range map[string]string{"bob": "the account is suspended", "cat": "wrong name or secret"} {
		_, got, err := p.enters(ctx, &f, "127.0.0.1", "json", name, p.secrets[name])
		f.must(err == nil && got == want, "%s logs in: %s, %v", name, got, err)
	}
	a.idle("who may stay")
	return f.all()
}

func portInTheClear(ctx context.Context, t *town) error {
	var f findings
	p, err := t.passer(ctx, "passer-clear", "ann", "bob")
	if err != nil {
		return err
	}
	if _, err := p.all(ctx, &f, "ann", "bob"); err != nil { // the control: on loopback it is open
		return err
	}
	p.s.kill()
	_, number, err := net.SplitHostPort(p.at)
	if err != nil {
		return err
	}
	env := p.s.env
	for _, at := range []string{"0.0.0.0", "", "[::]", "192.0.2.1", "localhost.example"} {
		p.s.env = append(append([]string{}, env...), "AD_PASSER__LISTEN="+at+":"+number)
		begins := t.start(p.s)
		f.must(begins != nil && strings.Contains(fmt.Sprint(begins), "ended before it listened"), "at %q, in the clear, it starts: %v", at, begins)
		p.s.kill()
		_, err := stranger(ctx, p.at, "127.0.0.1")
		f.must(err != nil, "at %q the port is open", at)
	}
	f.must(strings.Contains(p.s.said(), "is no loopback address"), "it does not say why: %s", p.s.said())
	// With TLS below it nobody on the wire sees a secret, and who speaks without is not heard.
	p.s.env = append(append([]string{}, env...), "AD_PASSER__TLS=true")
	if err := t.start(p.s); err != nil {
		return err
	}
	o, err := p.dials(ctx, &f, "127.0.0.1", "json")
	if err != nil {
		return err
	}
	o.says(metaAuth, "ann", "", p.secrets["ann"])
	m, err := o.next()
	f.must(err != nil, "without TLS there is an answer: %s", m)
	return f.all()
}
