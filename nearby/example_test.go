package nearby_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"

	"airdispatch/nearby"
)

// A datagram of a peer of P2P v0.4 is answered in no more bytes than it has.
func Example() {
	node, err := nearby.New(nearby.Config{
		ID: nearby.ID{1}, Port: 8001, Rand: rand.Reader, Dial: (&net.Dialer{}).DialContext,
		Listen: func(context.Context, string, string) (net.PacketConn, error) {
			return nil, errors.New("this one only answers")
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	datagram := oldDatagram(nearby.ID{2}, 8001)
	answer := node.Hear(context.Background(), datagram, netip.MustParseAddrPort("10.0.0.2:9999"))
	fmt.Println(len(datagram), len(answer))
	for _, p := range node.Peers() {
		fmt.Println(p.ID, p.Place, p.Proved)
	}
	// Output:
	// 30 26
	// 02000000-0000-0000-0000-000000000000 10.0.0.2:8001 false
}
