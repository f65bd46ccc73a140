//go:build !linux

package daemon

import "syscall"

// givingUp leaves it to the system when a silent peer is given up.
func givingUp(_, _ string, _ syscall.RawConn) error { return nil }
