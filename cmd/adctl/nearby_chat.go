package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/nearby"
)

// saidJSON is a line that somebody said, or a letter that was brought, with --json.
type saidJSON struct {
	Kind    string `json:"kind"`
	ID      string `json:"id"`
	Address string `json:"address,omitempty"`
	Name    string `json:"name"`
	State   string `json:"state"`
	Text    string `json:"text"`
	Time    string `json:"time"`
}

// overheard prints what is said and remembers who has said something. Safe for concurrent use.
type overheard struct {
	n *neighbourhood

	mu       sync.Mutex
	sessions map[string]*nearby.Session
	failed   error
}

// heard prints a line.
func (l *overheard) heard(s *nearby.Session, line nearby.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := l.n.label(s.Peer)
	l.sessions[name] = s
	if l.n.json {
		d := l.n.describe(s.Peer)
		l.failed = errors.Join(l.failed, l.n.emit(saidJSON{"line", d.ID, d.Address, name, d.State, line.Text, rfc3339(line.Time)}))
		return
	}
	mark := ""
	if !s.Peer.Proved {
		mark = " [unverified]"
	}
	l.failed = errors.Join(l.failed, l.n.printf("%s%s: %s\n", oneLine(name), mark, oneLine(line.Text)))
}

// brought prints that a letter has come.
func (l *overheard) brought(i *client.Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := l.n.label(nearby.Peer{Address: i.Ref.From})
	if l.n.json {
		l.failed = errors.Join(l.failed, l.n.emit(saidJSON{"letter", i.Ref.String(), i.Ref.From.String(), name, "verified", i.Subject, rfc3339(i.Head.Time)}))
		return
	}
	l.n.sayf("letter %s from %s: %s", i.Ref, oneLine(name), oneLine(i.Subject))
}

// say says a line NAME: TEXT to whoever has opened a session under that name.
func (l *overheard) say(ctx context.Context, typed string) error {
	name, text, ok := strings.Cut(typed, ": ")
	l.mu.Lock()
	s := l.sessions[name]
	l.mu.Unlock()
	if !ok || s == nil {
		return errors.New("write NAME: TEXT, with the name of somebody who has said something; others with `adctl nearby chat`")
	}
	return s.Say(ctx, text)
}

// nearbyServe is nearby serve.
func (a *app) nearbyServe(f *nearbyFlags) *cobra.Command {
	var offers nearbyServing
	cmd := &cobra.Command{
		Use: "serve [--listen HOST:PORT] [--config FILE] [--exec PROTO=CMD | --to PROTO=HOST:PORT]…", Short: "Be there for others on the same network, until interrupted", Args: cobra.NoArgs,
		Long: "Announces you, takes letters of contacts into the ordinary inbox, sends them the files that\nyou share, and prints each line that others say, NAME: TEXT. A line of standard input in the same form\nanswers.\n\n" +
			"With --exec each caller of PROTO gets a process of `sh -c CMD`, whose input and output are the\nconnection and whose ADCTL_PEER is the caller; with --to a TCP connection to a server. Others\nreach it with `adctl nearby connect`.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error { return a.serveNearby(ctx, c, *f, &offers) })
		},
	}
	cmd.Flags().StringArrayVar(&offers.exec, "exec", nil, "run a command for each caller of a protocol: `PROTO=CMD`; may be repeated")
	cmd.Flags().StringArrayVar(&offers.to, "to", nil, "connect each caller of a protocol to a server: `PROTO=HOST:PORT`; may be repeated")
	cmd.Flags().StringArrayVar(&offers.allow, "allow", []string{"contacts"}, "who may connect: an `ADDR`ess, contacts or anyone; may be repeated")
	cmd.Flags().StringVar(&offers.listen, "listen", "", "where others reach you: `HOST:PORT`; without it, at all addresses and the port of the settings, 8001")
	return cmd
}

// serveNearby is there for others until ctx ends.
func (a *app) serveNearby(ctx context.Context, c *client.Client, f nearbyFlags, offers *nearbyServing) error {
	var l net.Listener
	out := &overheard{sessions: map[string]*nearby.Session{}}
	n, err := a.neighbourhood(ctx, c, f, func(config *nearby.Config) (err error) {
		if l, err = offers.open(ctx, config.Port); err != nil {
			return err
		}
		at, err := netip.ParseAddrPort(l.Addr().String())
		if err != nil {
			return err
		}
		config.Port, config.Heard, config.Files = at.Port(), out.heard, &shelf{app: a}
		if config.Keyring != nil {
			config.Inbox = c.Neighbours(out.brought)
		}
		return nil
	})
	var serve func(context.Context)
	if err == nil {
		serve, err = offers.offer(ctx, n)
	}
	if err != nil {
		if l != nil {
			_ = l.Close() // nobody came in yet
		}
		return err
	}
	out.n = n
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 2)
	go func() { ran <- n.node.Run(ctx) }()
	go func() { ran <- n.node.Serve(ctx, l) }()
	var beside sync.WaitGroup
	beside.Go(func() { serve(ctx) })
	beside.Go(func() { n.handOverLater(ctx) })
	defer beside.Wait()
	a.sayf("listening %s", l.Addr())
	go n.answer(ctx, out) // a read of standard input cannot be interrupted; the program ends over it
	err = <-ran
	cancel() // what runs beside ends too
	if err = errors.Join(err, <-ran, out.failed); err == nil {
		err = stopped(ctx)
	}
	return err
}

// answer says what is typed, until the end of standard input.
func (n *neighbourhood) answer(ctx context.Context, out *overheard) {
	in := bufio.NewScanner(n.in)
	in.Buffer(nil, nearby.MaxLine)
	for in.Scan() {
		if err := out.say(ctx, in.Text()); err != nil {
			n.sayf("%s", visible(plain(err.Error())))
		}
	}
}

// nearbyChat is nearby chat.
func (a *app) nearbyChat(f *nearbyFlags) *cobra.Command {
	return &cobra.Command{
		Use: "chat PEER", Short: "Chat with somebody on the same network; each line of standard input is said", Args: cobra.ExactArgs(1),
		Long: "Chats with a peer until the end of standard input, or until the peer ends it. PEER is a\ncontact, an address, the beginning of an id, or HOST:PORT, as `adctl nearby list` shows them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				n, err := a.neighbourhood(ctx, c, *f, nil)
				if err != nil {
					return err
				}
				s, err := n.session(ctx, args[0])
				if err != nil {
					return err
				}
				return n.talk(ctx, s)
			})
		},
	}
}

// session opens a session with a peer: pinned to the keys of its address, or with a peer that
// has none in the clear.
func (n *neighbourhood) session(ctx context.Context, text string) (*nearby.Session, error) {
	w, err := n.target(ctx, text)
	if err != nil {
		return nil, err
	}
	if !w.address.IsZero() {
		l, err := n.link(ctx, w)
		if err != nil {
			return nil, err
		}
		return l.Chat(ctx)
	}
	found, err := n.find(ctx, w)
	if err != nil {
		return nil, err
	}
	if len(found) > 1 {
		return nil, daemon.Usage("%q is %d peers; write more of the id", text, len(found))
	}
	if p := found[0]; !p.Address.IsZero() {
		l, err := n.node.Connect(ctx, p, p.Address)
		if err != nil {
			return nil, err
		}
		return l.Chat(ctx)
	}
	n.sayf("nobody knows who %s is, and others can read along", found[0].Place)
	return n.node.ChatPlain(ctx, found[0])
}

// talk says what is typed and prints what is heard.
func (n *neighbourhood) talk(ctx context.Context, s *nearby.Session) error {
	out := &overheard{n: n, sessions: map[string]*nearby.Session{}}
	heard := make(chan error, 1)
	go func() { heard <- s.Hear(ctx, func(l nearby.Line) { out.heard(s, l) }) }()
	said := make(chan error, 1)
	go func() { said <- n.typed(ctx, s) }()
	n.sayf("connected %s", oneLine(n.label(s.Peer)))
	var err error
	select {
	case err = <-said:
		err = errors.Join(err, s.Close())
		<-heard
	case err = <-heard:
		_ = s.Close() // it has ended
	}
	if ctx.Err() != nil {
		return context.Canceled
	}
	return errors.Join(err, out.failed)
}

// typed says each line of standard input.
func (n *neighbourhood) typed(ctx context.Context, s *nearby.Session) error {
	in := bufio.NewReaderSize(n.in, nearby.MaxLine)
	for {
		b, _, err := in.ReadLine() // a line that is too long goes as several
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("nearby: read standard input: %w", err)
		}
		if err := s.Say(ctx, strings.ToValidUTF8(string(b), "\uFFFD")); err != nil {
			return err
		}
	}
}
