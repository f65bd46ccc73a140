package simclock

import (
	"sync"
	"testing"
	"time"
)

func TestClocksAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	c := New()
	c.Set(-10 * time.Minute)
	var all sync.WaitGroup
	all.Go(func() {
		c.Wear()
		before := Now()
		if off := time.Since(before.Round(0)).Round(time.Minute); off != 10*time.Minute {
			t.Errorf("the clock is behind by %s", off)
		}
		var child sync.WaitGroup
		child.Go(func() {
			if off := time.Since(Now().Round(0)).Round(time.Minute); off != 10*time.Minute {
				t.Errorf("the child's clock is behind by %s", off)
			}
		})
		child.Wait()
		c.Set(time.Hour)
		if passed := Since(before); passed < 0 || passed > time.Minute {
			t.Errorf("a jump of the clock made %s pass", passed)
		}
		if left := Until(before.Round(0)); left > -time.Hour {
			t.Errorf("the time of day did not jump: %s are left", left)
		}
	})
	all.Wait()
	if off := time.Since(Now().Round(0)).Round(time.Minute); off != 0 {
		t.Errorf("nobody's clock is behind by %s", off)
	}
}
