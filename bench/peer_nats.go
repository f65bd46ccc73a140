package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsServer starts NATS with JetStream in this process, over plain TCP on
// loopback. It syncs every write before it acknowledges: what it promises is
// then what a receipt promises, without signatures and without TLS.
func natsServer(dir string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, MaxConn: 100_000,
	})
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, fmt.Errorf("nats does not come up")
	}
	return s, nil
}

// natsPeer is a server with one stream and some clients.
type natsPeer struct {
	server  *server.Server
	conns   []*nats.Conn
	clients []jetstream.JetStream
}

func newNats(dir string, clients int) (*natsPeer, error) {
	s, err := natsServer(dir)
	if err != nil {
		return nil, err
	}
	p := &natsPeer{server: s}
	for range clients {
		c, err := nats.Connect(s.ClientURL())
		if err != nil {
			p.close()
			return nil, err
		}
		p.conns = append(p.conns, c)
		js, err := jetstream.New(c, jetstream.WithPublishAsyncMaxPending(256))
		if err != nil {
			p.close()
			return nil, err
		}
		p.clients = append(p.clients, js)
	}
	_, err = p.clients[0].CreateStream(context.Background(), jetstream.StreamConfig{Name: "mail", Subjects: []string{"mail.*"}, Storage: jetstream.FileStorage})
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *natsPeer) close() {
	for _, c := range p.conns {
		c.Close()
	}
	p.server.Shutdown()
	p.server.WaitForShutdown()
}

// natsWaiting publishes one message a call and waits for its acknowledgement.
func natsWaiting(workers, size int) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		p, err := newNats(dir, workers)
		if err != nil {
			return nil, err
		}
		body := make([]byte, size)
		return &Run{Close: p.close, Do: func(w int) error {
			_, err := p.clients[w].Publish(context.Background(), "mail.a", body)
			return err
		}}, nil
	}
}

// natsAsync keeps up to 256 messages of each client in flight. A call is done
// when its message is acknowledged.
func natsAsync(clients, size int) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		p, err := newNats(dir, clients)
		if err != nil {
			return nil, err
		}
		body := make([]byte, size)
		return &Run{Close: p.close, Do: func(w int) error {
			ack, err := p.clients[w%clients].PublishAsync("mail.a", body)
			if err != nil {
				return err
			}
			select {
			case <-ack.Ok():
				return nil
			case err := <-ack.Err():
				return err
			}
		}}, nil
	}
}

// patient waits for room among the messages in flight.
func patient() jetstream.PublishOpt { return jetstream.WithStallWait(time.Minute) }

// natsPull fetches pages of one subject of many, each worker through a consumer
// of its own that it makes anew when it has read everything.
func natsPull(workers, page, size int) func(string) (*Run, error) {
	const kept = 2000
	return func(dir string) (*Run, error) {
		p, err := newNats(dir, workers)
		if err != nil {
			return nil, err
		}
		body := make([]byte, size)
		for range kept {
			if _, err := p.clients[0].PublishAsync("mail.a", body, patient()); err != nil {
				p.close()
				return nil, err
			}
		}
		<-p.clients[0].PublishAsyncComplete()
		consumers := make([]jetstream.Consumer, workers)
		left := make([]int, workers)
		var made atomic.Int64
		return &Run{Close: p.close, Do: func(w int) error {
			if left[w] < page {
				config := jetstream.ConsumerConfig{
					Name: fmt.Sprintf("c%d", made.Add(1)), FilterSubject: "mail.a", AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
				}
				c, err := p.clients[w].CreateConsumer(context.Background(), "mail", config)
				if err != nil {
					return err
				}
				consumers[w], left[w] = c, kept
			}
			batch, err := consumers[w].Fetch(page)
			if err != nil {
				return err
			}
			got := 0
			for range batch.Messages() {
				got++
			}
			if got != page {
				return fmt.Errorf("a page of %d, not %d: %w", got, page, batch.Error())
			}
			left[w] -= page
			return batch.Error()
		}}, nil
	}
}

// natsFanOut publishes one message to all subscribers a call: core NATS, that
// keeps nothing.
func natsFanOut(watchers int) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		p, err := newNats(dir, 1)
		if err != nil {
			return nil, err
		}
		w := newWaking(watchers)
		for i := range watchers {
			c, err := nats.Connect(p.server.ClientURL())
			if err != nil {
				p.close()
				return nil, err
			}
			p.conns = append(p.conns, c)
			if _, err := c.Subscribe("posts", func(*nats.Msg) { w.woken(i) }); err != nil {
				p.close()
				return nil, err
			}
			if err := c.Flush(); err != nil {
				p.close()
				return nil, err
			}
		}
		return &Run{Close: p.close, Latencies: w.latencies, Do: func(int) error {
			w.begin()
			if err := p.conns[0].Publish("posts", make([]byte, 32)); err != nil {
				return err
			}
			return w.wait()
		}}, nil
	}
}

// waking notes when each of many watchers was woken.
type waking struct {
	mu      sync.Mutex
	begun   time.Time
	missing map[int]bool
	times   []time.Duration
	all     chan struct{}
	n       int
}

func newWaking(n int) *waking { return &waking{n: n} }

// begin expects everybody to be woken once.
func (w *waking) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.missing, w.all = time.Now(), make(map[int]bool, w.n), make(chan struct{})
	for i := range w.n {
		w.missing[i] = true
	}
}

// woken is called by watcher i; only the first time counts.
func (w *waking) woken(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.missing[i] {
		return
	}
	delete(w.missing, i)
	w.times = append(w.times, time.Since(w.begun))
	if len(w.missing) == 0 {
		close(w.all)
	}
}

// wait returns when everybody was woken.
func (w *waking) wait() error {
	w.mu.Lock()
	all := w.all
	w.mu.Unlock()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	select {
	case <-all:
		return nil
	case <-timeout.C:
		w.mu.Lock()
		defer w.mu.Unlock()
		return fmt.Errorf("%d of %d were not woken", len(w.missing), w.n)
	}
}

func (w *waking) latencies() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.times
	w.times = nil
	return out
}
