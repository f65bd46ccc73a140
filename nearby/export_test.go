package nearby

import (
	"context"
	"net/netip"
	"time"
)

// Hear takes a datagram as if it came from somewhere on the link, and returns the answer.
func (n *Node) Hear(ctx context.Context, b []byte, from netip.AddrPort) []byte {
	return n.hear(ctx, b, from)
}

// Announcement is what the node says now.
func (n *Node) Announcement() ([]byte, error) { return n.announcement(time.Now()) }
