package nearby_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"crypto/rand"

	"airdispatch/message"
	"airdispatch/nearby"
)

// still is a node that nobody runs: datagrams are put into it.
func still(t testing.TB, change func(*nearby.Config)) *nearby.Node {
	t.Helper()
	c := nearby.Config{
		ID: nearby.ID{200}, Port: 8001, Keyring: keyring(t), People: &book{}, Rand: rand.Reader,
		Listen: func(context.Context, string, string) (net.PacketConn, error) { return nil, errors.New("not here") },
		Dial:   func(context.Context, string, string) (net.Conn, error) { panic("a datagram made it connect") },
	}
	if change != nil {
		change(&c)
	}
	n, err := nearby.New(c)
	must(t, err)
	return n
}

// host is one of many on a link.
func host(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 9999)
}

// numbered is an id.
func numbered(n int) nearby.ID {
	var id nearby.ID
	binary.BigEndian.PutUint32(id[:], uint32(n)+1)
	return id
}

// TestAnswersAreNoLonger: whatever length a datagram has, what comes back is no longer, so that nobody
// multiplies what they send to others.
func TestAnswersAreNoLonger(t *testing.T) {
	for _, visible := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := still(t, func(c *nearby.Config) { c.Visible = visible })
			answered, longest := 0, 0
			for extra := range 400 {
				time.Sleep(time.Second)
				b := oldDatagram(numbered(extra), 1)[:22] // id and port
				if extra > 0 {
					b = append(append(b, 0x9a, 0x01), binary.AppendUvarint(nil, uint64(extra))...)
					b = append(b, make([]byte, extra)...)
				}
				answer := n.Hear(t.Context(), b, host(1))
				if len(answer) > len(b) {
					t.Errorf("%d bytes were answered with %d", len(b), len(answer))
				}
				if answer != nil {
					answered++
					if _, err := nearby.ParseDatagram(answer); err != nil {
						t.Error(err)
					}
				}
				longest = max(longest, len(answer))
			}
			own, err := n.Announcement()
			must(t, err)
			if answered < 390 || longest > len(own) || len(own) > nearby.MaxDatagram {
				t.Errorf("%d answers, the longest of %d bytes; announced are %d", answered, longest, len(own))
			}
		})
	}
}

// TestFloods: many hosts, many ids, for seconds: answers, and what is remembered, stay bounded, and
// whoever was proved is still there.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := still(t, nil)
		answers := 0
		for second := range 5 {
			for i := range 5000 {
				b := oldDatagram(numbered(second*5000+i), 7)
				if n.Hear(t.Context(), b, host(i%2000)) != nil {
					answers++
				}
			}
			time.Sleep(time.Second)
		}
		if answers > 60 {
			t.Errorf("%d answers in 5 seconds", answers)
		}
		if got := len(n.Peers()); got > 1024 || got < 500 {
			t.Errorf("%d peers are remembered", got)
		}
		here := map[netip.Addr]int{}
		for i := range 1000 {
			n.Hear(t.Context(), oldDatagram(numbered(i), 7), host(77))
		}
		for _, p := range n.Peers() {
			if here[p.Place.Addr()]++; here[p.Place.Addr()] > 16 {
				t.Fatalf("%d peers of one host", here[p.Place.Addr()])
			}
		}
		// They are forgotten, and the next one is heard and answered.
		time.Sleep(2 * time.Minute)
		if len(n.Peers()) != 0 {
			t.Errorf("%d peers are remembered for ever", len(n.Peers()))
		}
		if n.Hear(t.Context(), oldDatagram(numbered(1), 7), host(1)) == nil {
			t.Error("after the flood nobody is answered")
		}
	})
}

// TestNoLoops: an answer is never answered.
func TestNoLoops(t *testing.T) {
	a, b := still(t, nil), still(t, func(c *nearby.Config) { c.ID = nearby.ID{201} })
	own, err := a.Announcement()
	must(t, err)
	answer := b.Hear(t.Context(), own, host(1))
	if answer == nil {
		t.Fatal("not answered")
	}
	if again := a.Hear(t.Context(), answer, host(2)); again != nil {
		t.Errorf("an answer was answered with %x", again)
	}
	if len(a.Peers()) != 1 || len(b.Peers()) != 1 {
		t.Error("they do not know each other")
	}
}

// TestBeacons: a hidden peer is another one every ten minutes to all but its contacts.
func TestBeacons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keyring(t)
		a := still(t, func(c *nearby.Config) { c.Keyring = k })
		friend := still(t, func(c *nearby.Config) {
			c.ID, c.People = nearby.ID{201}, &book{contacts: []message.Address{k.Address()}}
		})
		stranger := still(t, func(c *nearby.Config) { c.ID = nearby.ID{202} })
		seen := map[nearby.ID]bool{}
		for range 6 {
			own, err := a.Announcement()
			must(t, err)
			d, err := nearby.ParseDatagram(own)
			must(t, err)
			if seen[d.ID] || d.ID == (nearby.ID{200}) {
				t.Errorf("the id %s stays", d.ID)
			}
			seen[d.ID] = true
			friend.Hear(t.Context(), own, host(1))
			stranger.Hear(t.Context(), own, host(1))
			if all := friend.Peers(); len(all) != 1 || all[0].Address != k.Address() || all[0].Proved {
				t.Errorf("a contact sees %+v", all)
			}
			if all := stranger.Peers(); len(all) != 1 || !all[0].Address.IsZero() {
				t.Errorf("a stranger sees %+v", all)
			}
			time.Sleep(10 * time.Minute)
		}
		// What was recorded an hour ago tells a contact nothing.
		own, err := a.Announcement()
		must(t, err)
		time.Sleep(time.Hour)
		friend.Hear(t.Context(), own, host(1))
		if all := friend.Peers(); len(all) != 1 || !all[0].Address.IsZero() {
			t.Errorf("an old beacon: %+v", all)
		}
	})
}

// TestForgedHellos: a hello that the cards do not bear out takes the datagram with it.
func TestForgedHellos(t *testing.T) {
	victim := keyring(t)
	known := &book{chains: map[message.Address]*message.Chain{victim.Address(): victim.Chain}}
	n := still(t, func(c *nearby.Config) { c.People = known })
	honest := still(t, func(c *nearby.Config) { c.ID, c.Keyring, c.Visible = nearby.ID{201}, victim, true })
	good, err := honest.Announcement()
	must(t, err)
	n.Hear(t.Context(), good, host(1))
	if all := n.Peers(); len(all) != 1 || all[0].Address != victim.Address() {
		t.Fatalf("an honest hello: %+v", all)
	}
	forged := append([]byte{}, good...)
	for i := range forged {
		forged[i] ^= 0x40
		n.Hear(t.Context(), forged, host(2+i/10))
		forged[i] = good[i]
	}
	for _, p := range n.Peers() {
		if p.Address == victim.Address() && p.Place.Addr() != host(1).Addr() && p.ID != (nearby.ID{201}) {
			t.Errorf("a forged hello counts: %+v", p)
		}
	}
}

// TestTable: who moves, and who cannot be moved by others.
func TestTable(t *testing.T) {
	now := time.Now()
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port) }
	who := keyring(t).Address()
	table := nearby.NewTable(time.Minute)
	put := func(p nearby.Peer) bool {
		p.ID = nearby.ID{1}
		return table.Put(p)
	}
	if !put(nearby.Peer{Place: at(1), Heard: now}) || put(nearby.Peer{Place: at(1), Heard: now}) {
		t.Error("new, and then not")
	}
	if !put(nearby.Peer{Place: at(2), Heard: now}) {
		t.Error("an unverified peer cannot move")
	}
	if !put(nearby.Peer{Place: at(2), Address: who, Heard: now}) {
		t.Error("a peer cannot say who it is")
	}
	table.Prove(at(2), who)
	for _, p := range []nearby.Peer{{Place: at(3), Heard: now}, {Place: at(3), Address: who, Heard: now}, {Place: at(2), Heard: now}, {Place: at(2), Address: keyring(t).Address(), Heard: now}} {
		if put(p) {
			t.Errorf("%+v took the place of one that was proved", p)
		}
	}
	if p, ok := table.Peer(nearby.ID{1}, now); !ok || !p.Proved || p.Place != at(2) {
		t.Errorf("after that: %+v", p)
	}
	if !put(nearby.Peer{Place: at(4), Address: who, Heard: now.Add(2 * time.Minute)}) {
		t.Error("after a silence nobody may take the place")
	}
}

// FuzzHear: no datagram ends a node, or has it say more than it was told.
func FuzzHear(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, uint16(1))
	}
	n := still(f, func(c *nearby.Config) { c.Visible = true })
	f.Fuzz(func(t *testing.T, b []byte, from uint16) {
		if answer := n.Hear(context.Background(), b, host(int(from))); len(answer) > len(b) {
			t.Errorf("%d bytes were answered with %d", len(b), len(answer))
		}
		if got := len(n.Peers()); got > 1024 {
			t.Errorf("%d peers", got)
		}
	})
}

// TestConnectionFloods: one host cannot take all connections, and those who say nothing are let go.
func TestConnectionFloods(t *testing.T) {
	p := start(t, nil)
	var open []net.Conn
	for range 40 {
		c, err := net.Dial("tcp", p.at.String())
		must(t, err)
		open = append(open, c)
	}
	closed := 0
	for _, c := range open[32:] {
		must(t, c.SetReadDeadline(time.Now().Add(patience)))
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			closed++
		}
	}
	if closed != len(open)-32 {
		t.Errorf("%d connections beyond the limit were closed, of %d", closed, len(open)-32)
	}
	for _, c := range open {
		must(t, c.Close())
	}
	o := newOldPeer(t, 1)
	until(t, "room for others", func() bool {
		res, err := o.http.Get("http://" + p.at.String() + "/ping")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == 200
	})
	for _, junk := range []string{"\x16\x03\x01", "\x16\x03\x01\xff\xff\xff\xff", "GET /ping HTTP/9\r\n\r\n", "\x00\x00", "PUT /cards HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, err := net.Dial("tcp", p.at.String())
		must(t, err)
		_, err = c.Write([]byte(junk))
		must(t, errors.Join(err, c.Close()))
	}
}
