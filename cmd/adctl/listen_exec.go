package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// endWithin is how long a process that was asked to end may take, with all that it has started.
const endWithin = 5 * time.Second

// process runs `sh -c command` for a caller: the connection is its input and output. The caller
// hears that all was said when the process has ended with 0, and otherwise that it was cut off. Where
// the caller is cut off, or ctx ends, the process is ended, and what it has started with it.
func (a *app) process(ctx context.Context, conn liveConn, command string) error {
	cmd := exec.Command("sh", "-c", command)
	// Whoever calls may see what the process sees of its environment.
	secret := func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, envPrefix) && strings.HasSuffix(name, "PASSPHRASE")
	}
	cmd.Env = append(slices.DeleteFunc(os.Environ(), secret), envPrefix+"PEER="+conn.Peer().String(), envPrefix+"PROTOCOL="+conn.Protocol())
	cmd.Stderr = a.err
	lead(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return errors.Join(err, conn.Abort())
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return errors.Join(err, conn.Abort())
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, conn.Abort())
	}
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	over := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		from := &noting{Reader: conn}
		_, _ = io.Copy(in, from) // a process need not read
		if from.err != nil {
			cut(from.err) // and its input has no end that would look in order
			return
		}
		_ = in.Close() // as above
	})
	all.Go(func() {
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		_ = conn.Abort() // both copies end, whoever still holds the pipes
		_ = out.Close()
		endGroup(cmd.Process.Pid)
	})
	if _, err := io.Copy(conn, out); err != nil {
		_ = out.Close() // the process learns of it when it writes
	}
	err = cmd.Wait()
	close(over)
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("its process was ended: %w", cause)
	}
	if err != nil {
		err = errors.Join(err, conn.Abort())
	} else {
		err = conn.Close()
	}
	all.Wait()
	return err
}
