package airdispatch_test

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// houseRules lists the rules, each with trees to try it on.
func houseRules() []rule {
	return []rule{
		{"floors", floorFaults, floorsBroken, floorsSound},
		{"package comments", packageCommentFaults, packageCommentsBroken, packageCommentsSound},
		{"doc comments", docFaults, docsBroken, docsSound},
		{"budgets", budgetFaults, budgetsBroken(), budgetsSound},
		{"state", stateFaults, stateBroken, stateSound},
		{"pure", pureFaults, pureBroken, pureSound},
		{"outside", outsideFaults, outsideBroken, outsideSound},
		{"crypto", cryptoFaults, cryptoBroken, cryptoSound},
		{"sleep", sleepFaults, sleepBroken, sleepSound},
		{"leaks", leakFaults, leaksBroken, leaksSound},
		{"names", nameFaults, namesBroken, namesSound},
		{"places", placeFaults, placesBroken, placesSound},
		{"citations", citationFaults, citationsBroken, citationsSound},
	}
}

// floorOf returns the floor of room, and whether it has one.
func floorOf(room string) (int, bool) {
	if isDoor(room) {
		return doorFloor, true
	}
	floor, ok := floors[room]
	return floor, ok
}

// isDoor reports whether room is a command or a part of one.
func isDoor(room string) bool { return under(room, "cmd") || under(room, "tools") }

// floorFaults: imports only go down, and rooms on one floor do not know each
// other. A sub-room may know the room that it lies in, and doors may share
// what lies below cmd/internal.
func floorFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.files {
		if f.test {
			continue
		}
		from, ok := floorOf(f.room)
		if !ok {
			faults = append(faults, h.fault(f, f.syntax.Name, f.room,
				"room %s is on no floor: give it a line in the table of house_tables_test.go", f.room))
			continue
		}
		for p, spec := range f.imports() {
			to, ours := strings.CutPrefix(p, module+"/")
			if !ours {
				continue
			}
			switch floor, ok := floorOf(to); {
			case !ok:
				faults = append(faults, h.fault(f, spec, to, "imports %s, which is on no floor", to))
			case floor > from:
				faults = append(faults, h.fault(f, spec, to,
					"%s (floor %d) imports %s (floor %d): imports only go down", f.room, from, to, floor))
			case floor == from && !sameHousehold(f.room, to):
				faults = append(faults, h.fault(f, spec, to,
					"%s imports %s: rooms on one floor do not know each other", f.room, to))
			}
		}
	}
	return faults
}

// sameHousehold reports whether from may know to although both lie on one floor.
func sameHousehold(from, to string) bool {
	return under(from, to) || under(from, "cmd") && under(to, "cmd/internal")
}

var sentenceEnd = regexp.MustCompile(`[.!?:](\s|$)`)

// packageCommentFaults: one package comment a room, and outside the doors one
// that specifies the room.
func packageCommentFaults(h *house) []fault {
	var faults []fault
	for room, files := range h.rooms() {
		var with []*file
		for _, f := range files {
			if f.syntax.Doc != nil {
				with = append(with, f)
			}
		}
		switch {
		case len(with) == 0:
			faults = append(faults, h.fault(files[0], files[0].syntax.Name, room, "room %s has no package comment", room))
		case len(with) > 1:
			faults = append(faults, h.fault(with[1], with[1].syntax.Name, room,
				"room %s has a second package comment; the first is in %s", room, with[0].path))
		default:
			text := with[0].syntax.Doc.Text()
			if n := len(sentenceEnd.FindAllString(text, -1)); n < minSentences && !isDoor(room) {
				faults = append(faults, h.fault(with[0], with[0].syntax.Name, room,
					"the package comment of %s has %d sentences; it is the room's specification, so at least %d", room, n, minSentences))
			}
		}
	}
	return faults
}

// budgetFaults: what is too long to read is too long.
func budgetFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.files {
		if f.generated {
			continue
		}
		if f.lines > maxFileLines {
			faults = append(faults, h.fault(f, f.syntax.Name, "", "the file has %d lines; at most %d", f.lines, maxFileLines))
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				faults = append(faults, funcBudget(h, f, n)...)
			case *ast.TypeSpec:
				if i, ok := n.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
					faults = append(faults, h.fault(f, n, n.Name.Name,
						"interface %s has %d methods; at most %d", n.Name.Name, i.Methods.NumFields(), maxMethods))
				}
			}
			return true
		})
	}
	return faults
}

// funcBudget looks at one function's length and parameters.
func funcBudget(h *house, f *file, d *ast.FuncDecl) []fault {
	var faults []fault
	limit := maxFuncLines
	if f.test {
		limit = maxTestFuncLines
	}
	lines := h.fset.Position(d.End()).Line - h.fset.Position(d.Pos()).Line + 1
	if lines > limit {
		faults = append(faults, h.fault(f, d, d.Name.Name, "func %s has %d lines; at most %d", d.Name.Name, lines, limit))
	}
	if n := d.Type.Params.NumFields(); n > maxParams {
		faults = append(faults, h.fault(f, d, d.Name.Name, "func %s has %d parameters; at most %d", d.Name.Name, n, maxParams))
	}
	return faults
}

// pureFaults: crypto and message know no world and no clock.
func pureFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.code() {
		if !slices.ContainsFunc(pureRooms, func(r string) bool { return under(f.room, r) }) {
			continue
		}
		for p, spec := range f.imports() {
			if slices.Contains(pureForbidden, p) {
				faults = append(faults, h.fault(f, spec, p, "%s imports %s: the room is pure", f.room, p))
			}
		}
		for _, s := range f.uses("time") {
			if slices.Contains(clockReads, s.Sel.Name) {
				faults = append(faults, h.fault(f, s, "time."+s.Sel.Name, "%s uses time.%s: the time comes in as an argument", f.room, s.Sel.Name))
			}
		}
	}
	return faults
}

// outsideFaults: below the doors nobody makes randomness, connections or
// listeners.
func outsideFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.code() {
		if isDoor(f.room) || f.room == "internal/town" {
			continue
		}
		for p, spec := range f.imports() {
			if slices.Contains(randomImports, p) {
				faults = append(faults, h.fault(f, spec, p, "%s imports %s: randomness is an io.Reader that comes in through Config", f.room, p))
			}
		}
		for p, names := range outsideWorld {
			for _, s := range f.uses(p) {
				if slices.Contains(names, s.Sel.Name) {
					what := path.Base(p) + "." + s.Sel.Name
					faults = append(faults, h.fault(f, s, what, "%s uses %s: dialers and listeners come in through Config", f.room, what))
				}
			}
		}
		faults = append(faults, defaultClients(h, f)...)
	}
	return faults
}

// defaultClients finds http clients and transports that would dial by
// themselves, past the guard.
func defaultClients(h *house, f *file) []fault {
	var faults []fault
	needs := map[string][]string{"Client": {"Transport"}, "Transport": {"DialContext", "DialTLSContext"}}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		s, ok := lit.Type.(*ast.SelectorExpr)
		if !ok || !isPackage(s.X, "http") || needs[s.Sel.Name] == nil {
			return true
		}
		for _, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if id, ok := kv.Key.(*ast.Ident); ok && slices.Contains(needs[s.Sel.Name], id.Name) {
					return true
				}
			}
		}
		faults = append(faults, h.fault(f, lit, "http."+s.Sel.Name,
			"http.%s without %s would dial by itself", s.Sel.Name, strings.Join(needs[s.Sel.Name], " or ")))
		return true
	})
	return faults
}

// cryptoFaults: the things that keys do are done in crypto alone.
func cryptoFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.code() {
		if under(f.room, "crypto") {
			continue
		}
		for p, spec := range f.imports() {
			ours := under(p, "crypto") || under(p, "golang.org/x/crypto")
			if ours && !cryptoAllowed(f.room, p) {
				faults = append(faults, h.fault(f, spec, p, "%s imports %s: only crypto does", f.room, p))
			}
		}
	}
	return faults
}

// cryptoAllowed reports whether room may import the crypto package p.
func cryptoAllowed(room, p string) bool {
	for dir, allowed := range cryptoBeyond {
		if under(room, dir) && slices.Contains(allowed, p) {
			return true
		}
	}
	return false
}

// sleepFaults: a test waits for what happens, never for a while. In a
// synctest bubble a sleep takes no time and is the way to move the clock.
func sleepFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.files {
		if !f.test && f.room != "internal/town" && f.room != "store/storetest" {
			continue
		}
		bubbles := bubblesOf(h, f)
		for _, s := range f.uses("time") {
			inside := slices.ContainsFunc(bubbles, func(b ast.Node) bool { return b.Pos() <= s.Pos() && s.Pos() < b.End() })
			if s.Sel.Name == "Sleep" && !inside {
				faults = append(faults, h.fault(f, s, "time.Sleep", "time.Sleep in a test: wait for the thing itself, or run in a synctest bubble"))
			}
		}
	}
	return faults
}

// leakFaults: the tests of every room fail when one leaves a goroutine behind.
func leakFaults(h *house) []fault {
	first, checked := map[string]*file{}, map[string]bool{}
	for _, f := range h.files {
		if !f.test {
			continue
		}
		if first[f.room] == nil {
			first[f.room] = f
		}
		for _, s := range f.uses("go.uber.org/goleak") {
			checked[f.room] = checked[f.room] || s.Sel.Name == "VerifyTestMain"
		}
	}
	var faults []fault
	for room, f := range first {
		if !checked[room] {
			faults = append(faults, h.fault(f, f.syntax.Name, room, "no TestMain of %s calls goleak.VerifyTestMain", room))
		}
	}
	return faults
}

// bubblesOf returns the nodes of f that run inside a synctest bubble: what is
// passed to synctest.Test, and the functions of f that are passed by name.
func bubblesOf(h *house, f *file) []ast.Node {
	var bubbles []ast.Node
	named := map[string]bool{}
	for _, other := range h.files {
		if other.room != f.room {
			continue
		}
		ast.Inspect(other.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && isPackage(s.X, "synctest") && s.Sel.Name == "Test" {
				bubbles = append(bubbles, call)
				for _, a := range call.Args {
					if id, ok := a.(*ast.Ident); ok {
						named[id.Name] = true
					}
				}
			}
			return true
		})
	}
	for _, d := range f.syntax.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && named[fn.Name.Name] {
			bubbles = append(bubbles, fn)
		}
	}
	return bubbles
}

var (
	getName   = regexp.MustCompile(`^[Gg]et[A-Z]`)
	emptyType = regexp.MustCompile(`(Manager|Helper|Util|Utils)$`)
)

// nameFaults: a name says what the thing is for.
func nameFaults(h *house) []fault {
	var faults []fault
	for _, f := range h.files {
		if f.generated {
			continue
		}
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
		for _, part := range append(strings.Split(f.room, "/"), stem) {
			if slices.Contains(emptyNames, part) {
				faults = append(faults, h.fault(f, f.syntax.Name, part, "%q says nothing about what is kept there", part))
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if getName.MatchString(n.Name.Name) {
					faults = append(faults, h.fault(f, n, n.Name.Name, "func %s: a bare noun reads", n.Name.Name))
				}
			case *ast.TypeSpec:
				if getName.MatchString(n.Name.Name) || emptyType.MatchString(n.Name.Name) {
					faults = append(faults, h.fault(f, n, n.Name.Name, "type %s: say what it is", n.Name.Name))
				}
			}
			return true
		})
	}
	return faults
}

// places are paths of one machine and hosts of one network. They are put
// together here so that this file does not name them either.
var places = regexp.MustCompile(`(^|[^\w.])/` + `work/` + `|` +
	strings.Join([]string{
		"proxy" + `\.golang\.org`, "sum" + `\.golang\.org`, "registry" + `\.npmjs\.org`,
		"deb" + `\.debian\.org`, "pypi" + `\.org`, "index" + `\.crates\.io`,
	}, "|"))

// placeFaults: nothing that is committed names a path of the machine it was
// written on, or the host of a registry.
func placeFaults(h *house) []fault {
	var faults []fault
	for p, text := range h.texts {
		for i, line := range strings.Split(text, "\n") {
			if found := places.FindString(line); found != "" {
				faults = append(faults, fault{p, i + 1, found, "names the place " + strings.TrimSpace(found)})
			}
		}
	}
	return faults
}

var (
	citation = regexp.MustCompile(`docs/protocol\.md §(\d+(?:\.\d+)*)`)
	section  = regexp.MustCompile(`(?m)^#+ +§?(\d+(?:\.\d+)*)`)
)

// citationFaults: a comment that sends the reader to a section of the
// protocol sends them to one that is there.
func citationFaults(h *house) []fault {
	protocol, written := h.texts["docs/protocol.md"]
	if !written {
		return nil
	}
	there := map[string]bool{}
	for _, m := range section.FindAllStringSubmatch(protocol, -1) {
		there[m[1]] = true
	}
	var faults []fault
	for _, f := range h.files {
		for _, g := range f.syntax.Comments {
			for _, m := range citation.FindAllStringSubmatch(g.Text(), -1) {
				if !there[m[1]] {
					faults = append(faults, h.fault(f, g, m[1], "docs/protocol.md has no section %s", m[1]))
				}
			}
		}
	}
	return faults
}
