package daemon

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/tracker"
)

// testConfig is the settings of the program in these tests.
type testConfig struct {
	Settings
	Word string   `toml:"word"`
	Wait Duration `toml:"wait"`
}

// Check refuses nothing.
func (*testConfig) Check() error { return nil }

// testProgram is a tracker with as little around it as will do.
func testProgram() *Program {
	return &Program{
		Name: "testd", Title: "a test", Role: message.RoleTracker,
		NewConfig: func() Config { return &testConfig{Settings: DefaultSettings()} },
		Serve: func(ctx context.Context, s *Site) error {
			own, err := s.Own(ctx)
			if err != nil {
				return err
			}
			f, err := s.Front(ctx)
			if err != nil {
				return err
			}
			tracker.New(tracker.Config{Keyring: s.Keyring, Identity: own.Identity, Store: s.Tracker, Verifier: s.Verifier}).Mount(f.Server)
			f.Ready()
			return f.Serve(ctx)
		},
	}
}

// words is a writer that many may use.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
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

// runs runs the program and returns its exit code and words.
func runs(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err words
	code = testProgram().Run(t.Context(), args, Std{Out: &out, Err: &err, Environ: []string{}})
	return code, out.String(), err.String()
}

// succeeds runs the program and demands success.
func succeeds(t *testing.T, args ...string) string {
	t.Helper()
	code, out, words := runs(t, args...)
	if code != ExitDone {
		t.Fatalf("%v ended with %d: %s%s", args, code, out, words)
	}
	return out
}

// freePort is a loopback address that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newDir makes a data directory.
func newDir(t *testing.T, args ...string) (dir, address string) {
	t.Helper()
	dir, address = filepath.Join(t.TempDir(), "D"), freePort(t)
	succeeds(t, append([]string{"init", "--dir", dir, "--listen", address}, args...)...)
	return dir, address
}

// opens opens the site of a directory.
func opens(t *testing.T, dir string) *Site {
	t.Helper()
	s, err := testProgram().openServing(t.Context(), &call{std: Std{Err: &words{}, Environ: []string{}}, dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serving serves a directory until the test ends.
func serving(t *testing.T, dir, address string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		var err words
		if code := testProgram().Run(ctx, append([]string{"serve", "--dir", dir}, args...), Std{Out: &err, Err: &err, Environ: []string{}}); code != ExitDone {
			t.Errorf("serve ended with %d: %s", code, err.String())
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	until, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for until.Err() == nil {
		var d net.Dialer
		if c, err := d.DialContext(until, "tcp", address); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatal("nobody listens")
}
