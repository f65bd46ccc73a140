package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/message"
)

// givenJSON is a file that was handed over, with --json.
type givenJSON struct {
	To      string `json:"to"`
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	Resumed int64  `json:"resumed"`
}

// beamCommand is beam.
func (a *app) beamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "beam ADDR FILE", Short: "Hand a file over live", Args: cobra.ExactArgs(2),
		Long: "Hands FILE to ADDR, where `adctl listen beam --into DIR` takes it: no server keeps it,\nand it may have any size. Interrupted, it goes on where it stopped when the same file\nis beamed again. Never overwrites a file.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				to, err := c.Resolve(ctx, args[0])
				if err != nil {
					return argument(err)
				}
				g, err := c.Beam(ctx, to, args[1])
				if err != nil {
					return argument(standingThere(err, filepath.Base(args[1])))
				}
				if a.json {
					return a.emit(givenJSON{to.String(), g.Name, g.Size, g.From})
				}
				if g.From > 0 {
					a.sayf("%d of %d bytes were there already", g.From, g.Size)
				}
				return nil
			})
		},
	}
	a.directFlag(cmd)
	return cmd
}

// standingThere words that a file stands where one was to be put, at the other end. The sentence of
// the code is about statements.
func standingThere(err error, name string) error {
	switch {
	case !errors.Is(err, message.Conflict):
		return err
	case isRefusal(err):
		return &reworded{err, "there is a file " + name + " already; nothing was overwritten"}
	}
	return &reworded{err, strings.TrimSuffix(err.Error(), ": "+message.Conflict.Error())}
}
