package nearby_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestMain fails when a test leaves a goroutine behind.
// One of net/http is let be: after an answer to an unfinished request it waits half a
// second before it closes, longer than goleak looks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// patience bounds every wait; nothing waits so long where all is well.
const patience = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyring(t testing.TB) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	must(t, err)
	k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
	must(t, err)
	return k
}

// book is who knows whom: contacts by address, with or without their cards.
type book struct {
	mu       sync.Mutex
	contacts []message.Address
	chains   map[message.Address]*message.Chain
}

func (b *book) Contacts(context.Context) ([]message.Address, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.contacts, nil
}

func (b *book) Chain(_ context.Context, a message.Address) (*message.Chain, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.chains[a]; c != nil {
		return c, nil
	}
	return nil, message.NotFound
}

func (b *book) Learn(_ context.Context, w *wirev1.Identity) (*message.Chain, error) {
	i, err := message.OpenIdentity(crypto.Single{}, w, nil)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.chains == nil {
		b.chains = map[message.Address]*message.Chain{}
	}
	b.chains[i.Address()] = i.Chain
	return i.Chain, nil
}

// letterbox is what was brought.
type letterbox struct{ got chan *wirev1.NearbyLetter }

func (l letterbox) Deliver(_ context.Context, _ message.Address, w *wirev1.NearbyLetter) error {
	l.got <- w
	return nil
}

// shelf is files in memory.
type shelf map[string][]byte

func (s shelf) Files(context.Context) ([]nearby.File, error) {
	var out []nearby.File
	for name, b := range s {
		out = append(out, nearby.File{Name: name, Size: int64(len(b)), Hash: crypto.Sum(b)})
	}
	return out, nil
}

type openFile struct{ *bytes.Reader }

func (openFile) Close() error { return nil }

func (s shelf) Open(_ context.Context, hash message.ID) (io.ReadSeekCloser, error) {
	for _, b := range s {
		if crypto.Sum(b) == hash {
			return openFile{bytes.NewReader(b)}, nil
		}
	}
	return nil, message.NotFound
}

// said is a line that somebody said in a session.
type said struct {
	session *nearby.Session
	line    nearby.Line
}

// peer is a node that runs, on the loopback, by unicast only.
type peer struct {
	*nearby.Node
	// at is where it answers, and udp where it takes datagrams.
	at, udp netip.AddrPort
	keyring *message.Keyring
	book    *book
	said    chan said
	letters chan *wirev1.NearbyLetter
	stop    context.CancelFunc
	stopped chan struct{}
}

// freePort is one that nothing listens at.
func freePort(t testing.TB) uint16 {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func listenUDP(ctx context.Context, network, address string) (net.PacketConn, error) {
	return (&net.ListenConfig{}).ListenPacket(ctx, network, address)
}

// start runs a node until the test ends.
func start(t testing.TB, change func(*nearby.Config)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &peer{
		at: netip.MustParseAddrPort(l.Addr().String()), keyring: keyring(t), book: &book{}, said: make(chan said, 100),
		letters: make(chan *wirev1.NearbyLetter, 10), stopped: make(chan struct{}),
	}
	p.udp = netip.AddrPortFrom(p.at.Addr(), freePort(t))
	c := nearby.Config{
		Port: p.at.Port(), Keyring: p.keyring, People: p.book, Inbox: letterbox{p.letters}, Listen: listenUDP, Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader,
		Explore: nearby.Explore{Port: p.udp.Port(), Period: 100 * time.Millisecond, Poll: -1},
		Heard:   func(s *nearby.Session, l nearby.Line) { p.said <- said{s, l} },
	}
	_, err = rand.Read(c.ID[:])
	must(t, err)
	if change != nil {
		change(&c)
	}
	p.keyring = c.Keyring
	p.Node, err = nearby.New(c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	ran := make(chan error, 2)
	go func() { ran <- p.Run(ctx) }()
	go func() { ran <- p.Serve(ctx, l) }()
	go func() {
		defer close(p.stopped)
		if err := errors.Join(<-ran, <-ran); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-p.stopped
	})
	return p
}

// until waits for something, looking every few milliseconds.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-end:
			t.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

// take waits for what comes.
func take[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %s", what, patience)
		panic("not reached")
	}
}

// oldDatagram is what a peer of P2P v0.4 sends, byte by byte: Peer{ID{value},
// port, IP "<nil>"}, 30 bytes.
func oldDatagram(id nearby.ID, port uint16) []byte {
	b := append([]byte{0x0a, 0x12, 0x0a, 0x10}, id[:]...)
	b = binary.AppendUvarint(append(b, 0x10), uint64(port))
	return append(b, "\x22\x05<nil>"...)
}
