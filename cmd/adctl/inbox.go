package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/home"
)

// noticeJSON is the own server's word about a message that it could not bring.
type noticeJSON struct {
	ID      string `json:"id"`
	Version uint64 `json:"version"`
	Kind    string `json:"kind"`
	To      string `json:"to"`
	Time    string `json:"time"`
	Reason  string `json:"reason"`
}

// inboxCommand is inbox.
func (a *app) inboxCommand() *cobra.Command {
	var q client.InboxQuery
	var follow, noFetch, offline bool
	cmd := &cobra.Command{
		Use: "inbox [--requests] [--follow]", Short: "List what has arrived", Args: cobra.NoArgs,
		Long: "Lists what has arrived, oldest first: id, state, time, sender, subject.\n\n" +
			"A subject is inside its message, so mail of accepted senders is fetched first,\nas their servers can tell; --no-fetch leaves that. What strangers sent is in\n--requests and is not fetched before you read it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				l := &inboxList{a: a, c: c, q: q, fetch: !noFetch && !q.Requests}
				var syncErr error
				if !offline {
					syncErr = l.sync(ctx)
				}
				// What is here is shown, whatever the server does.
				if err := l.all(ctx); err != nil {
					return errors.Join(err, syncErr)
				}
				if syncErr != nil && !(follow && errors.Is(syncErr, message.Unavailable)) || !follow {
					return syncErr
				}
				return l.follow(ctx)
			})
		},
	}
	cmd.Flags().BoolVar(&q.Requests, "requests", false, "list what strangers sent")
	cmd.Flags().BoolVar(&q.Archive, "archive", false, "list what was archived")
	cmd.Flags().BoolVar(&q.Unread, "unread", false, "list only what was not read")
	bindLimit(cmd.Flags(), &q.Limit)
	cmd.Flags().BoolVar(&follow, "follow", false, "go on, and print what arrives")
	cmd.Flags().BoolVar(&noFetch, "no-fetch", false, "fetch nothing; subjects are then known of what was read")
	cmd.Flags().BoolVar(&offline, "offline", false, "ask nobody; list what is known")
	return cmd
}

// inboxList is one run of inbox.
type inboxList struct {
	a     *app
	c     *client.Client
	q     client.InboxQuery
	fetch bool
	names names
}

// sync asks the server, and fetches where that is wanted.
func (l *inboxList) sync(ctx context.Context) error {
	if _, err := l.c.Sync(ctx); err != nil {
		return err
	}
	if !l.fetch {
		return nil
	}
	return l.c.FetchNew(ctx)
}

// all prints what there is, notices first.
func (l *inboxList) all(ctx context.Context) (err error) {
	if l.names, err = l.a.names(ctx, l.c); err != nil {
		return err
	}
	if !l.q.Requests && !l.q.Archive {
		notices, err := l.c.Notices(ctx)
		if err != nil {
			return err
		}
		for _, n := range notices {
			if err := l.notice(n); err != nil {
				return err
			}
		}
	}
	items, err := l.c.Inbox(ctx, l.q)
	return errors.Join(l.print(items), err)
}

func (l *inboxList) print(items []*client.Item) error {
	return l.a.list(items, func(i *client.Item) string { return l.names.of(l.a, i.Head.From) })
}

// follow prints what arrives until the context ends.
func (l *inboxList) follow(ctx context.Context) error {
	folder := store.Inbox
	switch {
	case l.q.Requests:
		folder = store.Requests
	case l.q.Archive:
		folder = store.Archive
	}
	return l.c.Watch(ctx, func(s *client.Synced) error {
		if l.fetch {
			if err := l.c.FetchNew(ctx); err != nil {
				l.a.sayf("not fetched yet: %v", err)
			}
		}
		var items []*client.Item
		for _, ref := range s.Changed {
			i, err := l.c.Message(ctx, ref)
			if err == nil && i.Folder == folder && !(l.q.Unread && i.State == client.StateRead) {
				items = append(items, i)
			}
		}
		return l.print(items)
	})
}

// notice prints the server's word about a message that it could not bring.
func (l *inboxList) notice(n home.Notice) error {
	ref := message.Ref{From: l.c.Address(), MID: n.MID}
	if l.a.json {
		return l.a.emit(noticeJSON{ID: ref.String(), Version: n.Version, Kind: "notice", To: n.To.String(), Time: rfc3339(n.Time), Reason: n.Reason.Name()})
	}
	return l.a.printf("%s\tnotice\t%s\t%s\tcould not be brought: %s\n", l.a.idOf(ref), l.a.local(n.Time), l.names.of(l.a, n.To), n.Reason)
}

// names is one's contacts, for lists on a terminal; programs get addresses.
func (a *app) names(ctx context.Context, c *client.Client) (names, error) {
	out := make(names)
	if !isTerminal(a.out) {
		return out, nil
	}
	all, err := c.Contacts(ctx)
	for _, contact := range all {
		out[contact.Address] = contact.Name
	}
	out[c.Address()] = "me"
	return out, err
}

// searchCommand is search.
func (a *app) searchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "search WORDS…", Short: "Find messages that you have, by words in subject, body and names of attachments", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				items, searchErr := c.Search(ctx, args)
				known, err := a.names(ctx, c)
				if err != nil {
					return err
				}
				return errors.Join(a.list(items, func(i *client.Item) string { return known.of(a, i.Head.From) }), argument(searchErr))
			})
		},
	}
}
