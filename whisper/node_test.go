package whisper_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/whisper"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing waits so long where all is well.
const patience = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// oldPeer is a peer of the predecessor, written from what is known of its wire:
// it listens for objects, a line each, and dials others to say something.
type oldPeer struct {
	addr  string
	lines chan string
	// mu guards conns.
	mu    sync.Mutex
	conns []net.Conn
}

func newOldPeer(t *testing.T) *oldPeer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &oldPeer{addr: l.Addr().String(), lines: make(chan string, 1000)}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			work.Go(func() {
				in := bufio.NewReader(conn)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					p.lines <- line
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		work.Wait()
	})
	return p
}

// next is the next line that it was sent.
func (p *oldPeer) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-time.After(patience):
		t.Fatal("nothing came to the old peer")
		return ""
	}
}

// dial opens a connection for saying something.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	_, err := io.WriteString(w, text)
	must(t, err)
}

// start runs a node until the test ends.
func start(t *testing.T, c whisper.Config) (*whisper.Node, *whisper.Ear) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c.Addr = l.Addr().String()
	c.Dial = (&net.Dialer{}).DialContext
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	n, err := whisper.New(c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, l) }()
	ear, _ := n.Hear(0)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n, ear
}

func hear(t *testing.T, e *whisper.Ear) whisper.Message {
	t.Helper()
	select {
	case m := <-e.C:
		return m
	case <-time.After(patience):
		t.Fatal("nothing was heard")
		return whisper.Message{}
	}
}

// TestWhatOldPeersGet: the bytes that go to an old peer are those of the
// predecessor, in its order, and nothing goes before them.
func TestWhatOldPeersGet(t *testing.T) {
	t.Parallel()
	old := newOldPeer(t)
	n, _ := start(t, whisper.Config{Nick: "ann", Peers: []string{old.addr}})
	must(t, n.Say("hello <you> & you"))
	must(t, n.Say("/me waves"))
	form := regexp.MustCompile(`^\{"ID":"[0-9a-f]{16}","Addr":"` + regexp.QuoteMeta(n.Addr()) + `","Body":"(.*)","omitempty":"ann","Nick":"ann","Timestamp":[0-9]{10}\}\n$`)
	for _, want := range []string{`hello \u003cyou\u003e \u0026 you`, "/me waves"} {
		got := form.FindStringSubmatch(old.next(t))
		if got == nil || got[1] != want {
			t.Errorf("got %q, want the body %q", got, want)
		}
	}
}

// TestWhatOldPeersSay: captured objects, and others that must do no harm.
func TestWhatOldPeersSay(t *testing.T) {
	t.Parallel()
	n, ear := start(t, whisper.Config{Nick: "bob"})
	for _, c := range []struct{ name, sent, want string }{
		{"the predecessor's", `{"ID":"75a49addd5224d8a","Addr":"10.99.0.1:55555","Body":"reply","omitempty":"phil","Timestamp":1795243332}` + "\n", "phil: reply"},
		{"the code lab's", `{"ID":"1122334455667788","Addr":"10.99.0.1:55555","Body":"lab"}` + "\n", ": lab"},
		{"with the key mended", `{"ID":"a1","Body":"mended","Nick":"phil"}`, "phil: mended"},
		{"with both", `{"ID":"a2","Body":"both","omitempty":"x","Nick":"phil"}`, "phil: both"},
		{"two with nothing between", `{"ID":"a3","Body":"one"}{"ID":"a4","Body":"two"}`, ": one|: two"},
		{"an empty body", `{"ID":"a5","Body":""}{"ID":"a6"}{"ID":"a7","Body":"after"}`, ": after"},
		{"malformed", `7 [1] "x" null {"ID":1,"Body":"no"} {"ID":"a8","Body":{}} {"ID":"a9","Timestamp":"x","Body":"no"} {"ID":"b1","Body":"still"}`, ": still"},
		{"without ids", `{"Body":"first"}{"Body":"second"}{"Body":"second"}`, ": first|: second|: second"},
		{"twice", `{"ID":"b2","Body":"once"}{"ID":"b2","Body":"once"}{"ID":"b3","Body":"end"}`, ": once|: end"},
		{"hashed ids", `{"ID":"hash:sha256:` + fmt.Sprintf("%x", crypto.Sum([]byte("1.2.3.4:5good7"))) + `","Addr":"1.2.3.4:5","Body":"good","Timestamp":7}` +
			`{"ID":"hash:sha256:` + fmt.Sprintf("%x", crypto.Sum([]byte("1.2.3.4:5good7"))) + `","Addr":"1.2.3.4:5","Body":"evil","Timestamp":7}` +
			`{"ID":"hash:sha256:00","Body":"false"}{"ID":"hash:md5:00","Body":"plain"}`, ": good|: plain"},
	} {
		conn := dial(t, n.Addr())
		write(t, conn, c.sent)
		for want := range strings.SplitSeq(c.want, "|") {
			if m := hear(t, ear); m.Nick+": "+m.Body != want {
				t.Errorf("%s: got %q: %q, want %q", c.name, m.Nick, m.Body, want)
			}
		}
	}
}

// TestStreamThatIsNoJSON costs the connection, and only that.
func TestStreamThatIsNoJSON(t *testing.T) {
	t.Parallel()
	n, ear := start(t, whisper.Config{Nick: "bob"})
	for _, sent := range []string{"}", "{\"ID\":\"x\",\"Body\"}", "GET / HTTP/1.1\r\n\r\n", `{"Body":"` + strings.Repeat("x", 2<<20), strings.Repeat("1", 2<<20)} {
		conn := dial(t, n.Addr())
		_, _ = io.WriteString(conn, sent) // it may be cut while it is written
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("after %.20q the connection stands: %v", sent, err)
		}
	}
	write(t, dial(t, n.Addr()), `{"ID":"1","Body":"well"}`)
	if m := hear(t, ear); m.Body != "well" {
		t.Errorf("got %q", m.Body)
	}
}

// TestRelay: what an old peer says goes to the others as it came, with what is
// not known here, not back to its author, and once.
func TestRelay(t *testing.T) {
	t.Parallel()
	a, b := newOldPeer(t), newOldPeer(t)
	n, ear := start(t, whisper.Config{Nick: "mid", Peers: []string{a.addr, b.addr}})
	said := `{"ID":"75a49addd5224d8a","Addr":"` + a.addr + `","Body":"all","omitempty":"phil","Timestamp":1795243332,"Mood":{"x":[1, 2.50]}}`
	conn := dial(t, n.Addr())
	write(t, conn, said+said)
	hear(t, ear)
	want := strings.Replace(strings.TrimSuffix(said, "}"), "1, 2", "1,2", 1) + `,"Nick":"phil"}` + "\n"
	if got := b.next(t); got != want {
		t.Errorf("got  %s want %s", got, want)
	}
	write(t, conn, `{"ID":"2","Addr":"`+b.addr+`","Body":"last"}`)
	if got := a.next(t); !strings.Contains(got, `"last"`) {
		t.Errorf("its own words came back: %s", got)
	}
}

// TestUnreachablePeersHoldUpNobody: what wedged the predecessor for good.
func TestUnreachablePeersHoldUpNobody(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and never reads
	must(t, err)
	defer l.Close()
	good := newOldPeer(t)
	n, ear := start(t, whisper.Config{Nick: "mid", Peers: []string{"127.0.0.1:1", l.Addr().String(), good.addr}})
	conn := dial(t, n.Addr())
	write(t, conn, `{"ID":"x","Addr":"127.0.0.1:2","Body":"dial me"}`)
	hear(t, ear)
	if got := good.next(t); !strings.Contains(got, "dial me") {
		t.Errorf("got %s", got)
	}
	body := strings.Repeat("x", 15<<10)
	for k := range 50 {
		must(t, n.Say(fmt.Sprint(k, body)))
		if got := good.next(t); !strings.Contains(got, fmt.Sprintf(`"%dxxx`, k)) {
			t.Fatalf("message %d: got %.80s", k, got)
		}
	}
}

// TestFloodIsCut: a burst of twenty is none; whoever goes on is disconnected
// and blacklisted, and nobody else.
func TestFloodIsCut(t *testing.T) {
	t.Parallel()
	good, flooder := newOldPeer(t), newOldPeer(t)
	n, ear := start(t, whisper.Config{Nick: "bob", Peers: []string{good.addr}})
	burst := func(conn net.Conn, addr, what string, count int) (err error) {
		for k := range count {
			if _, err = fmt.Fprintf(conn, `{"ID":"%s%d","Addr":"%s","Body":"%s"}`, what, k, addr, what); err != nil {
				return err
			}
		}
		return nil
	}
	conn := dial(t, n.Addr())
	must(t, burst(conn, flooder.addr, "burst", 20))
	for range 20 {
		hear(t, ear)
		good.next(t)
	}
	_ = burst(conn, flooder.addr, "flood", 500) // it is cut on the way
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection stands: %v", err)
	}
	again := dial(t, n.Addr())
	must(t, burst(again, flooder.addr, "again", 1))
	must(t, again.SetReadDeadline(time.Now().Add(patience)))
	if _, err := again.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("who was blacklisted is heard again: %v", err)
	}
	must(t, burst(dial(t, n.Addr()), good.addr, "well", 1))
	for {
		if m := hear(t, ear); m.Body == "well" {
			break
		} else if m.Body == "again" {
			t.Error("the blacklisted was heard")
		}
	}
}

// TestOurKind: peers of this kind know each other by what they say, believe
// signatures, and an old peer beside them never sees more than the original format.
func TestOurKind(t *testing.T) {
	t.Parallel()
	k := keyring(t)
	old := newOldPeer(t)
	bob, bobHears := start(t, whisper.Config{Nick: "bob", Peers: []string{old.addr}})
	ann, annHears := start(t, whisper.Config{Nick: "ann", Peers: []string{bob.Addr()}, Keyring: k})
	must(t, ann.Say("I am of your kind"))
	if m := hear(t, bobHears); m.From != "" || m.Forged {
		t.Errorf("the first words go in the original format, so they cannot be signed: %+v", m)
	}
	hear(t, annHears)
	until(t, "ann knows bob", func() bool {
		p := ann.Peers()
		return len(p) == 1 && p[0].Ours && p[0].Up
	})
	until(t, "bob knows ann", func() bool {
		for _, p := range bob.Peers() {
			if p.Addr == ann.Addr() && p.Ours && p.Up {
				return true
			}
		}
		return false
	})
	must(t, ann.Say("signed"))
	if m := hear(t, bobHears); m.Body != "signed" || m.From != k.Address().String() {
		t.Errorf("got %+v", m)
	}
	must(t, bob.Say("and back"))
	for {
		if m := hear(t, annHears); m.Body == "and back" {
			break
		}
	}
	form := regexp.MustCompile(`^\{"ID":"[0-9a-f]{16}","Addr":"[0-9.:]+","Body":"[^"]*","omitempty":"\w+","Nick":"\w+","Timestamp":[0-9]{10}\}\n$`)
	for range 3 {
		if got := old.next(t); !form.MatchString(got) {
			t.Errorf("an old peer got %s", got)
		}
	}
}

// TestBacklog: who comes later is told what was said before, of either kind.
func TestBacklog(t *testing.T) {
	t.Parallel()
	bob, _ := start(t, whisper.Config{Nick: "bob"})
	for k := range 30 {
		must(t, bob.Say(fmt.Sprint("line ", k)))
	}
	old := newOldPeer(t)
	write(t, dial(t, bob.Addr()), `{"ID":"1","Addr":"`+old.addr+`","Body":"I am new"}`)
	for k := 10; k < 30; k++ {
		if got := old.next(t); !strings.Contains(got, fmt.Sprintf(`"line %d"`, k)) {
			t.Errorf("got %s, want line %d", got, k)
		}
	}
	ann, hears := start(t, whisper.Config{Nick: "ann", Peers: []string{bob.Addr()}})
	must(t, ann.Say("I am new too"))
	heard := make(map[string]bool)
	for len(heard) < 20 {
		heard[hear(t, hears).Body] = true
	}
	if !heard["line 29"] || heard["line 0"] {
		t.Errorf("heard %v", heard)
	}
}

func keyring(t *testing.T) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	must(t, err)
	k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
	must(t, err)
	return k
}

// until waits for something that comes by itself.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	late, again := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-late:
			t.Fatalf("never: %s", what)
		case <-again.C:
		}
	}
}

// TestFilesGoThrough: as the predecessor's page has them.
func TestFilesGoThrough(t *testing.T) {
	t.Parallel()
	old := newOldPeer(t)
	n, ear := start(t, whisper.Config{Nick: "ann", Peers: []string{old.addr}})
	must(t, n.SendFile("a.txt", "text/plain", []byte("hello")))
	if got := old.next(t); !strings.Contains(got, `"FileType":"text/plain","FileContents":"aGVsbG8="`) {
		t.Errorf("got %s", got)
	}
	hear(t, ear)
	write(t, dial(t, n.Addr()), `{"ID":"1","Body":"b","FileType":"t","FileContents":"!"}{"ID":"2","Body":"b","FileType":"t","FileContents":"aGVsbG8="}`)
	if m := hear(t, ear); !bytes.Equal(m.File, []byte("hello")) || m.FileType != "t" || m.ID != "2" {
		t.Errorf("got %+v", m)
	}
	if err := n.SendFile("x", "", make([]byte, whisper.MaxFile+1)); err == nil {
		t.Error("a file beyond the bound was sent")
	}
}

// TestDiscovery: one datagram, the address and nothing else, goes out; who sends
// one is dialled, and gets nothing until something is said.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	room, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer room.Close()
	mine, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	n, _ := start(t, whisper.Config{Nick: "ann", Discover: mine, Announce: room.LocalAddr()})
	b := make([]byte, 100)
	must(t, room.SetReadDeadline(time.Now().Add(patience)))
	size, from, err := room.ReadFrom(b)
	must(t, err)
	if got := string(b[:size]); got != n.Addr() {
		t.Errorf("the datagram is %q, want %q", got, n.Addr())
	}
	old := newOldPeer(t)
	for _, datagram := range []string{"", "x", old.addr} {
		_, err = room.WriteTo([]byte(datagram), from)
		must(t, err)
	}
	until(t, "the old peer is dialled", func() bool {
		p := n.Peers()
		return len(p) == 1 && p[0].Addr == old.addr && p[0].Up
	})
	must(t, n.Say("found you"))
	if got := old.next(t); !strings.Contains(got, "found you") {
		t.Errorf("got %s", got)
	}
}

// TestPeerControls: who was disconnected stays so although it speaks, who is
// blocked is not heard, and connecting undoes both.
func TestPeerControls(t *testing.T) {
	t.Parallel()
	bob, bobHears := start(t, whisper.Config{Nick: "bob"})
	ann, _ := start(t, whisper.Config{Nick: "ann", Peers: []string{bob.Addr()}})
	old := newOldPeer(t)
	conn := dial(t, bob.Addr())
	linked := func(addr string) bool {
		for _, p := range bob.Peers() {
			if p.Addr == addr {
				return true
			}
		}
		return false
	}
	must(t, ann.Say("one"))
	write(t, conn, `{"ID":"1","Addr":"`+old.addr+`","Body":"two"}`)
	until(t, "bob has both", func() bool { return linked(ann.Addr()) && linked(old.addr) })
	until(t, "ann knows bob", func() bool { p := ann.Peers(); return len(p) == 1 && p[0].Ours })
	hear(t, bobHears)
	hear(t, bobHears)
	bob.Disconnect(ann.Addr())
	bob.Disconnect(old.addr)
	write(t, conn, `{"ID":"2","Addr":"`+old.addr+`","Body":"still here"}`)
	if m := hear(t, bobHears); m.Body != "still here" || linked(old.addr) {
		t.Errorf("heard %q; linked %v", m.Body, linked(old.addr))
	}
	bob.Block(old.addr)
	write(t, conn, `{"ID":"3","Addr":"`+old.addr+`","Body":"blocked"}`)
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("who is blocked stays connected: %v", err)
	}
	must(t, bob.Connect(old.addr))
	write(t, dial(t, bob.Addr()), `{"ID":"4","Addr":"`+old.addr+`","Body":"again"}`)
	if m := hear(t, bobHears); m.Body != "again" || !linked(old.addr) {
		t.Errorf("heard %q; linked %v", m.Body, linked(old.addr))
	}
}
