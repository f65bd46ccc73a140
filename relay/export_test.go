package relay

import (
	"context"
	"net/netip"
)

// SecureAs is Secure under the name of another connection.
func SecureAs(ctx context.Context, s *Stream, id ID, e Ends) (*Conn, error) {
	return secure(ctx, s, id, e)
}

// ParseOffer is parseOffer.
func ParseOffer(b []byte) ([]netip.AddrPort, []byte, error) { return parseOffer(b) }
