package town

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
)

// Town is a network and all who live in it. Its acts may be called from several
// goroutines; the first fault ends the story for all of them.
type Town struct {
	t       testing.TB
	network *Network
	keeping Keeping
	dir     string
	log     *slog.Logger
	ctx     context.Context

	// mu guards all below.
	mu       sync.Mutex
	fault    error
	trackers []*Host
	hosts    map[string]*Host
	people   map[string]*Resident
}

// New makes an empty town, which ends with the test: everybody is stopped, and
// whoever does not stop is a fault.
func New(t testing.TB, options ...Option) *Town {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &Town{
		t: t, network: NewNetwork(), keeping: InMemory, dir: t.TempDir(), ctx: ctx, log: slog.New(slog.DiscardHandler),
		hosts: map[string]*Host{}, people: map[string]*Resident{},
	}
	for _, o := range options {
		o(w)
	}
	t.Cleanup(func() {
		w.close()
		cancel()
	})
	return w
}

// Option changes a town before anybody moves in.
type Option func(*Town)

// Keeping says where servers keep what they keep.
type Keeping int

// The ways of keeping.
const (
	// InMemory: in maps, through store/memory.
	InMemory Keeping = iota
	// InFiles: in SQLite files below the test's directory.
	InFiles
)

// Keep makes all hosts keep in this way; without it they keep in memory.
func Keep(k Keeping) Option { return func(w *Town) { w.keeping = k } }

// Logged writes what the hosts log into the test's output.
func Logged() Option {
	return func(w *Town) {
		w.log = slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

// LogTo writes what the hosts log, all of it.
func LogTo(to io.Writer) Option {
	return func(w *Town) { w.log = slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug})) }
}

// OverSockets connects everybody by TCP on loopback instead of pipes.
func OverSockets() Option { return func(w *Town) { w.network.sockets = map[string]string{} } }

// close stops all who live here: people first, so that no server waits for them.
func (w *Town) close() {
	w.mu.Lock()
	var people []*Resident
	for _, r := range w.people {
		people = append(people, r)
	}
	var hosts []*Host
	for _, h := range w.hosts {
		hosts = append(hosts, h)
	}
	w.mu.Unlock()
	for _, r := range people {
		r.close()
	}
	var closing sync.WaitGroup
	for _, h := range hosts {
		closing.Go(h.close)
	}
	closing.Wait()
}

// Dir is where hosts and people keep their files: a directory of its name for each
// host, and home for the people.
func (w *Town) Dir() string { return w.dir }

// Dial connects to a host, as somebody from a place.
func (w *Town) Dial(ctx context.Context, from string, to *Host) (net.Conn, error) {
	return w.network.Dialer(from)(ctx, "tcp", net.JoinHostPort(to.place, "443"))
}

// Asks is a person's own way of asking servers, past the client library.
func (r *Resident) Asks() *rpc.Client {
	return rpc.NewClient(rpc.Config{Dial: r.town.network.Dialer(r.name), Verifier: crypto.Single{}, Keyring: r.Keyring})
}

// Failed reports whether the story has ended early.
func (w *Town) Failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault != nil
}

// act does one thing of the story and keeps its fault.
func (w *Town) act(who string, do func(ctx context.Context) error) {
	w.t.Helper()
	if w.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, actTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		w.fail(fmt.Errorf("%s: %w", who, err))
	}
}

// actTimeout bounds one act: far more than anything takes, and less than the
// courier's lease, so that a hang, or a retry that nobody woke up for, is
// reported with its line rather than by the test's own end.
const actTimeout = 30 * time.Second

// fail reports the first fault, with the line of the test.
func (w *Town) fail(err error) {
	w.mu.Lock()
	first := w.fault == nil
	if first {
		w.fault = err
	}
	w.mu.Unlock()
	if first {
		w.t.Errorf("%s: %v", line(), err)
	}
}

// Check ends the story unless it holds.
func (w *Town) Check(holds bool, format string, args ...any) {
	if !holds && !w.Failed() {
		w.fail(fmt.Errorf(format, args...))
	}
}

// line is where in a test the story stands.
func line() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.File, "_test.go") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return "town"
		}
	}
}

// Awaits looks again and again until what it looks for is there, and ends the
// story after a while if it never is.
func (w *Town) Awaits(what string, there func() bool) {
	w.t.Helper()
	w.act("waiting for "+what, func(ctx context.Context) error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for !there() {
			if w.Failed() {
				return nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("it never came: %w", ctx.Err())
			}
		}
		return nil
	})
}

// Cut cuts the link between two places: hosts by their names, people by theirs.
func (w *Town) Cut(a, b string) { w.network.Cut(w.place(a), w.place(b)) }

// Mend undoes Cut.
func (w *Town) Mend(a, b string) { w.network.Mend(w.place(a), w.place(b)) }

// place is where somebody lives.
func (w *Town) place(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.hosts[name]; h != nil {
		return h.place
	}
	return name
}

// newKeyring makes an identity whose paper key nobody writes down.
func newKeyring(role message.Role) (*message.Keyring, error) {
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		return nil, err
	}
	return message.NewKeyring(role, paper, time.Now(), rand.Reader)
}
