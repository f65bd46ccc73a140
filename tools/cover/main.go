// Cover reads a coverage profile and holds it to the house's floors: so much
// of each room that decides what is true, so much of the whole. Generated
// code is left out, and a block that several test binaries ran counts once.
//
//	go run ./tools/cover cover.out
package main

import (
	"bufio"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The floors, in percent of statements. What crypto and message let through
// is believed by everything above them.
const (
	floorWhole = 85
	floorPure  = 95
)

// module is cut from the front of the profile's file names.
const module = "airdispatch/"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cover PROFILE")
		os.Exit(2)
	}
	ok, err := run(os.Args[1], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run prints the table for the profile at name and reports whether every
// floor is reached.
func run(name string, out io.Writer) (bool, error) {
	profile, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer profile.Close()
	blocks, err := readProfile(profile)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return report(count(blocks, generated), out), nil
}

// A block is one stretch of statements.
type block struct {
	statements int
	ran        bool
}

// readProfile reads the lines "file:from,to statements runs", merging the
// lines that speak of one block.
func readProfile(r io.Reader) (map[string]block, error) {
	blocks := map[string]block{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "mode:") {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("odd line %q", line)
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return nil, fmt.Errorf("odd line %q", line)
		}
		b := blocks[f[0]]
		blocks[f[0]] = block{n, b.ran || f[2] != "0"}
	}
	if lines.Err() == nil && len(blocks) == 0 {
		return nil, errors.New("the profile is empty")
	}
	return blocks, lines.Err()
}

// A tally is how many statements there are and how many ran.
type tally struct{ all, ran int }

// percent returns the share that ran, 100 for an empty room.
func (t tally) percent() float64 {
	if t.all == 0 {
		return 100
	}
	return 100 * float64(t.ran) / float64(t.all)
}

// count sums up the blocks by room, leaving out the files that skip names.
func count(blocks map[string]block, skip func(file string) bool) map[string]tally {
	skipped := map[string]bool{}
	rooms := map[string]tally{}
	for at, b := range blocks {
		file, _, _ := strings.Cut(strings.TrimPrefix(at, module), ":")
		if _, known := skipped[file]; !known {
			skipped[file] = skip(file)
		}
		if skipped[file] {
			continue
		}
		t := rooms[path.Dir(file)]
		t.all += b.statements
		if b.ran {
			t.ran += b.statements
		}
		rooms[path.Dir(file)] = t
	}
	return rooms
}

// generated reports whether file says above its package clause that it was
// generated.
func generated(file string) bool {
	syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
	return err == nil && ast.IsGenerated(syntax)
}

// report prints one line a room and one for the whole, and reports whether
// all floors are reached.
func report(rooms map[string]tally, out io.Writer) bool {
	whole, ok := tally{}, true
	line := func(name string, t tally, floor float64) {
		mark := ""
		if t.percent() < floor {
			mark, ok = fmt.Sprintf("  below %v%%", floor), false
		}
		fmt.Fprintf(out, "%-28s %6.1f%%  %5d of %5d%s\n", name, t.percent(), t.ran, t.all, mark)
	}
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		floor := 0.0
		if room == "crypto" || room == "message" {
			floor = floorPure
		}
		line(room, rooms[room], floor)
		whole.all += rooms[room].all
		whole.ran += rooms[room].ran
	}
	line("whole", whole, floorWhole)
	return ok
}
