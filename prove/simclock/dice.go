package simclock

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// edit is one place where Go's runtime throws dice, or looks at the real time to
// decide who runs, and what it does instead.
type edit struct{ file, was, is string }

// edits leave one thread of the runtime nothing to choose: the same program does
// the same in the same order. Which order that is, the program must not care.
func edits() []edit {
	const seed = "0x9e3779b97f4a7c15"
	return []edit{
		// Which of several cases that are ready a select takes.
		{"runtime/select.go", "j := cheaprandn(uint32(norder + 1))", "j := uint32(norder)"},
		// Which of several timers of one moment fires first.
		{"runtime/time.go", "t.rand = cheaprand()", "t.rand = 0"},
		// In which order a map is read.
		{"runtime/rand.go", "func maps_rand() uint64 {\n\treturn rand()", "func maps_rand() uint64 {\n\treturn " + seed},
		{"runtime/rand.go", "func rand32() uint32 {\n\treturn uint32(rand())", "func rand32() uint32 {\n\treturn 0x9e3779b9"},
		{"runtime/alg.go", "hashkey[i] = uintptr(bootstrapRand())", "hashkey[i] = uintptr(" + seed + ")"},
		{"runtime/alg.go", "key[i] = bootstrapRand()", "key[i] = " + seed},
		// In which order the contexts below one that is cancelled hear of it.
		{"context/context.go", "children map[canceler]struct{} // set", "children map[canceler]uint64 // set"},
		{"context/context.go", "p.children = make(map[canceler]struct{})", "p.children = make(map[canceler]uint64)"},
		{"context/context.go", "p.children[child] = struct{}{}", "p.children[child] = born.Add(1)"},
		{"context/context.go", "// A cancelCtx can be canceled.", "var born atomic.Uint64\n\n// A cancelCtx can be canceled."},
		{"context/context.go", "for child := range c.children {\n", eldest},
		// Who of those that wait for a connection to a database gets it.
		{"database/sql/sql.go", "pick := rand.IntN(len(s.s))", "pick := min(0, rand.IntN(len(s.s)))"},
		// Who has run, or been in a system call, for so long that it is somebody
		// else's turn.
		{"runtime/proc.go", "func retake(now int64) uint32 {\n", "func retake(now int64) uint32 {\n\tif now != 0 {\n\t\treturn 0\n\t}\n"},
		// Who has waited for so long that a mutex is handed over.
		{"internal/sync/mutex.go", "starving = starving || runtime_nanotime()-waitStartTime > starvationThresholdNs", "starving = starving || waitStartTime < 0"},
	}
}

// eldest goes through a context's children in the order in which they were made.
const eldest = `for len(c.children) > 0 {
		var child canceler
		least := ^uint64(0)
		for one, n := range c.children {
			if n < least {
				child, least = one, n
			}
		}
		delete(c.children, child)
`

// dice writes the edited files of the runtime below goroot into dir, and adds them
// to what is to be replaced.
func dice(goroot, dir string, replace map[string]string) error {
	for _, e := range edits() {
		path := filepath.Join(goroot, "src", e.file)
		from := path
		if copied, ok := replace[path]; ok {
			from = copied
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
		if n := strings.Count(string(text), e.was); n != 1 {
			return fmt.Errorf("overlay: %s of this Go has %q %d times, not once", e.file, e.was, n)
		}
		copied := filepath.Join(dir, "runtime-"+strings.ReplaceAll(e.file, "/", "-"))
		if err := os.WriteFile(copied, []byte(strings.Replace(string(text), e.was, e.is, 1)), 0o600); err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
		replace[path] = copied
	}
	return nil
}
