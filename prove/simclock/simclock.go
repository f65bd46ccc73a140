// Package simclock gives everybody in one process a clock of their own.
//
// Whose clock it is, a goroutine's profiler label says, which the goroutines
// that it starts inherit. A Clock is wrong by an offset, which may jump; as on a
// real machine a jump shows in the time of day and not in what has passed
// since, because a Time carries both.
//
// The product asks package time. For the proof of the network it is built with
// an overlay (Overlay), in which time.Now, time.Since and time.Until of its own
// packages are the functions of this one; without the overlay every clock is
// right. Goroutines that nobody labelled have the right time.
//
// The overlay also takes away the runtime's own dice: which of several cases a
// select takes, which of several timers of one moment fires first, in which order
// a map is read, when somebody who runs has had enough, and who comes after
// somebody who let others go first (Yield). A bubble of
// testing/synctest whose process has one thread (GOMAXPROCS=1) and no collector
// meanwhile (GOGC=off) then does the same in every run.
package simclock

import (
	"context"
	"runtime/pprof"
	"sync/atomic"
	"time"
	"unsafe"
)

// Clock is somebody's clock.
type Clock struct {
	ctx    context.Context
	offset atomic.Int64
}

// key is the name of the label. Its value is no text: its bytes are a Clock's
// offset, so that whoever asks finds it without a table that all would share.
const key = "clock"

// labels is how the runtime keeps a goroutine's.
type labels struct{ list []struct{ key, value string } }

//go:linkname current runtime/pprof.runtime_getProfLabel
func current() unsafe.Pointer

// New makes a clock that is right.
func New() *Clock {
	c := &Clock{}
	value := unsafe.String((*byte)(unsafe.Pointer(&c.offset)), unsafe.Sizeof(c.offset))
	c.ctx = pprof.WithLabels(context.Background(), pprof.Labels(key, value))
	return c
}

// Wear has the calling goroutine, and what it starts from now on, live by this
// clock.
func (c *Clock) Wear() { pprof.SetGoroutineLabels(c.ctx) }

// Set sets by how much the clock is ahead.
func (c *Clock) Set(ahead time.Duration) { c.offset.Store(int64(ahead)) }

// Ahead is by how much it is.
func (c *Clock) Ahead() time.Duration { return time.Duration(c.offset.Load()) }

// Now is the time by the clock of whoever asks.
func Now() time.Time {
	now := time.Now()
	p := (*labels)(current())
	if p == nil {
		return now
	}
	for _, l := range p.list {
		if l.key == key {
			ahead := (*atomic.Int64)(unsafe.Pointer(unsafe.StringData(l.value))).Load()
			return shifted(now, time.Duration(ahead))
		}
	}
	return now
}

// moment is what a time.Time is made of.
type moment struct {
	wall uint64
	ext  int64
	loc  unsafe.Pointer
}

// shifted is t with another time of day; what it says of the time that passes
// stays.
func shifted(t time.Time, by time.Duration) time.Time {
	if by == 0 {
		return t
	}
	s := t.Add(by)
	was, is := (*moment)(unsafe.Pointer(&t)), (*moment)(unsafe.Pointer(&s))
	if was.wall>>63 == 1 && is.wall>>63 == 1 { // both parts are there
		is.ext = was.ext
	}
	return s
}

// Since is what has passed.
func Since(t time.Time) time.Duration { return Now().Sub(t) }

// Yield lets everybody run first who can run now, and nobody twice.
// runtime.Gosched does so by way of a second queue, of which Go's runtime takes
// somebody out of turn now and then, whenever a process has done 61 things: two
// processes with different pasts would not agree. Here somebody who wakes the
// caller is put at the end of the one queue, because somebody else, with nothing
// to do, was started after him and goes first.
func Yield() {
	turn := make(chan struct{})
	go close(turn)
	go func() {}()
	<-turn
}

// Until is what is left.
func Until(t time.Time) time.Duration { return t.Sub(Now()) }
