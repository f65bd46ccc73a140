package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
)

// letterFlags are the flags of everything that sends.
type letterFlags struct {
	to, bcc, attach, component []string
	subject, contract, expires string
	plain                      bool
}

// bind adds the flags; recipients too where to is set.
func (l *letterFlags) bind(flags *pflag.FlagSet, to bool) {
	if to {
		flags.StringArrayVar(&l.to, "to", nil, "send to `A`: an address, name@host or contact; may be repeated")
		flags.StringArrayVar(&l.bcc, "bcc", nil, "send to `C` too, in a message of its own; may be repeated")
	}
	flags.StringVar(&l.subject, "subject", "", "the subject")
	flags.StringArrayVar(&l.attach, "attach", nil, "attach this `FILE`; may be repeated")
	flags.StringArrayVar(&l.component, "component", nil, "add a component for applications: `type=@file`; may be repeated")
	flags.StringVar(&l.contract, "contract", "", "what you may still do: revisable (the default), final or ephemeral")
	flags.StringVar(&l.expires, "expires", "", "erase it everywhere after `7d`, 36h, 2w, or at a time; implies ephemeral")
	flags.BoolVar(&l.plain, "plain", false, "the body is plain text, not Markdown")
}

// fill puts what the flags say into a draft.
func (l *letterFlags) fill(d *client.Draft) (err error) {
	d.To, d.Bcc = append(d.To, l.to...), append(d.Bcc, l.bcc...)
	if l.subject != "" {
		d.Subject = l.subject
	}
	d.Plain = d.Plain || l.plain
	for _, path := range l.attach {
		d.Attach = append(d.Attach, client.File{Path: path})
	}
	for _, text := range l.component {
		c, err := parseComponent(text)
		if err != nil {
			return err
		}
		d.Components = append(d.Components, c)
	}
	if l.contract != "" {
		if d.Terms, err = message.ParseTerms(l.contract); err != nil {
			return daemon.Usage("--contract: %w", err)
		}
	}
	if l.expires != "" {
		if d.Expires, err = parseExpiry(l.expires, time.Now()); err != nil {
			return err
		}
	}
	if (d.Terms == message.Ephemeral) != (l.expires != "") && d.Terms != 0 {
		return daemon.Usage("--expires belongs to the ephemeral contract, and to no other")
	}
	return nil
}

// sendCommand is send.
func (a *app) sendCommand() *cobra.Command {
	var l letterFlags
	cmd := &cobra.Command{
		Use: "send --to A [--to B]… [FILE|-]", Short: "Send a message; its id goes to standard output", Args: cobra.MaximumNArgs(1),
		Long: "Seals a message to its recipients, hands it to your mail server and returns when\nthe server has promised to keep it. Your server brings the news of it, also when\nthe recipients' servers are down now. The body is FILE or standard input;\non a terminal, what you write in $VISUAL or $EDITOR.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var d client.Draft
			if err := l.fill(&d); err != nil {
				return err
			}
			if len(d.To)+len(d.Bcc) == 0 {
				return daemon.Usage("to whom? name a recipient with --to")
			}
			if err := checkRecipients(d); err != nil {
				return err
			}
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				return a.write(ctx, writing{args: args, use: func(body string) error {
					d.Body = body
					if strings.TrimSpace(body) == "" && d.Subject == "" && len(d.Attach)+len(d.Components) == 0 {
						return daemon.Usage("there is nothing to send: no text, no subject, no attachment")
					}
					return a.send(ctx, c, d)
				}})
			})
		},
	}
	l.bind(cmd.Flags(), true)
	return cmd
}

// checkRecipients refuses a mistyped address before anybody is asked for a
// passphrase or a message.
func checkRecipients(d client.Draft) error {
	for _, text := range append(append([]string(nil), d.To...), d.Bcc...) {
		if client.CheckContactName(text) == nil {
			continue
		}
		if _, err := message.ParseTarget(text); err != nil {
			return daemon.Usage("%w", err)
		}
	}
	return nil
}

// send sends a draft and prints the ids.
func (a *app) send(ctx context.Context, c *client.Client, d client.Draft) error {
	sent, err := c.Send(ctx, d)
	return a.reportSent(sent, argument(err))
}

// reportSent prints what was sent: on standard output the id of the message to
// everybody in To, or with --json all.
func (a *app) reportSent(sent []*client.Sent, err error) error {
	printed := false
	for _, s := range sent {
		m := headJSON(s.Head)
		m.State, m.Blind = sentState(s.Head), s.Blind
		switch {
		case a.json:
			if err := a.emit(m); err != nil {
				return err
			}
		case s.Blind && printed:
			a.sayf("blind copy to %s: %s", s.Head.To[0], s.Head.Ref())
		default:
			printed = true
			if err := a.printf("%s\n", s.Head.Ref()); err != nil {
				return err
			}
		}
	}
	if len(sent) != 0 {
		a.saySent(sent)
	}
	return err
}

// saySent says what a sender should know.
func (a *app) saySent(sent []*client.Sent) {
	for _, s := range sent {
		if s.Classical {
			a.sayf("a recipient's keys are not post-quantum; neither is this message")
			break
		}
	}
	h := sent[0].Head
	switch {
	case h.Audience == message.Public:
		return
	case h.Terms == message.Final && h.Version == 1:
		a.sayf("final: it cannot be edited, and not taken back once it was fetched, which the recipient's server may do at once")
	}
	a.sayf("accepted by your server; `adctl status %s` tells how far it has come", shortID(h.Ref()))
}

// sentState is the state of a version of one's own that was accepted.
func sentState(h *message.Head) client.State {
	switch {
	case h.Tombstone():
		return client.StateRecalled
	case h.Audience == message.Public:
		return client.StatePublished
	}
	return client.StateSent
}

// replyCommand is reply.
func (a *app) replyCommand() *cobra.Command {
	var l letterFlags
	var all bool
	cmd := &cobra.Command{
		Use: "reply ID [FILE|-]", Short: "Answer a message", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				ref, err := a.readable(ctx, c, args[0])
				if err != nil {
					return err
				}
				d, err := c.ReplyDraft(ctx, ref, all)
				if err != nil {
					return argument(err)
				}
				if err := l.fill(&d); err != nil {
					return err
				}
				return a.write(ctx, writing{args: args[1:], use: func(body string) error {
					d.Body = body
					return a.send(ctx, c, d)
				}})
			})
		},
	}
	l.bind(cmd.Flags(), false)
	cmd.Flags().BoolVar(&all, "all", false, "answer the other recipients too")
	return cmd
}

// readable finds a message and fetches it where it is not here yet.
func (a *app) readable(ctx context.Context, c *client.Client, id string) (message.Ref, error) {
	ref, err := a.find(ctx, c, id)
	if err != nil {
		return ref, err
	}
	if i, err := c.Message(ctx, ref); err == nil && i.Content != nil {
		return ref, nil
	}
	_, err = c.Read(ctx, ref, client.ReadOptions{})
	return ref, err
}

// forwardCommand is forward.
func (a *app) forwardCommand() *cobra.Command {
	var to []string
	var note string
	cmd := &cobra.Command{
		Use: "forward ID --to A", Short: "Pass a message on, with its attachments", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(to) == 0 {
				return daemon.Usage("to whom? name a recipient with --to")
			}
			if err := checkRecipients(client.Draft{To: to}); err != nil {
				return err
			}
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				ref, err := a.readable(ctx, c, args[0])
				if err != nil {
					return err
				}
				d, err := c.ForwardDraft(ctx, ref, to, note)
				if err != nil {
					return err
				}
				return a.send(ctx, c, d)
			})
		},
	}
	cmd.Flags().StringArrayVar(&to, "to", nil, "pass it on to `A`; may be repeated")
	cmd.Flags().StringVar(&note, "note", "", "put these `WORDS` above it")
	return cmd
}
