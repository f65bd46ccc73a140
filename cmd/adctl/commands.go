package main

import "github.com/spf13/cobra"

// commands are all commands of adctl.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.idCommand(),
	}
}
