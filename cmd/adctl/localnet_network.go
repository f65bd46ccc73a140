package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/cmd/internal/maild"
	"airdispatch/cmd/internal/trackd"
	"airdispatch/crypto"
)

// network is the servers of a localnet: the real programs, run in this process
// with nothing in common but the ports.
type network struct {
	dir               string
	tracker, one, two *served
}

// served is one server program.
type served struct {
	program *daemon.Program
	dir     string
	// ref is what it calls itself when it listens.
	ref string

	cancel context.CancelFunc
	ended  chan int
	log    *startLog
}

// startPatience is how long a server may take to listen.
const startPatience = 30 * time.Second

// start makes the servers where they are not there yet, and starts them.
func (n *network) start(ctx context.Context) error {
	n.tracker = n.server("tracker", trackd.Program())
	if err := n.tracker.start(ctx); err != nil {
		return err
	}
	for _, s := range []struct {
		to   **served
		name string
	}{{&n.one, "one"}, {&n.two, "two"}} {
		*s.to = n.server(s.name, maild.Program())
		if err := (*s.to).start(ctx, "--tracker", n.tracker.ref, "--accounts", "open"); err != nil {
			return err
		}
	}
	return nil
}

// server is a server that does not run yet.
func (n *network) server(name string, p *daemon.Program) *served {
	return &served{program: p, dir: filepath.Join(n.dir, name)}
}

// stop stops what runs, the mail servers first.
func (n *network) stop() error {
	var errs []error
	for _, s := range []*served{n.one, n.two, n.tracker} {
		if s != nil {
			errs = append(errs, s.stop())
		}
	}
	return errors.Join(errs...)
}

// settings are what a localnet's servers have otherwise than others: a first
// retry that nobody waits for. None comes from the environment.
func settings() []string { return []string{"AD_COURIER__FIRST_RETRY=500ms"} }

// start runs init where there is no server in the directory, then serve, and
// returns when it listens.
func (s *served) start(ctx context.Context, flags ...string) error {
	if _, err := os.Stat(filepath.Join(s.dir, daemon.ConfigFile)); errors.Is(err, os.ErrNotExist) {
		if err := s.initialise(ctx, flags); err != nil {
			return err
		}
	}
	// The log goes on where it was when the server starts again.
	file, err := os.OpenFile(s.dir+".log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.log = &startLog{file: file, listening: make(chan string, 1)}
	// It outlives the interruption of this program, so that it can be stopped in
	// order.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel, s.ended = cancel, make(chan int, 1)
	args := []string{"serve", "--dir", s.dir, "--log-level", "warn"}
	go func() {
		s.ended <- s.program.Run(running, args, daemon.Std{In: strings.NewReader(""), Out: io.Discard, Err: s.log, Environ: s.environ()})
	}()
	patience := time.NewTimer(startPatience)
	defer patience.Stop()
	select {
	case s.ref = <-s.log.listening:
		return nil
	case code := <-s.ended:
		s.ended <- code
		return errors.Join(fmt.Errorf("localnet: %s ended with %d: %s", s.program.Name, code, s.log.words()), s.stop())
	case <-patience.C:
		return fmt.Errorf("localnet: %s does not listen after %s; see %s.log", s.program.Name, startPatience, s.dir)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// environ is what the program sees of an environment.
func (s *served) environ() []string {
	if s.program.Name == "admaild" {
		return settings()
	}
	return []string{}
}

// initialise runs init with a free port.
func (s *served) initialise(ctx context.Context, flags []string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	var words bytes.Buffer
	args := append([]string{"init", "--dir", s.dir, "--listen", address}, flags...)
	if code := s.program.Run(ctx, args, daemon.Std{In: strings.NewReader(""), Out: io.Discard, Err: &words, Environ: []string{}}); code != daemon.ExitDone {
		return fmt.Errorf("localnet: %s init ended with %d: %s", s.program.Name, code, strings.TrimSpace(words.String()))
	}
	return nil
}

// Ports of a localnet lie below those that systems give to outgoing
// connections: one of these could take a port while its server restarts.
const (
	firstPort = 20_000
	portCount = 12_000
	portTries = 50
)

// freeAddress is a loopback address with a port that nobody listens at now.
func freeAddress() (string, error) {
	for range portTries {
		b, err := crypto.RandomBytes(rand.Reader, 2)
		if err != nil {
			return "", fmt.Errorf("localnet: %w", err)
		}
		port := firstPort + int(binary.BigEndian.Uint16(b))%portCount
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", fmt.Errorf("localnet: no free port between %d and %d", firstPort, firstPort+portCount)
}

// stop stops the server in order, and waits for it.
func (s *served) stop() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	code := <-s.ended
	s.cancel = nil
	err := s.log.file.Close()
	if code != daemon.ExitDone {
		err = errors.Join(err, fmt.Errorf("localnet: %s ended with %d: %s", s.program.Name, code, s.log.words()))
	}
	return err
}

// startLog is a server's standard error: it goes into a file, and the line that
// says where the server listens is read on the way.
type startLog struct {
	file      *os.File
	listening chan string

	// mu guards what follows.
	mu   sync.Mutex
	line bytes.Buffer
	last string
}

// Write takes what the server says.
func (l *startLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line.Write(p)
	for {
		line, err := l.line.ReadString('\n')
		if err != nil {
			l.line.WriteString(line)
			break
		}
		l.last = strings.TrimSpace(line)
		if ref, ok := strings.CutPrefix(l.last, "listening "); ok {
			select {
			case l.listening <- ref:
			default:
			}
		}
	}
	return l.file.Write(p)
}

// words are the last line.
func (l *startLog) words() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// home is where somebody's keys and mail are.
func (n *network) home(name string) string { return filepath.Join(n.dir, name) }

// adctl runs a command of this program as somebody, with the standard input in.
func (n *network) adctl(ctx context.Context, who string, in string, args ...string) outcome {
	var o outcome
	env := map[string]string{envPrefix + "HOME": n.home(who)}
	o.code = run(ctx, args, std{
		in: strings.NewReader(in), out: io.MultiWriter(&o.out, &o.all), err: io.MultiWriter(&o.words, &o.all),
		env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	return o
}

// outcome is what a command left: its data, its words, both in their order, and
// its exit code.
type outcome struct {
	out, words, all bytes.Buffer
	code            int
}

// settle gives ann and bob identities and accounts where they have none yet, and
// makes them known to each other.
func (n *network) settle(ctx context.Context) ([]localnetPersonJSON, error) {
	people := []localnetPersonJSON{{Name: "ann"}, {Name: "bob"}}
	servers := map[string]*served{"ann": n.one, "bob": n.two}
	for i := range people {
		p := &people[i]
		p.Home = n.home(p.Name)
		if _, err := os.Stat(p.Home); errors.Is(err, os.ErrNotExist) {
			if err := n.must(ctx, p.Name, "id", "new", "--no-passphrase"); err != nil {
				return nil, err
			}
			if err := n.must(ctx, p.Name, "register", "--server", servers[p.Name].ref, "--tracker", n.tracker.ref, "--name", p.Name); err != nil {
				return nil, err
			}
		}
		o := n.adctl(ctx, p.Name, "", "id", "list")
		p.Address, _, _ = strings.Cut(strings.TrimSpace(o.out.String()), "\t")
	}
	for _, p := range people {
		for _, other := range people {
			if p.Name == other.Name {
				continue
			}
			if err := n.must(ctx, p.Name, "contacts", "add", other.Address, other.Name); err != nil {
				return nil, err
			}
			if err := n.must(ctx, p.Name, "allow", other.Name); err != nil {
				return nil, err
			}
		}
	}
	return people, nil
}

// must runs a command that has to work.
func (n *network) must(ctx context.Context, who string, args ...string) error {
	if o := n.adctl(ctx, who, "", args...); o.code != daemon.ExitDone {
		return fmt.Errorf("localnet: %s: adctl %s ended with %d: %s", who, strings.Join(args, " "), o.code, strings.TrimSpace(o.words.String()))
	}
	return nil
}
