package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/relay"
	"airdispatch/rpc"
)

// directFlag gives a command --direct.
func (a *app) directFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.direct, "direct", "auto", "do without the mail server where both ends reach each other: `WHEN` is auto (with contacts), anyone or never")
	_ = cmd.RegisterFlagCompletionFunc("direct", cobra.FixedCompletions([]cobra.Completion{"auto", "anyone", "never"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// directly is what --direct says: how to do without a mail server, and with whom.
func (a *app) directly() (*relay.Direct, client.Admission, error) {
	ways := &relay.Direct{Listen: a.waitDirectly, Dial: a.dialDirectly}
	switch a.direct {
	case "", "never":
		return nil, nil, nil
	case "auto":
		return ways, nil, nil
	case "anyone":
		return ways, client.Anyone, nil
	}
	return nil, nil, daemon.Usage("--direct %s: auto, anyone or never", a.direct)
}

// onThisHost reports whether the person's own server is on this computer. Then so is whoever
// connects by way of it.
func (a *app) onThisHost() bool {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.private.Private {
		if p.Contains(loopback) {
			return true
		}
	}
	return false
}

// waitDirectly opens a port for one caller, at all addresses of this computer that others
// may know.
func (a *app) waitDirectly(ctx context.Context) (net.Listener, []netip.AddrPort, error) {
	host := ""
	if a.onThisHost() {
		host = "127.0.0.1"
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, nil, err
	}
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, nil, err
	}
	var at []netip.AddrPort
	if host != "" {
		at = append(at, netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port)))
	} else {
		for _, n := range ownNetworks() {
			at = append(at, netip.AddrPortFrom(n.Addr(), uint16(port)))
		}
	}
	return l, at, nil
}

// dialDirectly connects to where somebody says that they are: to public addresses, and to private
// ones of networks that this computer is in itself. Whoever one talks to cannot aim it
// anywhere else, and at ports from 1024 on only.
func (a *app) dialDirectly(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var guard rpc.Guard
	if a.onThisHost() {
		guard.Private = append(guard.Private, netip.MustParsePrefix("127.0.0.0/8"))
	}
	for _, n := range ownNetworks() {
		if n.Addr().IsPrivate() {
			guard.Private = append(guard.Private, n.Masked())
		}
	}
	return guard.Dial(ctx, "tcp", to.String())
}

// ownNetworks are this computer's addresses that mean something to others, each with its
// network.
func ownNetworks() []netip.Prefix {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range all {
		n, err := netip.ParsePrefix(a.String())
		if err == nil && n.Addr().IsGlobalUnicast() {
			out = append(out, n)
		}
	}
	return out
}

// tellWay says on standard error how a connection goes, with --verbose, until stop is called.
func (a *app) tellWay(conn *relay.Conn) (stop func()) {
	if !a.verbose {
		return func() {}
	}
	done, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		for {
			direct, changed := conn.Direct()
			select {
			case <-conn.Ended():
				return // which way it went does not matter any more
			default:
			}
			if direct {
				a.sayf("the connection is direct")
			} else {
				a.sayf("the connection is relayed")
			}
			select {
			case <-changed:
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-told }
}
