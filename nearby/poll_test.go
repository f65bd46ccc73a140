package nearby_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"

	"google.golang.org/protobuf/proto"
)

// polled is a peer of P2P v0.4 as far as others ask it.
type polled struct {
	*oldPeer
	// status is what it answers to /ping, and peers to /peers.
	status atomic.Int32
	peers  []byte
	pings  atomic.Int32
	asker  chan string // the ids of those who asked for peers
}

func newPolled(t *testing.T, peers *wirev1.NearbyPeers) *polled {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	o := &polled{oldPeer: newOldPeer(t, netip.MustParseAddrPort(l.Addr().String()).Port()), asker: make(chan string, 1000)}
	o.status.Store(http.StatusOK)
	o.peers, err = proto.Marshal(peers)
	must(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		o.pings.Add(1)
		w.WriteHeader(int(o.status.Load()))
		_, _ = w.Write([]byte("ok"))
	})
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, r *http.Request) {
		o.asker <- r.Header.Get("PeerID")
		_, _ = w.Write(o.peers)
	})
	s := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // it ends with Close
	}()
	t.Cleanup(func() {
		must(t, s.Close())
		<-done
	})
	return o
}

// dials remembers where a node connects to.
type dials struct {
	mu  sync.Mutex
	all map[string]int
}

func (d *dials) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.all[address]++
	d.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (d *dials) to(address string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[address]
}

// TestPolledPeersStayAndGo: a peer that answers stays although it says nothing by itself; one that says
// that it stops, or does not answer twice, is gone.
func TestPolledPeersStayAndGo(t *testing.T) {
	p := start(t, func(c *nearby.Config) { c.Explore.Poll = 50 * time.Millisecond })
	for _, end := range []int32{http.StatusServiceUnavailable, http.StatusTeapot} {
		o := newPolled(t, &wirev1.NearbyPeers{})
		o.id[1] = byte(end)
		o.emit(p)
		until(t, "many pings", func() bool { return o.pings.Load() > 30 }) // longer than the silent are remembered
		if peers := p.Peers(); len(peers) != 1 || peers[0].ID != o.id {
			t.Errorf("after %d pings: %+v", o.pings.Load(), peers)
		}
		if id := take(t, "a question for peers", o.asker); id != p.ID().String() {
			t.Errorf("asked as %s", id)
		}
		o.status.Store(end)
		until(t, "it is gone", func() bool { return len(p.Peers()) == 0 })
	}
}

// TestPollKnocksNowhereElse: what datagrams and lists of peers say never makes a node connect to anything but
// the host that a datagram came from, at a port that belongs to a person; those who are named
// get one datagram, and are peers when they answer it.
func TestPollKnocksNowhereElse(t *testing.T) {
	d := &dials{all: map[string]int{}}
	p := start(t, func(c *nearby.Config) {
		c.Explore.Poll, c.Dial = 50*time.Millisecond, d.dial
		c.Listen = func(ctx context.Context, network, address string) (net.PacketConn, error) {
			if !strings.HasSuffix(address, ":0") { // others of this test have the port on other hosts
				address = strings.Replace(address, "0.0.0.0", "127.0.0.1", 1)
			}
			return listenUDP(ctx, network, address)
		}
	})
	named := func(ip string, n byte, public bool) *wirev1.NearbyPeer {
		id := nearby.ID{0xcc, n}
		return &wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id[:]}, Port: 2200, Ip: ip, IsPublicIp: public}
	}
	list := &wirev1.NearbyPeers{Peers: []*wirev1.NearbyPeer{
		named("127.0.0.9", 1, false), named("198.51.100.7", 2, false), named("198.51.100.8", 3, true), named("224.0.0.1", 4, false),
		named("255.255.255.255", 5, false), named("nonsense", 6, false), {Port: 1}, named("0.0.0.0", 7, false), named("fe80::1", 8, false),
	}}
	third, err := net.ListenPacket("udp4", "127.0.0.9:"+p.udp.String()[len("127.0.0.1:"):])
	must(t, err)
	defer third.Close()
	o := newPolled(t, list)
	// Datagrams that would like to have other doors tried.
	for _, b := range [][]byte{
		oldDatagram(nearby.ID{0xdd, 1}, 22), oldDatagram(nearby.ID{0xdd, 2}, 1023),
		append(append(oldDatagram(nearby.ID{0xdd, 3}, 8080)[:23:23], "\x22\x0810.0.0.1"...), 0x28, 1),
	} {
		_, err := o.udp.WriteTo(b, net.UDPAddrFromAddrPort(p.udp))
		must(t, err)
	}
	o.emit(p)
	take(t, "a question for peers", o.asker)

	// Who was named on this network is told that the node is here, and is known once it answers.
	must(t, third.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 2048)
	n, from, err := third.ReadFrom(b)
	must(t, err)
	if d, err := nearby.ParseDatagram(b[:n]); err != nil || d.ID != p.ID() || d.Answer {
		t.Errorf("told %x: %v", b[:n], err)
	}
	_, err = third.WriteTo(oldDatagram(nearby.ID{0xee}, 3300), from)
	must(t, err)
	until(t, "it is known", func() bool {
		for _, o := range p.Peers() {
			if o.ID == (nearby.ID{0xee}) {
				return o.Place.String() == "127.0.0.9:3300"
			}
		}
		return false
	})
	until(t, "it is polled", func() bool { return d.to("127.0.0.9:3300") > 0 })
	pings := o.pings.Load()
	until(t, "more rounds", func() bool { return o.pings.Load() > pings+10 })
	d.mu.Lock()
	defer d.mu.Unlock()
	for address := range d.all {
		if address != "127.0.0.9:3300" && !strings.HasSuffix(address, o.place()) {
			t.Errorf("connected to %s", address)
		}
	}
	must(t, third.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if n, _, err := third.ReadFrom(b); err == nil {
		t.Errorf("told again within moments: %x", b[:n])
	}
}

// place is where it answers.
func (o *polled) place() string {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), o.port).String()
}

// TestPollsAreFew: of very many peers a few are asked in a round, of one host fewer, and everybody in turn.
func TestPollsAreFew(t *testing.T) {
	table, now := nearby.NewTable(time.Minute), time.Now()
	n := still(t, nil)
	for i := range 1000 {
		n.Hear(t.Context(), oldDatagram(numbered(i), 8001), host(i%100))
	}
	for _, p := range n.Peers() {
		p.Heard = now
		table.Put(p)
	}
	asked := map[nearby.ID]int{}
	of := map[netip.Addr]int{}
	for round := range 20 {
		due := table.Due(now.Add(time.Duration(round)))
		if len(due) > 64 {
			t.Fatalf("%d in one round", len(due))
		}
		clear(of)
		for _, p := range due {
			asked[p.ID]++
			if of[p.Place.Addr()]++; of[p.Place.Addr()] > 4 {
				t.Fatalf("%d of one host", of[p.Place.Addr()])
			}
		}
	}
	if all := len(table.Peers(now)); len(asked) != all || all < 500 {
		t.Errorf("%d of %d were asked", len(asked), all)
	}
}
