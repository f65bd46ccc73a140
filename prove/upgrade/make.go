package upgrade

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"airdispatch/prove/proof"
)

const (
	// enclosed is the size of an attachment that is a blob of its own.
	enclosed = 70 << 10
	// answers is the file of what was shown, and saved the server's backup.
	answers, saved = "shown.json", "mail.backup"
)

// Make lets programs make a town, and packs it into file. Dir is an empty
// directory to work in.
func Make(ctx context.Context, programs proof.Programs, dir, file string) error {
	t := &town{programs: programs, dir: dir}
	defer t.kill()
	if err := t.found(ctx); err != nil {
		return err
	}
	if err := t.live(ctx); err != nil {
		return err
	}
	// Looking at a letter marks it as read, so that only the second look is like
	// the ones that come later.
	if _, err := t.look(ctx); err != nil {
		return err
	}
	all, err := t.look(ctx)
	if err != nil {
		return err
	}
	for _, person := range []string{"alice", "bob"} {
		if err := os.RemoveAll(t.path(person + newDevice)); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(t.path(answers), b, 0o600); err != nil {
		return err
	}
	if _, err := t.programs.Run(ctx, "admaild", "backup", t.path(saved), "--dir", t.path("mail")); err != nil {
		return err
	}
	if err := t.close(); err != nil {
		return err
	}
	return pack(dir, file)
}

// found makes the servers and the people.
func (t *town) found(ctx context.Context) error {
	if _, err := t.programs.Run(ctx, "adtrackd", "init", "--dir", t.path("tracker"), "--listen", trackerAt); err != nil {
		return err
	}
	tracker, err := t.programs.Serve("adtrackd", []string{"serve", "--dir", t.path("tracker")})
	if err != nil {
		return err
	}
	t.tracker = tracker
	init := []string{"init", "--dir", t.path("mail"), "--listen", mailAt, "--accounts", "open", "--tracker", tracker.Reference}
	if _, err := t.programs.Run(ctx, "admaild", init...); err != nil {
		return err
	}
	if t.mail, err = t.programs.Serve("admaild", []string{"serve", "--dir", t.path("mail")}); err != nil {
		return err
	}
	for _, person := range []string{"alice", "bob"} {
		if _, err := t.as(ctx, person, "id", "new", "--no-passphrase"); err != nil {
			return err
		}
		if _, err := t.as(ctx, person, "register", "--server", t.mail.Reference, "--tracker", tracker.Reference); err != nil {
			return err
		}
	}
	return nil
}

// live is the story: letters that are edited, recalled, read, archived and
// answered, an attachment, an application's component, posts, contacts.
func (t *town) live(ctx context.Context) error {
	alice, err := t.as(ctx, "alice", "id", "show")
	if err != nil {
		return err
	}
	bob, err := t.as(ctx, "bob", "id", "show")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"one": "The harbour is open.\n", "two": "The harbour is shut.\n", "three": "Forget this.\n",
		"post": "Ships of today.\n", "enclosed": strings.Repeat("cargo list ", enclosed/11),
	} {
		if err := os.WriteFile(t.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	letter := func(from, to string, more ...string) (string, error) {
		return t.as(ctx, from, append([]string{"send", "--to", to}, more...)...)
	}
	if _, err := t.as(ctx, "bob", "allow", alice); err != nil {
		return err
	}
	first, err := letter("alice", bob, "--subject", "harbour", t.path("one"))
	if err != nil {
		return err
	}
	gone, err := letter("alice", bob, "--subject", "mistake", t.path("three"))
	if err != nil {
		return err
	}
	if _, err := letter("alice", bob, "--subject", "cargo", "--attach", t.path("enclosed"), "--contract", "final", t.path("one")); err != nil {
		return err
	}
	if _, err := t.as(ctx, "bob", "inbox"); err != nil {
		return err
	}
	for _, step := range [][]string{
		{"bob", "read", first},
		{"alice", "edit", first, t.path("two")},
		{"alice", "recall", gone},
		{"alice", "post", "--name", "profile-of-ships", t.path("post")},
		{"alice", "post", t.path("two")},
		{"bob", "follow", alice},
		{"bob", "contacts", "add", alice, "alice"},
		{"bob", "inbox"},
		{"bob", "reply", first, t.path("two")},
		{"bob", "archive", first},
		{"bob", "feed"},
		{"alice", "inbox"},
	} {
		if _, err := t.as(ctx, step[0], step[1:]...); err != nil {
			return err
		}
	}
	return nil
}
