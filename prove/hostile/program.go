package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"airdispatch/message"
)

// never is in everything that must not get as far as being shown.
const never = "NEVER-SHOWN"

// ear takes what a program writes and looks at each line of it; others may wait for words.
type ear struct {
	mu   sync.Mutex
	rest []byte
	last []string
	bad  []string
	wait map[string]chan struct{}
	// dump is set when the program was asked for its goroutines, which are counted from then on.
	dump       bool
	goroutines int
}

// maxLine is more than a program has to say in one line.
const maxLine = 8 << 20

// Write takes what was written.
func (e *ear) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rest = append(e.rest, b...)
	for {
		line, rest, ok := bytes.Cut(e.rest, []byte("\n"))
		if !ok {
			break
		}
		e.line(string(line))
		e.rest = rest
	}
	if len(e.rest) > maxLine {
		e.rest, e.bad = nil, append(e.bad, "a line without an end")
	}
	return len(b), nil
}

func (e *ear) line(text string) {
	if e.dump {
		if strings.HasPrefix(text, "goroutine ") && strings.Contains(text, " [") {
			e.goroutines++
		}
		return
	}
	if why := suspect(text); why != "" && len(e.bad) < 5 {
		e.bad = append(e.bad, fmt.Sprintf("%s: %.300q", why, text))
	}
	if e.last = append(e.last, text); len(e.last) > 50 {
		e.last = e.last[1:]
	}
	for word, heard := range e.wait {
		if strings.Contains(text, word) {
			close(heard)
			delete(e.wait, word)
		}
	}
}

// suspect says what is wrong with a line that a program writes.
func suspect(text string) string {
	switch {
	case strings.Contains(text, "panic") || strings.Contains(text, "fatal error"):
		return "a panic"
	case strings.Contains(text, never):
		return "what must not be shown"
	case !utf8.ValidString(text):
		return "no text"
	case strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && !message.Visible(r) }):
		return "what does something to a terminal"
	}
	return ""
}

// expect is closed when a line with the word has come; it must be unique to whoever waits.
func (e *ear) expect(word string) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	heard := make(chan struct{})
	e.wait[word] = heard
	return heard
}

// forget waits no more for a word.
func (e *ear) forget(word string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.wait, word)
}

// heard waits until a word is there.
func (e *ear) heard(ctx context.Context, word string, say func() error) error {
	there := e.expect(word)
	defer e.forget(word)
	if err := say(); err != nil {
		return err
	}
	select {
	case <-there:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%q is not shown: %w", word, ctx.Err())
	}
}

// faults are what was wrong, and the last lines.
func (e *ear) faults() (bad []string, last string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bad, strings.Join(e.last, "\n")
}

// program is one that goes on in a process of its own: adctl, nearby or in a room.
type program struct {
	name      string
	cmd       *exec.Cmd
	in        io.WriteCloser
	out, said *ear
	done      chan struct{}
}

// begin starts adctl and waits for the word that it says on stderr when it is there.
func (a *arena) begin(ctx context.Context, name, word string, args ...string) (*program, error) {
	p := &program{name: name, out: &ear{wait: map[string]chan struct{}{}}, said: &ear{wait: map[string]chan struct{}{}}, done: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(a.dir, "bin", "adctl"), args...)
	p.cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = p.out, p.said, time.Second
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	err = p.said.heard(ctx, word, p.cmd.Start)
	if p.cmd.Process == nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended, nobody asks: that it has ended is bad enough
	}()
	if err != nil {
		p.kill()
		_, last := p.said.faults()
		return nil, fmt.Errorf("%s: %w: %s", name, err, last)
	}
	return p, nil
}

// lives reports whether the process goes on.
func (p *program) lives() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// well says what is wrong with a program that must still be there.
func (p *program) well() (wrong []string) {
	bad, last := p.said.faults()
	more, _ := p.out.faults()
	if !p.lives() {
		wrong = append(wrong, p.name+" ended: "+last)
	}
	for _, what := range append(bad, more...) {
		wrong = append(wrong, p.name+" said "+what)
	}
	return wrong
}

// descriptors are how many it has open.
func (p *program) descriptors() (int, error) {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(all), err
}

// dumped ends the program and counts the goroutines that it had: at SIGQUIT a program of Go
// writes all of them down.
func (p *program) dumped() (int, error) {
	p.said.mu.Lock()
	p.said.dump = true
	p.said.mu.Unlock()
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return 0, err
	}
	select {
	case <-p.done:
	case <-time.After(patience / 2):
		p.kill()
	}
	p.said.mu.Lock()
	defer p.said.mu.Unlock()
	if p.said.goroutines == 0 {
		return 0, errors.New("no goroutines were written down")
	}
	return p.said.goroutines, nil
}
