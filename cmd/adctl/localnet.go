package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"airdispatch/cmd/internal/daemon"
)

// localnetJSON is localnet with --json.
type localnetJSON struct {
	Dir     string               `json:"dir"`
	Tracker string               `json:"tracker"`
	Servers []string             `json:"servers"`
	People  []localnetPersonJSON `json:"people"`
}

// localnetPersonJSON is somebody who lives in a localnet.
type localnetPersonJSON struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Home    string `json:"home"`
}

// localnetCommand is localnet.
func (a *app) localnetCommand() *cobra.Command {
	var dir string
	var tour bool
	cmd := &cobra.Command{
		Use: "localnet [--dir D] [--tour]", Short: "Run a tracker, two mail servers and two people on this computer, to try things on", Args: cobra.NoArgs,
		Long: "Runs a whole network in this process, on free ports of the loopback interface: a\ntracker, two mail servers, and ann and bob, who have accounts there. They are the\nreal programs with real TLS and real files; nothing is shared between them.\n\n" +
			"It prints what to type in a second terminal and runs until it is stopped: with 0\nafter SIGTERM, with 130 after an interrupt. With --dir everything stays in D and is\nthere again the next time; else it is in a temporary directory and goes away.\n\n" +
			"With --tour it plays the story of a letter instead, command by command, and ends\nwith 0; a step that does not show what it should ends it with 1.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.localnet(cmd.Context(), dir, tour)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "keep everything in `D`, and go on from there the next time")
	cmd.Flags().BoolVar(&tour, "tour", false, "play the story of a letter and end")
	return cmd
}

// localnet runs a network until it is told to stop, or for a tour.
func (a *app) localnet(ctx context.Context, dir string, tour bool) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "airdispatch-localnet-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if tour {
		if _, err := os.Stat(filepath.Join(dir, "tracker")); err == nil {
			return daemon.Usage("--tour tells a story from its beginning: %s is in use already, give another --dir or none", dir)
		}
	}
	n := &network{dir: dir}
	defer func() { err = errors.Join(err, n.stop()) }()
	a.sayf("localnet: starting a tracker and two mail servers in %s", dir)
	if err := n.start(ctx); err != nil {
		return err
	}
	if tour {
		return newTour(ctx, n, a.out).play()
	}
	people, err := n.settle(ctx)
	if err != nil {
		return err
	}
	if err := a.introduce(n, people); err != nil {
		return err
	}
	a.sayf("localnet: running; Ctrl-C stops it")
	<-ctx.Done()
	return stopped(ctx)
}

// stopped is how what goes on until it is stopped ends: in order after SIGTERM, and else
// interrupted.
func stopped(ctx context.Context) error {
	if terminated(ctx) {
		return nil
	}
	return context.Canceled
}

// terminated reports whether SIGTERM ended the context: the orderly way to stop
// a server, and no interruption.
func terminated(ctx context.Context) bool {
	return context.Cause(ctx).Error() == syscall.SIGTERM.String()+" signal received"
}

// introduce prints what to type in a second terminal.
func (a *app) introduce(n *network, people []localnetPersonJSON) error {
	if a.json {
		return a.emit(localnetJSON{Dir: n.dir, Tracker: n.tracker.ref, Servers: []string{n.one.ref, n.two.ref}, People: people})
	}
	var b strings.Builder
	b.WriteString("# In a second terminal, as ann:\n")
	if exe, ok := elsewhere(); ok {
		_, _ = fmt.Fprintf(&b, "adctl() { %s \"$@\"; }\n", quote(exe))
	}
	ann, bob := people[0], people[1]
	_, _ = fmt.Fprintf(&b, `export ADCTL_HOME=%s
echo 'Hello, bob.' | adctl send --to bob --subject 'A letter' -
echo 'Anybody may read this.' | adctl post --name hello -
adctl sent

# As bob, in the same terminal or in a third one:
export ADCTL_HOME=%s
adctl inbox
adctl read "$(adctl inbox --json --limit 1 | sed 's/.*"id":"\([^"]*\)".*/\1/')"

# Somebody without an account, who knows where the tracker is:
adctl --home "$(mktemp -d)" --tracker %s posts %s

# ann is   %s
# bob is   %s
# tracker  %s
# servers  %s
#          %s
`, quote(ann.Home), quote(bob.Home), quote(n.tracker.ref), ann.Address, ann.Address, bob.Address, n.tracker.ref, n.one.ref, n.two.ref)
	return a.print(b.String())
}

// elsewhere is the path of this program where a shell would not find it as
// adctl.
func elsewhere() (string, bool) {
	exe, err := os.Executable()
	if err != nil {
		return "", false
	}
	found, err := exec.LookPath("adctl")
	if err != nil {
		return exe, true
	}
	mine, err1 := filepath.EvalSymlinks(exe)
	theirs, err2 := filepath.EvalSymlinks(found)
	return exe, err1 != nil || err2 != nil || mine != theirs
}

// quote writes a word as a POSIX shell reads it.
func quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@=,"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
