//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// lead does nothing: there are no groups here.
func lead(*exec.Cmd) {}

// endGroup ends the process; what it has started goes on.
func endGroup(leader int) {
	if p, err := os.FindProcess(leader); err == nil {
		_ = p.Kill() // it may have ended by itself
	}
}
