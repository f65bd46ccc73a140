// Package upgrade holds a town as an earlier version of the programs left it to
// the programs of today. A fixture in testdata is such a town, packed: the data
// directories of a tracker and a mail server, a backup of the mail server, the
// homes of two people, and what both were shown. Its name says which schema of
// the mail server's database it has.
//
// A check unpacks it, starts today's programs on it, and asks what was asked
// then: everything must be there as it was, once. Then people write, edit and
// recall on. It does so twice, with the directories as they were and with the
// server restored from its old backup.
//
// A new fixture is made, before a schema changes, by
//
//	go run ./upgrade/fixture -o upgrade/testdata/mail-N.tar.gz
//
// and with -programs DIR by programs that were built from an earlier revision.
// The keys in it belong to nobody, and the servers listen on a loopback address
// that nothing else uses.
package upgrade

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"airdispatch/prove/proof"
)

// Where the servers of a fixture listen. Their addresses are signed into their
// routes, and so cannot be chosen anew each time.
const (
	trackerAt = "127.0.77.1:24601"
	mailAt    = "127.0.77.1:24602"
)

// town is a fixture, unpacked.
type town struct {
	programs proof.Programs
	dir      string
	tracker  *proof.Server
	mail     *proof.Server
}

func (t *town) path(name string) string { return filepath.Join(t.dir, name) }

// open starts both servers.
func (t *town) open() (err error) {
	if t.tracker, err = t.programs.Serve("adtrackd", []string{"serve", "--dir", t.path("tracker")}); err != nil {
		return err
	}
	t.mail, err = t.programs.Serve("admaild", []string{"serve", "--dir", t.path("mail")})
	return err
}

// close ends them in order.
func (t *town) close() error {
	for _, s := range []*proof.Server{t.mail, t.tracker} {
		if s == nil {
			continue
		}
		if err := s.Stop(); err != nil {
			return err
		}
	}
	t.mail, t.tracker = nil, nil
	return nil
}

// kill ends them where something has failed already.
func (t *town) kill() {
	for _, s := range []*proof.Server{t.mail, t.tracker} {
		if s != nil {
			s.Kill()
		}
	}
}

// as runs adctl for a person and returns what it printed.
func (t *town) as(ctx context.Context, person string, args ...string) (string, error) {
	out, err := t.programs.Run(ctx, "adctl", append([]string{"--home", t.path(person)}, args...)...)
	return strings.TrimSpace(out), err
}

// shown is of a message what its readers must be shown again.
type shown struct {
	ID          string   `json:"id"`
	Version     uint64   `json:"version"`
	From        string   `json:"from"`
	To          []string `json:"to"`
	Time        string   `json:"time"`
	Kind        string   `json:"kind"`
	Audience    string   `json:"audience"`
	Name        string   `json:"name"`
	Subject     string   `json:"subject"`
	Body        string   `json:"body"`
	Contract    string   `json:"contract"`
	State       string   `json:"state"`
	Folder      string   `json:"folder"`
	Attachments []struct {
		Name string `json:"name"`
		Size int64  `json:"size"`
	} `json:"attachments"`
}

// views are the questions that are asked before and after, each a person and
// what is asked.
var views = [...][]string{
	{"bob", "inbox", "--json"},
	{"bob", "inbox", "--archive", "--json"},
	{"bob", "search", "--json", "harbour"},
	{"bob", "feed", "--json"},
	{"alice", "sent", "--json"},
	{"alice", "inbox", "--json"},
}

// look asks all that is in views, every message of bob's whole, and, since a home
// remembers what it was shown, asks the servers again from homes without a
// memory: new devices of both, and somebody who has no account.
func (t *town) look(ctx context.Context) (map[string][]shown, error) {
	all := map[string][]shown{}
	ask := func(person string, args ...string) error {
		found, err := t.list(ctx, person, args...)
		all[person+" "+strings.Join(args, " ")] = found
		return err
	}
	for _, view := range views {
		if err := ask(view[0], view[1:]...); err != nil {
			return nil, err
		}
	}
	for _, m := range append(all["bob inbox --json"], all["bob inbox --archive --json"]...) {
		if m.Kind != "content" {
			continue
		}
		if err := ask("bob", "read", "--json", m.ID); err != nil {
			return nil, err
		}
	}
	for _, person := range []string{"alice", "bob"} {
		if err := t.device(ctx, person, person+newDevice); err != nil {
			return nil, err
		}
		for _, folder := range []string{"inbox", "sent"} {
			if err := ask(person+newDevice, folder, "--json"); err != nil {
				return nil, err
			}
		}
	}
	alice, err := t.as(ctx, "alice", "id", "show")
	if err != nil {
		return nil, err
	}
	if err := ask("nobody", "posts", "--json", "--tracker", t.tracker.Reference, alice); err != nil {
		return nil, err
	}
	return all, os.RemoveAll(t.path("nobody"))
}

// newDevice ends the name of a home that has the keys and nothing else.
const newDevice = "-again"

// device makes a person another home with the same keys.
func (t *town) device(ctx context.Context, person, home string) error {
	if err := os.RemoveAll(t.path(home)); err != nil {
		return err
	}
	key := t.path(home + ".key")
	if _, err := t.as(ctx, person, "id", "export", key); err != nil {
		return err
	}
	if _, err := t.as(ctx, home, "id", "import", key); err != nil {
		return err
	}
	if _, err := t.as(ctx, home, "register", "--server", t.mail.Reference, "--tracker", t.tracker.Reference); err != nil {
		return err
	}
	return os.Remove(key)
}

// list runs a command that prints messages.
func (t *town) list(ctx context.Context, person string, args ...string) ([]shown, error) {
	out, err := t.as(ctx, person, args...)
	if err != nil {
		return nil, err
	}
	var found []shown
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var m shown
		if err := d.Decode(&m); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
		found = append(found, m)
	}
	return found, nil
}
