package simworld

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"airdispatch/prove/simdisk"
	"airdispatch/prove/simnet"
)

// Bounds of what may be open at any moment (I10): many times what such a
// network needs.
const (
	maxRoutines  = 4000
	maxExchanges = 400
)

// watch looks, whenever everybody is idle, whether all is within its bounds and
// whether a disk has lost its power.
func (w *World) watch() {
	w.collect()
	if n := runtime.NumGoroutine(); n > maxRoutines && !w.crowded {
		w.crowded = true
		w.blame("I10: %d goroutines", n)
	}
	if n := w.bus.Open(); n > maxExchanges && !w.crowded {
		w.crowded = true
		w.blame("I10: %d exchanges are open", n)
	}
	for _, h := range w.servers {
		if h.up && h.kept.disk.Dead() {
			w.down(h, w.dice(fmt.Sprintf("%s down %d", h.name, h.crashes)))
		}
	}
}

// collectAt is how much memory may be in use before it is collected, which
// happens when everybody is idle and at no other time.
const collectAt = 400 << 20

// collect collects memory now and then.
func (w *World) collect() {
	if w.looks++; w.looks%50 != 0 {
		return
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc > collectAt {
		runtime.GC()
	}
}

// down crashes a host, and has it start again after a while.
func (w *World) down(h *Host, dice *rand.Rand) {
	w.count("crashes")
	h.crash()
	after := time.Second + time.Duration(dice.Int64N(int64(4*time.Minute)))
	w.bus.Post(after, h.name+" starts", func() string {
		if h.up {
			return "it runs"
		}
		return w.up(h)
	})
}

// up starts a host that is down, and looks whether it has kept its word.
func (w *World) up(h *Host) string {
	if err := h.start(); err != nil {
		w.blame("%s does not start: %v", h.name, err)
		return "does not start"
	}
	w.honoured(h)
	return "runs"
}

// rest is the longest time without a new trouble.
const rest = time.Minute

// trouble makes the n-th trouble, and has the next follow.
func (w *World) trouble(n int) {
	dice := w.dice(fmt.Sprintf("trouble %d", n))
	w.bus.Post(time.Duration(dice.Int64N(int64(rest))), "trouble", func() string {
		if !w.living {
			return "no more"
		}
		w.trouble(n + 1)
		if n%3 == 0 {
			w.ordered()
		}
		return w.happen(dice)
	})
}

// happen is one trouble.
func (w *World) happen(dice *rand.Rand) string {
	kinds := []struct {
		weight int
		do     func(*rand.Rand) string
	}{
		{5, w.weather}, {4, w.split}, {2, w.swizzle}, {4, w.skew}, {4, w.fall}, {2, w.strike}, {1, w.lapse}, {3, w.startsAnew}, {6, w.prowl}, {1, w.lured},
		{2, func(*rand.Rand) string { return w.turn() }},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := dice.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			return k.do(dice)
		}
	}
	return ""
}

// weather changes what goes wrong with exchanges.
func (w *World) weather(dice *rand.Rand) string {
	w.count("weather changes")
	share := func(most float64) float64 { return dice.Float64() * most }
	if dice.IntN(4) == 0 {
		w.bus.Set(simnet.Weather{})
		return "calm"
	}
	w.bus.Set(simnet.Weather{
		Slow: share(0.3), Lag: time.Duration(dice.Int64N(int64(50 * time.Second))),
		Unreached: share(0.05), Halved: share(0.03), Unanswered: share(0.08), Torn: share(0.05), Silent: share(0.03), Twice: share(0.1),
	})
	return "rough"
}

// places are the names of all, those of people last.
func (w *World) names() []string {
	var out []string
	for _, h := range w.hosts() {
		out = append(out, h.place.Name())
	}
	for _, p := range w.people {
		out = append(out, p.place.Name())
	}
	return out
}

// split divides everybody into two sides that do not reach each other.
func (w *World) split(dice *rand.Rand) string {
	w.count("partitions")
	var left, right []string
	for _, n := range w.names() {
		if dice.IntN(3) == 0 {
			left = append(left, n)
		} else {
			right = append(right, n)
		}
	}
	for _, x := range left {
		for _, y := range right {
			w.bus.Cut(x, y)
		}
	}
	w.bus.Post(time.Duration(dice.Int64N(int64(3*time.Minute))), "mends", func() string {
		w.bus.MendAll()
		return "mended"
	})
	return fmt.Sprintf("%d from %d", len(left), len(right))
}

// swizzle cuts the links of one host one by one, and mends them one by one in
// another order.
func (w *World) swizzle(dice *rand.Rand) string {
	w.count("swizzles")
	hosts, names := w.hosts(), w.names()
	h := hosts[dice.IntN(len(hosts))].place.Name()
	step := time.Duration(1 + dice.Int64N(int64(5*time.Second)))
	for i, n := range dice.Perm(len(names)) {
		w.bus.Post(time.Duration(i)*step, "cuts "+h+" "+names[n], func() string { w.bus.Cut(h, names[n]); return "cut" })
	}
	for i, n := range dice.Perm(len(names)) {
		w.bus.Post(time.Duration(len(names)+i)*step, "mends "+h+" "+names[n], func() string { w.bus.Mend(h, names[n]); return "mended" })
	}
	return h
}

// skew sets somebody's clock wrong by up to ten minutes; a second time it jumps.
func (w *World) skew(dice *rand.Rand) string {
	w.count("clocks set")
	by := time.Duration(dice.Int64N(int64(20*time.Minute))) - 10*time.Minute
	if hosts := w.hosts(); dice.IntN(2) == 0 {
		h := hosts[dice.IntN(len(hosts))]
		h.place.Clock.Set(by)
		return fmt.Sprintf("clock of %s by %s", h.name, by)
	}
	p := w.people[dice.IntN(len(w.people))]
	p.place.Clock.Set(by)
	return fmt.Sprintf("clock of %s by %s", p.name, by)
}

// fall has a server's power go while it is idle.
func (w *World) fall(dice *rand.Rand) string {
	h := w.servers[dice.IntN(len(w.servers))]
	if !h.up {
		return "down already"
	}
	w.down(h, dice)
	return h.name
}

// strike has a server's power go in the middle of one of its next writes.
func (w *World) strike(dice *rand.Rand) string {
	h := w.servers[dice.IntN(len(w.servers))]
	if !h.up {
		return "down already"
	}
	at := h.kept.disk.Count() + 1 + dice.IntN(60)
	h.kept.disk.Arm(func(e simdisk.Event) simdisk.Fault {
		if e.N >= at {
			return simdisk.Dead
		}
		return simdisk.None
	})
	return h.name + " soon"
}

// lapse kills a tracker's process; what it has kept, it has.
func (w *World) lapse(dice *rand.Rand) string {
	h := w.trackers[dice.IntN(len(w.trackers))]
	if !h.up {
		return "down already"
	}
	w.down(h, dice)
	return h.name
}

// startsAnew ends somebody's client in the middle of whatever it does.
func (w *World) startsAnew(dice *rand.Rand) string {
	w.count("clients killed")
	p := w.people[dice.IntN(len(w.people))]
	p.place.Crash()
	w.bus.Post(time.Second, p.name+" starts", func() string {
		p.reopen()
		return "runs"
	})
	return p.name
}
