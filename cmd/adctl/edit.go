package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
)

// editCommand is edit.
func (a *app) editCommand() *cobra.Command {
	var subject string
	var attach []string
	var plain, keep bool
	cmd := &cobra.Command{
		Use: "edit ID [FILE|-]", Short: "Replace the body of a message that you sent or posted", Args: cobra.RangeArgs(1, 2),
		Long: "Makes the next version of a message. It is made out of the newest version that is\nhere: where another of your devices was first, nothing is changed and you are told.\nWhat could not be sent is kept: see `adctl drafts`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				ref, err := a.find(ctx, c, args[0])
				if err != nil {
					return err
				}
				r := client.Revision{Plain: plain}
				if cmd.Flags().Changed("subject") {
					r.Subject = &subject
				}
				for _, path := range attach {
					r.Attach = append(r.Attach, client.File{Path: path})
				}
				if keep {
					return a.edit(ctx, c, ref, r)
				}
				was := func() (string, error) { return a.words(ctx, c, ref) }
				return a.write(ctx, writing{args: args[1:], was: was, use: func(body string) error {
					r.Body = &body
					return a.edit(ctx, c, ref, r)
				}})
			})
		},
	}
	cmd.Flags().StringVar(&subject, "subject", "", "change the subject")
	cmd.Flags().StringArrayVar(&attach, "attach", nil, "attach this `FILE` too; may be repeated")
	cmd.Flags().BoolVar(&plain, "plain", false, "the new body is plain text")
	cmd.Flags().BoolVar(&keep, "keep-body", false, "leave the body as it is and read none")
	return cmd
}

// edit makes the next version and prints its id.
func (a *app) edit(ctx context.Context, c *client.Client, ref message.Ref, r client.Revision) error {
	sent, err := c.Edit(ctx, ref, r)
	if err != nil {
		return conflict(argument(err))
	}
	return a.version(sent, "version %d of %s is at your server", sent.Head.Version, shortID(ref))
}

// words are what a message of one's own says now, for an editor to begin with.
func (a *app) words(ctx context.Context, c *client.Client, ref message.Ref) (string, error) {
	i, err := c.Editable(ctx, ref)
	if err != nil {
		return "", conflict(err)
	}
	body, _ := i.Content.Body()
	return body, nil
}

// conflict says what to do about a version that another device made.
func conflict(err error) error {
	c, ok := errors.AsType[*client.ConflictError](err)
	if !ok {
		return err
	}
	if kept, ok := errors.AsType[*client.DraftError](err); ok {
		return &advised{err, fmt.Sprintf("`adctl read %s` brings the version that stands; then `adctl drafts send %d` puts yours in its place, or `adctl drafts delete %d` throws it away", c.Ref, kept.ID, kept.ID)}
	}
	return &advised{err, "`adctl read " + c.Ref.String() + "` brings the version that stands; then edit that"}
}

// advised is an error with what to do about it.
type advised struct {
	error
	what string
}

// Unwrap is the error.
func (e *advised) Unwrap() error { return e.error }

// version prints a version of one's own that was accepted.
func (a *app) version(s *client.Sent, format string, args ...any) error {
	m := headJSON(s.Head)
	m.State = sentState(s.Head)
	if err := a.result(m, "%s\n", s.Head.Ref()); err != nil {
		return err
	}
	a.sayf(format, args...)
	return nil
}

// recallCommand is recall.
func (a *app) recallCommand() *cobra.Command {
	return &cobra.Command{
		Use: "recall ID", Short: "Take a message back: its content is erased, readers are told", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				ref, err := a.find(ctx, c, args[0])
				if err != nil {
					return err
				}
				sent, err := c.Recall(ctx, ref)
				if err != nil {
					return conflict(err)
				}
				return a.version(sent, "recalled; what somebody has read already, they may keep")
			})
		},
	}
}

// markCommand is mark.
func (a *app) markCommand() *cobra.Command {
	return &cobra.Command{
		Use: "mark read|unread ID…", Short: "Mark messages as read or unread", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "read":
				return a.mark(cmd, args[1:], client.Marks{Read: client.Set})
			case "unread":
				return a.mark(cmd, args[1:], client.Marks{Read: client.Clear})
			}
			return daemon.Usage("mark as what? read or unread, not %q", args[0])
		},
	}
}

// deleteCommand is delete.
func (a *app) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID…", Short: "Delete your own copy of messages; `recall` takes back what you sent", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.mark(cmd, args, client.Marks{Deleted: client.Set})
		},
	}
}

// archiveCommand is archive.
func (a *app) archiveCommand() *cobra.Command {
	var undo bool
	cmd := &cobra.Command{
		Use: "archive ID…", Short: "Move messages out of the inbox; `inbox --archive` lists them", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if undo {
				return a.mark(cmd, args, client.Marks{Archived: client.Clear})
			}
			return a.mark(cmd, args, client.Marks{Archived: client.Set})
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "move them back")
	return cmd
}

// mark changes one's own copies.
func (a *app) mark(cmd *cobra.Command, ids []string, m client.Marks) error {
	return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
		var refs []message.Ref
		for _, id := range ids {
			ref, err := a.find(ctx, c, id)
			if err != nil {
				return err
			}
			refs = append(refs, ref)
		}
		return c.Mark(ctx, refs, m)
	})
}
