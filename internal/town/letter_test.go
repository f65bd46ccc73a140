package town_test

import (
	"errors"
	"testing"
	"time"

	"airdispatch/internal/town"
)

// each tells a story over both ways of keeping.
func each(t *testing.T, story func(t *testing.T, w *town.Town)) {
	t.Helper()
	for name, keeping := range map[string]town.Keeping{"memory": town.InMemory, "files": town.InFiles} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, town.New(t, town.Keep(keeping)))
		})
	}
}

// TestLetter: a letter is sent, alerted, seen in the inbox, pulled and read.
func TestLetter(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		w.Tracker("hill")
		one, two := w.Server("one"), w.Server("two")
		ann, bob := w.Resident("ann", one), w.Resident("bob", two)
		m := ann.Send("hello", "bob")
		bob.AwaitsRequest(m)
		bob.Reads(m, "hello")
	})
}

// errEnough ends a stream from within.
var errEnough = errors.New("enough")

// farFuture is when nothing here matters any more.
func farFuture() time.Time { return time.Now().Add(1000 * time.Hour) }
