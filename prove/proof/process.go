package proof

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// patience is how long a server may take to say that it is ready, and to end.
const patience = 60 * time.Second

// Product is the directory of the product's own module.
func Product(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "airdispatch").Output()
	if err != nil {
		return "", fmt.Errorf("where the product is: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}

// Build makes the three programs in dir, with build tags or without, in the
// product's own module and so with its own versions of everything.
func Build(ctx context.Context, dir string, tags ...string) (Programs, error) {
	root, err := Product(ctx)
	if err != nil {
		return Programs{}, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", dir+string(filepath.Separator), "./cmd/...")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("build: %w\n%s", err, out)
	}
	return Programs{dir}, nil
}

// Built are programs that were built already, in dir.
func Built(dir string) Programs { return Programs{dir} }

// Programs are built programs.
type Programs struct{ dir string }

// Run runs one of them to its end and returns what it wrote on stdout.
func (p Programs) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.dir, name), args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said.Bytes())
	}
	return string(out), nil
}

// Server is a tracker or mail server in a process of its own.
type Server struct {
	program string
	args    []string
	// Reference is what it printed when it began to listen.
	Reference string

	cmd  *exec.Cmd
	done chan struct{}
	said *tail
}

// tail keeps the end of what a process writes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// tailSize is enough for a panic.
const tailSize = 32 << 10

// Write keeps the end.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text = append(t.text, b...); len(t.text) > 2*tailSize {
		t.text = append([]byte(nil), t.text[len(t.text)-tailSize:]...)
	}
	return len(b), nil
}

// String is the end.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// Serve starts a program that serves, and returns once it listens. Options are
// environment variables, as NAME=VALUE.
func (p Programs) Serve(name string, args []string, env ...string) (*Server, error) {
	s := &Server{program: filepath.Join(p.dir, name), args: args}
	return s, s.Start(env...)
}

// Found makes a server in a directory, with a place on loopback that is its for
// good and the arguments that its init is given, and starts it.
func (p Programs) Found(ctx context.Context, name, dir string, args []string, env ...string) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	at := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	if _, err := p.Run(ctx, name, append([]string{"init", "--dir", dir, "--listen", at}, args...)...); err != nil {
		return nil, err
	}
	return p.Serve(name, []string{"serve", "--dir", dir}, env...)
}

// Start starts the server again after its end.
func (s *Server) Start(env ...string) error {
	s.cmd = exec.Command(s.program, s.args...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.SysProcAttr = follows()
	s.said = &tail{}
	out, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan string, 1)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		for lines := bufio.NewScanner(io.TeeReader(out, s.said)); lines.Scan(); {
			if ref, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
				ready <- ref
			}
		}
		_, _ = io.Copy(s.said, out) // after a line that is too long
		_ = s.cmd.Wait()            // how it ended, whoever ended it knows
	}()
	select {
	case s.Reference = <-ready:
		return nil
	case <-s.done:
		return fmt.Errorf("%s ended before it listened:\n%s", filepath.Base(s.program), s.said)
	case <-time.After(patience):
		s.Kill()
		return fmt.Errorf("%s does not listen:\n%s", filepath.Base(s.program), s.said)
	}
}

// Said is the end of what it wrote on stderr.
func (s *Server) Said() string { return s.said.String() }

// Kill ends it by SIGKILL: it has no time for anything.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.done
}

// ErrEnded says that a server ended without having been asked to, or not in order.
var ErrEnded = errors.New("ended, not in order")

// Stop ends it as an operator does, by SIGTERM.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(terminate); err != nil {
		return fmt.Errorf("%w: %s", ErrEnded, s.Said())
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		s.Kill()
		return fmt.Errorf("does not end: %w: %s", ErrEnded, s.Said())
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("exit code %d: %w: %s", code, ErrEnded, s.Said())
	}
	return nil
}

// Pid is the number of the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }
