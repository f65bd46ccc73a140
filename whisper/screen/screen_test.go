package screen_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"airdispatch/whisper"
	"airdispatch/whisper/screen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shown is what was drawn so far.
type shown struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

// Write takes what is drawn.
func (s *shown) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(b)
}

func (s *shown) until(t *testing.T, want string) {
	t.Helper()
	late := time.After(patience)
	for {
		s.mu.Lock()
		text, more := s.text.String(), s.more
		s.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%q was never shown, but %q", want, text)
		}
	}
}

// TestScreen: what is typed is said, what is said is shown, and both ways out.
func TestScreen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, key string
		want      error
	}{{"ended", "\x04", nil}, {"interrupted", "\x03", context.Canceled}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			node, err := whisper.New(whisper.Config{Nick: "ann", Addr: l.Addr().String(), Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader})
			must(t, err)
			must(t, l.Close())
			must(t, node.Say("before"))
			in, keys, err := os.Pipe()
			must(t, err)
			defer in.Close()
			defer keys.Close()
			out := &shown{more: make(chan struct{})}
			done := make(chan error, 1)
			go func() {
				done <- screen.Run(t.Context(), node, screen.Config{
					In: in, Out: out, Width: 80, Height: 24,
					Line: func(m whisper.Message) string { return m.Nick + ": " + m.Body },
					Typed: func(line string) []string {
						if line == "/bad" {
							return []string{"no command"}
						}
						must(t, node.Say(line))
						return nil
					},
				})
			}()
			out.until(t, "before")
			for _, line := range []string{"hello", "/bad"} {
				_, err := keys.WriteString(line + "\r")
				must(t, err)
			}
			out.until(t, "hello")
			out.until(t, "no command")
			_, err = keys.WriteString(c.key)
			must(t, err)
			select {
			case err := <-done:
				if !errors.Is(err, c.want) {
					t.Errorf("it ended with %v, want %v", err, c.want)
				}
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			if said := node.Recent(10); len(said) != 2 || said[1].Body != "hello" {
				t.Errorf("said %v", said)
			}
		})
	}
}
