package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
	"airdispatch/nearby"
)

// liveConn is a connection with a person, over servers or nearby.
type liveConn interface {
	halfCloser
	// Abort ends it so that the other end knows that it has not heard all.
	Abort() error
	// Ended is closed once nothing that is written arrives any more.
	Ended() <-chan struct{}
	// Peer is who is at the other end, and Protocol what the connection was made for.
	Peer() message.Address
	Protocol() string
}

// nearbyServing is what nearby serve serves to those who connect.
type nearbyServing struct {
	listen          string
	exec, to, allow []string
}

// open listens where others reach the node; port is that of the settings.
func (s *nearbyServing) open(ctx context.Context, port uint16) (net.Listener, error) {
	at := s.listen
	if at == "" {
		at = fmt.Sprintf(":%d", port)
	}
	if err := checkPlace("--listen", at); err != nil {
		return nil, err
	}
	if _, err := s.services(); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
	if err != nil {
		return nil, portTaken(fmt.Errorf("nearby: %w", err))
	}
	return l, nil
}

// portTaken says what to do where another program listens at a place.
func portTaken(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &advised{err, "another program has it, perhaps this one, in another window: end that, or choose another port"}
	}
	return err
}

// checkPlace refuses what is no HOST:PORT; the host may be left out.
func checkPlace(flag, text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return daemon.Usage("%s %s: want HOST:PORT", flag, text)
	}
	return nil
}

// nearbyService is one protocol of it.
type nearbyService struct{ protocol, exec, to string }

// services reads --exec and --to.
func (s *nearbyServing) services() ([]nearbyService, error) {
	var out []nearbyService
	taken := map[string]bool{}
	for i, text := range slices.Concat(s.exec, s.to) {
		protocol, what, ok := strings.Cut(text, "=")
		flag, one := "--exec", nearbyService{protocol: protocol, exec: what}
		if i >= len(s.exec) {
			flag, one = "--to", nearbyService{protocol: protocol, to: what}
		}
		if !ok || what == "" {
			return nil, daemon.Usage("%s %s: want PROTO=…", flag, text)
		}
		if err := nearby.CheckProtocol(protocol); err != nil {
			return nil, daemon.Usage("%s: %w", flag, err)
		}
		if taken[protocol] {
			return nil, daemon.Usage("%s %s: the protocol %s is served once", flag, text, protocol)
		}
		if one.to != "" && (checkPlace(flag, what) != nil || strings.HasSuffix(what, ":0")) {
			return nil, daemon.Usage("%s %s: want PROTO=HOST:PORT", flag, text)
		}
		taken[protocol] = true
		out = append(out, one)
	}
	return out, nil
}

// offer opens the listeners of a node, and returns what serves them until ctx ends.
func (s *nearbyServing) offer(ctx context.Context, n *neighbourhood) (serve func(context.Context), err error) {
	services, err := s.services()
	if err != nil {
		return nil, err
	}
	admitted, err := admission(ctx, n.c, s.allow)
	if err != nil {
		return nil, err
	}
	var admit []nearby.Admission
	for _, a := range admitted {
		admit = append(admit, nearby.Admission(a))
	}
	listeners := map[*nearby.Listener]nearbyService{}
	for _, one := range services {
		l, err := n.node.Listen(one.protocol, admit...)
		if errors.Is(err, message.Denied) {
			err = client.ErrNoIdentity
		}
		if err != nil {
			return nil, err
		}
		listeners[l] = one
	}
	return func(ctx context.Context) {
		var all sync.WaitGroup
		for l, one := range listeners {
			all.Go(func() { _ = n.carryAll(ctx, l, n.each(one)) }) // it ends with ctx
		}
		all.Wait()
	}, nil
}

// each serves one caller.
func (n *neighbourhood) each(s nearbyService) func(context.Context, net.Conn) {
	return func(ctx context.Context, conn net.Conn) {
		live, ok := conn.(liveConn)
		if !ok {
			return
		}
		var err error
		if s.exec != "" {
			err = n.process(ctx, live, s.exec)
		} else {
			err = spliceTo(ctx, s.to, live)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			n.sayf("%s: %s", oneLine(n.label(nearby.Peer{Address: live.Peer()})), visible(plain(err.Error())))
		}
	}
}

// spliceTo joins a caller with a server of this person's.
func spliceTo(ctx context.Context, to string, conn liveConn) error {
	var d net.Dialer // where one's own server is, one says oneself
	near, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return errors.Join(err, conn.Abort())
	}
	half, ok := near.(halfCloser)
	if !ok {
		return errors.Join(near.Close(), conn.Abort())
	}
	splice(ctx, half, conn)
	return nil
}

// nearbyConnect is nearby connect.
func (a *app) nearbyConnect(f *nearbyFlags) *cobra.Command {
	return &cobra.Command{
		Use: "connect PEER PROTO", Short: "Connect to what somebody on the same network serves, over standard input and output", Args: cobra.ExactArgs(2),
		Long: "Connects standard input and output to whoever serves PROTO with `adctl nearby serve`,\nencrypted between both, without a server. The end of input half-closes. Ends with 0 when the\nother end has closed in order.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reach(cmd, *f, args, func(ctx context.Context, way *nearbyWay) error {
				conn, err := way.dial(ctx)
				if err != nil {
					return err
				}
				return a.stdio(ctx, conn)
			})
		},
	}
}

// nearbyTunnel is nearby tunnel.
func (a *app) nearbyTunnel(f *nearbyFlags) *cobra.Command {
	return &cobra.Command{
		Use: "tunnel LOCAL PEER PROTO", Short: "Carry connections to a local port to what somebody on the same network serves", Args: cobra.ExactArgs(3),
		Long: "Listens at LOCAL, [HOST:]PORT on this computer (127.0.0.1 where there is no HOST),\nand carries each connection there to whoever serves PROTO with `adctl nearby serve`. Goes on\nuntil it is interrupted; says \"listening\" on standard error.",
		RunE: func(cmd *cobra.Command, args []string) error {
			local := args[0]
			if !strings.Contains(local, ":") {
				local = "127.0.0.1:" + local
			}
			return a.reach(cmd, *f, args[1:], func(ctx context.Context, way *nearbyWay) error {
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
					far, err := way.dial(ctx)
					if err != nil {
						a.sayf("%s: %s", conn.RemoteAddr(), visible(plain(err.Error())))
						cutOff(near)
						return
					}
					splice(ctx, near, far)
				})
			})
		},
	}
}

// nearbyWay is the way to what a peer serves. It is found when it is first needed, and again when
// the peer is not there any more.
type nearbyWay struct {
	n        *neighbourhood
	to       wanted
	protocol string

	// mu guards link.
	mu   sync.Mutex
	link *nearby.Link
}

// reach reads PEER PROTO and opens a client for a way there.
func (a *app) reach(cmd *cobra.Command, f nearbyFlags, args []string, use func(context.Context, *nearbyWay) error) error {
	if err := nearby.CheckProtocol(args[1]); err != nil {
		return argument(err)
	}
	return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
		n, err := a.neighbourhood(ctx, c, f, nil)
		if err != nil {
			return err
		}
		to, err := n.target(ctx, args[0])
		if err != nil {
			return err
		}
		way := &nearbyWay{n: n, to: to, protocol: args[1]}
		defer way.close()
		return use(ctx, way)
	})
}

// dial makes a connection.
func (w *nearbyWay) dial(ctx context.Context) (*nearby.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.link != nil {
		conn, err := w.link.Dial(ctx, w.protocol)
		if err == nil || !errors.Is(err, message.Unavailable) || ctx.Err() != nil {
			return conn, advisedReason(err)
		}
		w.link.Close()
		w.link = nil
	}
	link, err := w.n.link(ctx, w.to)
	if err != nil {
		return nil, err
	}
	w.link = link
	conn, err := link.Dial(ctx, w.protocol)
	return conn, advisedReason(err)
}

func (w *nearbyWay) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.link != nil {
		w.link.Close()
	}
}

// advisedReason says what to do about a refusal.
func advisedReason(err error) error {
	switch {
	case errors.Is(err, nearby.UnknownProtocol):
		return &advised{err, "somebody must serve it there: `adctl nearby serve --exec PROTO=CMD`, or `--to PROTO=HOST:PORT`"}
	case errors.Is(err, nearby.Refused):
		return &advised{err, "ask to be allowed there: `adctl nearby serve --allow ADDR`, or be a contact"}
	}
	return err
}
