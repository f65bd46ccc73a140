// Fuzz runs every fuzz target of the product: each parser and each handler that
// reads bytes from outside, with the corpus that is kept in the repository as
// the seed. A target that finds a crash fails and leaves the input in its
// testdata, where it stays as a regression test.
//
// The count is thousands of inputs for every target; the full proof gives each
// ten minutes of a core instead, as many targets at once as there are cores. The
// control is a target of this package that fails for one input among its seeds'
// near neighbours; it must be caught.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"airdispatch/prove/proof"
)

const (
	// full is a count that nobody reaches in the time that stands for it.
	full = 1 << 30
	each = 10 * time.Minute
	// fewest is how many targets there must be: so many parsers and handlers
	// were named when the proof was planned.
	fewest = 24
	// control is this package's own target.
	control = "FuzzControl"
)

func main() { proof.Main(proof.Part{Name: "fuzz", Full: full, Run: run}) }

// target is one fuzz target.
type target struct{ room, name string }

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	product, err := proof.Product(ctx)
	if err != nil {
		return proof.Figure{}, err
	}
	amount, words := fmt.Sprintf("%dx", 1000*o.N), fmt.Sprintf("%d inputs each", 1000*o.N)
	if o.N >= full {
		amount, words = each.String(), each.String()+" each"
	}
	targets, err := list(ctx, product, "./...")
	if err != nil {
		return proof.Figure{}, err
	}
	var f proof.Figure
	if len(targets) < fewest {
		f.Violations = append(f.Violations, fmt.Sprintf("%d targets, at least %d were planned", len(targets), fewest))
	}
	found, err := all(ctx, product, targets, amount, o.Said)
	if err != nil {
		return f, err
	}
	var inputs, crashes int
	for i, t := range targets {
		inputs += found[i].inputs
		if found[i].crash != "" {
			crashes++
			f.Violations = append(f.Violations, fmt.Sprintf("%s %s:\n%s", t.room, t.name, found[i].crash))
		}
	}
	here, err := filepath.Abs(".")
	if err != nil {
		return f, err
	}
	_, caught, err := fuzz(ctx, here, target{"./fuzz", control}, "100000x")
	if err != nil {
		return f, fmt.Errorf("control: %w", err)
	}
	if caught == "" {
		f.Violations = append(f.Violations, "the control's crash was not found")
	}
	if err := os.RemoveAll(filepath.Join(here, "fuzz", "testdata", "fuzz", control)); err != nil {
		return f, err
	}
	f.Words = fmt.Sprintf("%d targets, %s, %d inputs in all, %d crashes, control caught", len(targets), words, inputs, crashes)
	return f, nil
}

// list finds all targets of some rooms.
func list(ctx context.Context, dir, rooms string) ([]target, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-list", "^Fuzz", rooms)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	var found []target
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		switch fields := strings.Fields(lines.Text()); {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			for _, name := range names {
				found = append(found, target{fields[1], name})
			}
			names = nil
		}
	}
	return found, nil
}

// tried is what became of one target.
type tried struct {
	inputs int
	crash  string
}

// all runs the targets, one on each core, and tells of each as it ends.
func all(ctx context.Context, dir string, targets []target, amount string, said io.Writer) ([]tried, error) {
	found := make([]tried, len(targets))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	for i, t := range targets {
		g.Go(func() error {
			n, crash, err := fuzz(ctx, dir, t, amount)
			if err != nil {
				return err
			}
			found[i] = tried{n, crash}
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(said, "fuzz: %s %s: %d inputs\n", t.room, t.name, n)
			return nil
		})
	}
	return found, g.Wait()
}

// progress is the line in which the fuzzer says how many inputs it has tried.
var progress = regexp.MustCompile(`execs: (\d+)`)

// fuzz runs one target and tells how many inputs it tried; crash is what it
// printed if it failed.
func fuzz(ctx context.Context, dir string, t target, amount string) (inputs int, crash string, err error) {
	// A target with goroutines of its own seldom takes the same way twice, and the
	// fuzzer would spend a minute on making each input smaller.
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", amount, "-fuzzminimizetime", "5x", "-parallel", "1", t.room)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if all := progress.FindAllSubmatch(out, -1); len(all) > 0 {
		inputs, _ = strconv.Atoi(string(all[len(all)-1][1])) // digits, by the pattern
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed && ctx.Err() == nil {
		return inputs, string(out), nil
	}
	return inputs, "", err
}
