package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"airdispatch/prove/proof"
	"airdispatch/prove/seeded"
)

const (
	// piece is how many sequences one process runs: their files go with it.
	piece = 100
	// atOnce is how many processes run at a time.
	atOnce = 2
	// enough is how many sequences find each of the controls' faults many times over.
	enough = 25
)

// machine is a state machine: a test in a room, and a fault that it must find.
type machine struct {
	name  string
	test  string
	room  string
	share func(n int) int
	fault seeded.Fault
}

func all() []machine {
	quota := func(n int) int { return max(1, n*4/10) }
	tracker := func(n int) int { return max(1, n/4) }
	return []machine{
		{"mailbox", "TestCompare", "store/sqlite", func(n int) int { return max(1, n-quota(n)-tracker(n)) }, seeded.Fault{
			Tag:   "model_mailbox",
			Edits: seeded.At("store/sqlite/submit.go", "if s.Head.Version != uint64(h.newest)+1 || s.Head.Prev != h.newestID {", "if s.Head.Version <= uint64(h.newest) {"),
		}},
		{"tracker", "TestModel", "tracker", tracker, seeded.Fault{
			Tag:   "model_tracker",
			Edits: seeded.At("store/known.go", "case order < 0, order == 0 && last.IsZero()", "case order == 0 && last.IsZero()"),
		}},
		{"quota", "TestQuota", "store/sqlite", quota, seeded.Fault{
			Tag:   "model_quota",
			Edits: seeded.At("store/sqlite/submit.go", "return t.refund(author, h.body, 0)", "return t.refund(author, h.body/2, 0)"),
		}},
	}
}

// machines runs all of them, and tells how many sequences passed of each, and
// what was wrong.
func machines(ctx context.Context, o proof.Options) (map[string]int, []string, error) {
	var faults []seeded.Fault
	for _, m := range all() {
		faults = append(faults, m.fault)
	}
	b, err := seeded.Lay(ctx, o.Dir, faults)
	if err != nil {
		return nil, nil, err
	}
	r := &runner{ctx: ctx, o: o, bench: b, passed: make(map[string]int), places: make(chan struct{}, atOnce)}
	for _, m := range all() {
		r.do(func() error { return r.control(m) })
	}
	for n, m := range all() {
		binary, err := b.Compile(ctx, m.room, seeded.Nothing)
		if err != nil {
			r.all.Wait()
			return nil, nil, err
		}
		for from, left := uint64(0), m.share(o.N); left > 0; from, left = from+1, left-piece {
			// Seeds of different pieces lie far apart; 0 would be a random one.
			seed := o.Seed<<20 + uint64(n+1)<<16 + from + 1
			r.do(func() error { return r.piece(m, binary, min(left, piece), seed) })
		}
	}
	r.all.Wait()
	return r.passed, r.wrong, errors.Join(append(r.errs, ctx.Err())...)
}

// runner runs some things at a time.
type runner struct {
	ctx    context.Context
	o      proof.Options
	bench  *seeded.Bench
	places chan struct{}
	all    sync.WaitGroup

	// mu guards what follows.
	mu     sync.Mutex
	passed map[string]int
	wrong  []string
	errs   []error
}

// do runs f when there is a place.
func (r *runner) do(f func() error) {
	r.places <- struct{}{}
	r.all.Go(func() {
		defer func() { <-r.places }()
		if r.ctx.Err() != nil {
			return
		}
		if err := f(); err != nil {
			r.mu.Lock()
			r.errs = append(r.errs, err)
			r.mu.Unlock()
		}
	})
}

// piece runs some sequences of a machine.
func (r *runner) piece(m machine, binary string, n int, seed uint64) error {
	out, failed, err := r.sequences(m, binary, n, seed)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if failed {
		r.wrong = append(r.wrong, fmt.Sprintf("%s, %d sequences from -rapid.seed=%d:\n%s", m.name, n, seed, tail(out)))
		return nil
	}
	done, err := count(out)
	if err == nil && done != n {
		err = fmt.Errorf("%d sequences passed of %d", done, n)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	r.passed[m.name] += done
	fmt.Fprintf(r.o.Said, "model: %s: %d sequences\n", m.name, r.passed[m.name])
	return nil
}

// control runs a machine over the product with a fault.
func (r *runner) control(m machine) error {
	binary, err := r.bench.Compile(r.ctx, m.room, m.fault.Tag)
	if err != nil {
		return err
	}
	defer os.Remove(binary) // it is large, and the directory goes in the end
	_, failed, err := r.sequences(m, binary, enough, r.o.Seed|1)
	if err != nil || failed {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf("the control, a fault in what is under the %s machine, was not found", m.name))
	return nil
}

// sequences runs a machine's test; that it fails is no error.
func (r *runner) sequences(m machine, binary string, n int, seed uint64) (out string, failed bool, err error) {
	dir, err := os.MkdirTemp(r.o.Dir, m.name+"-")
	if err != nil {
		return "", false, err
	}
	defer os.RemoveAll(dir) // and the part's own directory goes in the end
	cmd := exec.CommandContext(r.ctx, binary, "-test.v", "-test.timeout", "30m", "-test.run", "^"+m.test+"$",
		fmt.Sprintf("-rapid.checks=%d", n), fmt.Sprintf("-rapid.steps=%d", steps), fmt.Sprintf("-rapid.seed=%d", seed), "-rapid.nofailfile", "-rapid.shrinktime=10s")
	cmd.Dir = filepath.Join(r.bench.Place(m.room))
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	raw, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); ok && r.ctx.Err() == nil && strings.Contains(string(raw), "--- FAIL: "+m.test) {
		return string(raw), true, nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", m.name, err, tail(string(raw)))
	}
	return string(raw), false, err
}

// passes is the line in which rapid says how many sequences passed.
var passes = regexp.MustCompile(`\[rapid\] OK, passed (\d+) tests`)

// count is how many sequences passed, as rapid says it.
func count(out string) (int, error) {
	m := passes.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("the test does not say how many sequences passed:\n%s", tail(out))
	}
	return strconv.Atoi(m[1])
}

// tail is the end of an output.
func tail(out string) string {
	const most = 6000
	if len(out) > most {
		return "… " + out[len(out)-most:]
	}
	return out
}
