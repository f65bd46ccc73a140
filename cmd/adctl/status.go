package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/store"
)

// statusJSON is status with --json.
type statusJSON struct {
	messageJSON
	Recipients []recipientJSON `json:"recipients"`
}

// recipientJSON is how far a message has come for one recipient.
type recipientJSON struct {
	Address     string `json:"address"`
	State       string `json:"state"`
	Version     uint64 `json:"version"`
	Time        string `json:"time"`
	Reason      string `json:"reason"`
	Signed      bool   `json:"signed"`
	Attempts    int    `json:"attempts,omitempty"`
	NextAttempt string `json:"next_attempt,omitempty"`
	Overdue     bool   `json:"overdue,omitempty"`
	// What a verified receipt says of this or an earlier version.
	FetchedVersion uint64 `json:"fetched_version,omitempty"`
	FetchedTime    string `json:"fetched_time,omitempty"`
	OpenedVersion  uint64 `json:"opened_version,omitempty"`
}

// deliveryStates are the words for states of a delivery.
var deliveryStates = map[store.DeliveryState]string{
	store.Queued: "queued", store.Alerted: "alerted", store.NotTaken: "refused",
	store.Served: "served", store.Fetched: "fetched", store.OpenedFor: "opened",
}

// statusCommand is status.
func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status ID", Short: "Tell how far a message has come, for each recipient", Args: cobra.ExactArgs(1),
		Long: "States: queued (your server will bring the news), alerted (the recipient's server has\nit), refused, served (your server handed the content out), fetched (the recipient's\nserver signed that it has it), opened (the reader's device signed it).",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				ref, err := a.find(ctx, c, args[0])
				if err != nil {
					return err
				}
				p, err := c.Status(ctx, ref)
				if err != nil {
					return err
				}
				return a.showStatus(ctx, c, p)
			})
		},
	}
}

// showStatus prints deliveries: address, state, version, time, reason.
func (a *app) showStatus(ctx context.Context, c *client.Client, p *client.Progressed) error {
	out := statusJSON{itemJSON(p.Item), []recipientJSON{}}
	for _, d := range p.Deliveries {
		r := recipientJSON{
			Address: d.To.String(), State: deliveryStates[d.State], Version: d.Version, Time: rfc3339(d.Time), Signed: d.Signed,
			Attempts: d.Attempts, NextAttempt: rfc3339(d.Next), Overdue: d.Overdue,
			FetchedVersion: d.FetchedVersion, FetchedTime: rfc3339(d.FetchedTime), OpenedVersion: d.OpenedVersion,
		}
		if d.Reason != 0 {
			r.Reason = d.Reason.Name()
		}
		out.Recipients = append(out.Recipients, r)
	}
	if a.json {
		return a.emit(out)
	}
	known, err := a.names(ctx, c)
	if err != nil {
		return err
	}
	t := a.newTable()
	var errs []error
	for n, r := range out.Recipients {
		d := p.Deliveries[n]
		errs = append(errs, t.row(known.of(a, d.To), r.State, fmt.Sprint(r.Version), a.local(d.Time), a.reasons(d)))
	}
	return errors.Join(append(errs, t.flush())...)
}

// reasons is what a person should know about a delivery.
func (a *app) reasons(d client.Delivery) string {
	var out []string
	// An edit or a recall begins the state anew; what was had before it stays had.
	if d.FetchedVersion != 0 && d.FetchedVersion < d.Version {
		out = append(out, fmt.Sprintf("version %d was fetched at %s", d.FetchedVersion, a.local(d.FetchedTime)))
	}
	if d.OpenedVersion != 0 && d.OpenedVersion < d.Version {
		out = append(out, fmt.Sprintf("version %d was opened at %s", d.OpenedVersion, a.local(d.OpenedTime)))
	}
	if d.Reason != 0 {
		out = append(out, d.Reason.Error())
	}
	if d.Overdue {
		out = append(out, "not reached for five days")
	}
	if d.Attempts > 0 && !d.Next.IsZero() {
		out = append(out, fmt.Sprintf("%d attempts, next %s", d.Attempts, d.Next.Local().Format("15:04:05")))
	}
	return strings.Join(out, "; ")
}

// sentCommand is sent.
func (a *app) sentCommand() *cobra.Command {
	var limit int
	var offline bool
	cmd := &cobra.Command{
		Use: "sent", Short: "List what you have sent", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				var syncErr error
				if !offline {
					if syncErr = c.SyncSent(ctx); syncErr == nil {
						syncErr = c.FetchSent(ctx)
					}
				}
				items, sentErr := c.Sent(ctx, limit)
				known, err := a.names(ctx, c)
				if err != nil {
					return err
				}
				return errors.Join(a.list(items, func(i *client.Item) string { return known.all(a, i.Head.To) }), sentErr, syncErr)
			})
		},
	}
	bindLimit(cmd.Flags(), &limit)
	cmd.Flags().BoolVar(&offline, "offline", false, "ask nobody; list what is known")
	return cmd
}

// draftJSON is one draft with --json.
type draftJSON struct {
	Draft   int64    `json:"draft"`
	EditOf  string   `json:"edit_of,omitempty"`
	To      []string `json:"to"`
	Bcc     []string `json:"bcc,omitempty"`
	Subject string   `json:"subject"`
	Body    string   `json:"body"`
	Time    string   `json:"time"`
	Trouble string   `json:"trouble"`
}

// draftsCommand is drafts.
func (a *app) draftsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drafts list|send|delete", Short: "What could not be sent", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.which(cmd) },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List drafts: number, time, recipients, subject, why it was not sent", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return a.with(cmd, somebody, a.listDrafts) },
		},
		&cobra.Command{
			Use: "send DRAFT", Short: "Send a draft again; what the server has already is not sent twice", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				n, err := number(args[0])
				if err != nil {
					return err
				}
				return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
					sent, err := c.SendDraft(ctx, n)
					return a.reportSent(sent, conflict(err))
				})
			},
		},
		&cobra.Command{
			Use: "delete DRAFT", Short: "Throw a draft away", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				n, err := number(args[0])
				if err != nil {
					return err
				}
				return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error { return c.DeleteDraft(ctx, n) })
			},
		},
	)
	return cmd
}

// listDrafts prints drafts.
func (a *app) listDrafts(ctx context.Context, c *client.Client) error {
	drafts, err := c.Drafts(ctx)
	if err != nil {
		return err
	}
	t := a.newTable()
	for _, d := range drafts {
		to := append([]string{}, d.To...)
		if d.Public {
			to = append(to, "everybody")
		}
		if a.json {
			j := draftJSON{Draft: d.ID, To: append([]string{}, d.To...), Bcc: d.Bcc, Subject: d.Subject, Body: d.Body, Time: rfc3339(d.Time), Trouble: d.Trouble}
			if !d.EditOf.MID.IsZero() {
				j.EditOf = d.EditOf.String()
			}
			err = a.emit(j)
		} else {
			err = t.row(fmt.Sprint(d.ID), a.local(d.Time), strings.Join(append(to, d.Bcc...), ","), d.Subject, d.Trouble)
		}
		if err != nil {
			return err
		}
	}
	return t.flush()
}
