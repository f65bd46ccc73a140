package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
)

// savedJSON is save with --json.
type savedJSON struct {
	ID   string `json:"id"`
	Path string `json:"path"`
	attachmentJSON
}

// saveCommand is save.
func (a *app) saveCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "save ID [NAME] -o PATH|-", Short: "Save an attachment, or write it to standard output", Args: cobra.RangeArgs(1, 2),
		Long: "Saves the attachment NAME, or by its number, or the only one that there is. PATH is\na new file, or a directory in which the attachment keeps its name. Interrupted, it\ngoes on where it stopped. A file that exists is never overwritten.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "-" && isTerminal(a.out) {
				return daemon.Usage("an attachment is not written to a terminal; name a file with -o")
			}
			name := ""
			if len(args) == 2 {
				name = args[1]
			}
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				ref, err := a.readable(ctx, c, args[0])
				if err != nil {
					return err
				}
				at, err := c.Attachment(ctx, ref, name)
				if err != nil {
					return argument(err)
				}
				if out == "-" {
					return c.Download(ctx, ref, at, a.out)
				}
				return a.save(ctx, c, saving{ref, at, out})
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", ".", "save as `PATH`, or - for standard output")
	return cmd
}

// saving is which attachment goes where.
type saving struct {
	ref message.Ref
	at  message.Attachment
	out string
}

// save writes an attachment into a file.
func (a *app) save(ctx context.Context, c *client.Client, s saving) error {
	dir, name := filepath.Split(s.out)
	if info, err := os.Stat(s.out); err == nil && info.IsDir() {
		dir, name = s.out, ""
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return daemon.Usage("-o: %w", err)
	}
	if dir == "" {
		dir = "."
	}
	path, err := c.Save(ctx, s.ref, s.at, dir, name)
	if err != nil {
		return argument(standing(err))
	}
	return a.result(savedJSON{s.ref.String(), path, attachmentJSON{s.at.Name, s.at.MediaType, s.at.Size}}, "%s\n", path)
}

// standing words that a file stands where one was to be saved. The sentence of the code is about
// statements.
func standing(err error) error {
	if !errors.Is(err, message.Conflict) || isRefusal(err) {
		return err
	}
	return &reworded{err, strings.TrimSuffix(err.Error(), ": "+message.Conflict.Error()) + "; nothing was overwritten"}
}
