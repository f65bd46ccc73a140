package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"airdispatch/cmd/internal/daemon"
)

// TestTour: the whole story, told in one process by the real commands.
func TestTour(t *testing.T) {
	t.Parallel()
	var out, words bytes.Buffer
	code := run(t.Context(), []string{"localnet", "--tour"}, std{in: strings.NewReader(""), out: &out, err: &words, env: noEnv})
	if code != daemon.ExitDone {
		t.Fatalf("the tour ends with %d:\n%s%s", code, &out, &words)
	}
	for _, want := range []string{"We leave at eleven.", "-We leave at ten.", "Knock, knock.", "not accepted", "queued", "fetched", "(exit code 4)", "(exit code 5)", "9 steps"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the tour does not show %q", want)
		}
	}
}

func noEnv(string) (string, bool) { return "", false }

// TestTourEndsWhereItIsWrong: a command that does not say what it should ends
// the tour with a failure, and nothing more is run.
func TestTourEndsWhereItIsWrong(t *testing.T) {
	t.Parallel()
	n := &network{dir: t.TempDir()}
	for name, c := range map[string]typed{
		"exit code": {who: "ann", args: []string{"version"}, code: daemon.ExitRefused},
		"words":     {who: "ann", args: []string{"version"}, says: "something else"},
	} {
		var out bytes.Buffer
		tour := newTour(t.Context(), n, &out)
		tour.run(c)
		if tour.err == nil || exitCode(tour.err) != daemon.ExitFailed {
			t.Errorf("%s: %v", name, tour.err)
		}
		shown := out.Len()
		tour.run(typed{who: "ann", args: []string{"version"}})
		tour.awaits(typed{who: "ann", args: []string{"version"}})
		tour.title("next")
		if out.Len() != shown {
			t.Errorf("%s: the tour goes on: %s", name, out.String()[shown:])
		}
	}
}

// TestLocalnet: it says what to type, keeps what it has, and stops as it is
// told to.
func TestLocalnet(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "net")
	first, code := localnetUntil(t, syscall.SIGTERM, "localnet", "--dir", dir, "--json")
	if code != daemon.ExitDone {
		t.Errorf("after SIGTERM: %d", code)
	}
	var was, is localnetJSON
	if err := json.Unmarshal([]byte(first), &was); err != nil || len(was.People) != 2 || len(was.Servers) != 2 {
		t.Fatalf("%v: %s", err, first)
	}
	again, code := localnetUntil(t, syscall.SIGINT, "localnet", "--dir", dir, "--json")
	if code != daemon.ExitInterrupted {
		t.Errorf("after SIGINT: %d", code)
	}
	if err := json.Unmarshal([]byte(again), &is); err != nil || is.Tracker != was.Tracker || is.People[0] != was.People[0] {
		t.Errorf("the second time it is another network: %v\n%s%s", err, first, again)
	}
	words, _ := localnetUntil(t, syscall.SIGTERM, "localnet", "--dir", dir)
	if !strings.Contains(words, "export ADCTL_HOME="+filepath.Join(dir, "ann")) || !strings.Contains(words, was.People[0].Address) {
		t.Errorf("it does not say what to type:\n%s", words)
	}
	if code := run(t.Context(), []string{"localnet", "--tour", "--dir", dir}, quiet()); code != daemon.ExitUsage {
		t.Errorf("a tour in a directory that is in use: %d", code)
	}
}

// signalled is the cause of a context that a signal ended, as signal.NotifyContext
// gives it.
type signalled string

func (s signalled) Error() string        { return string(s) }
func (s signalled) Is(target error) bool { return target == context.Canceled }

// localnetUntil runs localnet until it is ready, then ends it as a signal does.
func localnetUntil(t *testing.T, s syscall.Signal, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ready := make(chan struct{})
	var out bytes.Buffer
	var words bytes.Buffer
	code := run(ctx, args, std{in: strings.NewReader(""), out: &out, env: noEnv, err: writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("running;")) {
			close(ready)
			cancel(signalled(s.String() + " signal received"))
		}
		return words.Write(p)
	})})
	select {
	case <-ready:
	default:
		t.Fatalf("localnet ended with %d before it was ready: %s", code, &words)
	}
	return out.String(), code
}

// writerFunc is a function as a writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// quiet is a run that nobody listens to.
func quiet() std {
	return std{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}, env: noEnv}
}

// TestLocalnetInterrupted: what is stopped while it starts is an interruption.
func TestLocalnetInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ctx, []string{"localnet", "--tour"}, quiet()); code != daemon.ExitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

func TestLocalnetServerFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tracker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tracker", daemon.ConfigFile), []byte("listen = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var words bytes.Buffer
	code := run(t.Context(), []string{"localnet", "--dir", dir}, std{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &words, env: noEnv})
	if code != daemon.ExitFailed || !strings.Contains(words.String(), "config.toml") {
		t.Errorf("exit code %d: %s", code, &words)
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "a/b.c": "a/b.c", "": "''", "two words": "'two words'", "it's": `'it'\''s'`, "#x": "'#x'", "$x": "'$x'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestTerminated(t *testing.T) {
	t.Parallel()
	for cause, want := range map[error]bool{
		signalled(syscall.SIGTERM.String() + " signal received"): true,
		signalled(syscall.SIGINT.String() + " signal received"):  false,
		errors.New("something"):                                  false,
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if got := terminated(ctx); got != want {
			t.Errorf("%v: %t", cause, got)
		}
	}
}
