package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
	"airdispatch/rpc"
)

// app is one run of adctl: where it reads and writes, and the flags that all
// commands share.
type app struct {
	std
	home           string
	as             string
	json           bool
	passphraseFile string
	trackers       []string
	verbose        bool
	direct         string

	// mu guards private.
	mu sync.Mutex
	// private are ranges of addresses that may be dialled although they are
	// not public, because a reference that the person gave lies there.
	private rpc.Guard
}

// envPrefix begins the environment variable of every flag: --passphrase-file
// is also ADCTL_PASSPHRASE_FILE.
const envPrefix = "ADCTL_"

// run runs adctl with arguments and returns its exit code.
func run(ctx context.Context, args []string, s std) int {
	a := &app{std: s}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Canceled) {
		err = errors.Join(err, context.Canceled)
	}
	return a.complain(err)
}

// root is the command line of adctl.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "adctl", Short: "Mail that stays with its sender, for addresses that belong to no server",
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help() // it goes to a.out; nothing to do where that fails
			return daemon.Usage("which command? see above")
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.fromEnvironment(cmd.Flags()) },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", filepath.Join(xdg.DataHome, "airdispatch"), "home `DIR`ectory: keys and what was read")
	flags.StringVar(&a.as, "as", "", "act as this `ADDR`ess, where the home has several")
	flags.BoolVar(&a.json, "json", false, "print JSON, one object on a line")
	flags.StringVar(&a.passphraseFile, "passphrase-file", "", "read the passphrase from the first line of `FILE` (or set ADCTL_PASSPHRASE)")
	flags.StringArrayVar(&a.trackers, "tracker", nil, "ask this tracker too: `REF` is https://host[:port][#address]; may be repeated")
	flags.BoolVar(&a.verbose, "verbose", false, "say more on standard error")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagFault(err) })
	root.AddCommand(a.commands()...)
	root.InitDefaultCompletionCmd()
	a.complete(root)
	a.completionShells(root)
	usageArgs(root)
	return root
}

// usageArgs makes wrong numbers of arguments, and unknown commands, usage
// errors throughout.
func usageArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return daemon.Usage("%w; usage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

// fromEnvironment sets the flags that were not given from ADCTL_… variables.
func (a *app) fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		// An empty variable counts as unset, here as everywhere.
		value, ok := a.env(name)
		if !ok || value == "" || f.Changed || f.Name == "help" {
			return
		}
		values := []string{value}
		if f.Value.Type() == "stringArray" {
			values = strings.Fields(value)
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, daemon.Usage("%s: %w", name, flagFault(err)))
			}
		}
	})
	return errors.Join(errs...)
}

// allow opens the private range that a reference lies in, if it lies in one:
// who names a tracker on the own network means it.
func (a *app) allow(refs ...message.Reference) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ref := range refs {
		if prefix, ok := rpc.PrivateRange(strings.TrimPrefix(ref.URL, "https://")); ok {
			a.private.Private = append(a.private.Private, prefix)
		}
	}
}

// dial is the guarded dialer with the ranges that are open by now.
func (a *app) dial(ctx context.Context, network, address string) (net.Conn, error) {
	a.mu.Lock()
	guard := rpc.Guard{Private: append(a.private.Private[:0:0], a.private.Private...)}
	a.mu.Unlock()
	return guard.Dial(ctx, network, address)
}

// references are the trackers named by flags.
func (a *app) references() ([]message.Reference, error) {
	var refs []message.Reference
	for _, text := range a.trackers {
		ref, err := message.ParseReference(text)
		if err != nil {
			return nil, daemon.Usage("--tracker: %w", err)
		}
		refs = append(refs, ref)
	}
	a.allow(refs...)
	return refs, nil
}

// who says whether a command needs an identity.
type who int

const (
	// anybody acts as the identity that there is, or as nobody.
	anybody who = iota
	// somebody needs an identity.
	somebody
)

// client opens the home, as the identity that was chosen.
func (a *app) client(ctx context.Context, w who, progress func(client.Progress)) (*client.Client, error) {
	refs, err := a.references()
	if err != nil {
		return nil, err
	}
	if err := a.checkHome(); err != nil {
		return nil, err
	}
	keyring, err := a.keyring(w)
	if err != nil {
		return nil, err
	}
	direct, with, err := a.directly()
	if err != nil {
		return nil, err
	}
	c, err := client.Open(ctx, client.Config{
		Home: a.home, Keyring: keyring, Rand: rand.Reader, RPC: rpc.Config{Dial: a.dial},
		Trackers: refs, Direct: direct, DirectWith: with, Progress: progress, Log: a.logger(),
	})
	if err != nil {
		return nil, err
	}
	if account, err := c.Account(ctx); err == nil {
		a.allow(account.Server)
		a.allow(account.Trackers...)
	}
	return c, nil
}

// checkHome refuses a home directory that others may write into: they could put
// another file in the place of one that is private.
func (a *app) checkHome() error {
	info, err := os.Stat(a.home)
	// Windows has no such bits. What is not there is made by whoever needs it.
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o022 == 0 {
		return nil
	}
	return fmt.Errorf("the home %s can be written by others; run: chmod 700 %s: %w", a.home, a.home, message.Denied)
}

// with opens a client for the time of a command.
func (a *app) with(cmd *cobra.Command, w who, use func(ctx context.Context, c *client.Client) error) (err error) {
	bars := a.newBars()
	defer bars.finish()
	a.allowArguments(cmd)
	c, err := a.client(cmd.Context(), w, bars.progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	defer a.handOver(cmd.Context(), c)
	return use(cmd.Context(), c)
}

// logger is where the rooms below say what went wrong on the way; silent
// without --verbose.
func (a *app) logger() *slog.Logger {
	if !a.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// sayf tells the person something, on standard error.
func (a *app) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(a.err, format+"\n", args...) // there is nobody to tell that this failed
}
