package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// job is what a crowd is told when it begins.
type job struct {
	Server string
	Callee []byte
	// First is the number of its first socket, Sockets how many they are.
	First, Sockets int
}

// ask is a question to a crowd, and told the answer.
type ask struct {
	// Do is call, say, ping or cut.
	Do string
}

type told struct {
	// Done is how many sockets did it, and Why some of the reasons of the others.
	Done int
	Why  []string
}

const (
	// perAddress is how many sockets one identity has, below what a server allows,
	// and perPlace how many come from one address of this machine.
	perAddress, perPlace = 50, 50
	// atOnce is how many things a crowd does at a time.
	atOnce = 16
	// within is how long an answer may take.
	within = 2 * time.Minute
	// beat is how often a socket says something.
	beat = 25 * time.Second
	// words is what each connection carries in each direction.
	words = 1 << 10
)

// crowd is many sockets in one process.
type crowd struct {
	job     job
	reading sync.WaitGroup

	// mu guards all while sockets are opened.
	mu  sync.Mutex
	all []*socket
}

// socket is one of them, with one connection where it has called.
type socket struct {
	ws     *websocket.Conn
	id     []byte
	events chan *wirev1.LiveFrame
	ended  atomic.Bool
}

// crowdArg is what a process of this program is told to be.
const crowdArg = "crowd"

// child reports whether this process is a crowd, and runs it.
func child() bool {
	if len(os.Args) < 2 || os.Args[1] != crowdArg {
		return false
	}
	if err := crowdMain(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "live: crowd:", err)
		os.Exit(1)
	}
	return true
}

// crowdMain is the process of a crowd: it lives as long as its stdin.
func crowdMain(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &crowd{}
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	if err := from.Decode(&c.job); err != nil {
		return err
	}
	c.all = make([]*socket, c.job.Sockets)
	var keys *message.Keyring
	who := make([]*message.Keyring, c.job.Sockets)
	for n := range c.all {
		if n%perAddress == 0 {
			var err error
			if keys, err = proof.Keyring(message.RoleUser); err != nil {
				return err
			}
		}
		who[n] = keys
	}
	go c.beat(ctx)
	opened := c.each(func(n int, _ *socket) error {
		s, err := c.open(ctx, c.job.First+n, who[n])
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all[n] = s
		return err
	})
	if err := to.Encode(opened); err != nil {
		return err
	}
	for {
		var q ask
		if err := from.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := to.Encode(c.does(ctx, q.Do)); err != nil {
			return err
		}
	}
}

// each does something with every socket, some at a time.
func (c *crowd) each(do func(n int, s *socket) error) *told {
	t := &told{}
	var mu sync.Mutex
	var all sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for n := range c.all {
		c.mu.Lock()
		s := c.all[n]
		c.mu.Unlock()
		places <- struct{}{}
		all.Go(func() {
			err := do(n, s)
			<-places
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				t.Done++
			} else if len(t.Why) < 5 {
				t.Why = append(t.Why, err.Error())
			}
		})
	}
	all.Wait()
	return t
}

// does what is asked.
func (c *crowd) does(ctx context.Context, what string) *told {
	switch what {
	case "call":
		return c.each(func(_ int, s *socket) error {
			return s.must(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: s.id, To: c.job.Callee, Protocol: "echo"}}},
				func(f *wirev1.LiveFrame) bool { return f.GetAnswer() != nil && f.GetAnswer().GetReason() == 0 })
		})
	case "say":
		said := make([]byte, words)
		_, _ = crand.Read(said) // it never fails
		return c.each(func(_ int, s *socket) error {
			return s.must(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: s.id, Bytes: said}}},
				func(f *wirev1.LiveFrame) bool { return bytes.Equal(f.GetData().GetBytes(), said) })
		})
	case "ping":
		return c.each(func(_ int, s *socket) error {
			return s.must(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}}, func(f *wirev1.LiveFrame) bool { return f.GetPong() != nil })
		})
	case "cut":
		return &told{Done: 1, Why: []string{fmt.Sprint(c.all[0].ws.CloseNow())}}
	}
	return &told{Why: []string{"what is " + what + "?"}}
}

// must says something and waits for the answer.
func (s *socket) must(ctx context.Context, f *wirev1.LiveFrame, is func(*wirev1.LiveFrame) bool) error {
	if s == nil || s.ended.Load() {
		return errors.New("the socket has ended")
	}
	if err := s.say(ctx, f); err != nil {
		return err
	}
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		select {
		case got, ok := <-s.events:
			if !ok {
				return errors.New("the socket ended")
			}
			if is(got) {
				return nil
			}
			if got.GetAnswer().GetReason() != 0 || got.GetClose() != nil || got.GetRefusal() != nil {
				return fmt.Errorf("answered: %v", got)
			}
		case <-late.C:
			return errors.New("no answer")
		}
	}
}

func (s *socket) say(ctx context.Context, f *wirev1.LiveFrame) error {
	b, err := proto.Marshal(f)
	if err != nil {
		return err
	}
	return s.ws.Write(ctx, websocket.MessageBinary, b)
}

// open opens a socket, on a connection of its own.
func (c *crowd) open(ctx context.Context, n int, k *message.Keyring) (*socket, error) {
	ref, err := message.ParseReference(c.job.Server)
	if err != nil {
		return nil, err
	}
	access, err := message.SignAccess(k.Chain, ref.Address, time.Now(), time.Minute, k.Signer)
	if err != nil {
		return nil, err
	}
	link, _, _ := strings.Cut(c.job.Server, "#")
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		at := n / perPlace
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 11, byte(at>>7), byte(at&127)+1)}, Timeout: time.Minute}
		raw, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}), nil // who it is, is no question here
	}
	opening, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ws, _, err := websocket.Dial(opening, "wss"+strings.TrimPrefix(link, "https")+relay.Path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialTLSContext: dial}}, Subprotocols: []string{relay.Binary},
	})
	if err != nil {
		return nil, err
	}
	s := &socket{ws: ws, id: make([]byte, 16), events: make(chan *wirev1.LiveFrame, 8)}
	session := make([]byte, 16)
	_, _ = crand.Read(s.id) // it never fails
	_, _ = crand.Read(session)
	c.reading.Go(func() { s.read(ctx) })
	return s, s.must(opening, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{
		Session: session, Authorization: access, Bundle: &wirev1.Identity{Cards: k.Chain.Signed(0)},
	}}}, func(f *wirev1.LiveFrame) bool { return f.GetWelcome() != nil })
}

// read takes frames until the socket ends; what nobody waits for is passed over.
func (s *socket) read(ctx context.Context) {
	defer close(s.events)
	defer s.ended.Store(true)
	for {
		_, b, err := s.ws.Read(ctx)
		if err != nil {
			return
		}
		f := &wirev1.LiveFrame{}
		if proto.Unmarshal(b, f) != nil {
			return
		}
		select {
		case s.events <- f:
		default:
		}
	}
}

// beat keeps the sockets alive.
func (c *crowd) beat(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		all := slices.Clone(c.all)
		c.mu.Unlock()
		for _, s := range all {
			if s != nil && !s.ended.Load() {
				_ = s.say(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}}) // where it fails, the reader sees
			}
		}
	}
}

// member is a crowd as its parent sees it.
type member struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	from *json.Decoder
	to   *json.Encoder
}

// gather starts one. It is told what to do, and not waited for.
func gather(j job) (*member, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &member{cmd: exec.Command(program, crowdArg)}
	m.cmd.Stderr = os.Stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.from, m.to = json.NewDecoder(out), json.NewEncoder(m.in)
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	return m, m.to.Encode(j)
}

// hear is the next answer.
func (m *member) hear() (*told, error) {
	t := &told{}
	return t, m.from.Decode(t)
}

// leave ends the process, and with it all its sockets.
func (m *member) leave() {
	_ = m.in.Close()
	_ = m.cmd.Process.Kill() // it may have ended by itself
	_ = m.cmd.Wait()
}
