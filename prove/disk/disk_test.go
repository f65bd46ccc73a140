package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/prove/promise"
	"airdispatch/prove/simdisk"
)

// TestFew lets a few operations fail, and a few be dropped without a word.
func TestFew(t *testing.T) {
	m := simdisk.NewMachine("few", t.TempDir())
	sim, err := faults(context.Background(), m, 4, 1, ways())
	if err != nil || len(sim.violations) > 0 || sim.count == 0 {
		t.Fatal(sim, err)
	}
	caught, err := control(context.Background(), m, 1)
	if err != nil || caught == 0 {
		t.Fatalf("the control was caught %d times, %v", caught, err)
	}
}

// TestTight: where the WAL took all room there was, a little more room is
// enough to write on, and the WAL does not take it too. The real server did not
// come back from this.
func TestTight(t *testing.T) {
	ctx := context.Background()
	pool, err := promise.NewPool(rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	l := promise.Life{Machine: simdisk.NewMachine("tight", t.TempDir()), Disk: simdisk.New(), Work: pool.NewWork(false)}
	if err := l.Open(ctx, simdisk.Setting{}); err != nil {
		t.Fatal(err)
	}
	var room atomic.Int64
	room.Store(1 << 20)
	l.Disk.Arm(func(e simdisk.Event) simdisk.Fault {
		if e.Kind == simdisk.Write && e.Used > room.Load() {
			return simdisk.Full
		}
		return simdisk.None
	})
	if err := l.Work.Settle(ctx, l.Server); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	full := 0
	for n := 0; n < 400 && !l.Work.Done(); n++ {
		err := l.Work.Act(ctx, l.Server, r, 0, 1)
		if err == nil {
			continue
		}
		if !errors.Is(err, message.StorageFull) {
			t.Fatal(err)
		}
		if err := l.Work.Check(ctx, l.Server, true); err != nil {
			t.Fatal(err)
		}
		if full++; full == 1 {
			room.Add(1 << 20)
		}
		if full > 100 {
			t.Fatal("does not write again")
		}
		// The store leaves a full disk alone for a moment.
		_ = pause(ctx, 10*time.Millisecond)
		n--
	}
	if full == 0 {
		t.Fatal("there was always room")
	}
	l.Look(ctx)
	if err := l.Close(); err != nil || len(l.Found()) > 0 {
		t.Fatal(l.Found(), err)
	}
}
