package seeded

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDrift: a text that is there twice, or not at all, is an error.
func TestDrift(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n\nvar one, two = 1, 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]bool{"1, 1": true, "1": false, "3": false} {
		_, err := Changed(dir, Fault{Tag: "drift", Edits: At("a.go", old, "2")})
		if got := err == nil; got != want {
			t.Errorf("%q: %v", old, err)
		}
	}
}

func TestResults(t *testing.T) {
	const out = "=== RUN   TestA\n    --- FAIL: TestA/one_two (0.00s)\n--- FAIL: TestA (0.00s)\n--- PASS: TestB (0.00s)\n"
	for _, c := range []struct {
		result, test string
		want         bool
	}{
		{"FAIL", "TestA", true},
		{"FAIL", "TestA/one two", true},
		{"FAIL", "TestA/one", false},
		{"PASS", "TestA", false},
		{"PASS", "TestB", true},
		{"FAIL", "Test", false},
	} {
		if got := says(out, c.result, c.test); got != c.want {
			t.Errorf("%s %s: %v", c.result, c.test, got)
		}
	}
	if got := pattern("TestA/one two (3)"); got != `^TestA$/^one_two_\(3\)$` {
		t.Error(got)
	}
}
