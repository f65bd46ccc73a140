package simclock

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// rooms are the product's packages that ask for the time, or let others go first.
const rooms = "crypto rpc store tracker courier mailserver client"

// Overlay writes into dir what `go build -overlay` needs for a product, whose
// module lies at root, that asks this package for the time, and for a Go, below
// goroot, whose runtime throws no dice. It returns the name of the file that says
// so.
func Overlay(root, goroot, dir string) (string, error) {
	replace := map[string]string{}
	for _, room := range strings.Fields(rooms) {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			changed, any := rewrite(string(text))
			if !any {
				return nil
			}
			copied := filepath.Join(dir, fmt.Sprintf("overlay%d.go", len(replace)))
			replace[path] = copied
			return os.WriteFile(copied, []byte(changed), 0o600)
		})
		if err != nil {
			return "", fmt.Errorf("overlay: %w", err)
		}
	}
	if err := dice(goroot, dir, replace); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

// rewrite has one file ask this package; any is false where it asks nobody.
func rewrite(text string) (changed string, any bool) {
	asked := strings.NewReplacer("time.Now()", "simclock.Now()", "time.Since(", "simclock.Since(", "time.Until(", "simclock.Until(",
		"runtime.Gosched()", "simclock.Yield()")
	if changed = asked.Replace(text); changed == text {
		return text, false
	}
	// What the file imports it may not need any more.
	uses := ""
	for line, needs := range map[string]string{"\t\"time\"\n": "var _ time.Duration\n", "\t\"runtime\"\n": "var _ = runtime.NumCPU\n"} {
		if strings.Contains(text, line) {
			uses += needs
		}
	}
	head, rest, found := strings.Cut(changed, "\nimport (\n")
	if !found {
		head, rest, _ = strings.Cut(changed, "\nimport ")
		line, after, _ := strings.Cut(rest, "\n")
		rest = "\t" + line + "\n)\n" + after
	}
	return head + "\nimport (\n\t\"airdispatch/prove/simclock\"\n" + rest + "\n" + uses, true
}
