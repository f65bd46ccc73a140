package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// stageKey finds the stage of a script.
type stageKey struct{}

// stage is what runs in the background of one script.
type stage struct {
	env       []string
	processes map[string]*process
}

// onStage is the stage of a running script.
func onStage(ts *testscript.TestScript) *stage {
	s, ok := ts.Value(stageKey{}).(*stage)
	if !ok {
		ts.Fatalf("there is no stage")
	}
	return s
}

// clear ends what still runs when a script is over.
func (s *stage) clear() {
	for _, p := range s.processes {
		p.kill()
	}
}

// process is a program in the background.
type process struct {
	args   []string
	cmd    *exec.Cmd
	out    *output
	done   chan struct{}
	result error
}

// output is what a process has written on both its outputs so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	// more is closed, and made anew, at every write.
	more chan struct{}
}

// Write takes what was written.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(b)
}

// now is what was written so far, and what tells of more.
func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.more
}

// launch starts a program as name; what ran under the name has ended.
func launch(ts *testscript.TestScript, name string, args []string) *process {
	s := onStage(ts)
	if was := s.processes[name]; was != nil && was.running() {
		ts.Fatalf("%s is running already", name)
	}
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	p := &process{args: args, out: &output{more: make(chan struct{})}, done: make(chan struct{})}
	p.cmd = exec.Command(path, args[1:]...)
	p.cmd.Dir, p.cmd.Env = ts.MkAbs("."), s.env
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	ts.Check(p.cmd.Start())
	go func() {
		defer close(p.done)
		p.result = p.cmd.Wait()
	}()
	s.processes[name] = p
	return p
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process as a power failure would, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// await waits until what was written matches.
func (p *process) await(ts *testscript.TestScript, pattern *regexp.Regexp) []string {
	late := time.After(patience)
	for {
		text, more := p.out.now()
		if found := pattern.FindStringSubmatch(text); found != nil {
			return found
		}
		select {
		case <-more:
			continue
		case <-p.done:
			if text, _ := p.out.now(); pattern.MatchString(text) {
				continue
			}
		case <-late:
		}
		text, _ = p.out.now()
		ts.Fatalf("%s never said %s, but:\n%s", strings.Join(p.args, " "), pattern, text)
	}
}

// end waits until the process has ended by itself, and returns its exit code.
func (p *process) end(ts *testscript.TestScript) int {
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		ts.Fatalf("%s does not end", strings.Join(p.args, " "))
	}
	if exit, ok := errors.AsType[*exec.ExitError](p.result); ok {
		return exit.ExitCode()
	}
	ts.Check(p.result)
	return 0
}

// named is the process that an argument names.
func named(ts *testscript.TestScript, args []string) *process {
	p := onStage(ts).processes[args[0]]
	if p == nil {
		ts.Fatalf("nothing was started as %s", args[0])
	}
	return p
}

// command cuts NAME -- PROGRAM ARGS.
func command(ts *testscript.TestScript, args []string) (name string, program []string) {
	if len(args) < 3 || args[1] != "--" {
		ts.Fatalf("usage: NAME -- PROGRAM ARGS…")
	}
	return args[0], args[2:]
}

// listening is the line by which a server says that it is ready.
var listening = regexp.MustCompile(`(?m)^listening (\S+)$`)

// server starts a server in the background and waits until it is ready; NAME_REF
// is then the reference that it gives, and NAME_HOST its host:port:
//
//	server one -- admaild serve --dir one
func server(ts *testscript.TestScript, _ bool, args []string) {
	name, program := command(ts, args)
	ready := launch(ts, name, program).await(ts, listening)
	ts.Setenv(strings.ToUpper(name)+"_REF", ready[1])
	host, _, _ := strings.Cut(strings.TrimPrefix(ready[1], "https://"), "#")
	ts.Setenv(strings.ToUpper(name)+"_HOST", host)
}

// crash ends servers by SIGKILL: they have no time for anything.
func crash(ts *testscript.TestScript, _ bool, args []string) {
	for n := range args {
		named(ts, args[n:]).kill()
	}
}

// terminate ends servers by SIGTERM, as systemd does; they must exit with 0.
func terminate(ts *testscript.TestScript, _ bool, args []string) {
	for n := range args {
		p := named(ts, args[n:])
		ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
		if code := p.end(ts); code != 0 {
			text, _ := p.out.now()
			ts.Fatalf("%s ended with %d after SIGTERM:\n%s", args[n], code, text)
		}
	}
}

// restart starts servers again that have ended, and waits until they are ready.
func restart(ts *testscript.TestScript, _ bool, args []string) {
	for n, name := range args {
		server(ts, false, append([]string{name, "--"}, named(ts, args[n:]).args...))
	}
}

// strike runs a command and crashes a server a while after it began, wherever
// it then is. The command may end in any way but one: a panic.
//
//	strike one 20ms -- adctl send …
func strike(ts *testscript.TestScript, _ bool, args []string) {
	victim := named(ts, args)
	after, err := time.ParseDuration(args[1])
	ts.Check(err)
	_, program := command(ts, args[1:])
	blow := time.AfterFunc(after, func() { _ = victim.cmd.Process.Kill() })
	got := code(ts, program)
	blow.Stop()
	victim.kill()
	if text := ts.ReadFile("stderr"); strings.Contains(text, "panic:") {
		ts.Fatalf("%s panicked:\n%s", strings.Join(program, " "), text)
	}
	ts.Setenv("EXIT", strconv.Itoa(got))
}

// background starts a program that goes on: background watch -- adctl inbox --follow
func background(ts *testscript.TestScript, _ bool, args []string) {
	name, program := command(ts, args)
	launch(ts, name, program)
}

// until waits until a program in the background has written something that
// matches: until watch PATTERN
func until(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	named(ts, args).await(ts, pattern)
}

// interrupt ends a program in the background as Ctrl-C does, and compares its
// exit code: interrupt watch 130
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	p := named(ts, args)
	ts.Check(p.cmd.Process.Signal(os.Interrupt))
	if got := p.end(ts); strconv.Itoa(got) != args[1] {
		text, _ := p.out.now()
		ts.Fatalf("%s ended with %d, want %s:\n%s", args[0], got, args[1], text)
	}
}

// unlessDone runs a command that has to succeed, unless it did so already while
// a server was struck.
func unlessDone(ts *testscript.TestScript, _ bool, args []string) {
	if ts.Getenv("EXIT") != "0" {
		must(ts, args[0], args[1:]...)
	}
}

// pid sets a variable to the number of a server's process: pid VAR one
func pid(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strconv.Itoa(named(ts, args[1:]).cmd.Process.Pid))
}
