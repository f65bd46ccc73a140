// Command adctl is a person's door to Airdispatch: identities, mail, posts, and
// a whole network to try it on. See docs/adctl.md.
//
// Data goes to standard output, words to standard error, so that every command
// can stand in a pipe. The rooms below decide; here are flags, files and words.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() {
	os.Exit(mainCode())
}

// mainCode runs the program until it ends or a signal comes. After the first
// signal the default is restored, so that a second one ends it at once.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], std{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.LookupEnv})
}

// std is all that the program reads from and writes to.
type std struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) (string, bool)
}

// isTerminal reports whether v is a file that is a terminal.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
