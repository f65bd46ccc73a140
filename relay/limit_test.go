package relay_test

import (
	"errors"
	"testing"

	"airdispatch/message"
	"airdispatch/relay"
)

// TestSocketsOfAnAddress: one address cannot fill the relay with sessions.
func TestSocketsOfAnAddress(t *testing.T) {
	w := newWorld(t, relay.Limits{SocketsPerAddress: 2}, "alice", "bob")
	to := w.people["bob"].Address()
	for i := range 3 {
		_, err := w.line("alice", relay.LineConfig{}).Call(t.Context(), to, "x", nil)
		want := error(relay.NotOnline)
		if i == 2 {
			want = message.RateLimited
		}
		if !errors.Is(err, want) {
			t.Errorf("session %d: %v, want %v", i+1, err, want)
		}
	}
}

// TestTakeover: a socket of the same session takes the connections over, and the
// old one is closed.
func TestTakeover(t *testing.T) {
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	first := w.raw(t, "alice")
	second := w.raw(t, "alice") // the session is the same
	if f, err := first.next(); err == nil {
		t.Errorf("the old socket goes on: %v", f)
	}
	second.send(ping())
	if f, err := second.next(); err != nil || f.GetPong() == nil {
		t.Errorf("the new one: %v, %v", f, err)
	}
	if got := w.server.Counts(); got.Sockets > 2 {
		t.Errorf("%d sockets", got.Sockets)
	}
}
