package passer_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"airdispatch/passer"
)

// newLog writes everything there is.
func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// TestTranscripts plays dialogues byte by byte: lines of testdata say who writes (>) or
// hears (<) what, as hexadecimal or as text.
func TestTranscripts(t *testing.T) {
	for _, name := range []string{"gob.txt", "json.txt", "both.txt"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passer.Limits{}, "clientA", "clientB")
			conns := map[string]net.Conn{}
			played := 0
			for n, line := range strings.Split(readTestdata(t, name), "\n") {
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				words := strings.SplitN(line, " ", 3)
				if len(words) != 3 {
					t.Fatalf("line %d: %q", n+1, line)
				}
				want := []byte(words[2] + "\n")
				if !strings.HasPrefix(words[2], "{") {
					var err error
					want, err = hex.DecodeString(words[2])
					must(t, err)
				}
				if conns[words[0]] == nil {
					conns[words[0]] = w.dial()
				}
				if played++; words[1] == ">" {
					_, err := conns[words[0]].Write(want)
					must(t, err)
					continue
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(conns[words[0]], got); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("line %d: %s heard\n%x, %v, want\n%x\n%q", n+1, words[0], got, err, want, got)
				}
			}
			if played < 12 {
				t.Fatalf("%d lines were played", played)
			}
		})
	}
}

// TestGreetings: the exchange of the original's example, between old clients of either
// framing, on one port.
func TestGreetings(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "clientA", "clientB")
	for _, f := range [][2]string{{"gob", "gob"}, {"json", "json"}, {"gob", "json"}, {"json", "gob"}} {
		a, b := w.enter("clientA", f[0]), w.enter("clientB", f[1])
		b.call(a, "clientB:1")
		b.say(none, "clientA", "clientB:1", "Hello Friend!")
		a.hears(Message{none, "clientB", "clientB:1", []byte("Hello Friend!")})
		a.say(none, "clientB", "clientB:1", "Hello World!")
		a.say(connClosed, "clientB", "clientB:1", "")
		b.hears(Message{none, "clientA", "clientB:1", []byte("Hello World!")})
		b.hears(Message{Meta: connClosed, OtherClient: "clientA", ConnectionID: "clientB:1"})
		b.say(connSyn, "clientA", "clientB:2", "unheard of")
		a.hears(Message{connSyn, "clientB", "clientB:2", []byte("unheard of")})
		a.say(unknownProto, "clientB", "clientB:2", "")
		b.hears(Message{Meta: unknownProto, OtherClient: "clientA", ConnectionID: "clientB:2"})
		must(t, a.conn.Close())
		must(t, b.conn.Close())
	}
}

// TestCalleeWritesFirst: a handler of an old client may write before the client has
// answered the call; the caller hears the answer first all the same.
func TestCalleeWritesFirst(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "b")
	a, b := w.enter("a", "gob"), w.enter("b", "gob")
	a.say(connSyn, "b", "a:1", "greetings")
	b.hears(Message{connSyn, "a", "a:1", []byte("greetings")})
	b.say(none, "a", "a:1", "welcome")
	b.say(connAck, "a", "a:1", "")
	a.hears(Message{Meta: connAck, OtherClient: "b", ConnectionID: "a:1"})
	a.hears(Message{none, "b", "a:1", []byte("welcome")})
	a.echo()
}

// TestAddressIsAnAlias: the address of an account stands for whoever logged in for it
// last, and the caller hears of the other by the word that it used.
func TestAddressIsAnAlias(t *testing.T) {
	w := newWorld(t, passer.Limits{}, "a", "b", "c")
	c := w.book.accounts["c"]
	c.Address = w.book.accounts["b"].Address
	w.book.accounts["c"] = c
	a, b := w.enter("a", "gob"), w.enter("b", "json")
	alias := w.book.accounts["b"].Address.String()
	a.say(connSyn, alias, "a:1", "greetings")
	b.hears(Message{connSyn, "a", "a:1", []byte("greetings")})
	b.say(connAck, "a", "a:1", "")
	a.hears(Message{Meta: connAck, OtherClient: alias, ConnectionID: "a:1"})
	a.say(none, alias, "a:1", "by address")
	a.say(none, "b", "a:1", "by name")
	b.hears(Message{none, "a", "a:1", []byte("by address")})
	b.hears(Message{none, "a", "a:1", []byte("by name")})
	later := w.enter("c", "gob")
	a.say(connSyn, alias, "a:2", "greetings")
	later.hears(Message{connSyn, "a", "a:2", []byte("greetings")})
	must(t, later.conn.Close())
	a.hears(Message{Meta: clientClosed, OtherClient: alias})
	a.say(connSyn, alias, "a:3", "greetings")
	b.hears(Message{connSyn, "a", "a:3", []byte("greetings")})
}

// samples are messages of every shape.
var samples = []Message{
	{}, {Meta: 255}, {Meta: auth, OtherClient: "me", Data: []byte("secret")}, {none, "b", "a:1", []byte("x")},
	{connSyn, strings.Repeat("n", 64), strings.Repeat("i", 128), bytes.Repeat([]byte{0}, 300)}, {Data: bytes.Repeat([]byte{0xff}, passer.MaxData)},
	{Meta: 128, OtherClient: "é"}, {ConnectionID: "only this"}, {Meta: 1, Data: []byte{}},
}

// ours is m as the server has it.
func ours(m Message) passer.Message {
	return passer.Message{Meta: passer.Meta(m.Meta), OtherClient: m.OtherClient, ConnectionID: m.ConnectionID, Data: m.Data}
}

// theirs is m as an old client has it.
func theirs(m passer.Message) Message {
	return Message{uint8(m.Meta), m.OtherClient, m.ConnectionID, m.Data}
}

// TestGobIsTheStandards: what encoding/gob writes is read here, and what is written here
// encoding/gob reads.
func TestGobIsTheStandards(t *testing.T) {
	var there, here bytes.Buffer
	enc, dec := gob.NewEncoder(&there), gob.NewDecoder(&here)
	in, out := passer.NewGob(&there), passer.NewGob(nil)
	for _, m := range samples {
		must(t, enc.Encode(m))
		got, err := in.ReadMessage()
		must(t, err)
		if theirs(got).String() != m.String() {
			t.Errorf("read %.80s, want %.80s", theirs(got), m)
		}
		here.Write(out.AppendMessage(nil, ours(m)))
		var back Message
		must(t, dec.Decode(&back))
		if back.String() != m.String() {
			t.Errorf("wrote %.80s, want %.80s", back, m)
		}
	}
}

// TestOtherTypes: of gob's types only one is read.
func TestOtherTypes(t *testing.T) {
	type Message2 struct {
		Meta         uint8
		OtherClient  string
		ConnectionID string
		Data         []byte
		More         int
	}
	type signed struct {
		Meta         int8
		OtherClient  string
		ConnectionID string
		Data         []byte
	}
	type order struct {
		OtherClient  string
		Meta         uint8
		ConnectionID string
		Data         []byte
	}
	type nested struct{ Meta Message }
	type aNameThatIsLongerThanWhatWouldLookLikeABrace struct {
		Meta         uint8
		OtherClient  string
		ConnectionID string
		Data         []byte
	}
	for _, v := range []any{Message2{}, signed{}, order{}, nested{}, aNameThatIsLongerThanWhatWouldLookLikeABrace{}, 7, "text", []byte("bytes"), map[string]int{"a": 1}, []Message{{}}, [3]string{}} {
		var b bytes.Buffer
		must(t, gob.NewEncoder(&b).Encode(v))
		if m, err := passer.NewGob(&b).ReadMessage(); err == nil {
			t.Errorf("%T was read as %v", v, m)
		}
	}
	// A second definition, which encoding/gob writes for another type on the same stream.
	var b bytes.Buffer
	e := gob.NewEncoder(&b)
	must(t, e.Encode(Message{Meta: auth}))
	must(t, e.Encode(signed{}))
	in := passer.NewGob(&b)
	if m, err := in.ReadMessage(); err != nil || m.Meta != auth {
		t.Fatal(m, err)
	}
	if m, err := in.ReadMessage(); err == nil {
		t.Fatalf("a second type was read: %v", m)
	}
}

// TestToldApart: the first byte tells the framing, whatever a definition is called.
func TestToldApart(t *testing.T) {
	var b bytes.Buffer
	must(t, gob.NewEncoder(&b).Encode(Message{}))
	for text, want := range map[string]string{b.String(): "gob", "{}": "json", "\n{": "json", " ": "json", "\x7a": "gob", "G": "gob", "\xff": "gob", "\x00": "gob"} {
		if got, err := passer.Tell([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %s, %v, want %s", text, got, err, want)
		}
	}
}

// TestJSONIsStrict: what is read, and what is not.
func TestJSONIsStrict(t *testing.T) {
	read := func(text string) string {
		in := passer.NewJSON(strings.NewReader(text))
		var out []string
		for {
			m, err := in.ReadMessage()
			if err != nil {
				return strings.Join(append(out, err.Error()), "; ")
			}
			out = append(out, theirs(m).String())
		}
	}
	for text, want := range map[string]string{
		`{"Meta":8,"OtherClient":"c","ConnectionID":"","Data":"Mw=="}` + "\n": `8 c  "3"; EOF`,
		`{}{"Meta":1} {"Data":null}`:                                          `0   ""; 1   ""; 0   ""; EOF`,
		`{"OtherClient":"a}\"{[é"}`:                                           `0 a}"{[é  ""; EOF`,
		`{"Meta":256}`:                                                        "passer: read: malformed frame",
		`{"Meta":-1}`:                                                         "passer: read: malformed frame",
		`{"Meta":{}}`:                                                         "passer: read: malformed frame",
		`{"Data":[1]}`:                                                        "passer: read: malformed frame",
		`{"Data":"!"}`:                                                        "passer: read: malformed frame",
		`{"Other":1}`:                                                         "passer: read: malformed frame",
		`{"OtherClient":"\u0007"}`:                                            "passer: read: malformed frame",
		`{"OtherClient":"` + strings.Repeat("n", 65) + `"}`:  "passer: read: frame: too large",
		`{"ConnectionID":"` + strings.Repeat("n", 2_000_000): "passer: read: frame: too large",
		`[]`:                    "passer: read: malformed frame",
		`nonsense`:              "passer: read: malformed frame",
		`{"Meta":8`:             "unexpected EOF",
		`{} x`:                  `0   ""; passer: read: malformed frame`,
		strings.Repeat(" ", 10): "EOF",
	} {
		if got := read(text); got != want {
			t.Errorf("%.60q: read %s, want %s", text, got, want)
		}
	}
}

// FuzzGob: nothing that comes makes the reader fall, and what it takes encoding/gob takes
// as the same.
func FuzzGob(f *testing.F) {
	for _, m := range samples[:5] {
		f.Add(passer.NewGob(nil).AppendMessage(nil, ours(m)))
		var b bytes.Buffer
		must(f, gob.NewEncoder(&b).Encode(m))
		f.Add(b.Bytes())
	}
	f.Add([]byte("\xf8\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := passer.NewGob(bytes.NewReader(b))
		dec := gob.NewDecoder(bytes.NewReader(b))
		for {
			m, err := in.ReadMessage()
			if err != nil {
				return
			}
			var there Message
			if err := dec.Decode(&there); err != nil || there.String() != theirs(m).String() {
				t.Fatalf("read %v; encoding/gob %v, %v", m, there, err)
			}
			if again, err := passer.NewGob(bytes.NewReader(passer.NewGob(nil).AppendMessage(nil, m))).ReadMessage(); err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
				t.Fatalf("read %v, wrote %v, %v", m, again, err)
			}
		}
	})
}

// FuzzJSON: nothing that comes makes the reader fall, and what it takes is the same when it
// is written and read again.
func FuzzJSON(f *testing.F) {
	for _, m := range samples[:5] {
		f.Add(passer.NewJSON(nil).AppendMessage(nil, ours(m)))
	}
	f.Add([]byte(`{"Meta":8,"OtherClient":"c","ConnectionID":"","Data":"Mw=="}{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := passer.NewJSON(bytes.NewReader(b))
		for {
			m, err := in.ReadMessage()
			if err != nil {
				return
			}
			if again, err := passer.NewJSON(bytes.NewReader(passer.NewJSON(nil).AppendMessage(nil, m))).ReadMessage(); err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
				t.Fatalf("read %v, wrote %v, %v", m, again, err)
			}
		}
	})
}
