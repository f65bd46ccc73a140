package main

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

// edit replaces one text in one file of the product.
type edit struct{ file, old, new string }

// fault is a row of the table.
type fault struct {
	// tag names it, and is the build tag behind which it lies, with tagged.
	tag   string
	edits []edit
	// room is the directory of the named test, which may be a subtest.
	room, test string
}

// tagged makes build tags that mean nothing to anybody else.
const tagged = "seeded_"

// at is a single edit.
func at(file, old, new string) []edit { return []edit{{file, old, new}} }

// bench compiles and runs tests over the product with faults in it.
type bench struct {
	// product is the root of its module; prove lies below it.
	product      string
	dir, overlay string
	// mu guards sound.
	mu sync.Mutex
	// sound has, for each room, how its tests without any fault are compiled.
	sound map[string]func() (string, error)
}

// lay makes an overlay with all rows, each behind its tag. It is an error if
// the text that a row replaces is not found exactly once.
func lay(ctx context.Context, dir string, rows []fault) (*bench, error) {
	product, err := proof.Product(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{product: product, dir: dir, overlay: filepath.Join(dir, "overlay.json"), sound: make(map[string]func() (string, error))}
	replace := make(map[string]string)
	tags := make(map[string][]string)
	for _, r := range rows {
		files, err := changed(product, r)
		if err != nil {
			return nil, err
		}
		for file, text := range files {
			tags[file] = append(tags[file], tagged+r.tag)
			copied := strings.TrimSuffix(file, ".go") + "_" + tagged + r.tag + ".go"
			if replace[filepath.Join(product, copied)], err = b.put(copied, "//go:build "+tagged+r.tag, text); err != nil {
				return nil, err
			}
		}
	}
	for file, list := range tags {
		text, err := os.ReadFile(filepath.Join(product, file))
		if err != nil {
			return nil, err
		}
		if replace[filepath.Join(product, file)], err = b.put(file, "//go:build !"+strings.Join(list, " && !"), string(text)); err != nil {
			return nil, err
		}
	}
	j, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	return b, os.WriteFile(b.overlay, j, 0o600)
}

// put writes a file of the overlay, with a build constraint before its text.
func (b *bench) put(file, constraint, text string) (string, error) {
	path := filepath.Join(b.dir, strings.ReplaceAll(file, "/", "--"))
	return path, os.WriteFile(path, []byte(constraint+"\n\n"+text), 0o600)
}

// changed is the text of the files that a row changes.
func changed(product string, r fault) (map[string]string, error) {
	files := make(map[string]string)
	for _, e := range r.edits {
		text, ok := files[e.file]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(product, e.file))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.tag, err)
			}
			if text = string(raw); strings.Contains(text, "//go:build") {
				return nil, fmt.Errorf("%s: %s has a build constraint of its own", r.tag, e.file)
			}
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s: %s has the text that the fault replaces %d times, not once: has it changed?\n%s", r.tag, e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}

// try runs the named test of a row without the fault and with it.
func (b *bench) try(ctx context.Context, f fault) (verdict, error) {
	sound, err := b.soundTests(ctx, f.room)
	if err != nil {
		return broken, err
	}
	out, err := b.test(ctx, sound, f)
	if err != nil {
		return broken, err
	}
	if !says(out, "PASS", f.test) {
		return broken, fmt.Errorf("%s without the fault:\n%s", f.test, out)
	}
	faulty, err := b.compile(ctx, f.room, tagged+f.tag)
	if err != nil {
		return broken, err
	}
	defer os.Remove(faulty) // they are large, and the directory goes in the end
	if out, err = b.test(ctx, faulty, f); err != nil {
		return broken, err
	}
	switch {
	case says(out, "FAIL", f.test):
		return caught, nil
	case says(out, "PASS", f.test):
		return missed, nil
	}
	return broken, fmt.Errorf("%s with %s neither fails nor passes:\n%s", f.test, f.tag, out)
}

// soundTests is the compiled tests of a room without any fault.
func (b *bench) soundTests(ctx context.Context, room string) (string, error) {
	b.mu.Lock()
	once, ok := b.sound[room]
	if !ok {
		once = sync.OnceValues(func() (string, error) { return b.compile(ctx, room, tagged+"nothing") })
		b.sound[room] = once
	}
	b.mu.Unlock()
	return once()
}

// compile makes the test binary of a room under a tag.
func (b *bench) compile(ctx context.Context, room, tag string) (string, error) {
	binary := filepath.Join(b.dir, strings.ReplaceAll(room, "/", "-")+"-"+tag+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-p", "1", "-vet=off", "-ldflags=-s -w", "-overlay", b.overlay, "-tags", tag, "-o", binary, ".")
	cmd.Dir = b.place(room)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the tests of %s with %s: %w\n%s", room, tag, err, out)
	}
	return binary, nil
}

// place is the directory of a room.
func (b *bench) place(room string) string {
	return filepath.Join(b.product, filepath.FromSlash(room))
}

// test runs the named test and returns what it says. That it fails is no error.
func (b *bench) test(ctx context.Context, binary string, f fault) (string, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.timeout", "3m", "-test.run", pattern(f.test))
	cmd.Dir = b.place(f.room)
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); failed && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", f.test, err)
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
