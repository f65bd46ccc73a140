package town_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository as seen from here.
const root = "../.."

// TestFlowNamesRealCode: docs/flow.md names files and functions that there are.
func TestFlowNamesRealCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs", "flow.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, span := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(text), -1) {
		words := strings.Fields(span[1])
		if !strings.HasSuffix(words[0], ".go") || !strings.Contains(words[0], "/") {
			continue
		}
		code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(words[0])))
		if err != nil {
			t.Errorf("%q: %v", span[1], err)
			continue
		}
		for _, name := range words[1:] {
			named++
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + regexp.QuoteMeta(name) + `[\[(]`).Match(code) {
				t.Errorf("%q: %s has no func %s", span[1], words[0], name)
			}
		}
	}
	if named < 50 {
		t.Errorf("the page names %d functions only", named)
	}
}

// TestThreatsNamesRealTests: every test that docs/threats.md names exists, and
// every threat names one or says why not.
func TestThreatsNamesRealTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs", "threats.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := testNames(t)
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !regexp.MustCompile(`^ ?[A-Z][0-9]`).MatchString(cells[0]) || len(cells) < 4 {
			continue
		}
		rows++
		shown := strings.TrimSpace(cells[len(cells)-1])
		names := regexp.MustCompile("(Test|Fuzz)[A-Za-z0-9_]*").FindAllString(shown, -1)
		if len(names) == 0 && shown != "–" && !strings.Contains(shown, "ci/run") {
			t.Errorf("%s: shown by %q, which is no test", strings.TrimSpace(cells[0]), shown)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s: there is no %s", strings.TrimSpace(cells[0]), name)
			}
		}
	}
	if rows < 60 {
		t.Errorf("the page has %d threats only", rows)
	}
}

// TestThreatsArePlayed: every threat of docs/threats.md is played by
// prove/threats or due there, and what is played or due stands on the page.
func TestThreatsArePlayed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "threats.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed, due := map[string]bool{}, map[string]bool{}
	into := listed
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "## ") {
			if into = listed; line == "## Due\n" {
				into = due
			}
		}
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		for _, id := range regexp.MustCompile(`^([A-Z][0-9]+( |$))+`).FindAllString(cell, -1) {
			for _, one := range strings.Fields(id) {
				into[one] = true
			}
		}
	}
	played, waits := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "prove", "threats", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\t\t\{"([A-Z][0-9]+)", "[a-z]`).FindAllSubmatch(code, -1) {
			if played[string(m[1])] {
				t.Errorf("%s is played twice", m[1])
			}
			played[string(m[1])] = true
		}
		for _, m := range regexp.MustCompile(`"([A-Z][0-9]+)": +"(pages|bridge|nearby|relay)"`).FindAllSubmatch(code, -1) {
			waits[string(m[1])] = true
		}
	}
	if !maps.Equal(listed, played) {
		t.Errorf("on the page %v, played %v", slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(played)))
	}
	if !maps.Equal(due, waits) {
		t.Errorf("due on the page %v, in the part %v", slices.Sorted(maps.Keys(due)), slices.Sorted(maps.Keys(waits)))
	}
	if len(played) < 70 || len(due) < 7 {
		t.Errorf("%d threats are played, %d due", len(played), len(due))
	}
}

// testNames are the tests and fuzz targets of the whole repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(code, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
