package relay

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
)

// Ends is who the two ends of a connection are.
type Ends struct {
	// Keyring is one's own.
	Keyring *message.Keyring
	// Peer is the chain of the address that must be at the other end.
	Peer *message.Chain
	// Caller says that one has called, and was not called.
	Caller bool
	Rand   io.Reader
}

// certificateLife is what the certificate of a device says; nobody looks at it.
const certificateLife = 24 * time.Hour

// alpnPrefix begins the name under which the handshake of a connection goes; the
// name of the connection follows, so that no handshake fits another connection.
const alpnPrefix = "ad-live/1/"

// Secure proves to both ends who the other is, and hides from the relay what
// they say: TLS 1.3 with device keys on both sides, and a key exchange that also
// stands against quantum computers. It closes the stream where that fails. Errors:
// message.BadSignature where the other end is not who it should be, a Reason
// where the connection ended.
func Secure(ctx context.Context, s *Stream, e Ends) (*Conn, error) { return secure(ctx, s, s.ID(), e) }

// secure is Secure under the name of a connection.
func secure(ctx context.Context, s *Stream, id ID, e Ends) (*Conn, error) {
	now := time.Now()
	der, signer, err := e.Keyring.Signer.DeviceCertificate(e.Rand, now.Add(-time.Hour), now.Add(certificateLife))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("relay: secure: %w", err), s.Close())
	}
	name := alpnPrefix + hex.EncodeToString(id[:])
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}},
		MinVersion:   tls.VersionTLS13, NextProtos: []string{name}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
		InsecureSkipVerify: true, // VerifyConnection takes its place
		VerifyConnection:   func(c tls.ConnectionState) error { return expected(c, name, e.Peer) },
	}
	t := tls.Server(s, config)
	if e.Caller {
		t = tls.Client(s, config)
	}
	if err := t.HandshakeContext(ctx); err != nil {
		closeErr := s.Close()
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case !errors.Is(err, message.BadSignature) && !isReason(err):
			err = fmt.Errorf("%w: %w", Broken, err)
		}
		return nil, errors.Join(fmt.Errorf("relay: secure: %w", err), closeErr)
	}
	return &Conn{stream: s, tls: t}, nil
}

// isReason reports whether an error says why a connection ended.
func isReason(err error) bool {
	_, ok := errors.AsType[Reason](err)
	return ok
}

// expected compares what the other end showed with who it should be.
func expected(c tls.ConnectionState, name string, peer *message.Chain) error {
	if c.Version != tls.VersionTLS13 || c.CurveID != tls.X25519MLKEM768 || c.NegotiatedProtocol != name || len(c.PeerCertificates) != 1 {
		return fmt.Errorf("relay: not the handshake of this connection: %w", message.BadSignature)
	}
	key, err := crypto.DeviceKey(c.PeerCertificates[0])
	if err != nil || !peer.Head().Lists(key) || peer.Head().Closed {
		return fmt.Errorf("relay: the other end shows no device key of %s: %w", peer.Address().Short(), message.BadSignature)
	}
	return nil
}
