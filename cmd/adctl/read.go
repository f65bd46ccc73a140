package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/message"
)

// readCommand is read.
func (a *app) readCommand() *cobra.Command {
	var compare bool
	var o client.ReadOptions
	cmd := &cobra.Command{
		Use: "read ID [--diff]", Short: "Read a message: its newest version, or without a connection the one that is here", Args: cobra.ExactArgs(1),
		Long: "Reads a message. The body goes to standard output as it is; on a terminal with\nits headers above, and with what could deceive the eye made visible.\n\n" +
			"ID is address::mid, address::name, or the first digits of the mid.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				ref, err := a.find(ctx, c, args[0])
				if err != nil {
					return err
				}
				r, err := c.Read(ctx, ref, o)
				if err != nil {
					return err
				}
				show := a.show
				if compare {
					show = a.diff
				}
				return errors.Join(show(ctx, c, r), a.doubts(r))
			})
		},
	}
	cmd.Flags().BoolVar(&compare, "diff", false, "show what changed between the versions that were read")
	cmd.Flags().BoolVar(&o.Offline, "offline", false, "ask nobody; read what is here")
	cmd.Flags().BoolVar(&o.Opened, "opened", false, "let the sender know, signed, that it was opened")
	return cmd
}

// find is the message that a person means. A prefix is looked for in the home;
// where that does not know it yet, the server is asked what is new.
func (a *app) find(ctx context.Context, c *client.Client, text string) (message.Ref, error) {
	ref, err := c.Find(ctx, text)
	if err == nil || c.Address().IsZero() || !errors.Is(err, message.NotFound) || strings.Contains(text, "::") && !strings.HasPrefix(text, "::") {
		return ref, argument(err)
	}
	if _, syncErr := c.Sync(ctx); syncErr != nil {
		return ref, err
	}
	ref, err = c.Find(ctx, text)
	return ref, argument(err)
}

// doubts says on standard error what a reader should know. An error says that
// what was announced is not to be believed; the copy that was believed before
// has been shown.
func (a *app) doubts(r *client.Reading) error {
	if r.State == client.StateRecalled {
		a.sayf("its sender has taken this message back; this is version %d, which you had read", r.Shown)
	}
	if r.Trouble != "" {
		return fmt.Errorf("this is version %d, which was believed; what was announced after it is not: %s: %w", r.Shown, r.Trouble, message.BadSignature)
	}
	if r.Unasked == nil {
		return nil
	}
	for _, unbelieved := range []message.Code{message.BadSignature, message.Contract, message.Stale, message.Conflict, message.Invalid, message.Clock} {
		if errors.Is(r.Unasked, unbelieved) {
			return fmt.Errorf("this is the copy that is here, version %d: %w", r.Shown, r.Unasked)
		}
	}
	a.sayf("this is the copy that is here, version %d; newer ones could not be asked for: %v", r.Shown, r.Unasked)
	return nil
}

// readingJSON is a message that was read.
func readingJSON(r *client.Reading) messageJSON {
	m := itemJSON(r.Item)
	m.Copy = r.Unasked != nil
	return m
}

// show prints a message.
func (a *app) show(ctx context.Context, c *client.Client, r *client.Reading) error {
	if a.json {
		return a.emit(readingJSON(r))
	}
	body, _ := r.Content.Body()
	if isTerminal(a.out) {
		if err := a.headers(ctx, c, r.Item); err != nil {
			return err
		}
		if !strings.HasSuffix(body, "\n") {
			body += "\n"
		}
	}
	return a.print(body)
}

// headers prints what stands above a message on a terminal.
func (a *app) headers(ctx context.Context, c *client.Client, i *client.Item) error {
	known, err := a.names(ctx, c)
	if err != nil {
		return err
	}
	full := func(addr message.Address) string {
		if name := known[addr]; name != "" {
			return name + " <" + addr.String() + ">"
		}
		return addr.String()
	}
	lines := []string{"Id:       " + i.Ref.String(), "From:     " + full(i.Head.From)}
	for _, to := range i.Head.To {
		lines = append(lines, "To:       "+full(to))
	}
	lines = append(lines, "Date:     "+i.Head.Time.Local().Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	if s := oneLine(i.Content.Subject()); s != "" {
		lines = append(lines, "Subject:  "+s)
	}
	contract := i.Head.Terms.String()
	if !i.Head.Expires.IsZero() {
		contract += " until " + i.Head.Expires.Local().Format("2006-01-02 15:04")
	}
	lines = append(lines, fmt.Sprintf("Version:  %d (%s)", i.Shown, contract))
	if i.Classical {
		lines = append(lines, "Sealed:   not post-quantum")
	}
	for n, at := range i.Attachments() {
		lines = append(lines, fmt.Sprintf("Attached: %d. %s (%d bytes)", n+1, oneLine(at.Name), at.Size))
	}
	return a.print(strings.Join(lines, "\n") + "\n\n")
}

// diff prints what changed between the versions that are in the home.
func (a *app) diff(ctx context.Context, c *client.Client, r *client.Reading) error {
	versions, err := c.Versions(ctx, r.Ref)
	if err != nil {
		return err
	}
	var b strings.Builder
	for n := 1; n < len(versions); n++ {
		old, now := versions[n-1], versions[n]
		b.Write(diff.Diff(fmt.Sprintf("version %d", old.Shown), compared(old), fmt.Sprintf("version %d", now.Shown), compared(now)))
	}
	if a.json {
		m, text := readingJSON(r), b.String()
		m.Diff = &text
		return a.emit(m)
	}
	if len(versions) < 2 {
		a.sayf("there is one version here; nothing to compare")
	}
	return a.print(b.String())
}

// compared is what of a version is compared: subject, body, attachments.
func compared(i *client.Item) []byte {
	var b strings.Builder
	if s := i.Content.Subject(); s != "" {
		b.WriteString("Subject: " + oneLine(s) + "\n\n")
	}
	body, _ := i.Content.Body()
	b.WriteString(body)
	if !strings.HasSuffix(body, "\n") {
		b.WriteString("\n")
	}
	for _, at := range i.Attachments() {
		_, _ = fmt.Fprintf(&b, "Attached: %s (%d bytes, %s)\n", oneLine(at.Name), at.Size, at.Blob)
	}
	return []byte(b.String())
}
