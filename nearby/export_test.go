package nearby

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"time"

	"github.com/coder/websocket"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Hear takes a datagram as if it came from somewhere on the link, and returns the answer.
func (n *Node) Hear(ctx context.Context, b []byte, from netip.AddrPort) []byte {
	return n.hear(ctx, b, from)
}

// Announcement is what the node says now.
func (n *Node) Announcement() ([]byte, error) { return n.announcement(time.Now()) }

// Due are the peers that would be polled now.
func (t *Table) Due(now time.Time) []Peer { return t.due(now, func(Peer) bool { return true }) }

// ParseLine reads one message of a session.
func ParseLine(binary bool, b []byte) (Line, error) {
	kind := websocket.MessageText
	if binary {
		kind = websocket.MessageBinary
	}
	return parseLine(kind, b)
}

// ParsePeers reads the answer of /peers.
func ParsePeers(b []byte) ([]netip.Addr, error) { return parsePeers(b) }

// ParseFiles reads the answer of /files.
func ParseFiles(b []byte) error { return parse(b, maxFileList, &wirev1.NearbyFiles{}) }

// Pinned answers requests as if they came over a handshake in which this certificate was shown.
func (n *Node) Pinned(ctx context.Context, certificate []byte) (http.Handler, error) {
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	inner := n.secure(ctx)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), stateKey{}, state)))
	}), nil
}

// BeaconAt is the beacon of an address at a time.
func BeaconAt(a message.Address, now time.Time) [16]byte {
	return crypto.Beacon(a.Bytes(), beaconLabel, slotOf(now))
}

// KnocksAt are the server names that somebody with an address answers to at a time; the
// second is the one that is asked for.
func KnocksAt(a message.Address, now time.Time) []string { return knocks(a, now) }

// Recognise finds whose a beacon is.
func (n *Node) Recognise(ctx context.Context, b [16]byte, now time.Time) message.Address {
	return n.recognise(ctx, b, now)
}
