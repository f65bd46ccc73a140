package daemon

import (
	"context"
	"crypto/tls"
	"net"
)

// Listen opens a listener of the program's own, beside the front's.
func (s *Site) Listen(ctx context.Context, at HostPort) (net.Listener, error) {
	return listen(ctx, string(at))
}

// ListenTLS is Listen with the server's certificate. Protocol is what a client may name in
// ALPN, if it names any: so nobody's browser can be led there.
func (s *Site) ListenTLS(ctx context.Context, at HostPort, protocol string) (net.Listener, error) {
	l, err := s.Listen(ctx, at)
	if err != nil {
		return nil, err
	}
	c := s.certificate.tls.Clone()
	c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{protocol}
	return tls.NewListener(l, c), nil
}
