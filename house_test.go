package airdispatch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is this module's import path, as go.mod has it.
const module = "airdispatch"

// TestHouse holds the tree to the rules of the house, one subtest a rule.
func TestHouse(t *testing.T) {
	t.Parallel()
	h := readHouse(t, os.DirFS("."))
	rules := houseRules()
	excused := make([]bool, len(exceptions))
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(h) {
				if i := excuse(r.name, f); i >= 0 {
					excused[i] = true
					continue
				}
				t.Errorf("%s:%d: %s", f.file, f.line, f.text)
			}
		})
	}
	for i, e := range exceptions {
		if _, there := h.texts[e.file]; there && !excused[i] {
			t.Errorf("exceptions: %s %s %q excuses nothing any more: take it out", e.rule, e.file, e.subject)
		}
	}
}

// TestHouseRulesCanFail shows each rule small trees that break it, and one
// that keeps it: a rule that reports nothing on the first is worth nothing,
// one that reports anything on the second gets in the way.
func TestHouseRulesCanFail(t *testing.T) {
	t.Parallel()
	for _, r := range houseRules() {
		t.Run(r.name, func(t *testing.T) {
			if len(r.broken) == 0 || len(r.sound) == 0 {
				t.Fatal("the rule has no tree to be tried on")
			}
			for i, tree := range r.broken {
				if faults := r.check(newHouse(t, tree)); len(faults) == 0 {
					t.Errorf("broken tree %d passes:\n%v", i, tree)
				}
			}
			for _, f := range r.check(newHouse(t, r.sound)) {
				t.Errorf("sound tree: %s:%d: %s", f.file, f.line, f.text)
			}
		})
	}
}

// A rule finds faults in a house.
type rule struct {
	name   string
	check  func(*house) []fault
	broken []tree // each breaks the rule
	sound  tree   // keeps it
}

// A tree is a small house in memory: path to content.
type tree map[string]string

// A fault is one place where a rule is broken.
type fault struct {
	file    string
	line    int
	subject string // the name or import path at fault, for the exceptions
	text    string
}

// A house is the tree as the rules see it.
type house struct {
	fset  *token.FileSet
	files []*file
	texts map[string]string // every text file by its path from the root
}

// A file is one Go file of this module.
type file struct {
	path      string
	room      string // its directory, "." for the root
	test      bool
	generated bool
	lines     int
	syntax    *ast.File
}

// readHouse reads every text file below root. Directories whose names begin
// with a dot are left out, but for .ci, and so is what a build leaves behind.
func readHouse(t *testing.T, root fs.FS) *house {
	t.Helper()
	const largest = 4 << 20 // beyond it a file is data, not text
	texts := tree{}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && p != "." && p != ".ci"
			if hidden || p == "bin" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > largest {
			return err
		}
		b, err := fs.ReadFile(root, p)
		if err == nil && !strings.Contains(string(b), "\x00") {
			texts[p] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return newHouse(t, texts)
}

// newHouse parses the Go files among texts, except those in testdata and in
// modules of their own.
func newHouse(t *testing.T, texts tree) *house {
	t.Helper()
	h := &house{fset: token.NewFileSet(), texts: texts}
	for p, src := range texts {
		if path.Ext(p) != ".go" || elsewhere(texts, path.Dir(p)) {
			continue
		}
		syntax, err := parser.ParseFile(h.fset, p, src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		h.files = append(h.files, &file{
			path:      p,
			room:      path.Dir(p),
			test:      strings.HasSuffix(p, "_test.go"),
			generated: ast.IsGenerated(syntax),
			lines:     strings.Count(src, "\n"),
			syntax:    syntax,
		})
	}
	slices.SortFunc(h.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	return h
}

// elsewhere reports whether dir belongs to test data or to another module.
func elsewhere(texts tree, dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, own := texts[dir+"/go.mod"]; own || path.Base(dir) == "testdata" {
			return true
		}
	}
	return false
}

// rooms returns the hand-written non-test files of each directory.
func (h *house) rooms() map[string][]*file {
	rooms := map[string][]*file{}
	for _, f := range h.code() {
		rooms[f.room] = append(rooms[f.room], f)
	}
	return rooms
}

// code returns the hand-written files that are no tests.
func (h *house) code() []*file {
	return slices.DeleteFunc(slices.Clone(h.files), func(f *file) bool { return f.test || f.generated })
}

// fault makes a fault at node n of f.
func (h *house) fault(f *file, n ast.Node, subject, format string, args ...any) fault {
	return fault{f.path, h.fset.Position(n.Pos()).Line, subject, fmt.Sprintf(format, args...)}
}

// imports returns the import paths of f, each with its node.
func (f *file) imports() map[string]*ast.ImportSpec {
	specs := map[string]*ast.ImportSpec{}
	for _, s := range f.syntax.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			specs[p] = s
		}
	}
	return specs
}

// uses returns every selector pkg.Name in f, where pkg is how f names the
// package at importPath.
func (f *file) uses(importPath string) []*ast.SelectorExpr {
	spec, ok := f.imports()[importPath]
	if !ok {
		return nil
	}
	name := path.Base(importPath)
	if spec.Name != nil {
		name = spec.Name.Name
	}
	var found []*ast.SelectorExpr
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && isPackage(s.X, name) {
			found = append(found, s)
		}
		return true
	})
	return found
}

// isPackage reports whether x is the package name itself and no local
// variable that hides it.
func isPackage(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name && id.Obj == nil
}

// under reports whether room is dir or lies below it.
func under(room, dir string) bool {
	return room == dir || strings.HasPrefix(room, dir+"/")
}
