package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"airdispatch/crypto"
	"airdispatch/message"
)

// TestMain lets the scripts run this test binary as adtrackd.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){
		"adtrackd": func() { os.Exit(mainCode()) },
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
			"freeport": freePort, "waitfor": waitFor, "newaddress": newAddress, "status": status, "cut": cut, "terminate": terminate,
			"publish-until-killed": publishUntilKilled, "honoured": honoured,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[promises] = &promised{routes: make(map[message.Address]message.ID)}
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

// status runs a program and compares its exit code: status 2 adtrackd …
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

// terminate tells all programs in the background to stop, as systemd does.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

// cut shortens a file by some bytes.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	var n int64
	_, err := fmt.Sscan(args[1], &n)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()-n))
}
