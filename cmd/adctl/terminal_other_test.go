//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

// terminal is for Linux alone; terminal.txtar skips elsewhere.
func terminal(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("no terminals here") }

// harmless goes with terminal.
func harmless(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("no terminals here") }
