package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"airdispatch/prove/simworld"
)

// play makes one run.
func play(t *testing.T, s simworld.Setting) (o simworld.Outcome) {
	synctest.Test(t, func(t *testing.T) {
		o = simworld.Play(t, s)
	})
	return o
}

func shelf(t *testing.T) *simworld.Shelf {
	s, err := simworld.NewShelf(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestJob is what the command's processes run.
func TestJob(t *testing.T) {
	told := os.Getenv(jobVariable)
	if told == "" {
		t.Skip("nothing is to be done")
	}
	var j job
	if err := json.Unmarshal([]byte(told), &j); err != nil {
		t.Fatal(err)
	}
	s := shelf(t)
	for n, seed := range j.Seeds {
		var trace io.Writer
		if j.Trace != "" {
			f, err := os.Create(filepath.Join(j.Trace, fmt.Sprintf("trace-%d-%d", seed, n)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			trace = f
		}
		said, err := json.Marshal(played{Seed: seed, Control: j.Control, Outcome: play(t, simworld.Setting{Seed: seed, Shelf: s, Operations: j.Operations, Control: j.Control, Trace: trace})})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("PLAYED %s\n", said)
	}
}

// TestAWorldKeepsItsWord runs a short one without the overlay that makes two runs
// the same: whatever order things come in, nobody breaks a promise.
func TestAWorldKeepsItsWord(t *testing.T) {
	o := play(t, simworld.Setting{Seed: 1, Shelf: shelf(t), Operations: 400})
	if len(o.Violations) > 0 {
		t.Errorf("violated: %q\n%q", o.Violations, o.Tail)
	}
	if o.Operations < 400 || o.Counts["receipts"] == 0 {
		t.Errorf("nothing happened: %d operations, %v", o.Operations, o.Counts)
	}
}
