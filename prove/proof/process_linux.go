package proof

import "syscall"

const terminate = syscall.SIGTERM

// follows makes a child end with this process, however this one ends.
func follows() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
