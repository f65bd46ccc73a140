package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"airdispatch/message"
	"airdispatch/store"
)

// Program is one server program: its own part, beside what all share.
type Program struct {
	// Name of the program, and Title of what it serves, as in "a tracker".
	Name, Title string
	Role        message.Role
	// NewConfig returns the defaults.
	NewConfig func() Config
	// InitFlags adds flags to init. The func that it returns is called once they
	// are read and gives the program's own part of config.toml, with comments.
	InitFlags func(*pflag.FlagSet) func() (string, error)
	// NextSteps are words at the end of init; reference is what was made.
	NextSteps func(dir string, reference message.Reference) string
	// Serve runs the server until ctx ends.
	Serve func(ctx context.Context, s *Site) error
	// Blobs opens the directory of blobs; a mail server's only.
	Blobs func(dir string) (store.Blobs, error)
	// Examine adds the program's own findings to doctor; it may be nil.
	Examine func(ctx context.Context, s *Site) []Finding
	// Commands are the program's own; with Open they get at the site.
	Commands func(open Opener) []*cobra.Command
}

// Opener opens the data directory that a command was given, and closes it
// after use.
type Opener func(cmd *cobra.Command, use func(ctx context.Context, s *Site) error) error

// Std is what a program reads from and writes to.
type Std struct {
	In       io.Reader
	Out, Err io.Writer
	// Environ is the environment; nil is the process's own.
	Environ []string
}

// call is one run of the program.
type call struct {
	std   Std
	dir   string
	flags *pflag.FlagSet
}

// environ is the environment without what is no setting.
func (c *call) environ() []string {
	all := c.std.Environ
	if all == nil {
		all = os.Environ()
	}
	var out []string
	for _, e := range all {
		if !strings.HasPrefix(e, "AD_DIR=") {
			out = append(out, e)
		}
	}
	return out
}

// dataDir is the directory that was named by --dir or AD_DIR.
func (c *call) dataDir() (string, error) {
	dir := c.dir
	for _, e := range c.std.Environ {
		if name, value, _ := strings.Cut(e, "="); name == "AD_DIR" && dir == "" {
			dir = value
		}
	}
	if c.std.Environ == nil && dir == "" {
		dir = os.Getenv("AD_DIR")
	}
	if dir == "" {
		return "", Usage("which data directory? give --dir DIR, or set AD_DIR")
	}
	return filepath.Abs(dir)
}

// Run runs the program with arguments and returns its exit code.
func (p *Program) Run(ctx context.Context, args []string, std Std) int {
	root := p.Root(std)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Canceled) {
		err = errors.Join(err, context.Canceled)
	}
	return complain(std.Err, p.Name, err)
}

// Root is the command line of the program.
func (p *Program) Root(std Std) *cobra.Command {
	c := &call{std: std}
	root := &cobra.Command{
		Use: p.Name, Short: "Runs " + p.Title + " of Airdispatch", SilenceUsage: true, SilenceErrors: true,
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return Usage("which command? see above")
		},
	}
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	root.PersistentFlags().StringVar(&c.dir, "dir", "", "data `DIR`ectory (or AD_DIR)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return Usage("%w", err) })
	root.AddCommand(p.initCommand(c), p.serveCommand(c), p.configCommand(c), p.backupCommand(c), p.verifyCommand(c),
		p.restoreCommand(c), p.doctorCommand(c), versionCommand(std, p.Name))
	if p.Commands != nil {
		root.AddCommand(p.Commands(c.opener(p))...)
	}
	usageArgs(root)
	return root
}

// usageArgs makes wrong numbers of arguments, and unknown commands, usage
// errors throughout.
func usageArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return Usage("%w; usage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

// opener opens the site for a program's own commands.
func (c *call) opener(p *Program) Opener {
	return func(cmd *cobra.Command, use func(context.Context, *Site) error) (err error) {
		s, err := p.open(cmd.Context(), c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return use(cmd.Context(), s)
	}
}

// serveCommand is serve.
func (p *Program) serveCommand(c *call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve until told to stop (SIGTERM drains; a second signal stops at once)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			c.flags = cmd.Flags()
			s, err := p.openServing(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return p.Serve(cmd.Context(), s)
		},
	}
	SettingFlag(cmd.Flags(), "listen", "listen", "accept connections at `HOST:PORT`")
	SettingFlag(cmd.Flags(), "metrics", "metrics", "serve /metrics at `HOST:PORT` on loopback")
	SettingFlag(cmd.Flags(), "log-level", "log.level", "debug, info, warn or error")
	SettingFlag(cmd.Flags(), "log-format", "log.format", "text or json")
	return cmd
}

// configCommand is config check.
func (p *Program) configCommand(c *call) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Look at the settings", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return Usage("which? try: %s config check", p.Name) },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "check", Short: "Read config.toml and the environment as serve would, and say what is wrong", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := p.settings(c); err != nil {
				return err
			}
			dir, err := c.dataDir()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.std.Err, "%s: ok\n", filepath.Join(dir, ConfigFile))
			return err
		},
	})
	return cmd
}

// versionCommand is version.
func versionCommand(std Std, name string) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			version, revision := "(devel)", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				if info.Main.Version != "" {
					version = info.Main.Version
				}
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = " " + s.Value
					}
				}
			}
			_, err := fmt.Fprintf(std.Out, "%s %s%s %s %s/%s protocol airdispatch/1\n",
				name, version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
