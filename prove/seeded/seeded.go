// Package seeded puts faults into the product without touching it, and runs tests
// over what comes out. A fault is which text of which file becomes which other
// text; the changed file is laid over the real one with go's -overlay, behind a
// build tag of the fault's own. A text that is not found exactly once, because the
// product has changed since, is an error. Tests are compiled first, so that a
// fault that does not compile is told from one that a test finds, and a verdict
// hangs on the result of one named test.
package seeded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"airdispatch/prove/proof"
)

// Edit replaces one text in one file of the product.
type Edit struct{ File, Old, New string }

// Fault is what is wrong, and the test that finds it.
type Fault struct {
	// Tag names it, and with Tagged before it is its build tag.
	Tag   string
	Edits []Edit
	// Room is the directory of Test, which may be a subtest.
	Room, Test string
}

// Tagged makes build tags that mean nothing to anybody else.
const Tagged = "seeded_"

// Nothing is the tag of a product without a fault.
const Nothing = "nothing"

// At is a single edit.
func At(file, from, to string) []Edit { return []Edit{{file, from, to}} }

// Bench compiles and runs tests over the product with faults in it.
type Bench struct {
	// product is the root of its module; prove lies below it.
	product, dir string
	// mu guards sound.
	mu sync.Mutex
	// sound has, for each room, how its tests without any fault are compiled.
	sound map[string]func() (string, error)
}

// Lay makes an overlay for each row, so that with one fault all that does not
// depend on its file is compiled already. It is an error if the text that a row
// replaces is not found exactly once.
func Lay(ctx context.Context, dir string, rows []Fault) (*Bench, error) {
	product, err := proof.Product(ctx)
	if err != nil {
		return nil, err
	}
	b := &Bench{product: product, dir: dir, sound: make(map[string]func() (string, error))}
	for _, r := range rows {
		if err := b.lay(r); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// lay makes the overlay of one row: each file that it changes is compiled without
// the row's tag, and its changed copy with it.
func (b *Bench) lay(r Fault) error {
	files, err := Changed(b.product, r)
	if err != nil {
		return err
	}
	replace := make(map[string]string)
	for file, changed := range files {
		sound, err := os.ReadFile(filepath.Join(b.product, file))
		if err != nil {
			return err
		}
		copied := strings.TrimSuffix(file, ".go") + "_" + Tagged + r.Tag + ".go"
		for name, text := range map[string]string{
			file:   "//go:build !" + Tagged + r.Tag + "\n\n" + string(sound),
			copied: "//go:build " + Tagged + r.Tag + "\n\n" + changed,
		} {
			path := filepath.Join(b.dir, r.Tag+"--"+strings.ReplaceAll(name, "/", "--"))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			replace[filepath.Join(b.product, name)] = path
		}
	}
	j, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(b.overlay(r.Tag), j, 0o600)
}

// overlay is where the overlay of a tag is.
func (b *Bench) overlay(tag string) string { return filepath.Join(b.dir, tag+".json") }

// Changed is the text of the files that a row changes.
func Changed(product string, r Fault) (map[string]string, error) {
	files := make(map[string]string)
	for _, e := range r.Edits {
		text, ok := files[e.File]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(product, e.File))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Tag, err)
			}
			if text = string(raw); strings.Contains(text, "//go:build") {
				return nil, fmt.Errorf("%s: %s has a build constraint of its own", r.Tag, e.File)
			}
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("%s: %s has the text that the fault replaces %d times, not once: has it changed?\n%s", r.Tag, e.File, n, e.Old)
		}
		files[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return files, nil
}

// Try runs the named test of a row without the fault and with it.
func (b *Bench) Try(ctx context.Context, f Fault) (Verdict, error) {
	sound, err := b.soundTests(ctx, f.Room)
	if err != nil {
		return Broken, err
	}
	out, err := b.test(ctx, sound, f, "")
	if err != nil {
		return Broken, err
	}
	if !says(out, "PASS", f.Test) {
		return Broken, fmt.Errorf("%s without the fault:\n%s", f.Test, out)
	}
	faulty, err := b.Compile(ctx, f.Room, f.Tag)
	if err != nil {
		return Broken, err
	}
	defer os.Remove(faulty) // they are large, and the directory goes in the end
	if out, err = b.test(ctx, faulty, f, f.Tag); err != nil {
		return Broken, err
	}
	switch {
	case says(out, "FAIL", f.Test):
		return Caught, nil
	case says(out, "PASS", f.Test):
		return Missed, nil
	}
	return Broken, fmt.Errorf("%s with %s neither fails nor passes:\n%s", f.Test, f.Tag, out)
}

// soundTests is the compiled tests of a room without any fault.
func (b *Bench) soundTests(ctx context.Context, room string) (string, error) {
	b.mu.Lock()
	once, ok := b.sound[room]
	if !ok {
		once = sync.OnceValues(func() (string, error) { return b.Compile(ctx, room, Nothing) })
		b.sound[room] = once
	}
	b.mu.Unlock()
	return once()
}

// Compile makes the test binary of a room with a fault, or with Nothing as it is.
func (b *Bench) Compile(ctx context.Context, room, tag string) (string, error) {
	binary := filepath.Join(b.dir, strings.ReplaceAll(room, "/", "-")+"-"+tag+".test")
	args := []string{"test", "-c", "-p", "1", "-vet=off", "-ldflags=-s -w", "-o", binary}
	if tag != Nothing {
		args = append(args, "-overlay", b.overlay(tag), "-tags", Tagged+tag)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = b.Place(room)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the tests of %s with %s: %w\n%s", room, tag, err, out)
	}
	return binary, nil
}

// Place is the directory of a room.
func (b *Bench) Place(room string) string {
	return filepath.Join(b.product, filepath.FromSlash(room))
}

// test runs the named test and returns what it says. That it fails is no error. Programs that the
// test builds have the fault of a tag too, or none.
func (b *Bench) test(ctx context.Context, binary string, f Fault, tag string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.timeout", "3m", "-test.run", pattern(f.Test))
	cmd.Dir = b.Place(f.Room)
	if tag != "" {
		cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+b.overlay(tag)+" -tags="+Tagged+tag)
	}
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); failed && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", f.Test, err)
	}
	return string(out), nil
}

// pattern is what -test.run takes for exactly one test or subtest.
func pattern(test string) string {
	parts := strings.Split(test, "/")
	for n, p := range parts {
		parts[n] = "^" + regexp.QuoteMeta(strings.ReplaceAll(p, " ", "_")) + "$"
	}
	return strings.Join(parts, "/")
}

// says reports whether the output of tests has this result of this test.
func says(out, result, test string) bool {
	return strings.Contains(out, "--- "+result+": "+strings.ReplaceAll(test, " ", "_")+" (")
}

// Verdict is what became of a fault.
type Verdict int

// The verdicts.
const (
	// Missed: the named test passes with the fault.
	Missed Verdict = iota
	// Caught: the named test passes without the fault and fails with it.
	Caught
	// Broken: the named test fails without the fault.
	Broken
)

// String is the verdict in words.
func (v Verdict) String() string {
	return strings.Split("not caught,caught,not to be judged: the test fails without it", ",")[v]
}
