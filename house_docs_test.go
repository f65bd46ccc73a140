package airdispatch_test

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// docFaults: everything exported is documented, from its name on. A constant,
// a variable or an interface's method may have its comment on its own line,
// and one comment above a list of constants speaks for all of them.
func docFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.code() {
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
					faults = append(faults, docFault(h, f, d.Name, d.Doc)...)
				}
			case *ast.GenDecl:
				faults = append(faults, declDocs(h, f, d)...)
			}
		}
	}
	return faults
}

// receiver returns the name of the type that d is a method of.
func receiver(d *ast.FuncDecl) string {
	x := d.Recv.List[0].Type
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

// declDocs looks at the types, constants and variables of one declaration.
func declDocs(h *house, f *file, d *ast.GenDecl) []fault {
	var faults []fault
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				faults = append(faults, docFault(h, f, s.Name, either(s.Doc, d))...)
				faults = append(faults, methodDocs(h, f, s)...)
			}
		case *ast.ValueSpec:
			listed := d.Tok == token.CONST && d.Doc != nil && s.Doc == nil && d.Lparen.IsValid()
			if s.Names[0].IsExported() && s.Comment == nil && !listed {
				faults = append(faults, docFault(h, f, s.Names[0], either(s.Doc, d))...)
			}
		}
	}
	return faults
}

// either returns the comment of a spec, or the declaration's if the spec
// stands alone in it.
func either(own *ast.CommentGroup, d *ast.GenDecl) *ast.CommentGroup {
	if own == nil && d.Lparen == token.NoPos {
		return d.Doc
	}
	return own
}

// methodDocs looks at the methods of an interface: each is a promise.
func methodDocs(h *house, f *file, s *ast.TypeSpec) []fault {
	i, ok := s.Type.(*ast.InterfaceType)
	if !ok {
		return nil
	}
	var faults []fault
	for _, m := range i.Methods.List {
		if len(m.Names) == 1 && m.Names[0].IsExported() && m.Comment == nil {
			faults = append(faults, docFault(h, f, m.Names[0], m.Doc)...)
		}
	}
	return faults
}

// docFault looks at one name and its comment.
func docFault(h *house, f *file, name *ast.Ident, doc *ast.CommentGroup) []fault {
	words := strings.Fields(doc.Text())
	if len(words) == 0 {
		return []fault{h.fault(f, name, name.Name, "%s has no doc comment", name.Name)}
	}
	if slices.Contains([]string{"A", "An", "The"}, words[0]) && len(words) > 1 {
		words = words[1:]
	}
	first, _, _ := strings.Cut(words[0], "'")
	if strings.TrimRight(first, ".,:;") != name.Name {
		return []fault{h.fault(f, name, name.Name, "the comment of %s does not begin with its name", name.Name)}
	}
	return nil
}

// stateFaults: no func init, and nothing at package level that could change.
func stateFaults(h *house) []fault {
	var faults []fault
	written := map[string]bool{} // room:name of what some function assigns to
	for _, f := range h.code() {
		for _, name := range assigned(f) {
			written[f.room+":"+name] = true
		}
	}
	for _, f := range h.files {
		if f.generated {
			continue
		}
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					faults = append(faults, h.fault(f, d, "init", "func init runs behind everybody's back"))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR && !f.test {
					faults = append(faults, varFaults(h, f, d, written)...)
				}
			}
		}
	}
	return faults
}

// varFaults looks at the package-level variables of one declaration.
func varFaults(h *house, f *file, d *ast.GenDecl, written map[string]bool) []fault {
	var faults []fault
	for _, spec := range d.Specs {
		s, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, name := range s.Names {
			fixed := embedded(d, s) || i < len(s.Values) && isFixed(s.Values[i])
			switch {
			case name.Name == "_":
			case !fixed:
				faults = append(faults, h.fault(f, name, name.Name,
					"var %s is state at package level; only errors, tables and compiled expressions may stand there", name.Name))
			case written[f.room+":"+name.Name]:
				faults = append(faults, h.fault(f, name, name.Name, "var %s is written to", name.Name))
			}
		}
	}
	return faults
}

// embedded reports whether a go:embed line fills the variable.
func embedded(d *ast.GenDecl, s *ast.ValueSpec) bool {
	for _, g := range []*ast.CommentGroup{d.Doc, s.Doc} {
		if g != nil && slices.ContainsFunc(g.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// isFixed reports whether x makes a value that stays as it is: a table, an
// error, a conversion, or a table computed on the spot.
func isFixed(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CompositeLit:
		s, ok := x.Type.(*ast.SelectorExpr)
		return !ok || !isPackage(s.X, "sync") && !isPackage(s.X, "atomic")
	case *ast.CallExpr:
		switch fun := x.Fun.(type) {
		case *ast.ArrayType, *ast.FuncLit:
			return true
		case *ast.Ident:
			return slices.Contains(fixedCalls, fun.Name)
		case *ast.SelectorExpr:
			if id, ok := fun.X.(*ast.Ident); ok {
				return slices.Contains(fixedCalls, id.Name+"."+fun.Sel.Name)
			}
			return fun.Sel.Name == "WithPadding" || fun.Sel.Name == "Strict" // of base32 and base64
		}
	}
	return false
}

// assigned returns the package-level names that f's functions write to.
func assigned(f *file) []string {
	var names []string
	note := func(x ast.Expr) {
		for {
			switch t := x.(type) {
			case *ast.IndexExpr:
				x = t.X
				continue
			case *ast.SelectorExpr:
				x = t.X
				continue
			case *ast.Ident:
				if t.Obj == nil || f.syntax.Scope.Lookup(t.Name) == t.Obj {
					names = append(names, t.Name)
				}
			}
			return
		}
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				note(l)
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (id.Name == "delete" || id.Name == "clear") {
				note(n.Args[0])
			}
		}
		return true
	})
	return names
}
