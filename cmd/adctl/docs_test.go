package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// page is docs/adctl.md in the pieces that stand together: rows of tables,
// paragraphs, and lists with the line above them.
func page(t *testing.T) (text string, pieces []string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/adctl.md")
	if err != nil {
		t.Fatal(err)
	}
	var piece strings.Builder
	flush := func() {
		if piece.Len() > 0 {
			pieces = append(pieces, piece.String())
		}
		piece.Reset()
	}
	for line := range strings.Lines(string(b)) {
		row := strings.HasPrefix(line, "|")
		if row || strings.TrimSpace(line) == "" {
			flush()
		}
		piece.WriteString(line)
		if row {
			flush()
		}
	}
	flush()
	return string(b), pieces
}

// about are the pieces that name something as code: `read`, or `read ID`.
func about(pieces []string, name string) string {
	var out strings.Builder
	for _, p := range pieces {
		if strings.Contains(p, "`"+name+"`") || strings.Contains(p, "`"+name+" ") || strings.Contains(p, "`"+name+"[") {
			out.WriteString(p)
		}
	}
	return out.String()
}

// leaves calls each for every command that does something, with its name as it
// is typed.
func leaves(cmd *cobra.Command, each func(name string, cmd *cobra.Command)) {
	for _, sub := range cmd.Commands() {
		if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		if !sub.HasSubCommands() {
			each(strings.TrimPrefix(sub.CommandPath(), "adctl "), sub)
		}
		leaves(sub, each)
	}
}

// TestPageNamesCommands: docs/adctl.md names every command, and beside it every
// flag that it takes.
func TestPageNamesCommands(t *testing.T) {
	t.Parallel()
	_, pieces := page(t)
	seen := 0
	leaves((&app{}).root(), func(name string, cmd *cobra.Command) {
		seen++
		said := about(pieces, name)
		if said == "" {
			t.Errorf("docs/adctl.md does not name the command %q", name)
			return
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(said, "--"+f.Name) && (f.Shorthand == "" || !strings.Contains(said, "-"+f.Shorthand+" ")) {
				t.Errorf("docs/adctl.md does not say that %q takes --%s", name, f.Name)
			}
		})
	})
	if seen < 30 {
		t.Errorf("only %d commands were looked at", seen)
	}
}

// TestPageNamesGlobalFlags: with the variable that stands for each.
func TestPageNamesGlobalFlags(t *testing.T) {
	t.Parallel()
	_, pieces := page(t)
	(&app{}).root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		variable := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if !slices.ContainsFunc(pieces, func(p string) bool { return strings.Contains(p, "--"+f.Name) && strings.Contains(p, variable) }) {
			t.Errorf("docs/adctl.md does not name --%s with %s", f.Name, variable)
		}
	})
}

// TestPageNamesFields: every field of every object that --json prints.
func TestPageNamesFields(t *testing.T) {
	t.Parallel()
	text, _ := page(t)
	seen := 0
	for name, where := range jsonFields(t) {
		seen++
		if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+name+"[]`") && !strings.Contains(text, `"`+name+`":`) {
			t.Errorf("docs/adctl.md does not name the field %q of %s", name, where)
		}
	}
	if seen < 40 {
		t.Errorf("only %d fields were found", seen)
	}
}

// jsonFields are the names in the json tags of this program, with the type that
// has them.
func jsonFields(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			ast.Inspect(spec.Type, func(n ast.Node) bool {
				if field, ok := n.(*ast.Field); ok && field.Tag != nil {
					tag, _ := strconv.Unquote(field.Tag.Value)
					if json, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ","); json != "" && json != "-" {
						out[json] = spec.Name.Name
					}
				}
				return true
			})
			return false
		})
	}
	return out
}

// TestPageNamesExitCodes: each code that scripts may rely on has its row.
func TestPageNamesExitCodes(t *testing.T) {
	t.Parallel()
	text, _ := page(t)
	for _, code := range []int{0, 1, 2, 3, 4, 5, 6, 130} {
		if !strings.Contains(text, "\n| "+strconv.Itoa(code)+" | ") {
			t.Errorf("docs/adctl.md has no row for exit code %d", code)
		}
	}
}
