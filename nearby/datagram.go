package nearby

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// MaxDatagram is what peers of P2P v0.4 read.
	MaxDatagram = 1024
	// announced is the length of an announcement: the longest answer of our kind fits
	// into it, which an answer must.
	announced = 384
)

// ID is what peers of P2P v0.4 call each other. Whoever has heard one can say that
// it is theirs.
type ID [16]byte

// String is the usual form of a UUID.
func (i ID) String() string {
	h := hex.EncodeToString(i[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseID reads a UUID.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("nearby: %d characters are no id: %w", len(s), message.Invalid)
	}
	if _, err := hex.Decode(id[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err != nil {
		return ID{}, fmt.Errorf("nearby: no id: %w", message.Invalid)
	}
	return id, nil
}

// Datagram is one that was read; nothing in it is believed.
type Datagram struct {
	ID   ID
	Port uint16
	// Public is where the peer says that it is; not valid where the source counts.
	Public netip.Addr
	// Hello is nil where the peer shows none.
	Hello *message.HelloClaim
	// Beacon is there, not zero, where the peer is of our kind and hides.
	Beacon [16]byte
	// Answer says that it is one, and is not to be answered.
	Answer bool
	// Length in bytes, as it came.
	Length int
}

// ParseDatagram reads a datagram of anybody. Errors: message.TooLarge, message.Invalid.
func ParseDatagram(b []byte) (*Datagram, error) {
	if len(b) > MaxDatagram {
		return nil, fmt.Errorf("nearby: datagram of %d bytes: %w", len(b), message.TooLarge)
	}
	var w wirev1.NearbyPeer
	if err := proto.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("nearby: datagram: not a peer: %w", message.Invalid)
	}
	d, err := readPeer(&w)
	if err != nil {
		return nil, err
	}
	d.Length = len(b)
	return d, nil
}

// readPeer reads a peer, of a datagram or of a list.
func readPeer(w *wirev1.NearbyPeer) (*Datagram, error) {
	if len(w.GetId().GetValue()) != len(ID{}) {
		return nil, fmt.Errorf("nearby: peer with an id of %d bytes: %w", len(w.GetId().GetValue()), message.Invalid)
	}
	if w.GetPort() < 1 || w.GetPort() > 65535 {
		return nil, fmt.Errorf("nearby: peer at port %d: %w", w.GetPort(), message.Invalid)
	}
	d := &Datagram{ID: ID(w.GetId().GetValue()), Port: uint16(w.GetPort()), Answer: w.GetAnswer()}
	if w.GetIsPublicIp() {
		ip, err := netip.ParseAddr(w.GetIp())
		if ip = ip.Unmap(); err != nil || ip.Zone() != "" || !ip.IsGlobalUnicast() {
			return nil, fmt.Errorf("nearby: peer at no address: %w", message.Invalid)
		}
		d.Public = ip
	}
	switch len(w.GetBeacon()) {
	case 0:
	case len(d.Beacon):
		d.Beacon = [16]byte(w.GetBeacon())
	default:
		return nil, fmt.Errorf("nearby: beacon of %d bytes: %w", len(w.GetBeacon()), message.Invalid)
	}
	if w.GetHello() != nil {
		var err error
		if d.Hello, err = message.ParseHello(w.GetHello()); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// padded is a datagram made as long as an announcement is.
func padded(w *wirev1.NearbyPeer) ([]byte, error) {
	b, err := proto.Marshal(w)
	if err != nil || len(b) >= announced {
		return b, err
	}
	const header = 4 // of a field of 128 bytes and more with a two-byte tag
	w.Padding = make([]byte, max(0, announced-len(b)-header))
	b, err = proto.Marshal(w)
	w.Padding = nil
	return b, err
}
