package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
)

// noon is when the tests happen.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// Dice are random bytes that are the same in every run: SHA-256 of a seed and
// a counter. Not safe for concurrent use.
type Dice struct {
	seed []byte
	n    uint64
	rest []byte
}

// NewDice begins the sequence of a seed.
func NewDice(seed string) *Dice { return &Dice{seed: []byte(seed)} }

// Read fills p.
func (d *Dice) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(d.rest) == 0 {
			h := crypto.Hash("dice", binary.BigEndian.AppendUint64(nil, d.n), d.seed)
			d.rest = h[:]
			d.n++
		}
		c := copy(p[n:], d.rest)
		n, d.rest = n+c, d.rest[c:]
	}
	return len(p), nil
}

// Person is somebody who writes messages.
type Person struct {
	keys *message.Keyring
	dice *Dice
}

// NewPerson makes the identity of a name, the same in every run.
func NewPerson(name string) (*Person, error) {
	p := &Person{dice: NewDice(name)}
	paper, err := crypto.RandomBytes(p.dice, 32)
	if err != nil {
		return nil, err
	}
	p.keys, err = message.NewKeyring(message.RoleUser, paper, noon(), p.dice)
	return p, err
}

// Address is the person's address.
func (p *Person) Address() message.Address { return p.keys.Address() }

// Draft is what a test says of a version; what it leaves out is a revisable
// private message without attachments.
type Draft struct {
	To      []*Person
	Prev    *message.Head
	Body    string
	Recall  bool
	Terms   message.Terms
	Expires time.Time
	Name    string
	At      time.Time
}

// Write seals a version.
func (p *Person) Write(d Draft) (store.Submission, error) {
	m := message.Draft{
		Author: p.keys.Chain, Prev: d.Prev, Time: d.At, Audience: message.Private, Terms: d.Terms, Expires: d.Expires, Name: d.Name,
		Content: &message.Content{Components: []message.Component{{Type: message.TypeText, Data: []byte(d.Body)}}},
	}
	if m.Time.IsZero() {
		m.Time = noon()
	}
	if m.Terms == 0 {
		m.Terms = message.Revisable
	}
	if d.Recall {
		m.Content = nil
	}
	if len(d.To) == 0 {
		m.Audience = message.Public
	}
	for _, r := range d.To {
		m.Readers = append(m.Readers, r.keys.Chain)
	}
	var err error
	if m.MID, err = message.NewMID(m.Time, p.dice); err != nil {
		return store.Submission{}, err
	}
	s, err := message.Seal(m, p.keys.Signer, p.dice)
	if err != nil {
		return store.Submission{}, err
	}
	return store.Submission{Head: s.Head, Slots: s.Slots, Payload: s.Payload, Now: m.Time}, nil
}

// person is NewPerson for a test.
func person(t testing.TB, name string) *Person {
	t.Helper()
	p, err := NewPerson(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// write is Write for a test.
func (p *Person) write(t testing.TB, d Draft) store.Submission {
	t.Helper()
	s, err := p.Write(d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused fails the test unless err wraps code.
func refused(t testing.TB, what string, err error, code message.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("%s: got %v, want %v", what, err, code)
	}
}

// done fails the test on an error.
func done(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// join hosts people.
func join(t testing.TB, m *store.Mail, people ...*Person) {
	t.Helper()
	for _, p := range people {
		done(t, "join", m.Accounts.Join(context.Background(), store.Account{Address: p.Address(), Joined: noon()}, nil))
	}
}
