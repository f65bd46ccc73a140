package relay_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/relay"
)

// TestBytesASecond: an address gets what it may have, and what is beyond waits;
// nothing is lost over it.
func TestBytesASecond(t *testing.T) {
	w := newWorld(t, relay.Limits{BytesPerSecond: 512 << 10, BurstBytes: 64 << 10}, "alice", "bob")
	near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "x", w.listener("bob", "x"))
	sent := make([]byte, 512<<10)
	began := time.Now()
	go func() { _, _ = near.Write(sent); _ = near.Close() }()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	// The burst goes at once, the rest at the rate; a busy machine only takes longer.
	if took := time.Since(began); took < 700*time.Millisecond {
		t.Errorf("512 KiB at 512 KiB a second took %s", took)
	}
}

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
