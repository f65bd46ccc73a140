package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// speaks sends datagrams to a peer from an address of this machine.
func speaks(t *town, at, from string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("udp4", at)
	if err == nil {
		t.ends(func() { _ = c.Close() })
	}
	return c, err
}

// peerAt is what somebody says of a place; a public one counts instead of where it was said from.
func peerAt(id []byte, ip string, port int, public bool) *wirev1.NearbyPeer {
	return &wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id}, Ip: ip, Port: int32(port), IsPublicIp: public}
}

// portOf is the port of a place.
func portOf(at string) int {
	_, text, _ := net.SplitHostPort(at)
	port, _ := strconv.Atoi(text) // 0 for none
	return port
}

// tattler is a peer of P2P v0.4 that is there, and names others to whoever asks.
type tattler struct {
	at           string
	pings, lists atomic.Int32
}

func (t *town) tattler(at string, names []*wirev1.NearbyPeer) (*tattler, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	b, err := proto.Marshal(&wirev1.NearbyPeers{Peers: names})
	if err != nil {
		return nil, err
	}
	p := &tattler{at: l.Addr().String()}
	server := &http.Server{ErrorLog: quiet(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ping":
			p.pings.Add(1)
			_, _ = io.WriteString(w, "ok") // who asked sees whether it came
		case "/peers":
			p.lists.Add(1)
			_, _ = w.Write(b)
		}
	})}
	go func() { _ = server.Serve(l) }() // it ends with Close
	t.ends(func() { _ = server.Close() })
	return p, nil
}

// hosts are addresses of this machine at whose port for datagrams it is counted what comes, and what somebody
// says of them, and of others that nobody may be led to: that there is a peer at a port.
func (s *street) hosts(ctx context.Context, n, port int) (told []*atomic.Int32, names []*wirev1.NearbyPeer, err error) {
	for k := range n {
		host := fmt.Sprintf("127.0.8.%d", k)
		if k == 0 {
			host = "127.0.0.80"
		}
		c, err := reused(ctx, fmt.Sprintf("%s:%d", host, portOf(s.at)))
		if err != nil {
			return nil, nil, err
		}
		s.t.ends(func() { _ = c.Close() })
		came := &atomic.Int32{}
		go func() {
			for b := make([]byte, 2048); ; came.Add(1) {
				if _, _, err := c.ReadFrom(b); err != nil {
					return
				}
			}
		}()
		told = append(told, came)
		names = append(names, peerAt(random(16), host, port, false), peerAt(random(16), host, port, false))
	}
	for _, host := range []string{"10.255.255.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "169.254.169.254"} {
		names = append(names, peerAt(random(16), host, port, false), peerAt(random(16), host, port, true))
	}
	return told, names, nil
}

func knocksNowhere(ctx context.Context, t *town) error {
	var f findings
	s, err := t.street(ctx, "20s", "--visible")
	if err != nil {
		return err
	}
	low, err := t.mouth("127.0.0.79:778", false) // where the test may not listen, it says so
	if err != nil {
		return err
	}
	victim, err := t.mouth("127.0.0.80:0", false)
	if err != nil {
		return err
	}
	told, names, err := s.hosts(ctx, 41, portOf(victim.at))
	if err != nil {
		return err
	}
	own, err := t.tattler("127.0.0.79:0", names)
	if err != nil {
		return err
	}
	d, err := speaks(t, s.at, "127.0.0.79")
	if err != nil {
		return err
	}
	var many []*mouth
	says := []*wirev1.NearbyPeer{peerAt(make([]byte, 16), "", portOf(own.at), false), peerAt(append(make([]byte, 15), 1), "", portOf(low.at), false), peerAt(random(16), "127.0.0.80", portOf(victim.at), false), peerAt(random(16), "8.8.8.8", portOf(victim.at), true)}
	for range 6 {
		m, err := t.mouth("127.0.0.79:0", false)
		if err != nil {
			return err
		}
		many = append(many, m)
		says = append(says, peerAt(random(16), "", portOf(m.at), false))
	}
	for _, w := range says {
		b, err := proto.Marshal(w)
		if err != nil {
			return err
		}
		if _, err := d.Write(b); err != nil {
			return err
		}
	}
	// The first round is half a minute after the beginning.
	if err := pause(ctx, 20*time.Second); err != nil {
		return err
	}
	f.fine(until(ctx, "the round", func() bool { return own.lists.Load() > 0 && told[0].Load() > 0 }), "the control: who spoke is asked, and who was named is told")
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	f.must(low.visitors() == 0 && victim.visitors() == 0, "%d came to a low port, %d to who was named by somebody else", low.visitors(), victim.visitors())
	asked := int(own.pings.Load())
	for _, m := range many {
		asked += m.visitors()
	}
	f.must(asked <= 4, "%d places of one host were asked in a round", asked)
	hosts, most := 0, int32(0)
	for _, came := range told {
		most = max(most, came.Load())
		hosts += int(min(came.Load(), 1))
	}
	f.must(hosts <= 16 && most == 1, "%d hosts that were named got datagrams, one of them %d", hosts, most)
	f.must(s.serving.lives(), "the peer has ended: %s", s.serving.said.bytes())
	return f.all()
}

// listed asks bob for his peers, as somebody who speaks to him over datagrams.
func listed(ctx context.Context, at string, mallory net.Conn, id nearby.ID) ([]*wirev1.NearbyPeer, error) {
	if _, err := mallory.Write(saysThere(id[:], 9999, message.Address{})); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/peers", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("PeerID", id.String())
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	out := &wirev1.NearbyPeers{}
	return out.Peers, proto.Unmarshal(b, out)
}

// claims is a datagram of somebody who says to be a peer, in his own name.
func claims(k *message.Keyring, id []byte, port int) ([]byte, error) {
	now := time.Now()
	hello, err := message.SignHello(message.Hello{Peer: [16]byte(id), Port: uint16(port), Time: now, Expires: now.Add(5 * time.Minute)}, k.Chain, k.Signer)
	if err != nil {
		return nil, err
	}
	w := peerAt(id, "", port, false)
	w.Hello = hello.Signed
	return proto.Marshal(w)
}

// overruns tells bob of more peers than there is room for, of many hosts, and has something looked at now and then.
func (s *street) overruns(ctx context.Context, look func(n int)) error {
	for h := range 90 {
		d, err := speaks(s.t, s.at, fmt.Sprintf("127.0.9.%d", h+1))
		if err != nil {
			return err
		}
		for range 16 {
			if _, err := d.Write(saysThere(random(16), 9999, message.Address{})); err != nil {
				return err
			}
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil { // so that they are heard
			return err
		}
		if h%10 == 9 {
			look((h + 1) * 16)
		}
	}
	return nil
}

func drivenOut(ctx context.Context, t *town) error {
	var f findings
	s, _, err := t.echoing(ctx)
	if err != nil {
		return err
	}
	cat, err := t.born(ctx)
	if err != nil {
		return err
	}
	place, err := free()
	if err != nil {
		return err
	}
	config, err := t.file(fmt.Sprintf("nearby-%d.toml", portOf(place)), fmt.Sprintf(quietly, "1s", fmt.Sprint(portOf(place))))
	if err != nil {
		return err
	}
	serving, err := cat.there(ctx, place, "--config", config, "--visible", "--peer", s.at)
	if err != nil {
		return err
	}
	mallory, err := t.born(ctx)
	if err != nil {
		return err
	}
	speaking, err := speaks(t, s.at, "127.0.0.90")
	if err != nil {
		return err
	}
	mine := nearby.ID(random(16))
	var id []byte
	var whole int
	var asked error
	there := func() bool {
		list, err := listed(ctx, s.at, speaking, mine)
		whole, asked = len(list), err
		return err == nil && slices.ContainsFunc(list, func(p *wirev1.NearbyPeer) bool {
			if p.GetIp() == "127.0.0.1" && int(p.GetPort()) == portOf(place) && (id == nil || string(p.GetId().GetValue()) == string(id)) {
				id = p.GetId().GetValue()
				return true
			}
			return false
		})
	}
	if err := until(ctx, "cat", there); err != nil {
		return err
	}
	// Somebody says to be cat, somewhere else, with no name, another and his own.
	hello, err := claims(mallory.keys, id, 9999)
	if err != nil {
		return err
	}
	for range 10 {
		for _, b := range [][]byte{saysThere(id, 9999, message.Address{}), saysThere(id, 9999, mallory.address), saysThere(id, 9999, s.bob.address), hello} {
			if _, err := speaking.Write(b); err != nil {
				return err
			}
		}
	}
	f.must(there() || asked != nil && until(ctx, "a list", there) == nil, "cat was driven out by who says to be there in the same name")
	if err := s.overruns(ctx, func(n int) {
		f.must(there() || asked != nil && until(ctx, "a list", there) == nil, "cat was driven out by %d of others", n)
	}); err != nil {
		return err
	}
	f.must(whole == 256, "the control: of the flood %d are listed", whole)
	s.well(ctx, &f)
	serving.kill()
	gone := func() bool { return !there() && asked == nil }
	f.fine(until(ctx, "an end", gone), "the control: who has gone is still listed")
	return f.all()
}
