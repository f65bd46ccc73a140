package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
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

// splice joins two connections, each direction until its end, and closes both.
func splice(ctx context.Context, a, b halfCloser) {
	stop := context.AfterFunc(ctx, func() {
		_ = a.Close() // both copies end
		_ = b.Close()
	})
	defer stop()
	var both sync.WaitGroup
	copyOver := func(to, from halfCloser) {
		if _, err := io.Copy(to, from); err != nil {
			_ = to.Close() // the end that is left learns of it by its own end
			_ = from.Close()
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

// stdio joins a connection with standard input and output. It returns when the
// other end has said all, and either hears nothing more or has heard all: nil
// where that was in order.
func (a *app) stdio(ctx context.Context, conn liveConn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	said := make(chan error, 1)
	go func() {
		// A read of standard input cannot be interrupted; the program ends over it.
		_, err := io.Copy(conn, a.in)
		if err == nil {
			err = conn.CloseWrite()
		}
		said <- err
	}()
	_, err := io.Copy(a.out, conn)
	if err == nil {
		select {
		case <-said:
		case <-conn.Ended():
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return errors.Join(err, conn.Close())
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
