package daemon

import (
	"errors"
	"syscall"
	"time"

	"airdispatch/rpc"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall lacks.
const tcpUserTimeout = 0x12

// givingUp makes every connection of a listener end when its peer has not
// acknowledged anything for as long as a heartbeat may be overdue. Without it the
// system goes on for a quarter of an hour with somebody whose machine is off, and
// what such a one still seems to watch would count against the next time they come.
func givingUp(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(rpc.HeartbeatPatience/time.Millisecond))
	})
	return errors.Join(err, set)
}
