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

// room is a package with fuzz targets: what it is called, where it is, and its test program.
type room struct{ name, dir, program string }

// target is one fuzz target.
type target struct {
	room *room
	name string
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	product, err := proof.Product(ctx)
	if err != nil {
		return proof.Figure{}, err
	}
	amount, words := fmt.Sprintf("%dx", 1000*o.N), fmt.Sprintf("%d inputs each", 1000*o.N)
	if o.N >= full {
		amount, words = each.String(), each.String()+" each"
	}
	b := bench{dir: o.Dir, cache: filepath.Join(o.Dir, "corpora")}
	if o.N >= full {
		// What was found to be interesting is gone on with another time, as by go test.
		if b.cache, err = goCache(ctx); err != nil {
			return proof.Figure{}, err
		}
	}
	targets, err := b.list(ctx, product, "./...")
	if err != nil {
		return proof.Figure{}, err
	}
	var f proof.Figure
	if len(targets) < fewest {
		f.Violations = append(f.Violations, fmt.Sprintf("%d targets, at least %d were planned", len(targets), fewest))
	}
	found, err := b.all(ctx, targets, amount, o.Said)
	if err != nil {
		return f, err
	}
	var inputs, crashes int
	for i, t := range targets {
		inputs += found[i].inputs
		if found[i].crash != "" {
			crashes++
			f.Violations = append(f.Violations, fmt.Sprintf("%s %s:\n%s", t.room.name, t.name, found[i].crash))
		}
	}
	here, err := filepath.Abs(".")
	if err != nil {
		return f, err
	}
	mine, err := b.list(ctx, here, "./fuzz")
	if err != nil || len(mine) != 1 || mine[0].name != control {
		return f, fmt.Errorf("control: %v: %w", mine, err)
	}
	_, caught, err := b.fuzz(ctx, mine[0], "100000x")
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

// bench is where the test programs are, and what is interesting to try.
type bench struct{ dir, cache string }

// goCache is where go test keeps what it found to be interesting.
func goCache(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "fuzz"), err
}

// declared is how a target begins.
var declared = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// list finds all targets of some rooms, and builds their test programs: once each, since to
// link one takes longer than a thousand inputs.
func (b bench) list(ctx context.Context, dir, rooms string) ([]target, error) {
	const files = "{{range .TestGoFiles}}{{$.ImportPath}}\t{{$.Dir}}\t{{.}}\n{{end}}{{range .XTestGoFiles}}{{$.ImportPath}}\t{{$.Dir}}\t{{.}}\n{{end}}"
	cmd := exec.CommandContext(ctx, "go", "list", "-f", files, rooms)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	var found []target
	var last *room
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 {
			continue // between two rooms
		}
		text, err := os.ReadFile(filepath.Join(fields[1], fields[2]))
		if err != nil {
			return nil, err
		}
		for _, name := range declared.FindAllSubmatch(text, -1) {
			if last == nil || last.name != fields[0] {
				last = &room{name: fields[0], dir: fields[1], program: filepath.Join(b.dir, strings.ReplaceAll(fields[0], "/", "-")+".test")}
				if err := last.build(ctx, dir); err != nil {
					return nil, err
				}
			}
			found = append(found, target{last, string(name[1])})
		}
	}
	return found, nil
}

// build builds the test program of a room, with the fuzzer's instruments.
func (r *room) build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-fuzz=.", "-o", r.program, r.name)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", r.name, err, out)
	}
	return nil
}

// tried is what became of one target.
type tried struct {
	inputs int
	crash  string
}

// all runs the targets, one on each core, and tells of each as it ends.
func (b bench) all(ctx context.Context, targets []target, amount string, said io.Writer) ([]tried, error) {
	found := make([]tried, len(targets))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	for i, t := range targets {
		g.Go(func() error {
			n, crash, err := b.fuzz(ctx, t, amount)
			if err != nil {
				return err
			}
			found[i] = tried{n, crash}
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(said, "fuzz: %s %s: %d inputs\n", t.room.name, t.name, n)
			return nil
		})
	}
	return found, g.Wait()
}

// progress is the line in which the fuzzer says how many inputs it has tried.
var progress = regexp.MustCompile(`execs: (\d+)`)

// fuzz runs one target and tells how many inputs it tried; crash is what it
// printed if it failed.
func (b bench) fuzz(ctx context.Context, t target, amount string) (inputs int, crash string, err error) {
	// A target with goroutines of its own seldom takes the same way twice, and the
	// fuzzer would spend a minute on making each input smaller.
	cmd := exec.CommandContext(ctx, t.room.program, "-test.run", "^$", "-test.fuzz", "^"+t.name+"$", "-test.fuzztime", amount,
		"-test.fuzzminimizetime", "5x", "-test.parallel", "1", "-test.fuzzcachedir", filepath.Join(b.cache, t.room.name))
	cmd.Dir = t.room.dir
	out, err := cmd.CombinedOutput()
	if all := progress.FindAllSubmatch(out, -1); len(all) > 0 {
		inputs, _ = strconv.Atoi(string(all[len(all)-1][1])) // digits, by the pattern
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed && ctx.Err() == nil {
		return inputs, string(out), nil
	}
	return inputs, "", err
}
