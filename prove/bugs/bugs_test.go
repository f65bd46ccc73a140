package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"airdispatch/prove/proof"
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
		if seen[r.tag] || !regexp.MustCompile(`^[a-z0-9_]+$`).MatchString(r.tag) {
			t.Errorf("tag %q is no tag, or there twice", r.tag)
		}
		seen[r.tag] = true
		if _, err := changed(product, r); err != nil {
			t.Error(err)
		}
		if !named(t, filepath.Join(product, r.room), r.test) {
			t.Errorf("%s: no test %s in %s", r.tag, r.test, r.room)
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

// TestDrift: a text that is there twice, or not at all, is an error.
func TestDrift(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n\nvar one, two = 1, 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]bool{"1, 1": true, "1": false, "3": false} {
		_, err := changed(dir, fault{"drift", at("a.go", old, "2"), "", ""})
		if got := err == nil; got != want {
			t.Errorf("%q: %v", old, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	const out = "=== RUN   TestA\n    --- FAIL: TestA/one_two (0.00s)\n--- FAIL: TestA (0.00s)\n--- PASS: TestB (0.00s)\n"
	for _, c := range []struct {
		result, test string
		want         bool
	}{
		{"FAIL", "TestA", true}, {"FAIL", "TestA/one two", true}, {"FAIL", "TestA/one", false},
		{"PASS", "TestA", false}, {"PASS", "TestB", true}, {"FAIL", "Test", false},
	} {
		if got := says(out, c.result, c.test); got != c.want {
			t.Errorf("%s %s: %v", c.result, c.test, got)
		}
	}
	if got := pattern("TestA/one two (3)"); got != `^TestA$/^one_two_\(3\)$` {
		t.Error(got)
	}
	rows := []fault{{tag: "a"}, {tag: "b"}, {tag: "control"}}
	for _, c := range []struct {
		verdicts []verdict
		bad      int
	}{
		{[]verdict{caught, caught, missed}, 0}, {[]verdict{caught, missed, missed}, 1},
		{[]verdict{broken, caught, missed}, 1}, {[]verdict{caught, caught, caught}, 1},
	} {
		if f := figure(rows, c.verdicts); len(f.Violations) != c.bad {
			t.Errorf("%v: %v", c.verdicts, f.Violations)
		}
	}
}
