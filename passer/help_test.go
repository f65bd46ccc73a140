package passer_test

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"airdispatch/message"
	"airdispatch/passer"
)

// TestMain fails when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing waits so long where all is well.
const patience = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// book is who has an account, and who is blocked by whom.
type book struct {
	mu       sync.Mutex
	accounts map[string]passer.Account
	blocked  map[[2]message.Address]bool
}

func (b *book) Account(_ context.Context, name string) (passer.Account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.accounts[name]
	if !ok {
		return passer.Account{}, message.NotFound
	}
	return a, nil
}

func (b *book) MayCall(_ context.Context, from, to message.Address) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocked[[2]message.Address{from, to}] {
		return message.Denied
	}
	return nil
}

// secret is the secret of a name in these tests.
func secret(name string) []byte { return []byte("secret of " + name) }

// world is a port with accounts.
type world struct {
	t      testing.TB
	server *passer.Server
	book   *book
	at     net.Addr
	log    *words
}

// words is a log that a test can read.
type words struct {
	mu sync.Mutex
	b  strings.Builder
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// newBook makes accounts, each with an address of its own.
func newBook(names ...string) *book {
	b := &book{accounts: map[string]passer.Account{}, blocked: map[[2]message.Address]bool{}}
	for n, name := range names {
		b.accounts[name] = passer.Account{Name: name, Address: message.Address{byte(n + 1)}, Secret: passer.HashSecret(secret(name))}
	}
	return b
}

// newWorld opens a port on loopback for accounts of these names.
func newWorld(t testing.TB, limits passer.Limits, names ...string) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return openWorld(t, l, limits, names...)
}

// openWorld serves on l until the test ends.
func openWorld(t testing.TB, l net.Listener, limits passer.Limits, names ...string) *world {
	t.Helper()
	w := &world{t: t, book: newBook(names...), at: l.Addr(), log: &words{}}
	w.server = passer.New(passer.Config{Accounts: w.book, Limits: limits, Log: newLog(w.log)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if queued, greeting := w.server.Queued(); queued != 0 || greeting != 0 || w.server.Counts().Connections != 0 || w.server.Counts().Clients != 0 {
			t.Errorf("left behind: %d bytes, %d sockets, %+v", queued, greeting, w.server.Counts())
		}
	})
	return w
}

// dial connects.
func (w *world) dial() net.Conn {
	w.t.Helper()
	d := net.Dialer{Timeout: patience}
	c, err := d.Dial(w.at.Network(), w.at.String())
	must(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	must(w.t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// Message is what old clients have: their struct, for encoding/gob and
// encoding/json themselves.
type Message struct {
	Meta         uint8
	OtherClient  string
	ConnectionID string
	Data         []byte
}

// The numbers of the original.
const (
	none = iota
	wat
	noSuchConnection
	unknownProto
	clientClosed
	connSyn
	connAck
	connClosed
	auth
	authOk
	authFailure
)

// String shows a message as a test compares it.
func (m Message) String() string {
	return fmt.Sprintf("%d %s %s %q", m.Meta, m.OtherClient, m.ConnectionID, m.Data)
}

// old is a socket that speaks as an old client does, in one of the framings.
type old struct {
	t    testing.TB
	name string
	conn net.Conn
	put  func(any) error
	take func(any) error
}

// speak lays a framing over a connection.
func speak(t testing.TB, conn net.Conn, framing string) *old {
	o := &old{t: t, conn: conn}
	if framing == "gob" {
		o.put, o.take = gob.NewEncoder(conn).Encode, gob.NewDecoder(conn).Decode
	} else {
		o.put, o.take = json.NewEncoder(conn).Encode, json.NewDecoder(conn).Decode
	}
	return o
}

// enter logs somebody in.
func (w *world) enter(name, framing string) *old {
	w.t.Helper()
	o := speak(w.t, w.dial(), framing)
	o.name = name
	o.say(auth, name, "", string(secret(name)))
	o.hears(Message{Meta: authOk, OtherClient: name})
	return o
}

// say sends a message.
func (o *old) say(meta uint8, to, id, data string) {
	o.t.Helper()
	must(o.t, o.put(Message{meta, to, id, []byte(data)}))
}

// next reads a message.
func (o *old) next() Message {
	o.t.Helper()
	var m Message
	must(o.t, o.take(&m))
	return m
}

// hears demands one message.
func (o *old) hears(want Message) {
	o.t.Helper()
	if got := o.next(); got.String() != want.String() {
		o.t.Fatalf("%s heard %s, want %s", o.name, got, want)
	}
}

// ends demands that the server has closed the connection.
func (o *old) ends() {
	o.t.Helper()
	var m Message
	if err := o.take(&m); !errors.Is(err, io.EOF) {
		o.t.Fatalf("%s heard %s and %v, not the end", o.name, m, err)
	}
}

// call makes a connection to somebody who takes it.
func (o *old) call(to *old, id string) {
	o.t.Helper()
	o.say(connSyn, to.name, id, "greetings")
	to.hears(Message{connSyn, o.name, id, []byte("greetings")})
	to.say(connAck, o.name, id, "")
	o.hears(Message{Meta: connAck, OtherClient: to.name, ConnectionID: id})
}

// echo shows that o is served: whatever was to come has come before.
func (o *old) echo() {
	o.t.Helper()
	o.say(none, "nobody", o.name+":ffff", "x")
	o.hears(Message{Meta: noSuchConnection, OtherClient: "nobody", ConnectionID: o.name + ":ffff"})
}

// readTestdata reads a file of testdata.
func readTestdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	must(t, err)
	return string(b)
}
