//go:build unix

package main

import (
	"context"
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenPacket opens a socket for datagrams whose port other programs may have open
// too: each hears what is sent to all.
func listenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return (&net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		return errors.Join(err, set)
	}}).ListenPacket(ctx, network, address)
}
