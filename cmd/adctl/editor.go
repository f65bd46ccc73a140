package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"airdispatch/client"
)

// errUnwritten says that an editor was left without words. The file is gone.
var errUnwritten = errors.New("nothing was written or changed; nothing is sent")

// editor is the command that the person writes with: $VISUAL, else $EDITOR. It
// is empty where there is none, and where nobody sits at a terminal.
func (a *app) editor() string {
	if !isTerminal(a.in) || !isTerminal(a.err) {
		return ""
	}
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if v, ok := a.env(name); ok && strings.TrimSpace(v) != "" {
			return v
		}
	}
	return ""
}

// writing is a body that is about to be used.
type writing struct {
	// args are what is left of the command line: a file, -, or nothing.
	args []string
	// was is what an editor begins with; nil is nothing.
	was func() (string, error)
	use func(body string) error
}

// write takes a body from the file that an argument names or from standard
// input, or lets the person write it in an editor, and uses it.
func (a *app) write(ctx context.Context, w writing) error {
	editor := a.editor()
	if len(w.args) != 0 || editor == "" {
		body, err := a.body(w.args)
		if err != nil {
			return err
		}
		return w.use(body)
	}
	var was string
	if w.was != nil {
		var err error
		if was, err = w.was(); err != nil {
			return err
		}
	}
	path, err := a.draftFile(was)
	if err != nil {
		return err
	}
	err = a.edited(ctx, editor, path, was, w.use)
	if _, kept := errors.AsType[*client.DraftError](err); err == nil || kept || errors.Is(err, errUnwritten) {
		return errors.Join(err, os.Remove(path))
	}
	if b, readErr := os.ReadFile(path); readErr == nil && string(b) == was {
		// Nothing was written that could be lost.
		return errors.Join(err, os.Remove(path))
	}
	a.sayf("adctl: what you wrote is in %s", path)
	return err
}

// draftFile makes a file in the home for an editor. Nobody else can read it:
// CreateTemp gives it the mode 0600, and the home is 0700.
func (a *app) draftFile(was string) (string, error) {
	f, err := os.CreateTemp(a.home, "letter-*.md")
	if err != nil {
		return "", fmt.Errorf("a file to write in: %w", err)
	}
	_, err = f.WriteString(was)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("a file to write in: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// edited runs the editor and uses what it leaves.
func (a *app) edited(ctx context.Context, editor, path, was string, use func(string) error) error {
	cmd := shell(ctx, editor, path)
	// Standard output may be a pipe that takes the id; the terminal is the other.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.err, a.err
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the editor %q: %w; nothing is sent", editor, err)
	}
	b, err := readBounded(path)
	if err != nil {
		return err
	}
	body, err := text(b)
	if err != nil {
		return err
	}
	if strings.TrimSpace(body) == "" || body == was {
		return errUnwritten
	}
	return use(body)
}

// shell runs what stands in $EDITOR as every program does: a shell takes it
// apart, so that it may hold flags and quotes.
func shell(ctx context.Context, editor, path string) *exec.Cmd {
	if runtime.GOOS == "windows" {
		words := append(strings.Fields(editor), path)
		return exec.CommandContext(ctx, words[0], words[1:]...)
	}
	return exec.CommandContext(ctx, "sh", "-c", editor+` "$@"`, editor, path)
}
