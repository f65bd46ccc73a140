package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
)

// postCommand is post.
func (a *app) postCommand() *cobra.Command {
	var l letterFlags
	var name string
	cmd := &cobra.Command{
		Use: "post [--name N] [FILE|-]", Short: "Publish a message that anybody may read; its id goes to standard output", Args: cobra.MaximumNArgs(1),
		Long: "Publishes a message. With a name it is found as address::name, and takes the place of\nwhat stood under that name before.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d := client.Draft{Public: true, Name: strings.ToLower(name)}
			if err := l.fill(&d); err != nil {
				return err
			}
			if d.Name != "" {
				if err := message.CheckPostName(d.Name); err != nil {
					return daemon.Usage("--name: %w", err)
				}
			}
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				return a.write(ctx, writing{args: args, use: func(body string) error {
					d.Body = body
					sent, err := c.Send(ctx, d)
					if err != nil {
						return argument(err)
					}
					return a.version(sent[0], "published: anybody can read it with `adctl read %s`", publicName(sent[0].Head))
				}})
			})
		},
	}
	l.bind(cmd.Flags(), false)
	cmd.Flags().StringVar(&name, "name", "", "publish it under this `N`ame")
	return cmd
}

// publicName is how others refer to a public message.
func publicName(h *message.Head) string {
	if h.Name != "" {
		return h.From.String() + "::" + h.Name
	}
	return h.Ref().String()
}

// postsCommand is posts.
func (a *app) postsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "posts ADDR [--follow]", Short: "List the public messages of an address; no account is needed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				addr, err := c.Resolve(ctx, args[0])
				if err != nil {
					return argument(err)
				}
				items, postsErr := c.Posts(ctx, addr)
				if err := a.listPosts(ctx, c, items); err != nil || !follow {
					return errors.Join(err, postsErr)
				}
				if postsErr != nil && !errors.Is(postsErr, message.Unavailable) {
					return postsErr
				}
				return c.FollowPosts(ctx, addr, func(i *client.Item) error { return a.listPosts(ctx, c, []*client.Item{i}) })
			})
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on, and print what is published")
	return cmd
}

// listPosts prints public messages: id, state, time, author, title; with --json
// also what they say.
func (a *app) listPosts(ctx context.Context, c *client.Client, items []*client.Item) error {
	if a.json {
		for _, i := range items {
			if err := a.emit(itemJSON(i)); err != nil {
				return err
			}
		}
		return nil
	}
	known, err := a.names(ctx, c)
	if err != nil {
		return err
	}
	t := a.newTable()
	for _, i := range items {
		if err := t.row(a.idOf(i.Ref), a.local(i.Head.Time), known.of(a, i.Head.From), i.Head.Name, title(i)); err != nil {
			return err
		}
	}
	return t.flush()
}

// followCommand is follow.
func (a *app) followCommand() *cobra.Command {
	return &cobra.Command{
		Use: "follow ADDR", Short: "Follow an address: its posts appear in the feed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAddress(cmd, args[0], anybody, func(ctx context.Context, c *client.Client, addr message.Address) error {
				return c.Follow(ctx, addr)
			})
		},
	}
}

// unfollowCommand is unfollow.
func (a *app) unfollowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unfollow ADDR", Short: "Follow an address no more", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAddress(cmd, args[0], anybody, func(ctx context.Context, c *client.Client, addr message.Address) error {
				return c.Unfollow(ctx, addr)
			})
		},
	}
}

// withAddress opens a client and finds the address that an argument names.
func (a *app) withAddress(cmd *cobra.Command, text string, w who, use func(context.Context, *client.Client, message.Address) error) error {
	return a.with(cmd, w, func(ctx context.Context, c *client.Client) error {
		addr, err := c.Resolve(ctx, text)
		if err != nil {
			return argument(err)
		}
		return use(ctx, c, addr)
	})
}

// feedCommand is feed.
func (a *app) feedCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "feed", Short: "List the posts of everybody you follow", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				items, feedErr := c.Feed(ctx, limit)
				return errors.Join(a.listPosts(ctx, c, items), feedErr)
			})
		},
	}
	bindLimit(cmd.Flags(), &limit)
	return cmd
}

// profileJSON is a profile with --json.
type profileJSON struct {
	Address string `json:"address"`
	Name    string `json:"name"`
	About   string `json:"about"`
	Version uint64 `json:"version"`
	Time    string `json:"time"`
}

// profileCommand is profile.
func (a *app) profileCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "profile show|set", Short: "What an address says about itself, in public", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.which(cmd) },
	}
	show := &cobra.Command{
		Use: "show [ADDR]", Short: "Show a profile, without ADDR your own", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				addr, err := a.need()
				if err != nil {
					return err
				}
				args = []string{addr.String()}
			}
			return a.withAddress(cmd, args[0], anybody, a.showProfile)
		},
	}
	var name, about string
	set := &cobra.Command{
		Use: "set [--name NAME] [--about TEXT]", Short: "Publish your profile; what is not given stays", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var newName, newAbout *string
			if cmd.Flags().Changed("name") {
				newName = &name
			}
			if cmd.Flags().Changed("about") {
				newAbout = &about
			}
			if newName == nil && newAbout == nil {
				return daemon.Usage("what is to be set? --name or --about")
			}
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				sent, err := c.SetProfile(ctx, newName, newAbout)
				if err != nil {
					return argument(err)
				}
				return a.version(sent, "published as %s", publicName(sent.Head))
			})
		},
	}
	set.Flags().StringVar(&name, "name", "", "how you call yourself")
	set.Flags().StringVar(&about, "about", "", "what you say about yourself")
	cmd.AddCommand(show, set)
	return cmd
}

// showProfile prints a profile.
func (a *app) showProfile(ctx context.Context, c *client.Client, addr message.Address) error {
	p, err := c.Profile(ctx, addr)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(profileJSON{addr.String(), p.Name, p.About, p.Item.Shown, rfc3339(p.Item.Head.Time)})
	}
	t := a.newTable()
	errs := []error{t.row("address", addr.String()), t.row("name", p.Name), t.flush()}
	if p.About != "" {
		errs = append(errs, a.printf("\n%s\n", strings.TrimRight(p.About, "\n")))
	}
	return errors.Join(errs...)
}
