// Restore makes backups of real mail servers while people write (package
// witness), kills the server a moment later, restores the backup into an empty
// directory and goes on there. What had a receipt before the backup began must
// be there; what came after is handed in again by its authors, or asked for
// again at its origins; no log goes back, and nothing is visible twice.
//
// The control restores a backup and hands nothing in again: the ledger must miss
// what was promised after it.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"airdispatch/prove/proof"
	"airdispatch/prove/upgrade"
	"airdispatch/prove/witness"
)

// full is how many restores the figure stands on.
const full = 50

// shortest and longest is how long people write before a backup and after it.
const shortest, longest = 50 * time.Millisecond, 400 * time.Millisecond

func main() { proof.Main(proof.Part{Name: "restore", Full: full, Run: run}) }

// keeper does the restores.
type keeper struct {
	*witness.Site
	l      *witness.Ledger
	choose *rand.Rand
	seed   uint64
	again  int
	back   []string
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	s, err := witness.Open(ctx, o.Dir)
	if err != nil {
		return proof.Figure{}, err
	}
	defer s.Close()
	k := &keeper{Site: s, l: witness.NewLedger(), choose: rand.New(rand.NewPCG(o.Seed, 0)), seed: o.Seed}
	for n := range o.N {
		if err := k.cycle(ctx, n, true); err != nil {
			return proof.Figure{}, fmt.Errorf("restore %d: %w", n+1, err)
		}
		fmt.Fprintf(o.Said, "restore: %d restores, %d receipts, %d violations\n", n+1, k.l.Receipts(), len(k.l.Violations()))
	}
	if err := s.Settle(ctx, k.l); err != nil {
		return proof.Figure{}, err
	}
	f := proof.Figure{
		Words:      fmt.Sprintf("%d restores, %s, %d handed in again, %d logs went back", o.N, k.l.Words(), k.again, len(k.back)),
		Violations: append(k.l.Violations(), k.back...),
	}
	before := len(k.l.Violations())
	if err := k.cycle(ctx, 0, false); err != nil {
		return f, fmt.Errorf("control: %w", err)
	}
	if err := s.Recheck(ctx, k.l); err != nil {
		return f, fmt.Errorf("control: %w", err)
	}
	if len(k.l.Violations()) == before {
		f.Violations = append(f.Violations, "the control, a restore after which nothing was handed in again, was not noticed")
	}
	s.Close()
	upgrades, err := k.upgrades(ctx, &f)
	f.Words += fmt.Sprintf(", %d upgrades from earlier schemas, both controls caught", upgrades)
	return f, err
}

// upgrades holds every fixture to the programs of today, as it is and restored,
// and tells how often. The control is a server that has lost its inboxes.
func (k *keeper) upgrades(ctx context.Context, f *proof.Figure) (n int, err error) {
	fixtures, err := upgrade.Fixtures()
	if err != nil {
		return 0, err
	}
	check := func(fixture string, turn upgrade.Turn) ([]string, error) {
		dir := filepath.Join(k.Dir, "upgrade")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		found, err := upgrade.Check(ctx, k.Town.Programs, fixture, dir, turn)
		return found, errors.Join(err, os.RemoveAll(dir))
	}
	for _, fixture := range fixtures {
		for _, turn := range []upgrade.Turn{upgrade.Straight, upgrade.Restored} {
			found, err := check(fixture, turn)
			if err != nil {
				return n, fmt.Errorf("upgrade of %s: %w", fixture, err)
			}
			f.Violations = append(f.Violations, found...)
			n++
		}
	}
	found, err := check(fixtures[0], upgrade.Robbed)
	if err != nil {
		return n, fmt.Errorf("control of upgrades: %w", err)
	}
	if len(found) == 0 {
		f.Violations = append(f.Violations, "the control, an upgrade that lost inboxes, was not noticed")
	}
	return n, nil
}

// cycle makes one backup and restores it: of the authors' server in even ones,
// of the reader's in odd ones.
func (k *keeper) cycle(ctx context.Context, n int, resume bool) error {
	server, name, person := k.One, "one", k.Authors[0].Person
	if n%2 == 1 {
		server, name, person = k.Two, "two", k.Reader
	}
	dir, file := filepath.Join(k.Dir, name), filepath.Join(k.Dir, fmt.Sprintf("backup-%d", n))
	var kept witness.Mark
	var was witness.Place
	err := k.Writing(ctx, k.seed+uint64(n)<<8, k.l, func(ctx context.Context) (err error) {
		if err := k.pause(ctx); err != nil {
			return err
		}
		kept = k.Mark(k.l)
		if _, err = k.Town.Programs.Run(ctx, "admaild", "backup", file, "--dir", dir); err != nil {
			return err
		}
		if err := k.pause(ctx); err != nil {
			return err
		}
		was, err = witness.PlaceOf(ctx, person)
		server.Kill()
		return err
	})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if _, err := k.Town.Programs.Run(ctx, "admaild", "verify", file); err != nil {
		return err
	}
	if _, err := k.Town.Programs.Run(ctx, "admaild", "restore", file, "--dir", dir); err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return err
	}
	if err := server.Start(k.Env...); err != nil {
		return err
	}
	is, err := witness.PlaceOf(ctx, person)
	if err != nil {
		return err
	}
	if !was.Before(is) {
		k.back = append(k.back, fmt.Sprintf("back: the log of %s from %v to %v", name, was, is))
	}
	if resume {
		again, err := k.Resume(ctx, k.l, kept)
		k.again += again
		return err
	}
	return nil
}

// pause waits a random while.
func (k *keeper) pause(ctx context.Context) error {
	t := time.NewTimer(shortest + time.Duration(k.choose.Int64N(int64(longest-shortest))))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
