// Command admaild runs a mail server: it hosts addresses, keeps what their
// owners send, takes alerts for them, and fetches what they read. See
// docs/operating.md.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/cmd/internal/maild"
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
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// run is the program with everything that it touches handed in.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return maild.Program().Run(ctx, args, daemon.Std{In: stdin, Out: stdout, Err: stderr})
}
