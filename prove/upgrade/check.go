package upgrade

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	_ "github.com/mattn/go-sqlite3"

	"airdispatch/prove/proof"
)

// A Turn is what happens to a town between the old programs and the new ones.
type Turn func(ctx context.Context, programs proof.Programs, dir string) error

// Straight leaves everything as it was.
func Straight(context.Context, proof.Programs, string) error { return nil }

// Restored lets the mail server go on from its backup.
func Restored(ctx context.Context, programs proof.Programs, dir string) error {
	mail, backup := filepath.Join(dir, "mail"), filepath.Join(dir, saved)
	if err := os.RemoveAll(mail); err != nil {
		return err
	}
	if _, err := programs.Run(ctx, "admaild", "verify", backup); err != nil {
		return err
	}
	_, err := programs.Run(ctx, "admaild", "restore", backup, "--dir", mail)
	return err
}

// Robbed is a control: the mail server has lost what stood in its inboxes.
func Robbed(ctx context.Context, _ proof.Programs, dir string) error {
	db, err := sql.Open("sqlite3", filepath.Join(dir, "mail", "data.db"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "DELETE FROM entries")
	return errors.Join(err, db.Close())
}

// Check holds a fixture to programs, below an empty directory, after a turn, and
// returns what is not as it should be.
func Check(ctx context.Context, programs proof.Programs, fixture, dir string, turn Turn) (violations []string, err error) {
	if err := unpack(fixture, dir); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", fixture, err)
	}
	if err := turn(ctx, programs, dir); err != nil {
		return nil, err
	}
	t := &town{programs: programs, dir: dir}
	defer t.kill()
	b, err := os.ReadFile(t.path(answers))
	if err != nil {
		return nil, err
	}
	var was map[string][]shown
	if err := json.Unmarshal(b, &was); err != nil {
		return nil, err
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	is, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	violations = compare(was, is)
	more, err := t.goOn(ctx)
	if err != nil {
		return violations, err
	}
	return append(violations, more...), t.close()
}

// compare tells what is shown in another way than it was.
func compare(was, is map[string][]shown) (violations []string) {
	for _, view := range slices.Sorted(maps.Keys(was)) {
		if len(was[view]) != len(is[view]) {
			violations = append(violations, fmt.Sprintf("upgrade: %s: %d were shown, now %d", view, len(was[view]), len(is[view])))
			continue
		}
		for i, m := range was[view] {
			if !reflect.DeepEqual(m, is[view][i]) {
				violations = append(violations, fmt.Sprintf("upgrade: %s\n was %+v\n is  %+v", view, m, is[view][i]))
			}
		}
	}
	if len(is) != len(was) {
		violations = append(violations, fmt.Sprintf("upgrade: %d questions were answered, now %d", len(was), len(is)))
	}
	return violations
}

// goOn lets alice write, edit what she wrote before, and recall it; bob must see
// all that, and nothing twice.
func (t *town) goOn(ctx context.Context) (violations []string, err error) {
	sent, err := t.list(ctx, "alice", "sent", "--json")
	if err != nil {
		return nil, err
	}
	var old shown
	for _, m := range sent {
		if m.Subject == "harbour" {
			old = m
		}
	}
	if old.ID == "" {
		return []string{"upgrade: alice's letter is not there"}, nil
	}
	fresh, err := t.as(ctx, "alice", "send", "--to", old.To[0], "--subject", "fresh", t.path("one"))
	if err != nil {
		return nil, err
	}
	if _, err := t.as(ctx, "alice", "edit", old.ID, t.path("three")); err != nil {
		return nil, err
	}
	inbox, err := t.list(ctx, "bob", "inbox", "--json")
	if err != nil {
		return nil, err
	}
	seen := map[string]int{}
	for _, m := range inbox {
		seen[m.ID]++
	}
	for id, n := range seen {
		if n != 1 {
			violations = append(violations, fmt.Sprintf("upgrade: bob sees %s %d times", id, n))
		}
	}
	if seen[fresh] != 1 {
		violations = append(violations, "upgrade: bob does not see a new letter")
	}
	now, err := t.list(ctx, "bob", "read", "--json", old.ID)
	if err != nil {
		return nil, err
	}
	if len(now) != 1 || now[0].Version != old.Version+1 || now[0].Body != "Forget this.\n" {
		violations = append(violations, fmt.Sprintf("upgrade: bob reads %+v where version %d was edited", now, old.Version))
	}
	if _, err := t.as(ctx, "bob", "doctor"); err != nil {
		violations = append(violations, fmt.Sprintf("upgrade: %v", err))
	}
	return violations, nil
}
