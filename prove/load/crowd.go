package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// crowdJob is what a crowd is told when it begins, in one line.
type crowdJob struct {
	Server, Tracker string
	// Author is whose posts the crowd follows.
	Author []byte
	// First is the number of its first watcher, Watchers how many they are, of
	// whom the first Inboxes have an account and watch their own inbox.
	First, Watchers, Inboxes int
}

// crowdReady is what a crowd answers once everybody watches or was refused.
type crowdReady struct {
	// Refused says why watchers could not begin; none is the rule.
	Refused []string
	// Owners are the identities of those with an inbox, as they travel.
	Owners [][]byte
}

// crowdAsk asks which watchers have had an event at or after a place in the log.
type crowdAsk struct {
	Seq     uint64
	Inboxes bool
	// Patience is how long the slowest may take, in milliseconds.
	Patience int
	// Cut is that the connection of one who follows is to be closed beneath it; no
	// question is answered then.
	Cut bool
}

// crowdSaid is the answer.
type crowdSaid struct {
	// At is when each event arrived, in nanoseconds of the system's clock; 0 where
	// none did.
	At []int64
	// Ended are the streams that are over.
	Ended int
}

// handshakes is how many connections a crowd opens at once.
const handshakes = 16

// watcher is one that waits, on a connection of its own.
type watcher struct {
	inbox  bool
	client *rpc.Client
	conn   net.Conn

	seq, at atomic.Int64 // of the newest event
	ended   atomic.Bool
}

// crowd is many watchers in one process.
type crowd struct {
	job     crowdJob
	town    *proof.Town
	host    *message.Identity
	all     []*watcher
	running sync.WaitGroup
}

// crowdMain is the process of a crowd: it lives as long as its stdin.
func crowdMain(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{}
	defer c.running.Wait()
	defer cancel()
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	if err := from.Decode(&c.job); err != nil {
		return err
	}
	ready, err := c.open(ctx)
	if err != nil {
		return err
	}
	if err := to.Encode(ready); err != nil {
		return err
	}
	for {
		var ask crowdAsk
		if err := from.Decode(&ask); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if ask.Cut {
			if err := c.cut(); err != nil {
				return err
			}
		}
		if err := to.Encode(c.answer(ask)); err != nil {
			return err
		}
	}
}

// cut closes the connection of one who follows.
func (c *crowd) cut() error {
	for _, w := range c.all {
		if !w.inbox && !w.ended.Load() {
			return w.conn.Close()
		}
	}
	return errors.New("nobody follows")
}

// open lets owners join, and everybody begin to watch.
func (c *crowd) open(ctx context.Context) (*crowdReady, error) {
	c.town = &proof.Town{Tracker: &proof.Server{Reference: c.job.Tracker}, Verifier: crypto.Single{}}
	ref, err := message.ParseReference(c.job.Server)
	if err != nil {
		return nil, err
	}
	asker := rpc.NewClient(rpc.Config{Dial: place(c.job.First).dial, Verifier: c.town.Verifier})
	_, answer, err := asker.Open(ctx, ref)
	asker.Close()
	if err != nil {
		return nil, err
	}
	c.host = answer.Subject
	ready := &crowdReady{}
	c.all = make([]*watcher, c.job.Watchers)
	owners := make([]*proof.Person, c.job.Inboxes)
	for n := range owners {
		if owners[n], err = c.town.Join(ctx, c.job.Server); err != nil {
			return nil, err
		}
		owners[n].Client.Close()
		b, err := marshal(owners[n].Identity)
		if err != nil {
			return nil, err
		}
		ready.Owners = append(ready.Owners, b)
	}
	var mu sync.Mutex
	var opening sync.WaitGroup
	slots := make(chan struct{}, handshakes)
	for n := range c.all {
		slots <- struct{}{}
		w := &watcher{inbox: n < len(owners)}
		c.all[n] = w
		var keys *message.Keyring
		if w.inbox {
			keys = owners[n].Keys
		}
		opening.Go(func() {
			defer func() { <-slots }()
			if err := c.watch(ctx, w, c.job.First+n, keys); err != nil {
				w.ended.Store(true)
				mu.Lock()
				defer mu.Unlock()
				ready.Refused = append(ready.Refused, fmt.Sprintf("watcher %d: %v", c.job.First+n, err))
			}
		})
	}
	opening.Wait()
	return ready, nil
}

// watch opens the stream of one watcher and returns once its first event is
// there, which says where the log stands.
func (c *crowd) watch(ctx context.Context, w *watcher, n int, keys *message.Keyring) error {
	w.client = rpc.NewClient(rpc.Config{Verifier: c.town.Verifier, Keyring: keys, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := place(n).dial(ctx, network, address)
		w.conn = conn
		return conn, err
	}})
	peer, err := w.client.Peer(c.host)
	if err != nil {
		return err
	}
	receive, leave, err := open(ctx, peer, w.inbox, c.job.Author)
	if err != nil {
		return err
	}
	first, err := receive()
	if err != nil {
		return errors.Join(err, leave())
	}
	w.seq.Store(int64(first.GetSeq()))
	c.running.Go(func() {
		defer func() { _ = leave() }() // it is over
		defer w.ended.Store(true)
		for {
			now, err := receive()
			if err != nil {
				return
			}
			// A heartbeat repeats the place; that wakes nobody.
			if seq := int64(now.GetSeq()); seq > w.seq.Load() {
				w.at.Store(time.Now().UnixNano())
				w.seq.Store(seq)
			}
		}
	})
	return nil
}

// open opens the stream of an inbox, or of an author's posts.
func open(ctx context.Context, peer *rpc.Peer, inbox bool, author []byte) (receive func() (*wirev1.Cursor, error), leave func() error, err error) {
	if inbox {
		s, err := peer.Mailbox().Watch(ctx, &wirev1.WatchRequest{})
		if err != nil {
			return nil, nil, err
		}
		return func() (*wirev1.Cursor, error) {
			if !s.Receive() {
				return nil, errors.Join(s.Err(), io.EOF)
			}
			return s.Msg().GetNow(), nil
		}, s.Close, nil
	}
	s, err := peer.Exchange().Follow(ctx, &wirev1.FollowRequest{Address: author})
	if err != nil {
		return nil, nil, err
	}
	return func() (*wirev1.Cursor, error) {
		if !s.Receive() {
			return nil, errors.Join(s.Err(), io.EOF)
		}
		return s.Msg().GetNow(), nil
	}, s.Close, nil
}

// answer waits until all who are asked about have had their event.
func (c *crowd) answer(ask crowdAsk) *crowdSaid {
	said := &crowdSaid{}
	if ask.Cut {
		return said
	}
	until := time.Now().Add(time.Duration(ask.Patience) * time.Millisecond)
	for {
		said.At, said.Ended = said.At[:0], 0
		missing := 0
		for _, w := range c.all {
			if w.ended.Load() {
				said.Ended++
			}
			if w.inbox != ask.Inboxes {
				continue
			}
			at := int64(0)
			if w.seq.Load() >= int64(ask.Seq) {
				at = w.at.Load()
			} else {
				missing++
			}
			said.At = append(said.At, at)
		}
		if missing == 0 || time.Now().After(until) {
			return said
		}
		time.Sleep(10 * time.Millisecond) // not to take the processor from whom it waits for
	}
}

// place is the address of this machine that a numbered client comes from: a
// server lets in only so many from one.
type place int

// perPlace stays below what a server allows to one address.
const perPlace = 50

func (p place) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n := int(p) / perPlace
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 10, byte(n>>7), byte(n&127)+1)}, Timeout: time.Minute}
	return d.DialContext(ctx, network, address)
}

// What a process of this program is told to be.
const crowdArg, stormArg = "crowd", "storm"

// child reports whether this process is one of a part's, and runs it.
func child() bool {
	if len(os.Args) != 2 {
		return false
	}
	be := map[string]func(io.Reader, io.Writer) error{crowdArg: crowdMain, stormArg: stormMain}[os.Args[1]]
	if be == nil {
		return false
	}
	if err := be(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "load: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	return true
}
