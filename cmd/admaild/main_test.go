package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/cmd/internal/trackd"
	"airdispatch/crypto"
	"airdispatch/message"
)

// TestMain lets the scripts run this test binary as admaild, as the tracker that it needs, and
// as an old MessagePasser program.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){
		"admaild":   func() { os.Exit(mainCode()) },
		"oldclient": oldClientMain,
		"adtrackd": func() {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			os.Exit(trackd.Program().Run(ctx, os.Args[1:], daemon.Std{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// leakless are tests that fail when one of them leaves a goroutine behind.
type leakless struct{ tests *testing.M }

// Run runs them and returns the exit code.
func (l leakless) Run() (code int) {
	goleak.VerifyTestMain(l.tests, goleak.Cleanup(func(c int) { code = c }))
	return code
}

// TestScripts runs the stories in testdata.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort, "waitfor": waitFor, "newaddress": newAddress, "status": status, "terminate": terminate,
			"person": newPerson, "send": send, "sees": sees, "submit-until-killed": submitUntilKilled, "honoured": honoured, "capture": capture, "scrape": scrape,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[people] = map[string]*person{}
			// A refusal of the network must not depend on where the test runs.
			e.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
			return nil
		},
	})
}

// freePort sets a variable to a loopback host:port that nobody listens at.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// capture sets a variable to the text of a file, stdout among them.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// newAddress sets a variable to the address of a new identity.
func newAddress(ts *testscript.TestScript, _ bool, args []string) {
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	ts.Check(err)
	k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
	ts.Check(err)
	ts.Setenv(args[0], k.Address().String())
}

// waitFor waits until a server answers at an address.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", args[0])
		if err == nil {
			ts.Check(c.Close())
			return
		}
	}
	ts.Fatalf("nobody listens at %s", args[0])
}

// status runs a program and compares its exit code: status 2 admaild …
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%s ended with %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// terminate tells programs in the background to stop, as systemd does: all, or
// those whose arguments hold a word.
func terminate(ts *testscript.TestScript, _ bool, args []string) {
	for _, c := range ts.BackgroundCmds() {
		if len(args) == 0 || strings.Contains(strings.Join(c.Args, " "), args[0]) {
			if err := c.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
				ts.Check(err)
			}
		}
	}
}
