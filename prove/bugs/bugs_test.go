package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"airdispatch/prove/proof"
	"airdispatch/prove/seeded"
)

// TestRows: every row finds its text exactly once and names a test that is
// there, and no two have one tag.
func TestRows(t *testing.T) {
	product, err := proof.Product(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := append(faults(), control())
	if len(rows) <= 30 {
		t.Errorf("%d faults, 30 were planned", len(rows)-1)
	}
	seen := make(map[string]bool)
	for _, r := range rows {
		if seen[r.Tag] || !regexp.MustCompile(`^[a-z0-9_]+$`).MatchString(r.Tag) {
			t.Errorf("tag %q is no tag, or there twice", r.Tag)
		}
		seen[r.Tag] = true
		if _, err := seeded.Changed(product, r); err != nil {
			t.Error(err)
		}
		if !named(t, filepath.Join(product, r.Room), r.Test) {
			t.Errorf("%s: no test %s in %s", r.Tag, r.Test, r.Room)
		}
	}
}

// named reports whether a directory has a test.
func named(t *testing.T, dir, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(test, "/")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "func "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}

func TestVerdicts(t *testing.T) {
	rows := []seeded.Fault{{Tag: "a"}, {Tag: "b"}, {Tag: "control"}}
	for _, c := range []struct {
		verdicts []seeded.Verdict
		bad      int
	}{
		{[]seeded.Verdict{seeded.Caught, seeded.Caught, seeded.Missed}, 0},
		{[]seeded.Verdict{seeded.Caught, seeded.Missed, seeded.Missed}, 1},
		{[]seeded.Verdict{seeded.Broken, seeded.Caught, seeded.Missed}, 1},
		{[]seeded.Verdict{seeded.Caught, seeded.Caught, seeded.Caught}, 1},
	} {
		if f := figure(rows, c.verdicts); len(f.Violations) != c.bad {
			t.Errorf("%v: %v", c.verdicts, f.Violations)
		}
	}
}
