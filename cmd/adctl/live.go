package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
	"airdispatch/relay"
)

// halfCloser is a connection that can end one direction.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// cutOff ends a connection so that its other end knows that it has not heard all.
func cutOff(c net.Conn) {
	switch c := c.(type) {
	case interface{ Abort() error }:
		_ = c.Abort() // it is over in any case
	case *net.TCPConn:
		_ = c.SetLinger(0) // a reset, and no end in order
		_ = c.Close()
	default:
		_ = c.Close()
	}
}

// splice joins two connections, each direction until its end, and closes both. Where one of them
// breaks, or ctx ends, both are cut off.
func splice(ctx context.Context, a, b halfCloser) {
	stop := context.AfterFunc(ctx, func() {
		cutOff(a) // both copies end
		cutOff(b)
	})
	defer stop()
	var both sync.WaitGroup
	copyOver := func(to, from halfCloser) {
		if _, err := io.Copy(to, from); err != nil {
			cutOff(to)
			cutOff(from)
			return
		}
		_ = to.CloseWrite() // where that fails, the other copy fails too
	}
	both.Go(func() { copyOver(a, b) })
	both.Go(func() { copyOver(b, a) })
	both.Wait()
	_ = a.Close()
	_ = b.Close()
}

// noting is a reader that remembers why it ended, where that was no end of input.
type noting struct {
	io.Reader
	err error
}

// Read reads on.
func (r *noting) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// stdio joins a connection with standard input and output. It returns when the
// other end has said all, and either hears nothing more or has heard all: nil
// where that was in order. Where it was not, the other end learns that it has not heard all.
func (a *app) stdio(ctx context.Context, conn liveConn) error {
	// Standard output that is closed is an error of its own, so that the other end hears of it too.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	over := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(over) })
	defer stop()
	said, broken := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(said)
		// A read of standard input cannot be interrupted; the program ends over it.
		in := &noting{Reader: a.in}
		if _, err := io.Copy(conn, in); err == nil {
			_ = conn.CloseWrite() // where that fails, so does the read
		}
		if in.err != nil {
			broken <- in.err
			_ = conn.SetReadDeadline(over)
		}
	}()
	_, err := io.Copy(a.out, conn)
	if err == nil {
		select {
		case <-said:
		case <-conn.Ended():
		case <-ctx.Done():
		}
	}
	select {
	case err = <-broken:
	default:
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, conn.Abort())
	}
	return conn.Close()
}

// asLive is the connection with what it has beyond a net.Conn.
func asLive(conn net.Conn) (*relay.Conn, error) {
	live, ok := conn.(*relay.Conn)
	if !ok {
		return nil, errors.Join(message.Unsupported, conn.Close())
	}
	return live, nil
}

// dialLive connects to whom a person named.
func dialLive(ctx context.Context, c *client.Client, whom, protocol string) (*relay.Conn, error) {
	to, err := c.Resolve(ctx, whom)
	if err != nil {
		return nil, argument(err)
	}
	conn, err := c.Dial(ctx, to, protocol)
	if err != nil {
		return nil, argument(err)
	}
	return asLive(conn)
}

// reasonExit is the exit code of a reason.
func reasonExit(r relay.Reason) int {
	switch r {
	case relay.NotOnline, relay.Gone, relay.Idle:
		return daemon.ExitUnreachable
	case relay.UnknownProtocol:
		return daemon.ExitNotFound
	case relay.Refused, relay.Busy:
		return daemon.ExitRefused
	}
	return daemon.ExitFailed
}
