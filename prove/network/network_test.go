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

func TestTheSameSeedIsTheSameRun(t *testing.T) {
	s := shelf(t)
	first := play(t, simworld.Setting{Seed: 1, Shelf: s, Operations: 600})
	if len(first.Violations) > 0 {
		t.Errorf("violated: %q", first.Violations)
	}
	if again := play(t, simworld.Setting{Seed: 1, Shelf: s, Operations: 600}); again.Sum != first.Sum {
		t.Errorf("the traces of one seed differ: %s and %s", first.Sum, again.Sum)
	}
	if other := play(t, simworld.Setting{Seed: 2, Shelf: s, Operations: 600}); other.Sum == first.Sum {
		t.Error("two seeds have one trace")
	}
}
