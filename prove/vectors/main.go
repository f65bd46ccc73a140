// Vectors holds the program to test vectors, its own and other people's.
//
// Its own (testdata/vectors, and a directory below it for each room that has vectors
// of its own) are read by two readers: the product, each file by the room that
// publishes it, and a second one in Python that was written from docs/protocol.md and the RFCs, uses
// nothing but its standard library and shares no code with the first (directory
// reader). Both must agree with every vector: the verdict, the reason of a
// refusal, and every field of what is accepted. Other people's are those of
// Wycheproof for the primitives in use; a verdict of ours that differs from
// theirs must be one that is explained here.
//
// The control alters one vector in each file, and one of each primitive's; each
// reader must miss exactly these.
package main

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"airdispatch/prove/proof"
)

//go:embed reader/*.py
var reader embed.FS

// enough is how many vectors of our own there are at the least.
const enough = 1000

// home is the room whose vectors lie in the directory itself.
const home = "message"

// rooms are those that publish vectors.
func rooms() []string { return []string{home, "relay", "nearby", "whisper", "passer"} }

// under is the directory of a room's vectors.
func under(room string) string {
	if room == home {
		return "."
	}
	return room
}

func main() { proof.Main(proof.Part{Name: "vectors", Full: 1, Run: run}) }

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	own, err := prepare(ctx, o.Dir)
	if err != nil {
		return proof.Figure{}, err
	}
	var f proof.Figure
	count, err := own.held(ctx, &f)
	if err != nil {
		return f, err
	}
	if err := own.controlled(ctx, &f); err != nil {
		return f, err
	}
	theirs, err := wycheproofs(&f)
	if err != nil {
		return f, err
	}
	f.Words = fmt.Sprintf("%d own by two readers, %s, %d unexplained", count, theirs, len(f.Violations))
	return f, nil
}

// readers are the two programs and the vectors that they read.
type readers struct {
	dir, vectors string
}

// tally is what one reader says: of each file how many vectors hold, and which
// do not.
type tally struct {
	held   map[string]int
	missed map[string][]string
}

func (t tally) count() (n int) {
	for _, held := range t.held {
		n += held
	}
	return n
}

// prepare builds the first reader, which is the tests of some rooms, and lays
// out the second.
func prepare(ctx context.Context, dir string) (*readers, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "airdispatch").Output()
	if err != nil {
		return nil, fmt.Errorf("where the product is: %w", err)
	}
	if err := os.CopyFS(dir, reader); err != nil {
		return nil, err
	}
	for _, room := range rooms() {
		build := exec.CommandContext(ctx, "go", "test", "-c", "-o", filepath.Join(dir, room+".test"), "airdispatch/"+room)
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	r := &readers{dir: dir, vectors: filepath.Join(strings.TrimSpace(string(root)), "testdata", "vectors")}
	return r, r.lay("true", func(_ string, b []byte) ([]byte, error) { return b, nil })
}

// lay copies the vectors to where both readers find them, altered.
func (r *readers) lay(set string, alter func(file string, b []byte) ([]byte, error)) error {
	for _, room := range rooms() {
		from := filepath.Join(r.vectors, under(room))
		paths, err := filepath.Glob(filepath.Join(from, "*.json"))
		if err != nil || len(paths) == 0 {
			return fmt.Errorf("no vectors in %s: %w", from, err)
		}
		to := filepath.Join(r.dir, set, "testdata", "vectors", under(room))
		if err := errors.Join(os.MkdirAll(to, 0o700), os.MkdirAll(filepath.Join(r.dir, set, room), 0o700)); err != nil {
			return err
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err == nil {
				b, err = alter(filepath.Base(path), b)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(to, filepath.Base(path)), b, 0o600)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// first is what the product says of a set.
func (r *readers) first(ctx context.Context, set string) (tally, error) {
	t := tally{map[string]int{}, map[string][]string{}}
	for _, room := range rooms() {
		if err := r.read(ctx, set, room, t); err != nil {
			return tally{}, err
		}
	}
	return t, nil
}

// read adds what one room says.
func (r *readers) read(ctx context.Context, set, room string, t tally) error {
	cmd := exec.CommandContext(ctx, filepath.Join(r.dir, room+".test"), "-test.run", "^TestVectors$", "-test.v")
	cmd.Dir = filepath.Join(r.dir, set, room)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		verdict, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), ": TestVectors/")
		file, name, found := strings.Cut(rest, "/")
		if file = path.Join(under(room), file); !found {
			continue // the test itself
		}
		switch verdict {
		case "--- PASS":
			t.held[file]++
		case "--- FAIL":
			t.missed[file] = append(t.missed[file], name)
		}
	}
	return nil
}

// second is what the reader in Python says. Its options keep everything from it
// that is not its standard library.
func (r *readers) second(ctx context.Context, set string) (tally, error) {
	var paths []string
	for _, room := range rooms() {
		more, err := filepath.Glob(filepath.Join(r.dir, set, "testdata", "vectors", under(room), "*.json"))
		if err != nil {
			return tally{}, err
		}
		paths = append(paths, more...)
	}
	args := append([]string{"-B", "-E", "-s", "-S", filepath.Join(r.dir, "reader", "reader.py")}, paths...)
	cmd := exec.CommandContext(ctx, "python3", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return tally{}, fmt.Errorf("second reader: %w", err)
	}
	t := tally{map[string]int{}, map[string][]string{}}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var line struct {
			File, Name string
			Agrees     bool
		}
		if err := d.Decode(&line); err != nil {
			return tally{}, fmt.Errorf("second reader: %w", err)
		}
		if line.Agrees {
			t.held[line.File]++
		} else {
			t.missed[line.File] = append(t.missed[line.File], line.Name)
		}
	}
	return t, nil
}

// held demands that both readers agree with every vector.
func (r *readers) held(ctx context.Context, f *proof.Figure) (int, error) {
	first, err := r.first(ctx, "true")
	if err != nil {
		return 0, err
	}
	second, err := r.second(ctx, "true")
	if err != nil {
		return 0, err
	}
	for who, t := range map[string]tally{"the product": first, "the second reader": second} {
		for file, names := range t.missed {
			for _, name := range names {
				f.Violations = append(f.Violations, fmt.Sprintf("%s does not agree with %s: %s", who, file, name))
			}
		}
	}
	if first.count() != second.count() || first.count() < enough {
		f.Violations = append(f.Violations, fmt.Sprintf("the readers held %d and %d vectors, at least %d are needed", first.count(), second.count(), enough))
	}
	return first.count(), nil
}

// controlled alters one vector in each file; each reader must miss that one.
func (r *readers) controlled(ctx context.Context, f *proof.Figure) error {
	files := 0
	err := r.lay("false", func(_ string, b []byte) ([]byte, error) {
		files++
		return altered(b)
	})
	if err != nil {
		return err
	}
	for who, read := range map[string]func(context.Context, string) (tally, error){"the product": r.first, "the second reader": r.second} {
		t, err := read(ctx, "false")
		if err != nil {
			return err
		}
		caught := 0
		for _, names := range t.missed {
			if len(names) == 1 {
				caught++
			}
		}
		if caught != files {
			f.Violations = append(f.Violations, fmt.Sprintf("the control: %s caught altered vectors in %d of %d files: %q", who, caught, files, t.missed))
		}
	}
	return nil
}

// altered changes one vector of a file: of the first signed statement that
// holds the last bit, and where there is none, the verdict of the first vector.
func altered(b []byte) ([]byte, error) {
	var all []map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // the highest numbers do not fit into a float
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	for _, v := range all {
		in, _ := v["in"].(map[string]any)
		if s, ok := in["statement"].(string); ok && v["error"] == nil && v["op"] != "open" {
			in["statement"] = flipped(s)
			return json.Marshal(all)
		}
	}
	if v := all[0]; v["error"] != nil {
		v["error"] = "quota"
	} else {
		delete(v, "want")
		v["error"] = "invalid"
	}
	return json.Marshal(all)
}
