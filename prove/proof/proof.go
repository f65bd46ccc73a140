// Package proof is what the parts of the proof share: how they are called, how
// they say what they found, and the processes and people that they work with.
//
// A part is a command of its own beside this package. It is called with a
// count, does so many of what it counts, and ends with one line on stdout, its
// name and its figure. It exits with 0 only where nothing that it looks for was
// violated and its controls, which are faults put in on purpose, were caught: a
// proof that cannot fail is none.
package proof

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Part is one part of the proof.
type Part struct {
	Name string
	// Full is the count at which the figure stands for the goal.
	Full int
	Run  func(ctx context.Context, o Options) (Figure, error)
}

// Options are how a part is called.
type Options struct {
	// N is how many of what the part counts, at least 1.
	N int
	// Seed fixes all choices that the part makes. What the machine does in
	// between, it does not fix, unless the part says so.
	Seed uint64
	// Dir is a fresh directory, gone afterwards.
	Dir string
	// Said takes progress.
	Said io.Writer
}

// Figure is what a part found.
type Figure struct {
	// Words is the figure, as "1000 kills, 0 lost".
	Words string
	// Violations say one by one what should not be.
	Violations []string
}

// maxShown is how many violations are shown; there may be many of one kind.
const maxShown = 20

// Main runs a part as a command and does not return.
func Main(p Part) {
	n := flag.Int("n", p.Full, "how many")
	seed := flag.Uint64("seed", 0, "what fixes all choices; 0 takes one from the clock")
	dir := flag.String("dir", "", "work below this directory instead of the system's temporary one")
	flag.Parse()
	if *n < 1 || flag.NArg() != 0 {
		fmt.Fprintf(os.Stderr, "usage: %s [-n N] [-seed S] [-dir D], N at least 1\n", p.Name)
		os.Exit(2)
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, p, Options{N: *n, Seed: *seed, Dir: *dir, Said: os.Stderr}, os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run runs a part in a directory of its own, and prints what it found.
func run(ctx context.Context, p Part, o Options, out io.Writer) (bool, error) {
	dir, err := os.MkdirTemp(o.Dir, "airdispatch-"+p.Name+"-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	o.Dir = dir
	begun := time.Now()
	f, err := p.Run(ctx, o)
	if err != nil {
		return false, fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	for i, v := range f.Violations {
		if i == maxShown {
			fmt.Fprintf(o.Said, "%s: and %d more\n", p.Name, len(f.Violations)-maxShown)
			break
		}
		fmt.Fprintf(o.Said, "%s: VIOLATED: %s\n", p.Name, v)
	}
	_, err = fmt.Fprintf(out, "%s: %s (seed %d, %s)\n", p.Name, f.Words, o.Seed, time.Since(begun).Round(time.Second))
	return len(f.Violations) == 0, err
}
