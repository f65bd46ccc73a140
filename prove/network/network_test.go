package main

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"

	"airdispatch/prove/simworld"
)

// play makes one run.
func play(t *testing.T, shelf *simworld.Shelf, seed uint64, operations int, c simworld.Control) (o simworld.Outcome) {
	synctest.Test(t, func(t *testing.T) {
		o = simworld.Play(t, simworld.Setting{Seed: seed, Shelf: shelf, Operations: operations, Control: c})
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
	for _, seed := range j.Seeds {
		said, err := json.Marshal(played{Seed: seed, Control: j.Control, Outcome: play(t, s, seed, j.Operations, j.Control)})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("PLAYED %s\n", said)
	}
}

func TestTheSameSeedIsTheSameRun(t *testing.T) {
	s := shelf(t)
	first := play(t, s, 1, 600, simworld.None)
	if len(first.Violations) > 0 {
		t.Errorf("violated: %q", first.Violations)
	}
	if again := play(t, s, 1, 600, simworld.None); again.Sum != first.Sum {
		t.Errorf("the traces of one seed differ: %s and %s", first.Sum, again.Sum)
	}
	if other := play(t, s, 2, 600, simworld.None); other.Sum == first.Sum {
		t.Error("two seeds have one trace")
	}
}
