//go:build unix

package main

import (
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// lead makes a process the first of a group of its own, with all that it will start.
func lead(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup asks a group to end, and ends it where some of it have not done so within
// endWithin.
func endGroup(leader int) {
	if syscall.Kill(-leader, syscall.SIGTERM) != nil {
		return // nobody is left
	}
	late := time.NewTimer(endWithin)
	defer late.Stop()
	look := time.NewTicker(endWithin / 100)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if errors.Is(syscall.Kill(-leader, 0), syscall.ESRCH) {
				return
			}
		case <-late.C:
			_ = syscall.Kill(-leader, syscall.SIGKILL) // it may have ended in this moment
			return
		}
	}
}
