package main

import (
	"context"
	"net"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"airdispatch/client"
)

// connectCommand is connect.
func (a *app) connectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "connect ADDR PROTO", Short: "Connect to what an address serves, over standard input and output", Args: cobra.ExactArgs(2),
		Long: "Connects standard input and output to whoever serves PROTO at ADDR, encrypted from\nend to end, through the mail server of ADDR, or directly between contacts that reach each\nother. The end of input half-closes. Ends with 0 when the other end has closed in order.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				conn, err := dialLive(ctx, c, args[0], args[1])
				if err != nil {
					return err
				}
				defer a.tellWay(conn)()
				return a.stdio(ctx, conn)
			})
		},
	}
	a.directFlag(cmd)
	return cmd
}

// tunnelCommand is tunnel.
func (a *app) tunnelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tunnel LOCAL ADDR PROTO", Short: "Carry connections to a local port to what an address serves", Args: cobra.ExactArgs(3),
		Long: "Listens at LOCAL, [HOST:]PORT on this computer (127.0.0.1 where there is no HOST),\nand carries each connection there to whoever serves PROTO at ADDR. Goes on until it\nis interrupted; says \"listening\" on standard error.",
		RunE: func(cmd *cobra.Command, args []string) error {
			local := args[0]
			if !strings.Contains(local, ":") {
				local = "127.0.0.1:" + local
			}
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				if _, err := c.Resolve(ctx, args[1]); err != nil {
					return argument(err)
				}
				l, err := listenLocal(ctx, local)
				if err != nil {
					return err
				}
				a.sayf("listening at %s", l.Addr())
				return a.carryAll(ctx, l, func(ctx context.Context, conn net.Conn) {
					near, ok := conn.(halfCloser)
					if !ok {
						return
					}
					far, err := dialLive(ctx, c, args[1], args[2])
					if err != nil {
						a.sayf("%s: %v", conn.RemoteAddr(), err)
						cutOff(near)
						return
					}
					defer a.tellWay(far)()
					splice(ctx, near, far)
				})
			})
		},
	}
	a.directFlag(cmd)
	return cmd
}

// listenLocal opens the port of a tunnel.
func listenLocal(ctx context.Context, at string) (net.Listener, error) {
	if err := checkPlace("LOCAL", at); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
	if err != nil {
		return nil, portTaken(err)
	}
	return l, nil
}

// carryAll serves each connection of a listener in a goroutine, until ctx ends
// or the listener does, and waits for them.
func (a *app) carryAll(ctx context.Context, l net.Listener, serve func(ctx context.Context, conn net.Conn)) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	defer l.Close()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return stopped(ctx)
		}
		if err != nil {
			return err
		}
		all.Go(func() {
			defer conn.Close()
			serve(ctx, conn)
		})
	}
}
