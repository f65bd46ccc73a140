package relay_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"

	"airdispatch/relay"
)

// speaks is the world with sockets of another form.
func (w *world) speaks(form string) *world {
	other := *w
	other.form = form
	return &other
}

// TestTwoForms: one end has frames as protobuf and the other as JSON, on the same
// server at the same time, and neither can tell: bytes, half-close and reasons are the same.
func TestTwoForms(t *testing.T) {
	for _, c := range []struct{ caller, callee string }{{relay.Text, relay.Binary}, {relay.Binary, relay.Text}} {
		t.Run(c.caller[len(c.caller)-5:]+" calls", func(t *testing.T) {
			w := newWorld(t, relay.Limits{ConnectionsPerAddress: 3}, "alice", "bob", "carol")
			conns := w.speaks(c.callee).listener("bob", "x")
			serving := make(chan struct{}, 1)
			w.line("carol", relay.LineConfig{
				Open: w.speaks(c.callee).open("carol"), Protocols: []string{"x"}, OnServing: func() { serving <- struct{}{} },
				OnCall: func(_ context.Context, in *relay.Incoming) { in.Refuse(relay.Refused) },
			})
			<-serving
			l := w.line("alice", relay.LineConfig{Open: w.speaks(c.caller).open("alice")})
			near, far := w.call(l, "alice", "bob", "x", conns)
			closing(t, near, far)
			exchange(t, near, far, 5*relay.Window)

			// The half-close of one end leaves the other's way open.
			near, far = w.call(l, "alice", "bob", "x", conns)
			closing(t, near, far)
			if err := near.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := far.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("after the half-close: %v", err)
			}
			if _, err := far.Write([]byte("after it")); err != nil {
				t.Error(err)
			}
			if err := far.Close(); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(near); err != nil || string(got) != "after it" {
				t.Errorf("%q, %v", got, err)
			}

			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for _, r := range []struct {
				to, protocol string
				want         relay.Reason
			}{{"bob", "y", relay.UnknownProtocol}, {"alice", "x", relay.NotOnline}, {"carol", "x", relay.Refused}} {
				if _, err := l.Call(ctx, w.people[r.to].Address(), r.protocol, nil); !errors.Is(err, r.want) {
					t.Errorf("%s %s: %v, want %v", r.to, r.protocol, err, r.want)
				}
			}
		})
	}
}

// byHand is a socket of somebody who has read the protocol's page and has a JSON
// encoder, and nothing of this repository.
type byHand struct {
	t  *testing.T
	ws *websocket.Conn
}

// object is a JSON object.
type object map[string]any

func (h byHand) say(o object) {
	h.t.Helper()
	b, err := json.Marshal(o)
	if err == nil {
		err = h.ws.Write(h.t.Context(), websocket.MessageText, b)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// hear is the next frame of a kind.
func (h byHand) hear(kind string) object {
	h.t.Helper()
	for {
		is, b, err := h.ws.Read(h.t.Context())
		if err != nil {
			h.t.Fatalf("waiting for %s: %v", kind, err)
		}
		var f map[string]object
		if err := json.Unmarshal(b, &f); err != nil || is != websocket.MessageText || len(f) != 1 {
			h.t.Fatalf("not one frame as JSON: %q, %v", b, err)
		}
		if inner, ok := f[kind]; ok {
			return inner
		}
	}
}

func base(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// number reads a number of 64 bits as protobuf's JSON writes it: absent for 0, in quotes.
func (h byHand) number(v any) int {
	if v == nil {
		return 0
	}
	n, err := strconv.Atoi(fmt.Sprint(v))
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// TestJSONByHand: frames that were written by hand do all that a program of ours does:
// serve, call, bring bytes both ways, give credit, close, and hear why not.
func TestJSONByHand(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	streams, serving := make(chan *relay.Stream, 1), make(chan struct{}, 1)
	bob := w.line("bob", relay.LineConfig{
		Protocols: []string{"x"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(_ context.Context, in *relay.Incoming) { streams <- in.Accept() },
	})
	<-serving
	ws, err := w.speaks(relay.Text).open("alice")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(relay.MaxFrame)
	alice := byHand{t, ws}
	alice.say(object{"hello": object{"session": base(noise(16))}})
	if got := alice.hear("welcome"); alice.number(got["resumeFor"]) != 60_000 {
		t.Errorf("welcome: %v", got)
	}

	to := w.people["bob"].Address()
	alice.say(object{"call": object{"connection": base(noise(16)), "to": base(to.Bytes()), "protocol": "nothing"}})
	if got := alice.hear("answer"); got["reason"] != "LIVE_REASON_UNKNOWN_PROTOCOL" {
		t.Errorf("an unknown protocol: %v", got)
	}
	id := base(noise(16))
	alice.say(object{"call": object{"connection": id, "to": base(to.Bytes()), "protocol": "x"}})
	if got := alice.hear("answer"); got["reason"] != nil || got["connection"] != id {
		t.Fatalf("a call that is taken: %v", got)
	}
	far := <-streams
	alice.converse(id, far)

	// The other way: who speaks JSON serves, and is called by who speaks protobuf.
	alice.say(object{"serve": object{"protocols": []string{"y"}}})
	alice.hear("serving")
	called := make(chan *relay.Stream, 1)
	go func() {
		s, err := bob.Call(t.Context(), w.people["alice"].Address(), "y", nil)
		if err != nil {
			t.Error(err)
		}
		called <- s
	}()
	call := alice.hear("call")
	if call["protocol"] != "y" || call["from"] != base(to.Bytes()) {
		t.Errorf("the call: %v", call)
	}
	id, _ = call["connection"].(string)
	alice.say(object{"answer": object{"connection": id}})
	alice.converse(id, <-called)
}

// converse sends half a megabyte each way, more than the windows, at once, and closes in order.
func (h byHand) converse(id string, far *relay.Stream) {
	t := h.t
	t.Helper()
	if far == nil {
		t.Fatal("no connection")
	}
	hers, his := noise(2*relay.Window), noise(2*relay.Window+1)
	done := make(chan error, 2)
	go func() {
		for at := 0; at < len(his); {
			if err := far.Room(); err != nil {
				done <- err
				return
			}
			n, err := far.Write(his[at:min(at+10_000, len(his))])
			if at += n; err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		got := make([]byte, len(hers))
		_, err := io.ReadFull(far, got)
		if err == nil && !bytes.Equal(got, hers) {
			err = errors.New("other bytes came")
		}
		done <- err
	}()
	var got []byte
	sent, credited := 0, 0
	for len(got) < len(his) || sent < len(hers) {
		for sent < len(hers) && sent < credited+relay.Window {
			n := min(relay.MaxData, len(hers)-sent, credited+relay.Window-sent)
			h.say(object{"data": object{"connection": id, "offset": strconv.Itoa(sent), "bytes": base(hers[sent : sent+n])}})
			sent += n
		}
		if len(got) == len(his) && sent == len(hers) {
			break
		}
		_, b, err := h.ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var f map[string]object
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		if d := f["data"]; d != nil {
			text, _ := d["bytes"].(string)
			more, err := base64.StdEncoding.DecodeString(text)
			if err != nil || h.number(d["offset"]) != len(got) {
				t.Fatalf("at %d came %v, %v", len(got), d["offset"], err)
			}
			got = append(got, more...)
			h.say(object{"credit": object{"connection": id, "consumed": len(got)}}) // a bare number does as well
		}
		if c := f["credit"]; c != nil {
			credited = h.number(c["consumed"])
		}
		if c := f["close"]; c != nil {
			t.Fatalf("closed: %v", c)
		}
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, his) {
		t.Error("other bytes came to who speaks JSON")
	}
	if err := far.Close(); err != nil {
		t.Error(err)
	}
	if c := h.hear("close"); c["reason"] != "LIVE_REASON_DONE" || h.number(c["offset"]) != len(his) {
		t.Errorf("the close: %v", c)
	}
	h.say(object{"close": object{"connection": id, "reason": "LIVE_REASON_DONE", "offset": strconv.Itoa(sent)}})
	h.say(object{"ping": object{}})
	h.hear("pong")
}
