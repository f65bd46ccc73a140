package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
	"airdispatch/store"
)

// contactJSON is one contact, or one name that was resolved, with --json.
type contactJSON struct {
	Address string `json:"address"`
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Time    string `json:"time"`
	Changed string `json:"changed,omitempty"`
}

// which asks for a subcommand.
func (a *app) which(cmd *cobra.Command) error {
	var subs []string
	for _, sub := range cmd.Commands() {
		subs = append(subs, sub.Name())
	}
	return daemon.Usage("%s what? %s", cmd.Name(), strings.Join(subs, ", "))
}

// number reads the number of a draft.
func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, daemon.Usage("%q is not the number of a draft; see `adctl drafts list`", text)
	}
	return n, nil
}

// contactsCommand is contacts.
func (a *app) contactsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "contacts add|list|remove|accept", Short: "Your own names for addresses", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.which(cmd) },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "add ADDR NAME", Short: "Name an address", Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
					contact, err := c.AddContact(ctx, args[0], args[1])
					if errors.Is(err, message.Conflict) && contact.Name != "" {
						return fmt.Errorf("%s is the name of another address; `adctl contacts remove %s` first: %w", contact.Name, contact.Name, message.Conflict)
					}
					if err != nil {
						return argument(err)
					}
					return a.result(contactJSON{contact.Address.String(), contact.Name, "contact", rfc3339(contact.Added), ""}, "%s\t%s\n", contact.Name, contact.Address)
				})
			},
		},
		&cobra.Command{
			Use: "list", Short: "List contacts, and names of trackers that were resolved", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return a.with(cmd, anybody, a.listContacts) },
		},
		&cobra.Command{
			Use: "remove NAME", Short: "Forget a contact", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error { return c.RemoveContact(ctx, args[0]) })
			},
		},
		&cobra.Command{
			Use: "accept NAME|ADDR", Short: "Accept that a name has changed hands, or an address that trackers disagree about", Args: cobra.ExactArgs(1),
			Long: "Accepts that name@host stands for another address now, or that an address about which\ntrackers disagree is the one that is known here. Ask its owner, in some other way,\nbefore you accept.",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
					addr, err := c.Accept(ctx, args[0])
					if err != nil {
						return argument(err)
					}
					return a.result(contactJSON{Address: addr.String(), Name: args[0], Kind: "accepted"}, "%s\t%s\n", args[0], addr)
				})
			},
		},
	)
	return cmd
}

// listContacts prints contacts, then pins.
func (a *app) listContacts(ctx context.Context, c *client.Client) error {
	contacts, err := c.Contacts(ctx)
	if err != nil {
		return err
	}
	pins, err := c.Pins(ctx)
	if err != nil {
		return err
	}
	var all []contactJSON
	for _, one := range contacts {
		all = append(all, contactJSON{one.Address.String(), one.Name, "contact", rfc3339(one.Added), ""})
	}
	for _, p := range pins {
		one := contactJSON{p.Address.String(), p.Name, "name", rfc3339(p.Pinned), ""}
		if !p.Offered.IsZero() {
			one.Changed = p.Offered.String()
		}
		all = append(all, one)
	}
	t := a.newTable()
	for _, one := range all {
		if a.json {
			err = a.emit(one)
		} else {
			note := ""
			if one.Changed != "" {
				note = "now " + one.Changed
			}
			err = t.row(one.Name, one.Address, one.Kind, note)
		}
		if err != nil {
			return err
		}
	}
	return t.flush()
}

// ruleJSON is one verdict about a sender, with --json.
type ruleJSON struct {
	Address string `json:"address"`
	Verdict string `json:"verdict"`
}

// allowCommand is allow.
func (a *app) allowCommand() *cobra.Command {
	return a.verdictCommand("allow", "Take mail from an address into the inbox; without ADDR, list your verdicts", store.Allow)
}

// blockCommand is block.
func (a *app) blockCommand() *cobra.Command {
	return a.verdictCommand("block", "Take no mail from an address; without ADDR, list your verdicts", store.Block)
}

func (a *app) verdictCommand(verb, short string, v store.Verdict) *cobra.Command {
	var undo bool
	cmd := &cobra.Command{
		Use: verb + " [ADDR]", Short: short, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && undo {
				return daemon.Usage("--undo of which address? `adctl %s --undo ADDR`", verb)
			}
			if len(args) == 0 {
				return a.with(cmd, somebody, a.listVerdicts)
			}
			if undo {
				v = store.Stranger
			}
			return a.withAddress(cmd, args[0], somebody, func(ctx context.Context, c *client.Client, addr message.Address) error {
				return c.SetVerdict(ctx, addr, v)
			})
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "treat the address as a stranger again")
	return cmd
}

// listVerdicts prints one's verdicts.
func (a *app) listVerdicts(ctx context.Context, c *client.Client) error {
	rules, err := c.Policies(ctx)
	if err != nil {
		return err
	}
	known, err := a.names(ctx, c)
	if err != nil {
		return err
	}
	t := a.newTable()
	for _, addr := range sorted(rules) {
		r := ruleJSON{addr.String(), "allow"}
		if rules[addr] == store.Block {
			r.Verdict = "block"
		}
		if a.json {
			err = a.emit(r)
		} else {
			err = t.row(r.Verdict, known.of(a, addr))
		}
		if err != nil {
			return err
		}
	}
	return t.flush()
}
