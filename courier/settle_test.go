package courier_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/courier"
	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// slow is a store that takes its time to say that outcomes are recorded, while
// something else wakes the courier.
type slow struct {
	store.Tasks
	after func()
}

// Settle records outcomes at once, and says so later.
func (s *slow) Settle(ctx context.Context, o []store.Outcome) error {
	err := s.Tasks.Settle(ctx, o)
	s.after()
	return err
}

// TestDueWhileSettling: a task that is due again before its outcome is settled to
// the end is brought again, and does not wait for the end of a lease.
func TestDueWhileSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		woken := make(chan func(), 1)
		kept := &slow{after: func() {
			time.Sleep(2 * time.Second)
			wake := <-woken
			wake()
			woken <- wake
			time.Sleep(2 * time.Second)
		}}
		o := newOffice(t, func(c *courier.Config) {
			kept.Tasks = c.Tasks
			c.FirstRetry, c.Tasks = time.Second, kept
		})
		woken <- o.courier.Wake
		k := o.taker("two.test")
		defer func() { o.stop() }()
		var tries atomic.Int32
		k.alerts(func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			if tries.Add(1) == 1 {
				return nil, message.Internal
			}
			return k.takes(req)
		})
		h := o.send(message.Draft{})
		time.Sleep(20 * time.Second)
		if d := o.delivery(h); d.State != store.Alerted {
			t.Errorf("after %d tries the letter is still on its way: %+v", tries.Load(), d)
		}
	})
}
