package main

import (
	"context"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/relay"
)

// service is one run of listen.
type service struct {
	a              *app
	exec, to, into string
	allow          []string
}

// beamedJSON is a file that was taken, with --json.
type beamedJSON struct {
	From string `json:"from"`
	Name string `json:"name"`
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// listenCommand is listen.
func (a *app) listenCommand() *cobra.Command {
	l := &service{a: a}
	cmd := &cobra.Command{
		Use: "listen PROTO [--exec CMD | --to HOST:PORT | --into DIR]", Short: "Serve a protocol at one's address", Args: cobra.ExactArgs(1),
		Long: "Serves PROTO at one's address, to whoever connects with `adctl connect` or `tunnel`,\nthrough one's mail server, or directly to contacts that reach this computer, encrypted\nfrom end to end. Says \"listening\" on standard error once callers reach it, and goes on until it is interrupted.\n\n" +
			"With --exec each caller gets a process of `sh -c CMD`, whose input and output are the\nconnection and whose ADCTL_PEER is the caller; where it fails, its caller is cut off, and where\nthe caller is, the process is ended. With --to it gets a TCP connection to a\nserver; with --into it takes files that are beamed. With none of them, one caller gets standard input\nand output, and that is all.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("exec") && strings.TrimSpace(l.exec) == "" {
				return daemon.Usage("--exec: no command")
			}
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error { return l.run(ctx, c, args[0]) })
		},
	}
	cmd.Flags().StringVar(&l.exec, "exec", "", "run `CMD` for each caller")
	cmd.Flags().StringVar(&l.to, "to", "", "connect each caller to `HOST:PORT`")
	cmd.Flags().StringVar(&l.into, "into", "", "save files that callers beam in `DIR`")
	cmd.Flags().StringArrayVar(&l.allow, "allow", []string{"contacts"}, "who may connect: an `ADDR`ess, contacts or anyone; may be repeated")
	a.directFlag(cmd)
	return cmd
}

// run listens.
func (l *service) run(ctx context.Context, c *client.Client, protocol string) error {
	if l.exec != "" && l.to != "" || l.exec != "" && l.into != "" || l.to != "" && l.into != "" {
		return daemon.Usage("one of --exec, --to and --into")
	}
	admit, err := admission(ctx, c, l.allow)
	if err != nil {
		return err
	}
	if l.to != "" && (checkPlace("--to", l.to) != nil || strings.HasSuffix(l.to, ":0")) {
		return daemon.Usage("--to %s: want HOST:PORT", l.to)
	}
	if l.into != "" {
		if info, err := os.Stat(l.into); err != nil || !info.IsDir() {
			return daemon.Usage("--into %s: not a directory", l.into)
		}
	}
	at, err := c.Listen(ctx, protocol, admit...)
	if err != nil {
		return argument(err)
	}
	defer at.Close()
	l.a.sayf("listening")
	if l.exec == "" && l.to == "" && l.into == "" {
		return l.one(ctx, at)
	}
	return l.a.carryAll(ctx, at, func(ctx context.Context, conn net.Conn) {
		live, err := asLive(conn)
		if err == nil {
			err = l.serve(ctx, c, live)
		}
		if err != nil && ctx.Err() == nil {
			l.a.sayf("%s: %v", conn.RemoteAddr(), err)
		}
	})
}

// admission reads --allow.
func admission(ctx context.Context, c *client.Client, allow []string) ([]client.Admission, error) {
	var out []client.Admission
	for _, text := range allow {
		switch text {
		case "contacts":
			out = append(out, c.AdmitContacts)
		case "anyone":
			out = append(out, client.Anyone)
		default:
			a, err := c.Resolve(ctx, text)
			if err != nil {
				return nil, argument(err)
			}
			out = append(out, client.Only(a))
		}
	}
	return out, nil
}

// one gives one caller standard input and output.
func (l *service) one(ctx context.Context, at net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = at.Close() })
	defer stop()
	conn, err := at.Accept()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	_ = at.Close() // it was for one
	live, err := asLive(conn)
	if err != nil {
		return err
	}
	return l.a.stdio(ctx, live)
}

// serve gives a caller what was asked for.
func (l *service) serve(ctx context.Context, c *client.Client, conn *relay.Conn) error {
	switch {
	case l.exec != "":
		return l.a.process(ctx, conn, l.exec)
	case l.to != "":
		return spliceTo(ctx, l.to, conn)
	}
	b, err := c.TakeBeam(ctx, conn, l.into)
	if err != nil {
		return err
	}
	return l.a.result(beamedJSON{b.From.String(), b.Name, b.Path, b.Size}, "%s\n", b.Path)
}
