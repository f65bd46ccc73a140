package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/message"
)

// findingJSON is one finding with --json.
type findingJSON struct {
	What   string `json:"what"`
	Fine   bool   `json:"fine"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

// errUnwell says that the doctor found something.
var errUnwell = errors.New("something needs your attention; see above")

// doctorCommand is doctor.
func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look whether everything works that mail needs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			well := true
			tell := func(f client.Finding) error {
				well = well && f.Fine
				if a.json {
					return a.emit(findingJSON{f.What, f.Fine, f.Found, f.Advice})
				}
				mark := "ok"
				if !f.Fine {
					mark = "!!"
				}
				if err := a.printf("%s  %s: %s\n", mark, f.What, oneLine(plain(f.Found))); err != nil || f.Advice == "" {
					return err
				}
				return a.printf("    %s\n", f.Advice)
			}
			err := a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				for _, f := range append(a.examineHome(), c.Doctor(ctx)...) {
					if err := tell(f); err != nil {
						return err
					}
				}
				return ctx.Err()
			})
			if err == nil && !well {
				err = errUnwell
			}
			return err
		},
	}
}

// examineHome looks at the home directory.
func (a *app) examineHome() []client.Finding {
	f := client.Finding{What: "home", Found: a.home, Fine: true}
	info, err := os.Stat(a.home)
	switch {
	case err != nil:
		f.Fine, f.Found = false, err.Error()
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		f.Fine, f.Found, f.Advice = false, a.home+" can be opened by others", "run: chmod 700 "+a.home
	}
	return []client.Finding{f}
}

// versionJSON is version with --json.
type versionJSON struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit,omitempty"`
	Go       string   `json:"go"`
	Protocol string   `json:"protocol"`
	Suites   []string `json:"suites"`
	Boxes    []string `json:"boxes"`
}

// versionCommand is version.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Tell the version of this program, and what it can read", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionJSON{Version: "devel", Go: runtime.Version(), Protocol: "airdispatch/1", Suites: []string{"none", "chacha20-poly1305"}, Boxes: []string{"hybrid", "nacl"}}
			if info, ok := debug.ReadBuildInfo(); ok {
				if info.Main.Version != "" && info.Main.Version != "(devel)" {
					v.Version = info.Main.Version
				}
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Commit = s.Value
					}
				}
			}
			return a.result(v, "adctl %s %s %s\n", v.Version, v.Protocol, v.Go)
		},
	}
}

// sorted are the keys of a map, in order.
func sorted[T any](m map[message.Address]T) []message.Address {
	return slices.SortedFunc(maps.Keys(m), message.Address.Compare)
}
