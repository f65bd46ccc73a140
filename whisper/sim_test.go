package whisper

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sim is a net of cores on simulated connections, one event after another. Its
// choices are the same for the same seed; the cores' are not quite, as they go over maps.
// Every connection delays between 20 and 80 ms and keeps the order.
type sim struct {
	now    time.Time
	rand   *rand.Rand
	source *rand.ChaCha8
	events queue
	count  uint64
	peers  map[string]*simPeer
	order  []*simPeer
	// objects are those that were read, by their bytes.
	objects map[string]*object

	// whole and control are transfers: of messages, and of what neighbours say
	// to each other; bytes are those of both.
	whole, control, bytes, shown int
	kinds                        map[string]int
}

type event struct {
	at    time.Time
	count uint64
	do    func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(a, b int) bool {
	return q[a].at.Before(q[b].at) || q[a].at.Equal(q[b].at) && q[a].count < q[b].count
}
func (q queue) Swap(a, b int) { q[a], q[b] = q[b], q[a] }
func (q *queue) Push(e any)   { *q = append(*q, e.(event)) } //nolint:errcheck
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// simPeer is one peer, and the world to its core.
type simPeer struct {
	sim   *sim
	addr  string
	core  *core
	alive bool
	lines map[string]*simLine
	// at is which message is being received, and over how many peers it came.
	hop   int
	heard map[string]int
}

// simLine is a connection to another peer.
type simLine struct {
	up      bool
	source  *source
	waiting [][]byte
	last    time.Time
}

func newSim(seed uint64) *sim {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	source := rand.NewChaCha8(key)
	return &sim{now: someTime(), source: source, rand: rand.New(source), peers: make(map[string]*simPeer), kinds: make(map[string]int), objects: make(map[string]*object)}
}

func (s *sim) after(d time.Duration, do func()) {
	s.count++
	heap.Push(&s.events, event{s.now.Add(d), s.count, do})
}

// run lets a time pass.
func (s *sim) run(d time.Duration) {
	end := s.now.Add(d)
	for len(s.events) > 0 && !s.events[0].at.After(end) {
		e := heap.Pop(&s.events).(event) //nolint:errcheck
		s.now = e.at
		e.do()
	}
	s.now = end
}

func (s *sim) delay() time.Duration {
	return 20*time.Millisecond + time.Duration(s.rand.IntN(60))*time.Millisecond
}

// join adds a peer that is told of two others, and of one where there is one.
func (s *sim) join() *simPeer {
	n := len(s.peers)
	host := netip.AddrFrom4([4]byte{44, byte(n >> 16), byte(n >> 8), byte(n)})
	p := &simPeer{sim: s, addr: netip.AddrPortFrom(host, 5000).String(), alive: true, lines: make(map[string]*simLine), heard: make(map[string]int)}
	p.core = newCore(p.addr, nil, s.source, p)
	s.peers[p.addr] = p
	s.order = append(s.order, p)
	others := s.living(p)
	for range min(2, len(others)) {
		p.core.open(others[s.rand.IntN(len(others))].addr, true)
	}
	var tick func()
	tick = func() {
		if p.alive {
			p.core.tick(s.now)
			s.after(tickEvery, tick)
		}
	}
	s.after(time.Duration(s.rand.IntN(100))*time.Millisecond, tick)
	return p
}

// leave ends a peer without a word; the others see their connections break.
func (s *sim) leave(p *simPeer) {
	p.alive = false
	for _, other := range s.order {
		if l := other.lines[p.addr]; l != nil && other.alive {
			s.after(s.delay(), func() { other.broken(p.addr, l) })
		}
	}
}

// living are the peers that are there, but one.
func (s *sim) living(but *simPeer) []*simPeer {
	return slices.DeleteFunc(slices.Clone(s.order), func(p *simPeer) bool { return !p.alive || p == but })
}

func (p *simPeer) say(t *testing.T, body string) {
	t.Helper()
	p.hop = 0
	p.heard[body] = 0
	if _, err := p.core.say(p.sim.now, Message{Nick: "n", Body: body}); err != nil {
		t.Fatal(err)
	}
}

func (p *simPeer) broken(addr string, l *simLine) {
	if p.lines[addr] == l {
		delete(p.lines, addr)
		p.core.disconnected(addr, true)
	}
}

func (p *simPeer) dial(addr string, _ bool) {
	l := &simLine{source: newSource(netip.MustParseAddrPort(p.addr).Addr())}
	p.lines[addr] = l
	p.sim.after(2*p.sim.delay(), func() {
		if p.lines[addr] != l || !p.alive {
			return
		}
		if to := p.sim.peers[addr]; to == nil || !to.alive {
			p.broken(addr, l)
			return
		}
		l.up = true
		p.core.connected(addr)
		for _, b := range l.waiting {
			p.transfer(addr, l, b)
		}
		l.waiting = nil
	})
}

func (p *simPeer) hangUp(addr string) { delete(p.lines, addr) }

func (p *simPeer) send(addr string, b []byte) {
	l := p.lines[addr]
	switch {
	case l == nil:
	case !l.up:
		l.waiting = append(l.waiting, b)
	default:
		p.transfer(addr, l, b)
	}
}

// transfer brings bytes over, behind those that are on their way.
func (p *simPeer) transfer(addr string, l *simLine, b []byte) {
	s, hop := p.sim, p.hop+1
	s.bytes += len(b)
	if strings.HasPrefix(string(b), `{"`+keyOurs) {
		s.control++
		kind, _, _ := strings.Cut(strings.TrimPrefix(string(b), `{"Whisper":{"Kind":"`), `"`)
		s.kinds[kind]++
	} else {
		s.whole++
	}
	at := s.now.Add(s.delay())
	if !at.After(l.last) {
		at = l.last.Add(1)
	}
	l.last = at
	s.after(at.Sub(s.now), func() {
		to := s.peers[addr]
		if !to.alive || !p.alive {
			return
		}
		to.hop = hop
		if to.core.admit(s.now, l.source, func() (*object, error) { return s.read(b) }) != nil {
			p.broken(addr, l)
		}
		to.hop = 0
	})
}

func (p *simPeer) show(m Message) {
	p.sim.shown++
	p.heard[m.Body] = p.hop
}

// read reads an object once, however many peers it comes to: most of the time of a simulation
// would go into reading the same bytes again.
func (s *sim) read(b []byte) (*object, error) {
	if bytes.HasPrefix(b, []byte(`{"`+keyOurs)) {
		return parseObject(b)
	}
	o := s.objects[string(b)]
	if o == nil {
		var err error
		if o, err = parseObject(b); err != nil {
			return nil, err
		}
		s.objects[string(b)] = o
	}
	out := *o
	out.fields = slices.Clone(o.fields)
	return &out, nil
}

// grow lets peers come, ten a second, each of whom says something: so they are found.
func (s *sim) grow(t *testing.T, n int) {
	t.Helper()
	for k := range n {
		p := s.join()
		s.run(50 * time.Millisecond)
		p.say(t, fmt.Sprint("I am ", k))
		s.run(50 * time.Millisecond)
	}
	s.run(40 * time.Second)
}

// figures are what a phase cost.
type figures struct {
	deliveries, missed, maxHops int
	hops, whole, control, bytes float64
}

// phase says some messages, by peers that are there, and counts.
func (s *sim) phase(t *testing.T, name string, messages int, between func(k int)) figures {
	t.Helper()
	type said struct {
		body string
		by   *simPeer
		to   []*simPeer
	}
	var all []said
	s.whole, s.control, s.bytes, s.shown, s.kinds = 0, 0, 0, 0, make(map[string]int)
	for k := range messages {
		living := s.living(nil)
		p := living[s.rand.IntN(len(living))]
		m := said{fmt.Sprint(name, " ", k, strings.Repeat(" word", 10)), p, slices.DeleteFunc(living, func(o *simPeer) bool { return o == p || o.core.heard == 0 })}
		p.say(t, m.body)
		all = append(all, m)
		s.run(200 * time.Millisecond)
		if between != nil {
			between(k)
		}
	}
	s.run(10 * time.Second)
	var f figures
	for _, m := range all {
		if !m.by.alive { // it may have left before anybody heard it
			continue
		}
		for _, p := range m.to {
			hops, ok := p.heard[m.body]
			switch {
			case !p.alive:
			case !ok:
				f.missed++
			default:
				f.deliveries++
				f.hops += float64(hops)
				f.maxHops = max(f.maxHops, hops)
			}
		}
	}
	d := float64(s.shown)
	f.hops, f.whole, f.control, f.bytes = f.hops/float64(f.deliveries), float64(s.whole)/d, float64(s.control)/d, float64(s.bytes)/d
	t.Logf("%s: what neighbours said to each other: %v", name, s.kinds)
	return f
}

// flooding is what full flooding over the same connections would cost: every
// peer sends to every neighbour but the one that a message came from.
func (s *sim) flooding() (transfers float64, degree float64, most int) {
	living := s.living(nil)
	edges := 0
	for _, p := range living {
		edges += len(p.core.links)
		most = max(most, len(p.core.links))
	}
	n := float64(len(living))
	return (float64(edges) - (n - 1)) / (n - 1), float64(edges) / n, most
}

// TestNetOfMany: everybody hears everything, also while peers come and go
// without a word, at little more than one transfer for each.
// WHISPER_PEERS=1000 prints the figures of docs/performance.md.
func TestNetOfMany(t *testing.T) {
	t.Parallel()
	peers, messages := 60, 40
	if text := os.Getenv("WHISPER_PEERS"); text != "" {
		var err error
		if peers, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		messages = 200
		defer debug.SetGCPercent(debug.SetGCPercent(400)) // there is room, and nothing else runs
	} else if testing.Short() {
		peers, messages = 40, 30
	}
	s := newSim(1)
	s.grow(t, peers)
	still := s.phase(t, "still", messages, nil)
	transfers, degree, most := s.flooding()
	t.Logf("%d peers, %.1f neighbours each, at most %d", peers, degree, most)
	t.Logf("still: %+v; flooding over the same connections %.2f transfers a delivery, over all %d", still, transfers, peers-1)
	if still.missed > 0 || still.deliveries != messages*(peers-1) {
		t.Errorf("%d of %d were missed", still.missed, messages*(peers-1))
	}
	if still.whole > 1.6 || still.whole > transfers/2 {
		t.Errorf("%.2f transfers a delivery; flooding takes %.2f", still.whole, transfers)
	}
	gone, came := 0, 0
	churn := s.phase(t, "churn", messages, func(k int) {
		if k%2 == 0 {
			living := s.living(nil)
			s.leave(living[s.rand.IntN(len(living))])
			gone++
		} else {
			p := s.join()
			s.after(time.Second, func() { p.say(t, fmt.Sprint("new ", k)) })
			came++
		}
	})
	t.Logf("churn, %d left and %d came: %+v", gone, came, churn)
	if churn.missed > 0 {
		t.Errorf("%d were missed by peers that were there all the time", churn.missed)
	}
}
