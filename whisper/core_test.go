package whisper

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// paper is a world in which nothing happens but that it is written down.
type paper struct {
	sent   map[string][]string
	dialed []string
	hung   []string
	shown  []Message
}

func (p *paper) send(addr string, b []byte) {
	if p.sent == nil {
		p.sent = make(map[string][]string)
	}
	p.sent[addr] = append(p.sent[addr], string(b))
}
func (p *paper) dial(addr string, _ bool) { p.dialed = append(p.dialed, addr) }
func (p *paper) hangUp(addr string)       { p.hung = append(p.hung, addr) }
func (p *paper) show(m Message)           { p.shown = append(p.shown, m) }

// someTime is when these tests begin.
func someTime() time.Time { return time.Unix(1795243332, 0) }

// TestWhomToDial: nobody makes this peer knock at other doors than their own.
func TestWhomToDial(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, addr string
		dialed     bool
	}{
		{"192.0.2.7", "192.0.2.7:55555", true},
		{"192.0.2.7", "[::ffff:192.0.2.7]:55555", true},
		{"192.168.1.7", "192.168.1.7:55555", true},
		{"127.0.0.1", "127.0.0.1:55555", true},
		{"127.0.0.1", "localhost:55555", true},
		{"192.0.2.7", "localhost:55555", false},
		{"127.0.0.1", "192.0.2.1:7", true}, // this host by its other name
		{"192.0.2.7", "198.51.100.9:55555", true},
		{"192.0.2.7", "127.0.0.1:22", false},
		{"192.0.2.7", "[::1]:22", false},
		{"192.0.2.7", "0.0.0.0:22", false},
		{"192.0.2.7", "10.0.0.1:22", false},
		{"192.168.1.7", "192.168.1.8:80", false},
		{"192.0.2.7", "169.254.169.254:80", false},
		{"192.0.2.7", "100.64.0.1:80", false},
		{"192.0.2.7", "[fd00::1]:80", false},
		{"192.0.2.7", "[fe80::1]:80", false},
		{"192.0.2.7", "224.0.0.1:80", false},
		{"192.0.2.7", "192.0.2.1:5000", false}, // this peer itself
		{"127.0.0.1", "127.0.0.1:5000", false},
		{"192.0.2.7", "192.0.2.7:0", false},
		{"192.0.2.7", "host.example:80", false},
		{"192.0.2.7", "", false},
	} {
		w := &paper{}
		n := newCore("192.0.2.1:5000", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, rand.Reader, w)
		raw := fmt.Sprintf(`{"ID":"1","Addr":%q,"Body":"x"}`, c.addr)
		if err := n.receive(someTime(), newSource(netip.MustParseAddr(c.from)), []byte(raw)); err != nil {
			t.Fatal(err)
		}
		if got := len(w.dialed) == 1; got != c.dialed {
			t.Errorf("%s from %s: dialed %v, want %v", c.addr, c.from, w.dialed, c.dialed)
		}
		if len(w.shown) != 1 {
			t.Errorf("%s from %s: it was not shown", c.addr, c.from)
		}
	}
}

// TestMemoryIsBounded: whoever sends new ids, authors and addresses without end
// costs no more than the bounds say.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	w := &paper{}
	n := newCore("192.0.2.1:5000", nil, rand.Reader, w)
	for k := range 3000 {
		s := newSource(netip.AddrFrom4([4]byte{198, 51, byte(k >> 8), byte(k)}))
		addr, id := fmt.Sprintf("%s:5000", s.host), fmt.Sprint("id", k)
		if k%3 > 0 {
			var err error
			if id, err = ownID(rand.Reader, addr); err != nil {
				t.Fatal(err)
			}
		}
		if k%3 == 2 {
			s.host = netip.MustParseAddr("203.0.113.9") // somebody else passes it on
		}
		if err := n.receive(someTime(), s, []byte(fmt.Sprintf(`{"ID":%q,"Addr":%q,"Body":"x"}`, id, addr))); err != nil {
			t.Fatal(err)
		}
		w.shown, w.sent = nil, nil
	}
	for what, c := range map[string]struct{ got, most int }{
		"kept": {len(n.kept.order), keptMessages}, "kept by id": {len(n.kept.byID), keptMessages},
		"links": {len(n.links), maxOld + 2*manyOurs}, "authors": {len(n.author), maxAuthors}, "known": {len(n.known), maxKnown},
	} {
		if c.got > c.most || c.got < c.most/4 {
			t.Errorf("%s: %d, at most %d", what, c.got, c.most)
		}
	}
}

// TestSeenForgets by number and by age, the oldest first.
func TestSeenForgets(t *testing.T) {
	t.Parallel()
	now, s := someTime(), newSeen(100, time.Hour)
	for k := range 1000 {
		if !s.add(now, fmt.Sprint(k)) || s.add(now, fmt.Sprint(k)) {
			t.Fatalf("%d is not new once", k)
		}
		if len(s.at) > 100 || len(s.order) > 202 {
			t.Fatalf("%d ids are held in %d places", len(s.at), len(s.order))
		}
	}
	if s.has("899") || !s.has("900") {
		t.Error("the oldest were not the first to go")
	}
	s.add(now.Add(30*time.Minute), "later")
	s.forget(now.Add(61 * time.Minute))
	if len(s.at) != 1 || !s.has("later") {
		t.Errorf("%d are left", len(s.at))
	}
}

// TestHelloIsBelievedOfItsHost and of nobody else.
func TestHelloIsBelievedOfItsHost(t *testing.T) {
	t.Parallel()
	w := &paper{}
	n := newCore("192.0.2.1:5000", nil, rand.Reader, w)
	s := newSource(netip.MustParseAddr("198.51.100.7"))
	say := func(raw string) {
		t.Helper()
		if err := n.receive(someTime(), s, []byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	say(`{"Whisper":{"Kind":"have","IDs":["x"],"Know":["203.0.113.1:1"]}}`)
	say(`{"Whisper":{"Kind":"hello","Addr":"198.51.100.8:5000"}}`)
	if s.peer != "" || len(n.known) != 0 || len(w.dialed) != 0 {
		t.Errorf("believed: peer %q, known %v, dialed %v", s.peer, n.known, w.dialed)
	}
	say(`{"Whisper":{"Kind":"hello","Addr":"198.51.100.7:5000","Know":["203.0.113.1:1","10.0.0.1:22","127.0.0.1:22"]}}`)
	if s.peer != "198.51.100.7:5000" || !slices.Equal(n.known, []string{"203.0.113.1:1", s.peer}) {
		t.Errorf("peer %q, known %v", s.peer, n.known)
	}
	n.connected(s.peer)
	if got := w.sent[s.peer]; len(got) != 1 || !strings.Contains(got[0], `"Kind":"hello","Addr":"192.0.2.1:5000"`) {
		t.Errorf("the answer was %v", got)
	}
}

// TestIDsOfOurKind: as random as the predecessor's to all who do not know.
func TestIDsOfOurKind(t *testing.T) {
	t.Parallel()
	id, err := ownID(rand.Reader, "192.0.2.1:5000")
	if err != nil || len(id) != 16 {
		t.Fatal(id, err)
	}
	if !isMarked(id, "192.0.2.1:5000") || isMarked(id, "192.0.2.1:5001") || isMarked("75a49addd5224d8a", "10.99.0.1:55555") || isMarked("x", "") {
		t.Error("the mark is not told from others")
	}
}

// FuzzStream: whatever a neighbour sends, what comes out is a message that can
// be written and read again, or nothing.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		`{"ID":"75a49addd5224d8a","Addr":"10.99.0.1:55555","Body":"reply","omitempty":"phil","Timestamp":1795243332}` + "\n",
		`{"ID":"1","Body":"a"}{"ID":"2","Body":"b","X":[{}]}7"x"[null]`, `{"Body":"x","FileContents":"aGVsbG8="}`,
		`{"Whisper":{"Kind":"hello","Addr":"127.0.0.1:1","IDs":["a"],"Know":["127.0.0.1:2"]}}{"Whisper":{"Kind":"want","IDs":["1"]}}{"Whisper":{"Kind":"prune"}}{"Whisper":{"Kind":"part","Know":["127.0.0.1:3"]}}`,
		`{"ID":"hash:sha256:00","Body":"x"}`, `{"Body":"x","Whisper":{"Chain":"AA==","Signature":"AA=="}}`, `}`, `{"Body":"x","Body":7}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &paper{}
		c := newCore("192.0.2.1:5000", nil, rand.Reader, w)
		c.open("192.0.2.9:1", true)
		s, in := newSource(netip.MustParseAddr("127.0.0.1")), newStream(strings.NewReader(string(b)))
		for {
			raw, err := in.next()
			if err != nil {
				break
			}
			if err := c.receive(someTime(), s, raw); err != nil {
				break
			}
			for addr := range c.links {
				c.connected(addr)
			}
			c.tick(someTime().Add(time.Minute))
		}
		old := w.sent["192.0.2.9:1"]
		if len(old) != len(w.shown) {
			t.Fatalf("%d shown, %d passed on", len(w.shown), len(old))
		}
		for n, line := range old {
			o, err := parseObject([]byte(strings.TrimSuffix(line, "\n")))
			if err != nil || o.ID != w.shown[n].ID || o.Body != w.shown[n].Body || o.Body == "" || o.ours != nil {
				t.Fatalf("passed on as %q: %v", line, err)
			}
		}
	})
}

// TestStreamEnds: the reader of a connection sees the end as such.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	in := newStream(strings.NewReader("{} \n\t 7"))
	for range 2 {
		if _, err := in.next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.next(); !strings.Contains(fmt.Sprint(err), io.EOF.Error()) {
		t.Errorf("got %v", err)
	}
}

// TestFoundByDatagram: who announces itself is believed about its own host.
func TestFoundByDatagram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, datagram string
		dialed         bool
	}{
		{"10.99.0.1", "10.99.0.1:55555", true},
		{"10.99.0.1", "10.99.0.2:55555", false},
		{"10.99.0.1", "127.0.0.1:22", false},
		{"10.99.0.1", "198.51.100.1:80", false},
		{"10.99.0.1", "10.99.0.1:55555\n", false},
		{"10.99.0.1", "10.99.0.1", false},
		{"10.99.0.1", "", false},
		{"10.99.0.1", strings.Repeat("1", 65), false},
		{"192.0.2.1", "192.0.2.1:5000", false},
	} {
		w := &paper{}
		n := newCore("192.0.2.1:5000", nil, rand.Reader, w)
		n.found(someTime(), netip.MustParseAddr(c.from), []byte(c.datagram))
		if got := len(w.dialed) == 1; got != c.dialed || len(w.sent) != 0 {
			t.Errorf("%q from %s: dialed %v, sent %v", c.datagram, c.from, w.dialed, w.sent)
		}
	}
}

// FuzzDatagram: nothing that comes from another host leads anywhere else.
func FuzzDatagram(f *testing.F) {
	for _, s := range []string{"10.99.0.1:55555", "[fe80::1%eth0]:1", ":", "127.0.0.1:22", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &paper{}
		newCore("192.0.2.1:5000", nil, rand.Reader, w).found(someTime(), netip.MustParseAddr("10.99.0.1"), b)
		for _, addr := range w.dialed {
			if !strings.HasPrefix(addr, "10.99.0.1:") && !strings.HasPrefix(addr, "[::ffff:10.99.0.1]:") {
				t.Errorf("%q leads to %s", b, addr)
			}
		}
	})
}

// hoard is a world that keeps what is sent, as queues of neighbours that read nothing do.
type hoard struct {
	paper
	kept map[*byte]int
}

func (h *hoard) send(_ string, b []byte) { h.kept[&b[0]] = len(b) }

// TestDeafNewcomers: neighbours that read nothing of what they are told when they come share it; large files that
// each of them held a copy of were a quarter of a gibibyte.
func TestDeafNewcomers(t *testing.T) {
	t.Parallel()
	h := &hoard{kept: make(map[*byte]int)}
	c := newCore("127.0.0.1:1", nil, rand.Reader, h)
	now := someTime()
	s := newSource(netip.MustParseAddr("127.0.0.1"))
	hear := func(addr, body string) {
		t.Helper()
		now = now.Add(time.Second)
		if err := c.receive(now, s, fmt.Appendf(nil, `{"ID":"%s %s","Addr":%q,"Body":%q}`, addr, body, addr, strings.Repeat(body, 1000))); err != nil {
			t.Fatal(err)
		}
	}
	for n := range backlog {
		hear("127.0.0.1:2", fmt.Sprintf("word %d ", n))
	}
	clear(h.kept)
	const deaf = 30
	for n := range deaf {
		hear(fmt.Sprintf("127.0.0.1:%d", 100+n), "x")
	}
	if got, most := len(h.kept), backlog+deaf; got > most {
		t.Errorf("%d lines are held for %d neighbours, want at most %d", got, deaf, most)
	}
}
