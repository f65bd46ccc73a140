// Network runs a whole network in one process: three trackers, five mail servers
// and twenty people with clients, one of all of them up to no good, on a bus that
// delivers one operation at a time (see simnet, and simworld for what happens
// there and what is held to). An operation is a request or a piece of an answer
// that arrives, or the word that a connection broke. After 2,000 of them
// everything is mended, a day passes, and the books are compared.
//
// Every seed runs twice, each time in a process that has run other seeds before or
// after it and the second time in the opposite order, and the sums of the two
// traces must be equal. For that the program of
// the runs is built with an overlay (see simclock), so that every clock of the
// product is its owner's and Go's runtime throws no dice, and runs with one thread
// and without a collector. The figure's last word is the sum of all traces: the
// same for the same seeds, on any machine with the same Go.
//
// Seeds that once showed something that was then mended (regressions) run first,
// and count for nothing but their violations.
//
// One seed runs again with -seed S -n 1; it prints what was violated and the end
// of the trace. With AIRDISPATCH_NETWORK_TRACES set to a directory every run
// writes its whole trace there.
//
// The controls, in every invocation: a server that goes back to an older disk and
// so forgets what it promised, clients that send each letter twice, and a single
// delivery that comes a nanosecond later. Each must be seen.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"airdispatch/prove/proof"
	"airdispatch/prove/simclock"
	"airdispatch/prove/simworld"
)

const (
	// full is how many seeds the figure stands on.
	full = 500
	// operations is how many each has.
	operations = 2000
	// chunk is how many seeds one process runs.
	chunk = 5
	// few is up to how many seeds a run is meant to be short.
	few = 20
)

func main() { proof.Main(proof.Part{Name: "network", Full: full, Run: run}) }

// regressions are seeds that showed something, which was mended.
func regressions() []regression {
	return []regression{
		{1, "two runs differed: what shared a commit depended on what the process had done before, and who was looked up first on a map"},
		{60, "a tracker that lied while the others were away made a letter refused for good"},
		{106, "a server with a wrong clock held every answer of a tracker to be too old, and its letters to be refused for good"},
		{110, "a draft whose answer was lost could not be sent any more once the key that had signed it was off the cards"},
		{289, "a draft to somebody who was robbed kept the next one from being tried: the simulation's own fault"},
		{396, "who moves has the requests of two servers: the simulation counted them as one server's"},
	}
}

// regression is one seed, and what it showed.
type regression struct {
	seed uint64
	what string
}

// job is what a process is told to run.
type job struct {
	Seeds      []uint64
	Operations int
	Control    simworld.Control
	// Trace is a directory for whole traces; empty for none.
	Trace string
}

// played is one run as a process tells of it.
type played struct {
	Seed    uint64
	Control simworld.Control
	simworld.Outcome
}

// bench is the binary, and what its runs came to.
type bench struct {
	binary, dir string

	mu         sync.Mutex
	sums       map[uint64]string
	violations []string
	seeds      int
	operations int
	differ     int
	counts     map[string]int
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	b := &bench{binary: filepath.Join(o.Dir, "network.test"), dir: o.Dir, sums: map[uint64]string{}, counts: map[string]int{}}
	if err := b.build(ctx); err != nil {
		return proof.Figure{}, err
	}
	if err := b.again(ctx, o); err != nil {
		return proof.Figure{}, err
	}
	if err := b.work(ctx, o, jobs(o)); err != nil {
		return proof.Figure{}, err
	}
	f := proof.Figure{Violations: b.violations}
	caught, missed, err := b.controls(ctx, o)
	if err != nil {
		return f, err
	}
	f.Violations = append(f.Violations, missed...)
	all := sha256.New()
	for i := range o.N {
		fmt.Fprintln(all, b.sums[o.Seed+uint64(i)])
	}
	f.Words = fmt.Sprintf("%d seeds, %d operations, %d receipts held to, %d violations, %d seeds differed when they ran again, %d of 3 controls caught, traces %x",
		b.seeds, b.operations, b.counts["receipts held to"], len(b.violations)-b.differ, b.differ, caught, all.Sum(nil)[:6])
	for _, what := range slices.Sorted(maps.Keys(b.counts)) {
		fmt.Fprintf(o.Said, "network: %7d %s\n", b.counts[what], what)
	}
	return f, nil
}

// jobs are those of all seeds, and again in the opposite order.
func jobs(o proof.Options) []job {
	var forth, back []job
	for from := 0; from < o.N; from += chunk {
		j := job{Operations: operations, Trace: os.Getenv("AIRDISPATCH_NETWORK_TRACES")}
		for i := from; i < min(from+chunk, o.N); i++ {
			j.Seeds = append(j.Seeds, o.Seed+uint64(i))
		}
		forth = append(forth, j)
		j.Seeds = slices.Clone(j.Seeds)
		slices.Reverse(j.Seeds)
		back = append(back, j)
	}
	return append(forth, back...)
}

// again runs the seeds of mends first: each twice in one process, where the
// second run has the first one's past, or once where only few seeds are wanted.
func (b *bench) again(ctx context.Context, o proof.Options) error {
	for _, r := range regressions() {
		sums := map[string]bool{}
		seeds := []uint64{r.seed, r.seed}
		if o.N < few {
			seeds = seeds[:1]
		}
		err := b.process(ctx, job{Seeds: seeds, Operations: operations}, func(p played) {
			sums[p.Sum] = true
			for _, v := range p.Violations {
				b.violations = append(b.violations, fmt.Sprintf("seed %d, which showed once that %s: %s", r.seed, r.what, v))
			}
		})
		if err != nil {
			return err
		}
		if len(sums) > 1 {
			b.violations = append(b.violations, fmt.Sprintf("seed %d, which showed once that %s: ran twice, and the traces differ", r.seed, r.what))
		}
		fmt.Fprintf(o.Said, "network: seed %d of a mend ran again\n", r.seed)
	}
	return nil
}

// controlTries is on how many seeds a control may be caught: whether a server that
// forgets has anything to forget is a matter of luck.
const controlTries = 5

// controls runs the worlds in which something is spoiled on purpose. What they
// find counts for nothing but that they find it.
func (b *bench) controls(ctx context.Context, o proof.Options) (caught int, missed []string, err error) {
	for c, name := range map[simworld.Control]string{
		simworld.Forgets: "a server that forgets what it promised", simworld.Twice: "letters that come twice", simworld.Perturbed: "a delivery that comes later",
	} {
		found := false
		for i := uint64(0); i < controlTries && !found; i++ {
			seed := o.Seed + i
			if c == simworld.Perturbed {
				seed = o.Seed // whose trace is known
			}
			err := b.process(ctx, job{Seeds: []uint64{seed}, Operations: operations, Control: c}, func(p played) {
				switch c {
				case simworld.Forgets:
					found = slices.ContainsFunc(p.Violations, func(v string) bool { return strings.HasPrefix(v, "I1: ") })
				case simworld.Twice:
					found = slices.ContainsFunc(p.Violations, func(v string) bool { return strings.HasPrefix(v, "I3: ") })
				default:
					found = p.Sum != b.sums[seed]
				}
			})
			if err != nil {
				return caught, missed, err
			}
		}
		if found {
			caught++
		} else {
			missed = append(missed, "the control was not caught: "+name)
		}
	}
	return caught, missed, nil
}

// work runs jobs, as many at a time as there are processors.
func (b *bench) work(ctx context.Context, o proof.Options, jobs []job) error {
	todo := make(chan job, len(jobs))
	for _, j := range jobs {
		todo <- j
	}
	close(todo)
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			for j := range todo {
				if errs[n] != nil || ctx.Err() != nil {
					return
				}
				errs[n] = b.process(ctx, j, func(p played) { b.take(o, p) })
			}
		})
	}
	all.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// build makes the binary in which the runs are: a test, because a bubble needs
// one, of a product that asks simclock for the time.
func (b *bench) build(ctx context.Context) error {
	root, err := proof.Product(ctx)
	if err != nil {
		return err
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	overlay, err := simclock.Overlay(root, strings.TrimSpace(string(goroot)), b.dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", b.binary, "airdispatch/prove/network")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// jobVariable is the environment variable by which a process is told its job.
const jobVariable = "AIRDISPATCH_NETWORK_JOB"

// process runs one job in a process of its own, with one thread that runs Go.
func (b *bench) process(ctx context.Context, j job, take func(played)) error {
	told, err := json.Marshal(j)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.binary, "-test.run", "^TestJob$", "-test.timeout", "0")
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), jobVariable+"="+string(told), "GOMAXPROCS=1", "GOGC=off", "TMPDIR="+b.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var rest strings.Builder
	cmd.Stderr = &rest
	if err := cmd.Start(); err != nil {
		return err
	}
	runs := 0
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "PLAYED ")
		var p played
		if !ok || json.Unmarshal([]byte(text), &p) != nil {
			rest.WriteString(lines.Text() + "\n")
			continue
		}
		runs++
		take(p)
	}
	if err := cmd.Wait(); err != nil || runs != len(j.Seeds) {
		return fmt.Errorf("seeds %v: %d runs came to an end: %w\n%s", j.Seeds, runs, err, rest.String())
	}
	return nil
}

// take adds what a run came to.
func (b *bench) take(o proof.Options, p played) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum, again := b.sums[p.Seed]
	for _, v := range p.Violations {
		if !again {
			b.violations = append(b.violations, fmt.Sprintf("seed %d: %s\n\t%s", p.Seed, v, strings.Join(p.Tail[max(0, len(p.Tail)-20):], "\n\t")))
		}
	}
	if again {
		if sum != p.Sum {
			b.differ++
			b.violations = append(b.violations, fmt.Sprintf("seed %d: ran twice, and the traces differ: %s and %s", p.Seed, sum, p.Sum))
		}
		return
	}
	b.sums[p.Seed] = p.Sum
	b.seeds++
	b.operations += p.Operations
	for what, n := range p.Counts {
		b.counts[what] += n
	}
	fmt.Fprintf(o.Said, "network: seed %d: trace %s, %d operations, %d violations\n", p.Seed, p.Sum, p.Operations, len(p.Violations))
}
