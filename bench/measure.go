package bench

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Case is one thing that is measured.
type Case struct {
	// Name is unique within its group.
	Name string
	// Workers run at once; 0 is 1.
	Workers int
	// Each is how many things one call of Do does; 0 is 1.
	Each int
	// Bytes are moved by one thing; where set, the rate is reported in MB/s too.
	Bytes int64
	// Open makes the case ready in a fresh directory.
	Open func(dir string) (*Run, error)
}

// A Run is a case that is ready.
type Run struct {
	// Do does it once, for one of the workers. ErrEmpty ends the measurement
	// early: what Prepare made is used up.
	Do func(worker int) error
	// Prepare makes what n calls of Do use up; nil where nothing is.
	Prepare func(n int) error
	// Latencies returns and forgets what Do noted itself, in place of the time
	// that each call of Do took; nil for that time.
	Latencies func() []time.Duration
	// Close ends the run; may be nil.
	Close func()
}

// ErrEmpty says that a run has used up what was prepared.
var ErrEmpty = errors.New("bench: nothing prepared is left")

// A Result is what one case did in one round.
type Result struct {
	// Rate is things a second, by the clock.
	Rate     float64
	P50, P99 time.Duration
	// Allocs and CPU are of one thing, client and server together.
	Allocs float64
	CPU    time.Duration
	// Things were done in all.
	Things int
}

func (c Case) workers() int { return max(c.Workers, 1) }

func (c Case) each() int { return max(c.Each, 1) }

// Measure runs a case for a while, after a warm-up of a quarter of it. Where
// around is not nil, it is called before the measured part and what it returns
// after it.
func (c Case) Measure(dir string, span time.Duration, around func(c Case) func()) (Result, error) {
	r, err := c.open(dir)
	if err != nil {
		return Result{}, err
	}
	defer r.close()
	warm := 64 * c.workers()
	if err := r.prepare(warm); err != nil {
		return Result{}, err
	}
	first, err := c.loop(r, warm, span/4)
	if err != nil {
		return Result{}, err
	}
	perSecond := float64(first.calls) / first.took.Seconds()
	// Half as much again, because warm runs are faster than cold ones.
	n := int(perSecond*span.Seconds()*1.5) + 64*c.workers()
	if err := r.prepare(n); err != nil {
		return Result{}, err
	}
	if around != nil {
		defer around(c)()
	}
	return c.count(r, n, span)
}

// Times runs a case n times and no more: the form of go test -bench.
func (c Case) Times(r *Run, n int) (Result, error) {
	return c.count(r, n, time.Hour)
}

// count measures one loop.
func (c Case) count(r *Run, n int, span time.Duration) (Result, error) {
	if r.Latencies != nil {
		r.Latencies()
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := processorTime()
	l, err := c.loop(r, n, span)
	cpu = processorTime() - cpu
	runtime.ReadMemStats(&after)
	if err != nil {
		return Result{}, err
	}
	if r.Latencies != nil {
		l.times = r.Latencies()
	}
	if len(l.times) == 0 || l.calls == 0 {
		return Result{}, fmt.Errorf("bench: %s: nothing was done", c.Name)
	}
	slices.Sort(l.times)
	things := l.calls * c.each()
	return Result{
		Rate: float64(things) / l.took.Seconds(),
		P50:  l.times[len(l.times)/2], P99: l.times[len(l.times)*99/100],
		Allocs: float64(after.Mallocs-before.Mallocs) / float64(things),
		CPU:    cpu / time.Duration(things), Things: things,
	}, nil
}

// looped is what one loop did.
type looped struct {
	calls int
	took  time.Duration
	times []time.Duration
}

// loop calls Do in all workers until the time is over, n calls were made, or
// nothing is left to do.
func (c Case) loop(r *Run, n int, span time.Duration) (looped, error) {
	var (
		wg    sync.WaitGroup
		begun atomic.Int64
		over  atomic.Bool
		mu    sync.Mutex // guards all and first
		all   looped
		first error
	)
	start := time.Now()
	for w := range c.workers() {
		wg.Go(func() {
			var mine []time.Duration
			for !over.Load() && begun.Add(1) <= int64(n) {
				t := time.Now()
				err := r.Do(w)
				took := time.Since(t)
				if errors.Is(err, ErrEmpty) {
					break
				}
				mine = append(mine, took)
				if err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
				if err != nil || time.Since(start) > span {
					over.Store(true)
				}
			}
			mu.Lock()
			all.times = append(all.times, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	all.took, all.calls = time.Since(start), len(all.times)
	return all, first
}

// open makes a run in a directory of its own.
func (c Case) open(dir string) (*Run, error) {
	sub, err := os.MkdirTemp(dir, "case-")
	if err != nil {
		return nil, err
	}
	r, err := c.Open(sub)
	if err != nil {
		_ = os.RemoveAll(sub)
		return nil, err
	}
	end := r.Close
	r.Close = func() {
		if end != nil {
			end()
		}
		_ = os.RemoveAll(sub)
	}
	return r, nil
}

func (r *Run) close() { r.Close() }

func (r *Run) prepare(n int) error {
	if r.Prepare == nil {
		return nil
	}
	return r.Prepare(n)
}

// processorTime is what this process has used of the processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stock is things made ready before the clock starts, taken by many workers.
type stock[T any] struct {
	mu    sync.Mutex
	ready []T
}

// add puts n more in, in order, made on all processors.
func (s *stock[T]) add(n int, fresh func(i int) (T, error)) error {
	made := make([]T, n)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	procs := runtime.GOMAXPROCS(0)
	for p := range procs {
		wg.Go(func() {
			for i := p; i < n; i += procs {
				v, err := fresh(i)
				if err != nil {
					failed.Store(&err)
					return
				}
				made[i] = v
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, made...)
	return nil
}

// take removes the next n; fewer are ErrEmpty.
func (s *stock[T]) take(n int) ([]T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) < n {
		return nil, ErrEmpty
	}
	out := s.ready[:n:n]
	s.ready = s.ready[n:]
	return out, nil
}

// counter returns 0, 1, 2 and so on, to many workers.
func counter() func() int {
	var n atomic.Int64
	return func() int { return int(n.Add(1) - 1) }
}
