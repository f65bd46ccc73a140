package bench

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// noted is a list of durations that a run notes itself.
type noted struct{ times []time.Duration }

func (n *noted) add(since time.Time) { n.times = append(n.times, time.Since(since)) }

func (n *noted) latencies() []time.Duration {
	out := n.times
	n.times = nil
	return out
}

// starts opens a mail server on an existing database of n messages a call, asks
// it who it is, and closes it. What is noted is the time to the answer.
func starts(n int) Case {
	return Case{Open: func(dir string) (*Run, error) {
		if err := furnish(dir, n); err != nil {
			return nil, err
		}
		var times noted
		return &Run{
			Latencies: times.latencies,
			Do: func(int) error {
				begun := time.Now()
				h, err := openMail(dir)
				if err != nil {
					return err
				}
				defer h.close()
				c, p, err := h.asker(nil)
				if err != nil {
					return err
				}
				defer c.Close()
				res, err := p.Directory().Lookup(everyone(), &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}})
				if err != nil {
					return err
				}
				times.add(begun)
				return refused(res.GetResults()[0].GetRefusal())
			},
		}, nil
	}}
}

// furnish makes a mail server's directory with n messages in it.
func furnish(dir string, n int) error {
	m, err := newMailroom(dir, 1, false)
	if err != nil {
		return err
	}
	defer m.close()
	_, err = m.submitAll(0, n)
	return err
}

// natsStarts does the same with NATS: a stream of n messages, and the first
// answer is what the stream holds.
func natsStarts(n int) Case {
	return Case{Open: func(dir string) (*Run, error) {
		p, err := newNats(dir, 1)
		if err != nil {
			return nil, err
		}
		for range n {
			if _, err := p.clients[0].PublishAsync("mail.a", make([]byte, 4*row), patient()); err != nil {
				p.close()
				return nil, err
			}
		}
		<-p.clients[0].PublishAsyncComplete()
		p.close()
		var times noted
		return &Run{Latencies: times.latencies, Do: func(int) error {
			begun := time.Now()
			s, err := natsServer(dir)
			if err != nil {
				return err
			}
			again := &natsPeer{server: s}
			defer again.close()
			c, err := nats.Connect(s.ClientURL())
			if err != nil {
				return err
			}
			again.conns = append(again.conns, c)
			js, err := jetstream.New(c)
			if err != nil {
				return err
			}
			if _, err := js.Stream(context.Background(), "mail"); err != nil {
				return err
			}
			times.add(begun)
			return nil
		}}, nil
	}}
}
