package relay

import "context"

// SecureAs is Secure under the name of another connection.
func SecureAs(ctx context.Context, s *Stream, id ID, e Ends) (*Conn, error) {
	return secure(ctx, s, id, e)
}
