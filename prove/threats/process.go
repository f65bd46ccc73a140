package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"airdispatch/prove/proof"
)

// patience is how long anything here may take.
const patience = 60 * time.Second

// server is a tracker or mail server in a process of its own, all of whose
// words are kept.
type server struct {
	program, dir, log string
	// at is where it listens, reference what it prints.
	at, reference string
	env           []string
	cmd           *exec.Cmd
	done          chan struct{}
}

// doors are the ports that free hands out: below those that systems give to connections that go out, of which one
// could have it before who was to listen there.
const firstDoor, doors = 20_000, 12_000

// door is how many were handed out, from a place of this process's own.
var door atomic.Uint32

// free is an address of this machine that nobody listens on, and that nobody else here is given.
func free() (string, error) {
	var errs []error
	for range 100 {
		n := (uint32(os.Getpid())*251 + door.Add(1)) % doors
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstDoor+n))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// loud are the settings of every server: it says all that it can say.
var loud = []string{"AD_LOG__LEVEL=debug"}

// quick are the settings under which nobody is too fast, and nobody waits.
var quick = []string{
	"AD_LIMITS__SUBMITS_PER_SECOND=-1", "AD_LIMITS__ALERTS_PER_SECOND=-1", "AD_LIMITS__CALLS_PER_SECOND=-1", "AD_LIMITS__NETWORK_PER_SECOND=-1",
	"AD_COURIER__FIRST_RETRY=100ms", "AD_COURIER__MAX_RETRY=1s", "AD_PREFETCH__JITTER=0s",
}

// spec is how a server is made.
type spec struct {
	program, name string
	// init are flags beside --dir and --listen.
	init []string
	env  []string
	// prefix is a command that the server is started by.
	prefix []string
}

// serve makes and starts a server; it ends with the town.
func (t *town) serve(ctx context.Context, s spec) (*server, error) {
	at, err := free()
	if err != nil {
		return nil, err
	}
	out := &server{program: s.program, dir: filepath.Join(t.dir, s.name), at: at, log: filepath.Join(t.dir, s.name+".log")}
	if _, err := t.run(ctx, out.dir, s.program, append([]string{"init", "--dir", out.dir, "--listen", at}, s.init...)...); err != nil {
		return nil, err
	}
	out.env = append(append(append([]string{}, loud...), "TMPDIR="+t.temporary(s.name)), s.env...)
	t.mu.Lock()
	t.servers = append(t.servers, out)
	t.mu.Unlock()
	return out, t.start(out, s.prefix...)
}

// temporary is a directory for what a process writes for a while.
func (t *town) temporary(name string) string {
	dir := filepath.Join(t.dir, "tmp", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return t.dir
	}
	return dir
}

// start starts a server, also after its end.
func (t *town) start(s *server, prefix ...string) error {
	args := append(prefix, filepath.Join(t.bin, s.program), "serve", "--dir", s.dir)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Dir = t.temporary(filepath.Base(s.dir) + "-cwd")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.cmd.Stdout = log
	if err := s.cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	ready := make(chan string, 1)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		defer log.Close()
		for lines := bufio.NewScanner(io.TeeReader(said, log)); lines.Scan(); {
			if ref, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
				ready <- ref
			}
		}
		_, _ = io.Copy(log, said) // after a line that is too long
		_ = s.cmd.Wait()          // how it ended, whoever ended it knows
	}()
	select {
	case s.reference = <-ready:
		return nil
	case <-s.done:
		return fmt.Errorf("%s ended before it listened:\n%s", s.program, s.said())
	case <-time.After(patience):
		s.kill()
		return fmt.Errorf("%s does not listen:\n%s", s.program, s.said())
	}
}

// said is what a server has written.
func (s *server) said() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// kill ends a server by SIGKILL.
func (s *server) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.done
}

// exitError is how a program that runs to its end has failed.
type exitError struct {
	code int
	said string
}

// Error is what the program said.
func (e *exitError) Error() string { return fmt.Sprintf("exit %d: %s", e.code, e.said) }

// run runs one of the programs to its end and returns its stdout.
func (t *town) run(ctx context.Context, name, program string, args ...string) (string, error) {
	return t.runIn(ctx, nil, name, program, args...)
}

// runIn is run with more in the environment.
func (t *town) runIn(ctx context.Context, env []string, name, program string, args ...string) (string, error) {
	return t.runFed(ctx, env, nil, name, append([]string{program}, args...)...)
}

// runFed is runIn with a standard input; a command is a program and its arguments.
func (t *town) runFed(ctx context.Context, env []string, in io.Reader, home string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(t.bin, command[0]), command[1:]...)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+t.temporary(filepath.Base(home))), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, said strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &said
	err := cmd.Run()
	t.keep(command[1:], said.String())
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), &exitError{exit.ExitCode(), said.String()}
	}
	return out.String(), err
}

// keep notes what a program that ran to its end has said on stderr. What it was
// told is on the command line of who told it, and no business of this.
func (t *town) keep(args []string, said string) {
	if args[0] == "id" || args[0] == "init" {
		return // a paper key is shown once, to its owner
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spoken.WriteString(said)
}

// exits is the code that a program ended with.
func exits(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	return -1
}

// build makes the programs.
func build(ctx context.Context, dir string) error {
	_, err := proof.Build(ctx, dir)
	return err
}
