package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// terminal runs a program whose standard input, output and error are one
// terminal, types lines into it, and keeps what it shows, with the line ends of
// a file:
//
//	terminal SCREEN CODE TYPED|- PROGRAM ARGS…
//
// TYPED is a file; each of its lines is typed when the program has come to rest
// at a prompt or has just begun.
func terminal(ts *testscript.TestScript, _ bool, args []string) {
	screen, want, typed := args[0], args[1], args[2]
	master, slave, err := openTerminal()
	ts.Check(err)
	path, err := exec.LookPath(args[3])
	ts.Check(err)
	cmd := exec.Command(path, args[4:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(onStage(ts).env, "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	ts.Check(slave.Close())
	p := &process{args: args[3:], cmd: cmd, out: &output{more: make(chan struct{})}, done: make(chan struct{})}
	onStage(ts).processes["terminal "+screen] = p
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(p.out, master) // it ends with an error when the program closes the terminal
	}()
	go func() {
		defer close(p.done)
		p.result = cmd.Wait()
	}()
	if typed != "-" {
		typeLines(ts, p, master, ts.ReadFile(typed))
	}
	got := p.end(ts)
	<-shown
	ts.Check(master.Close())
	text, _ := p.out.now()
	text = strings.ReplaceAll(text, "\r\n", "\n")
	ts.Check(os.WriteFile(ts.MkAbs(screen), []byte(text), 0o600))
	if strconv.Itoa(got) != want {
		ts.Fatalf("%s ended with %d, want %s:\n%s", strings.Join(args[3:], " "), got, want, text)
	}
}

// typeLines types each line once the program has asked for it: once what is
// shown ends with a colon and a space, or says how a message is ended.
func typeLines(ts *testscript.TestScript, p *process, master *os.File, text string) {
	from := 0
	for line := range strings.Lines(text) {
		for {
			now, more := p.out.now()
			asked := strings.HasSuffix(now, ": ") || strings.Contains(now, "Ctrl-D")
			if asked && len(now) > from {
				from = len(now)
				break
			}
			select {
			case <-more:
			case <-p.done:
				ts.Fatalf("%s ended before it asked for %q; it said:\n%s", filepath.Base(p.args[0]), line, now)
			}
		}
		if now, _ := p.out.now(); strings.HasSuffix(now, ": ") {
			ts.Check(awaitSilence(p, master))
		}
		if _, err := master.WriteString(line); err != nil {
			ts.Fatalf("type %q: %v", line, err)
		}
	}
	if now, _ := p.out.now(); strings.Contains(now, "Ctrl-D") {
		awaitShown(p, text)
		_, err := master.Write([]byte{4})
		ts.Check(err)
	}
}

// awaitShown waits a while for the last line that was typed to be on the terminal: a
// program that draws would be gone before it had drawn it.
func awaitShown(p *process, text string) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	late := time.After(5 * time.Second)
	for {
		now, more := p.out.now()
		if strings.Contains(now, lines[len(lines)-1]) {
			return
		}
		select {
		case <-more:
		case <-p.done:
			return
		case <-late:
			return
		}
	}
}

// awaitSilence waits until the terminal shows no more what is typed, as a person
// does who reads a prompt first.
func awaitSilence(p *process, master *os.File) error {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		t, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
		if err != nil || t.Lflag&unix.ECHO == 0 {
			return err
		}
		select {
		case <-again.C:
		case <-p.done:
			return errors.New("the program ended at a prompt")
		}
	}
}

// openTerminal opens a pair of ends of a terminal that belongs to nobody.
func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 160})
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}

// harmless checks that a file shows nothing but text: no escape sequences, no
// characters without a width, no changes of direction.
func harmless(ts *testscript.TestScript, neg bool, args []string) {
	text := []byte(ts.ReadFile(args[0]))
	bad := bytes.ContainsFunc(text, hidden)
	if bad != neg {
		ts.Fatalf("%s: %q", args[0], text)
	}
}
