package bench

import (
	"context"
	"errors"
	"sync"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// watchAlerts wakes watchers with one alert each: a call brings all alerts and
// is done when everybody was woken.
func watchAlerts(watchers int) Case {
	return Case{Each: watchers, Open: func(dir string) (*Run, error) {
		o, err := newOffice(dir, watchers)
		if err != nil {
			return nil, err
		}
		w := newWaking(watchers)
		stop, err := watchAll(watchers, w, func(ctx context.Context, i int) (func() error, func(), error) {
			s, err := o.readers[i].peer.Mailbox().Watch(ctx, &wirev1.WatchRequest{})
			if err != nil {
				return nil, nil, err
			}
			return receiver(s.Receive, s.Err), func() { _ = s.Close() }, nil
		})
		if err != nil {
			o.close()
			return nil, err
		}
		var ready stock[*wirev1.AlertItem]
		return &Run{
			Close:     func() { stop(); o.close() },
			Latencies: w.latencies,
			Prepare: func(n int) error {
				return ready.add(min(n, 40)*watchers, func(i int) (*wirev1.AlertItem, error) { return o.print(i % watchers) })
			},
			Do: func(int) error {
				items, err := ready.take(watchers)
				if err != nil {
					return err
				}
				w.begin()
				for len(items) > 0 {
					n := min(len(items), 250)
					if err := o.bring(everyone(), items[:n]); err != nil {
						return err
					}
					items = items[n:]
				}
				return w.wait()
			},
		}, nil
	}}
}

// watchPosts wakes followers with one post: a call submits it and is done when
// everybody was woken.
func watchPosts(watchers int) Case {
	return Case{Each: watchers, Open: func(dir string) (*Run, error) {
		m, err := newMailroom(dir, 1, true)
		if err != nil {
			return nil, err
		}
		followers, err := m.host.strangers(watchers)
		if err != nil {
			m.close()
			return nil, err
		}
		w := newWaking(watchers)
		author := m.people[0].keys.Address().Bytes()
		stop, err := watchAll(watchers, w, func(ctx context.Context, i int) (func() error, func(), error) {
			s, err := followers[i].peer.Exchange().Follow(ctx, &wirev1.FollowRequest{Address: author})
			if err != nil {
				return nil, nil, err
			}
			return receiver(s.Receive, s.Err), func() { _ = s.Close() }, nil
		})
		if err != nil {
			m.close()
			return nil, err
		}
		return &Run{
			Close:     func() { stop(); leave(followers); m.close() },
			Latencies: w.latencies,
			Prepare:   m.prepare(1),
			Do: func(int) error {
				subs, err := m.ready[0].take(1)
				if err != nil {
					return err
				}
				w.begin()
				res, err := m.people[0].peer.Mailbox().Submit(everyone(), &wirev1.SubmitRequest{Submissions: subs})
				if err != nil {
					return err
				}
				if err := refused(res.GetResults()[0].GetRefusal()); err != nil {
					return err
				}
				return w.wait()
			},
		}, nil
	}}
}

// receiver reads one message of a stream.
func receiver(receive func() bool, fault func() error) func() error {
	return func() error {
		if receive() {
			return nil
		}
		return errors.Join(fault(), errors.New("the stream ended"))
	}
}

// watchAll opens a stream for each watcher and notes when something comes after
// the first message. The returned function ends them all.
func watchAll(n int, w *waking, open func(context.Context, int) (func() error, func(), error)) (func(), error) {
	ctx, cancel := context.WithCancel(everyone())
	var watching sync.WaitGroup
	begun := make(chan error, n)
	slots := make(chan struct{}, clients) // so many handshakes at once
	for i := range n {
		watching.Go(func() {
			slots <- struct{}{}
			receive, end, err := open(ctx, i)
			if err == nil {
				defer end()
				err = receive()
			}
			<-slots
			begun <- err
			for err == nil {
				if err = receive(); err == nil {
					w.woken(i)
				}
			}
		})
	}
	stop := func() { cancel(); watching.Wait() }
	for range n {
		if err := <-begun; err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}
