package relay

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
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
	// Direct, where not nil, is for doing without the relay. Whoever has one lets the other end know
	// where it is; without it a connection stays with the relay.
	Direct *Direct
}

// certificateLife is what the certificate of a device says; nobody looks at it.
const certificateLife = 24 * time.Hour

// alpnPrefix begins the name under which the handshake of a connection goes; the
// name of the connection follows, so that no handshake fits another connection.
const alpnPrefix = "ad-live/1/"

const (
	// offerPrefix begins the name where both ends would do without the relay: an
	// offer comes first then.
	offerPrefix = "ad-live/2/"
	// directPrefix begins the name on a socket between both ends; the token of the
	// offer follows.
	directPrefix = "ad-direct/1/"
)

// Secure proves to both ends who the other is, and hides from the relay what
// they say: TLS 1.3 with device keys on both sides, and a key exchange that also
// stands against quantum computers. It closes the stream where that fails. Where both ends
// are willing (Ends.Direct) and reach each other, the connection goes on without the
// relay after that. Errors: message.BadSignature where the other end is not who it should be, a
// Reason where the connection ended.
func Secure(ctx context.Context, s *Stream, e Ends) (*Conn, error) { return secure(ctx, s, s.ID(), e) }

// secure is Secure under the name of a connection.
func secure(ctx context.Context, s *Stream, id ID, e Ends) (*Conn, error) {
	names := handshakes(id, e.willing() && s.line.letsGo())
	config, err := e.config(names...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("relay: secure: %w", err), s.Close())
	}
	t := tls.Server(s, config)
	if e.Caller {
		t = tls.Client(s, config)
	}
	c := &Conn{stream: s, tls: t}
	if err = t.HandshakeContext(ctx); err == nil && len(names) > 1 && t.ConnectionState().NegotiatedProtocol == names[0] {
		err = c.leave(ctx, e)
	}
	if err != nil {
		closeErr := s.Close()
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case !errors.Is(err, message.BadSignature) && !isReason(err):
			err = fmt.Errorf("%w: %w", Broken, err)
		}
		return nil, errors.Join(fmt.Errorf("relay: secure: %w", err), closeErr)
	}
	return c, nil
}

// handshakes are the names under which a connection may be proved, the best first.
func handshakes(id ID, leaves bool) []string {
	name := hex.EncodeToString(id[:])
	if leaves {
		return []string{offerPrefix + name, alpnPrefix + name}
	}
	return []string{alpnPrefix + name}
}

// leave has both ends look for a way without the relay.
func (c *Conn) leave(ctx context.Context, e Ends) error {
	if !e.Caller {
		return c.offer(ctx, e)
	}
	c.preface = &preface{offer: make(chan []byte, 1)}
	if err := c.stream.line.spawn(func() { c.seek(e) }); err != nil {
		return fmt.Errorf("relay: secure: %w: %w", Gone, err)
	}
	return nil
}

// config is how one end shakes hands, under one of some names.
func (e Ends) config(names ...string) (*tls.Config, error) {
	now := time.Now()
	der, signer, err := e.Keyring.Signer.DeviceCertificate(e.Rand, now.Add(-time.Hour), now.Add(certificateLife))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}},
		MinVersion:   tls.VersionTLS13, NextProtos: names, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
		InsecureSkipVerify: true, // VerifyConnection takes its place
		VerifyConnection:   func(c tls.ConnectionState) error { return expected(c, names, e.Peer) },
	}, nil
}

// isReason reports whether an error says why a connection ended.
func isReason(err error) bool {
	_, ok := errors.AsType[Reason](err)
	return ok
}

// expected compares what the other end showed with who it should be.
func expected(c tls.ConnectionState, names []string, peer *message.Chain) error {
	if c.Version != tls.VersionTLS13 || c.CurveID != tls.X25519MLKEM768 || !slices.Contains(names, c.NegotiatedProtocol) || len(c.PeerCertificates) != 1 {
		return fmt.Errorf("relay: not the handshake of this connection: %w", message.BadSignature)
	}
	key, err := crypto.DeviceKey(c.PeerCertificates[0])
	if err != nil || !peer.Head().Lists(key) || peer.Head().Closed {
		return fmt.Errorf("relay: the other end shows no device key of %s: %w", peer.Address().Short(), message.BadSignature)
	}
	return nil
}
