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
	courier atomic.Pointer[courier.Courier]
}

// Settle records outcomes at once, and says so later.
func (s *slow) Settle(ctx context.Context, o []store.Outcome) error {
	err := s.Tasks.Settle(ctx, o)
	time.Sleep(2 * time.Second)
	s.courier.Load().Wake()
	time.Sleep(2 * time.Second)
	return err
}

// TestDueWhileSettling: a task that is due again before its outcome is settled to
// the end is brought again, and does not wait for the end of a lease.
func TestDueWhileSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &slow{}
		o := newOffice(t, func(c *courier.Config) {
			kept.Tasks = c.Tasks
			c.FirstRetry, c.Tasks = time.Second, kept
		})
		kept.courier.Store(o.courier)
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
