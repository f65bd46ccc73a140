package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"airdispatch/cmd/internal/daemon"
)

// story is what the tour tells, and what it must remember on the way.
type story struct {
	*tour
	// ann and eve are addresses; letter is what ann wrote to bob.
	ann, bob, letter string
}

// register: identities, accounts, names.
func (s *story) register() {
	s.title("Ann and bob make themselves identities and join a mail server each.")
	host := ""
	if u, err := url.Parse(s.net.tracker.ref); err == nil {
		host = u.Host
	}
	for _, p := range []struct {
		who    string
		server *served
		to     *string
	}{{"ann", s.net.one, &s.ann}, {"bob", s.net.two, &s.bob}} {
		*p.to = s.run(typed{who: p.who, args: []string{"id", "new", "--no-passphrase"}, says: "ad1"})
		s.run(typed{who: p.who, args: []string{"register", "--server", p.server.ref, "--tracker", s.net.tracker.ref, "--name", p.who}, says: p.who + "@" + host})
	}
	s.run(typed{who: "ann", args: []string{"lookup", "bob@" + host}, says: s.bob})
	s.run(typed{who: "ann", args: []string{"contacts", "add", "bob@" + host, "bob"}})
	s.run(typed{who: "bob", args: []string{"contacts", "add", "ann@" + host, "ann"}})
	s.run(typed{who: "bob", args: []string{"allow", "ann"}})
}

// send: a letter with an attachment, kept at ann's server; bob's hears of it.
func (s *story) send() {
	s.title("Ann writes to bob, with an attachment. The letter stays at her server; bob's gets a small alert.")
	path := filepath.Join(s.net.dir, "route.txt")
	if s.err == nil {
		s.must(os.WriteFile(path, []byte(strings.Repeat("left, right, straight on\n", 4000)), 0o600))
	}
	s.letter = s.run(typed{
		who: "ann", args: []string{"send", "--to", "bob", "--subject", "The trip", "--attach", path, "-"}, in: "We leave at ten.\n", says: s.ann + "::",
	})
	s.awaits(typed{who: "ann", args: []string{"status", s.letter}, says: "alerted"})
}

// read: bob sees the alert, pulls, and saves the attachment.
func (s *story) read() {
	s.title("Bob sees it in his inbox and reads it: his server pulls it from ann's, his device decrypts it.")
	s.awaits(typed{who: "bob", args: []string{"inbox"}, says: "The trip"})
	s.run(typed{who: "bob", args: []string{"read", s.letter}, says: "We leave at ten."})
	saved := filepath.Join(s.net.dir, "saved.txt")
	s.run(typed{who: "bob", args: []string{"save", s.letter, "route.txt", "-o", saved}, says: saved})
	if s.err == nil {
		sent, err1 := os.ReadFile(filepath.Join(s.net.dir, "route.txt"))
		got, err2 := os.ReadFile(saved)
		if err1 != nil || err2 != nil || string(sent) != string(got) {
			s.fail("the attachment came out otherwise than it went in")
		}
	}
	s.awaits(typed{who: "ann", args: []string{"status", s.letter}, says: "fetched"})
}

// edit: the reader sees the new version, and what changed.
func (s *story) edit() {
	s.title("Ann changes what she wrote. Bob reads the new version, and can see what changed.")
	s.run(typed{who: "ann", args: []string{"edit", s.letter, "-"}, in: "We leave at eleven.\n", says: "version 2"})
	s.awaits(typed{who: "bob", args: []string{"read", s.letter}, says: "We leave at eleven."})
	s.run(typed{who: "bob", args: []string{"read", s.letter, "--diff"}, says: "-We leave at ten."})
}

// recall: before reading there is nothing left, after reading the reader keeps
// what was read, and is told.
func (s *story) recall() {
	s.title("Ann takes back a letter that bob has not read: there is nothing left to read.")
	early := s.run(typed{who: "ann", args: []string{"send", "--to", "bob", "--contract", "revisable", "--subject", "Never mind", "-"}, in: "Forget it.\n", says: "::"})
	s.run(typed{who: "ann", args: []string{"recall", early}, says: "recalled"})
	s.awaits(typed{who: "bob", args: []string{"read", early}, code: daemon.ExitRefused, says: "recalled"})
	s.title("She takes back the one that he has read: he keeps what he read, and is told.")
	s.run(typed{who: "ann", args: []string{"recall", s.letter}, says: "recalled"})
	s.awaits(typed{who: "bob", args: []string{"read", s.letter}, says: "taken this message back"})
}

// publish: whoever has the address reads, without an account or an identity.
func (s *story) publish() {
	s.title("Ann publishes something. Eve, who has no account anywhere, reads it by ann's address.")
	s.run(typed{who: "ann", args: []string{"post", "--name", "hello", "--subject", "Hello", "-"}, in: "Whoever has my address can read this.\n", says: "published"})
	tracker := []string{"--tracker", s.net.tracker.ref}
	s.run(typed{who: "eve", args: append(tracker, "posts", s.ann), says: "Hello"})
	s.run(typed{who: "eve", args: append(tracker, "read", s.ann+"::hello"), says: "Whoever has my address can read this."})
}

// strangers: requests, and not accepted.
func (s *story) strangers() {
	s.title("Mallory, whom bob does not know, writes to him: it is a request, not in the inbox. Then bob blocks him.")
	mallory := s.run(typed{who: "mallory", args: []string{"id", "new", "--no-passphrase"}, says: "ad1"})
	s.run(typed{who: "mallory", args: []string{"register", "--server", s.net.one.ref, "--tracker", s.net.tracker.ref}, says: "registered"})
	offer := s.run(typed{who: "mallory", args: []string{"send", "--to", s.bob, "--subject", "An offer", "-"}, in: "Buy this.\n", says: "::"})
	s.awaits(typed{who: "bob", args: []string{"inbox", "--requests"}, says: offer})
	if inbox := s.run(typed{who: "bob", args: []string{"inbox"}}); strings.Contains(inbox, offer) {
		s.fail("the stranger's message is in the inbox")
	}
	s.run(typed{who: "bob", args: []string{"block", mallory}})
	again := s.run(typed{who: "mallory", args: []string{"send", "--to", s.bob, "-"}, in: "Buy it now!\n", says: "::"})
	s.awaits(typed{who: "mallory", args: []string{"status", again}, says: "refused"})
}

// outage: what was accepted while the recipient's server was down arrives.
func (s *story) outage() {
	s.title("Bob's server goes down. Ann's letter is accepted all the same, and arrives when it is back.")
	if s.err != nil {
		return
	}
	s.says("(bob's mail server is stopped)")
	s.must(s.net.two.stop())
	letter := s.run(typed{who: "ann", args: []string{"send", "--to", "bob", "--subject", "Are you there?", "-"}, in: "Knock, knock.\n", says: "accepted"})
	s.run(typed{who: "ann", args: []string{"status", letter}, says: "queued"})
	s.run(typed{who: "bob", args: []string{"inbox", "--no-fetch"}, code: daemon.ExitUnreachable})
	if s.err != nil {
		return
	}
	s.says("(bob's mail server is started again)")
	s.must(s.net.two.start(s.ctx))
	s.awaits(typed{who: "bob", args: []string{"inbox"}, says: "Are you there?"})
	s.run(typed{who: "bob", args: []string{"read", letter}, says: "Knock, knock."})
}
