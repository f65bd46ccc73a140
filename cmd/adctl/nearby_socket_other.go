//go:build !unix

package main

import (
	"context"
	"net"
)

// listenPacket opens a socket for datagrams.
func listenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return (&net.ListenConfig{}).ListenPacket(ctx, network, address)
}
