package relay

import (
	"context"
	"io"
	"net/netip"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// SecureAs is Secure under the name of another connection.
func SecureAs(ctx context.Context, s *Stream, id ID, e Ends) (*Conn, error) {
	return secure(ctx, s, id, e)
}

// ParseOffer is parseOffer.
func ParseOffer(b []byte) ([]netip.AddrPort, []byte, error) { return parseOffer(b) }

// ParseFrame is parseFrame.
func ParseFrame(text bool, b []byte) (*wirev1.LiveFrame, error) { return parseFrame(text, b) }

// AppendFrame is appendFrame.
func AppendFrame(text bool, f *wirev1.LiveFrame) ([]byte, error) {
	_, b, err := appendFrame(text, f)
	return b, err
}

// Handshakes and DirectName are the names of handshakes.
func Handshakes(id ID, leaves bool) []string { return handshakes(id, leaves) }

// DirectName is directName.
func DirectName(token []byte) string { return directName(token) }

// ReadPreface reads the offer that comes before what a callee says.
func ReadPreface(r io.Reader) ([]byte, error) {
	p := &preface{offer: make(chan []byte, 1)}
	if err := p.read(r); err != nil {
		return nil, err
	}
	return <-p.offer, nil
}
