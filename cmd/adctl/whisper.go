package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/whisper"
	"airdispatch/whisper/screen"
)

// Others take more than a burst of 60 and ten a second from one peer for a
// flood; whoever pipes a long text in stays below that.
const (
	sayBurst = 40
	sayRate  = 8
	// whisperBefore is more than is said between the beginning and the first look.
	whisperBefore = 512
)

// whisperFlags are the flags of whisper.
type whisperFlags struct {
	nick, listen, files, discover, http string
	peers                               []string
	sign                                bool
}

// whisperCommand is whisper: a room's chat without a server.
func (a *app) whisperCommand() *cobra.Command {
	var f whisperFlags
	cmd := &cobra.Command{
		Use: "whisper --nick N --listen HOST:PORT [--peer HOST:PORT]…", Short: "Chat with whoever is in the room, without servers or accounts", Args: cobra.NoArgs,
		Long: "Chats with peers that pass on what is said until everybody has it. Each line of\nstandard input is a message, each message a line of standard output; after the end\nof standard input it goes on listening until it is interrupted.\n\n" +
			"Nothing is encrypted, and a nickname proves nothing; --sign signs with your identity, and\nshows who of others that sign is a contact of yours.\n\n" +
			"Lines that begin with / are commands: /me …, /connect HOST:PORT, /disconnect HOST:PORT,\n/block HOST:PORT, /peers, /send FILE.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.whisper(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.nick, "nick", "", "the `NAME` that others see")
	flags.StringVar(&f.listen, "listen", "", "where others reach you: `HOST:PORT`")
	flags.StringArrayVar(&f.peers, "peer", nil, "a peer to begin with: `HOST:PORT`; may be repeated")
	flags.StringVar(&f.discover, "discover", "", "announce yourself to `HOST:PORT` by a datagram, and listen there for others: a broadcast or multicast address")
	flags.StringVar(&f.http, "http", "", "serve a page for your browser at `HOST:PORT` of this computer's loopback interface")
	flags.BoolVar(&f.sign, "sign", false, "sign what you say with the identity of the home")
	flags.StringVar(&f.files, "files", "", "save files that others send into this `DIR`ectory, never over a file")
	return cmd
}

// check refuses flags that cannot be right, before anybody is asked for a passphrase.
func (f whisperFlags) check() error {
	if strings.TrimSpace(f.nick) == "" || f.listen == "" {
		return daemon.Usage("whisper needs --nick NAME and --listen HOST:PORT")
	}
	if f.files != "" {
		if info, err := os.Stat(f.files); err == nil && !info.IsDir() {
			return daemon.Usage("--files %s: not a directory", f.files)
		}
	}
	if f.http != "" {
		if err := checkPlace("--http", f.http); err != nil {
			return err
		}
	}
	return checkPlace("--listen", f.listen)
}

// whisper chats until the context ends. With --sign what the home knows of others is shown too.
func (a *app) whisper(ctx context.Context, f whisperFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if !f.sign {
		return a.whisperAs(ctx, f, nil)
	}
	c, err := a.client(ctx, somebody, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return a.whisperAs(ctx, f, c)
}

// whisperAs is whisper as somebody, or nobody.
func (a *app) whisperAs(ctx context.Context, f whisperFlags, who *client.Client) error {
	c, l, err := a.whisperConfig(ctx, f)
	if err != nil {
		return err
	}
	if who != nil {
		c.Keyring, c.People = who.Neighbours(nil).Keyring(), newRoomPeople(ctx, who)
	}
	node, err := whisper.New(c)
	if err != nil {
		_ = l.Close() // nobody came in yet
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var p *whisperPage
	if f.http != "" {
		if p, err = a.openPage(ctx, node, f.http); err != nil {
			_ = l.Close() // nobody came in yet
			return err
		}
	}
	ran := make(chan error, 1)
	go func() { ran <- node.Run(ctx, l) }()
	a.sayf("listening %s", c.Addr)
	t := &talk{app: a, node: node, files: f.files, tell: a.sayf}
	if isTerminal(a.in) && isTerminal(a.out) && !a.json {
		err = t.screen(ctx)
	} else {
		err = t.run(ctx)
	}
	cancel()
	if p != nil {
		err = errors.Join(err, p.close())
	}
	return errors.Join(err, <-ran)
}

// whisperConfig opens the listener and says how the node is.
func (a *app) whisperConfig(ctx context.Context, f whisperFlags) (c whisper.Config, l net.Listener, err error) {
	c = whisper.Config{Nick: f.nick, Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader, Log: a.logger(), Local: ownAddresses()}
	for _, p := range f.peers {
		addr, err := peerAddress(ctx, p)
		if err != nil {
			return c, nil, err
		}
		c.Peers = append(c.Peers, addr)
	}
	l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return c, nil, portTaken(fmt.Errorf("whisper: %w", err))
	}
	c.Addr = reachable(l.Addr(), c.Local)
	if f.discover != "" {
		if err := a.discovery(ctx, &c, f.discover); err != nil {
			_ = l.Close() // nobody came in yet
			return c, nil, err
		}
	}
	return c, l, nil
}

// discovery opens the socket on which peers announce themselves. Where another
// program of this host has it, one can still announce oneself.
func (a *app) discovery(ctx context.Context, c *whisper.Config, at string) error {
	to, err := net.ResolveUDPAddr("udp", at)
	if err != nil || to.IP == nil || to.Port == 0 {
		return daemon.Usage("--discover %s: want HOST:PORT", at)
	}
	network, everywhere := "udp4", net.JoinHostPort("0.0.0.0", strconv.Itoa(to.Port))
	if to.IP.To4() == nil {
		network, everywhere = "udp6", net.JoinHostPort("::", strconv.Itoa(to.Port))
	}
	c.Announce = to
	switch {
	case to.IP.IsMulticast():
		c.Discover, err = net.ListenMulticastUDP(network, nil, to)
	case to.IP.IsLoopback():
		c.Discover, err = (&net.ListenConfig{}).ListenPacket(ctx, network, to.String())
	default:
		c.Discover, err = (&net.ListenConfig{}).ListenPacket(ctx, network, everywhere)
	}
	if err != nil {
		a.sayf("others that announce themselves will not be heard: %s", visible(err.Error()))
		c.Discover, err = (&net.ListenConfig{}).ListenPacket(ctx, network, ":0")
	}
	return err
}

// peerAddress is a peer as the net names it: by number, where its name has one.
func peerAddress(ctx context.Context, p string) (string, error) {
	host, port, err := net.SplitHostPort(p)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		return "", daemon.Usage("--peer %s: want HOST:PORT", p)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return p, nil // its name may be known later
	}
	for _, ip := range found {
		if ip.Unmap().Is4() {
			return net.JoinHostPort(ip.Unmap().String(), port), nil
		}
	}
	return net.JoinHostPort(found[0].String(), port), nil
}

// ownAddresses are the addresses of this host.
func ownAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}

// reachable is the address to tell others: that of the listener, or where it
// listens at all of them the first that is not the loopback's.
func reachable(at net.Addr, own []netip.Addr) string {
	ap, err := netip.ParseAddrPort(at.String())
	if err != nil || !ap.Addr().IsUnspecified() {
		return at.String()
	}
	best := netip.MustParseAddr("127.0.0.1")
	for _, a := range own {
		if a.Is4() && a.IsGlobalUnicast() {
			best = a
			break
		}
		if a.IsGlobalUnicast() && best.IsLoopback() {
			best = a
		}
	}
	return netip.AddrPortFrom(best, ap.Port()).String()
}

// talk is one person at a node: what they type and what they see.
type talk struct {
	*app
	node  *whisper.Node
	files string
	// tell tells the person something that nobody said.
	tell func(format string, args ...any)
}

// screen is run on a terminal.
func (t *talk) screen(ctx context.Context) error {
	return screen.Run(ctx, t.node, screen.Config{
		In: t.in, Out: t.out,
		Line: func(m whisper.Message) string {
			if m.Own {
				return whisperLine(m, "")
			}
			return whisperLine(m, t.save(m))
		},
		Typed: func(line string) (told []string) {
			t.tell = func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
			if err := t.typed(line); err != nil {
				t.tell("%s", visible(strings.TrimPrefix(err.Error(), "whisper: ")))
			}
			return told
		},
	})
}

// run shows what is said and says what is typed, until the context ends. The end
// of standard input ends nothing but that.
func (t *talk) run(ctx context.Context) error {
	// The node runs already, so somebody may have said something.
	ear, before := t.node.Hear(whisperBefore)
	defer ear.Close()
	for _, m := range before {
		if err := t.others(m); err != nil {
			return err
		}
	}
	typed, failed := make(chan string), make(chan error, 1)
	go func() { failed <- readLines(ctx, t.in, typed) }()
	pace := rate.NewLimiter(sayRate, sayBurst)
	said := make(chan struct{})
	go func() {
		defer close(said)
		for {
			select {
			case line, ok := <-typed:
				if !ok || pace.Wait(ctx) != nil {
					return
				}
				if err := t.typed(line); err != nil {
					t.tell("%s", visible(strings.TrimPrefix(err.Error(), "whisper: ")))
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { <-said }()
	for {
		select {
		case m := <-ear.C:
			if err := t.others(m); err != nil {
				return err
			}
		case err := <-failed:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("whisper: read standard input: %w", err)
			}
			failed = nil
		case <-ctx.Done():
			return stopped(ctx)
		}
	}
}

// others shows what others have said.
func (t *talk) others(m whisper.Message) error {
	if m.Own {
		return nil
	}
	return t.show(m)
}

// readLines passes on lines until their end. A line that is too long for a
// message is cut into several.
func readLines(ctx context.Context, r io.Reader, lines chan<- string) error {
	defer close(lines)
	in := bufio.NewReaderSize(r, whisper.MaxBody)
	for {
		b, _, err := in.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case lines <- string(b):
		case <-ctx.Done():
			return nil
		}
	}
}
