package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// patience bounds every wait for another process. It is long because a machine
// may be busy, and nothing waits so long where all is well.
const patience = 60 * time.Second

// programs are what the scripts run: built from this tree, as people run them.
var programs = []string{"adctl", "admaild", "adtrackd"}

// TestMain builds the programs once and puts them on the scripts' PATH.
// It fails when a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() (code int) {
		bin, err := os.MkdirTemp("", "adctl-programs-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		if err := build(bin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		goleak.VerifyTestMain(m, goleak.Cleanup(func(c int) { code = c }))
		return code
	}())
}

// build builds the programs; with GOCOVERDIR set, so that they tell there what
// of them ran.
func build(bin string) error {
	args := []string{"build", "-o", bin + string(filepath.Separator)}
	if os.Getenv("GOCOVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg=airdispatch/...")
	}
	for _, p := range programs {
		args = append(args, "airdispatch/cmd/"+p)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// TestScripts runs the stories in testdata, each with homes and servers of its
// own, as many at once as there are processors.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort, "setting": setting, "town": town,
			"server": server, "crash": crash, "terminate": terminate, "restart": restart, "strike": strike, "unless-done": unlessDone,
			"background": background, "until": until, "interrupt": interrupt,
			"status": status, "eventually": eventually,
			"capture": capture, "field": field, "fields": fields, "lines": lines,
			"random": random, "cut": cut, "same": same, "mistype": mistype, "mid": mid,
			"together": together, "address": address, "finish": finish, "equal": equal, "delivered": delivered, "once": once,
			"stab": stab, "interrupt-soon": interruptSoon, "retried": retried, "tally": tally, "pid": pid,
			"terminal": terminal, "harmless": harmless,
			"byhand": byHand, "metric": metric, "grown": grown, "part": part, "reads": reads, "alter": alter, "ended": ended,
		},
		Condition: condition,
		Setup: func(e *testscript.Env) error {
			s := &stage{processes: make(map[string]*process), env: e.Vars}
			e.Values[stageKey{}] = s
			e.Defer(s.clear)
			// What is refused must not depend on where the test runs.
			e.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
			e.Setenv("TZ", "UTC")
			if v, ok := os.LookupEnv("GOCOVERDIR"); ok {
				e.Setenv("GOCOVERDIR", v)
			}
			s.env = e.Vars
			return nil
		},
	})
}

// condition answers what a script asks of the system that it runs on.
func condition(what string) (bool, error) {
	if what == "lan" {
		return exec.Command("unshare", "-rnfp", "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1").Run() == nil, nil
	}
	if what != "small-disk" {
		return false, fmt.Errorf("unknown condition %s", what)
	}
	return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", os.TempDir()).Run() == nil, nil
}

// lowestPort and ports are the ports that scripts may listen at: below those
// that systems give to outgoing connections, so that nobody takes a server's
// port while it is down.
const (
	lowestPort = 20000
	ports      = 12000
)

// nextPort counts through the ports, so that no port is given twice.
var nextPort atomic.Int64

// freePort sets variables to loopback host:ports that nobody listens at.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Setenv(name, port(ts))
	}
}

func port(ts *testscript.TestScript) string {
	nextPort.CompareAndSwap(0, 1+rand.Int64N(ports))
	for range ports {
		at := "127.0.0.1:" + strconv.FormatInt(lowestPort+nextPort.Add(1)%ports, 10)
		if l, err := net.Listen("tcp", at); err == nil {
			ts.Check(l.Close())
			return at
		}
	}
	ts.Fatalf("no port is free")
	return ""
}

// setting changes lines of a settings file, as an operator's editor does:
// setting one/config.toml first_retry="200ms" …
func setting(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	for _, change := range args[1:] {
		key, value, _ := strings.Cut(change, "=")
		line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + ` = .*$`)
		if !line.Match(text) {
			ts.Fatalf("%s has no setting %s", args[0], key)
		}
		// The first only: tables further down have settings of the same name.
		at := line.FindIndex(text)
		text = slices.Concat(text[:at[0]], []byte(key+" = "+value), text[at[1]:])
	}
	ts.Check(os.WriteFile(path, text, 0o600))
}

// quick are the settings with which a mail server does at once what it would
// otherwise put off: a test need not wait for it.
var quick = []string{`first_retry="100ms"`, `max_retry="500ms"`, `jitter="0s"`}

// town makes what most stories begin with, by the commands of letter.txtar: a
// tracker, the mail servers that the arguments name, and people there:
//
//	town ann@one bob@two
//
// sets TRACKER, ONE and TWO to references and ANN and BOB to addresses. The
// homes are the directories ann and bob.
func town(ts *testscript.TestScript, _ bool, args []string) {
	tracker := initialize(ts, "adtrackd", "tracker")
	server(ts, false, []string{"tracker", "--", "adtrackd", "serve", "--dir", "tracker"})
	for _, arg := range args {
		who, at, ok := strings.Cut(arg, "@")
		if !ok {
			ts.Fatalf("usage: town person@server …")
		}
		if ts.Getenv(strings.ToUpper(at)) == "" {
			initialize(ts, "admaild", at, "--tracker", tracker, "--accounts", "open")
			setting(ts, false, append([]string{at + "/config.toml"}, quick...))
			server(ts, false, []string{at, "--", "admaild", "serve", "--dir", at})
		}
		must(ts, "adctl", "--home", who, "id", "new", "--no-passphrase")
		capture(ts, false, []string{strings.ToUpper(who)})
		must(ts, "adctl", "--home", who, "register", "--server", ts.Getenv(strings.ToUpper(at)), "--tracker", tracker)
	}
}

// initialize makes a server's directory and sets a variable to its reference.
func initialize(ts *testscript.TestScript, program, name string, args ...string) string {
	must(ts, program, append([]string{"init", "--dir", name, "--listen", port(ts)}, args...)...)
	capture(ts, false, []string{strings.ToUpper(name)})
	return ts.Getenv(strings.ToUpper(name))
}

// must runs a command that has to succeed.
func must(ts *testscript.TestScript, program string, args ...string) {
	if err := ts.Exec(program, args...); err != nil {
		ts.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
}

// code runs a command and returns its exit code.
func code(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// status runs a program and compares its exit code: status 2 adctl …
func status(ts *testscript.TestScript, _ bool, args []string) {
	if got := code(ts, args[1:]); strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// eventually runs a command until it succeeds with a standard output that
// matches: eventually PATTERN adctl …; with ! until it succeeds with one that
// does not.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	late, again := time.After(patience), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	for {
		if code(ts, args[1:]) == 0 && pattern.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		select {
		case <-late:
			ts.Fatalf("%s never came to what was awaited: %s", strings.Join(args[1:], " "), args[0])
		case <-again.C:
		}
	}
}

// capture sets a variable to the last standard output, which is one line.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.TrimSuffix(ts.ReadFile("stdout"), "\n")
	if text == "" || strings.Contains(text, "\n") {
		ts.Fatalf("capture %s: %q is not one line", args[0], text)
	}
	ts.Setenv(args[0], text)
}

// objects are the JSON objects of the last standard output, one a line.
func objects(ts *testscript.TestScript) []any {
	var out []any
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var o any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			ts.Fatalf("%q is not JSON: %v", line, err)
		}
		out = append(out, o)
	}
	return out
}

// field sets a variable to a field of the first JSON object that was printed, or
// of another by its number from 1 on: field STATE recipients.0.state 2
func field(ts *testscript.TestScript, _ bool, args []string) {
	all := objects(ts)
	which := 1
	if len(args) > 2 {
		var err error
		which, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	if len(all) < which {
		ts.Fatalf("field %s: %d objects were printed", args[1], len(all))
	}
	at := all[which-1]
	for step := range strings.SplitSeq(args[1], ".") {
		switch v := at.(type) {
		case map[string]any:
			at = v[step]
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n >= len(v) {
				ts.Fatalf("field %s: no element %s", args[1], step)
			}
			at = v[n]
		}
	}
	if at == nil {
		ts.Fatalf("field %s: there is none", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(at))
}

// fields checks that every JSON object that was printed has these fields, and
// that there is one.
func fields(ts *testscript.TestScript, _ bool, args []string) {
	all := objects(ts)
	if len(all) == 0 {
		ts.Fatalf("fields: nothing was printed")
	}
	for _, o := range all {
		object, ok := o.(map[string]any)
		if !ok {
			ts.Fatalf("%v is not an object", o)
		}
		for _, name := range args {
			if _, ok := object[name]; !ok {
				ts.Fatalf("no field %s in %v", name, object)
			}
		}
	}
}

// lines checks how many lines the last standard output has.
func lines(ts *testscript.TestScript, _ bool, args []string) {
	if got := strings.Count(ts.ReadFile("stdout"), "\n"); strconv.Itoa(got) != args[0] {
		ts.Fatalf("%d lines were printed, want %s", got, args[0])
	}
}

// random writes a file of so many MiB of letters.
func random(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := make([]byte, size<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	for n := range b {
		b[n] = 'a' + b[n]%26
		if n%64 == 63 {
			b[n] = '\n'
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// same compares two files that need not be text.
func same(ts *testscript.TestScript, neg bool, args []string) {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s has %d bytes, %s has %d; the same: %v", args[0], len(a), args[1], len(b), !neg)
	}
}

// cut shortens a file by some bytes.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()-n))
}

// mistype sets a variable to a text with another letter at one place, counted
// from 1: mistype WRONG $ADDRESS 20
func mistype(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	text := []byte(args[1])
	if text[n-1] == 'q' {
		text[n-1] = 'p'
	} else {
		text[n-1] = 'q'
	}
	ts.Setenv(args[0], string(text))
}

// mid sets a variable to the part of a message's id that follows the address:
// mid VAR $ID
func mid(ts *testscript.TestScript, _ bool, args []string) {
	_, which, _ := strings.Cut(args[1], "::")
	ts.Setenv(args[0], which)
}

// together runs two commands at the same moment and sets a variable to how many
// of them ended with 0, which is at least one:
//
//	together BOTH -- adctl … -- adctl …
func together(ts *testscript.TestScript, _ bool, args []string) {
	split := slices.Index(args[2:], "--")
	if split < 0 {
		ts.Fatalf("usage: together VAR -- PROGRAM ARGS… -- PROGRAM ARGS…")
	}
	first := launch(ts, "together", args[2:2+split])
	well := 0
	if code(ts, args[3+split:]) == 0 {
		well++
	}
	if first.end(ts) == 0 {
		well++
	}
	if well == 0 {
		text, _ := first.out.now()
		ts.Fatalf("neither came through; the first said:\n%s", text)
	}
	ts.Setenv(args[0], strconv.Itoa(well))
}

// address sets a variable to the address in a reference.
func address(ts *testscript.TestScript, _ bool, args []string) {
	_, addr, _ := strings.Cut(args[1], "#")
	ts.Setenv(args[0], addr)
}

// finish sends drafts until there is none: after a server's crash some may be
// left, and sending again sends nothing twice.
func finish(ts *testscript.TestScript, _ bool, args []string) {
	must(ts, "adctl", "--home", args[0], "--json", "drafts", "list")
	for _, o := range objects(ts) {
		d, _ := o.(map[string]any)
		must(ts, "adctl", "--home", args[0], "drafts", "send", fmt.Sprint(d["draft"]))
	}
}

// equal compares two texts.
func equal(ts *testscript.TestScript, neg bool, args []string) {
	if (args[0] == args[1]) == neg {
		ts.Fatalf("%q and %q", args[0], args[1])
	}
}
