// Crash kills real servers at random moments and holds them to their receipts:
// while people write and edit (package witness), one mail server or both end by
// SIGKILL and start again, and after each start the server that gave receipts
// must have what they name.
//
// The control deletes one acknowledged version from the stopped server's
// database; the same checks must miss it.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"airdispatch/prove/proof"
	"airdispatch/prove/witness"
)

const (
	// full is how many kills the figure stands on, and each how many receipts
	// there must be for each of them.
	full, each = 1000, 100
	// A server is killed this long after it began to answer.
	soonest, latest = 5 * time.Millisecond, 500 * time.Millisecond
)

func main() { proof.Main(proof.Part{Name: "crash", Full: full, Run: run}) }

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	s, err := witness.Open(ctx, o.Dir)
	if err != nil {
		return proof.Figure{}, err
	}
	defer s.Close()
	l := witness.NewLedger()
	err = s.Writing(ctx, o.Seed, l, func(ctx context.Context) error { return kills(ctx, o, s, l) })
	if err != nil {
		return proof.Figure{}, err
	}
	if err := s.Settle(ctx, l); err != nil {
		return proof.Figure{}, err
	}
	f := proof.Figure{Words: fmt.Sprintf("%d kills, %s", o.N, l.Words()), Violations: l.Violations()}
	caught, err := control(ctx, s, l)
	if err != nil {
		return f, fmt.Errorf("control: %w", err)
	}
	if !caught {
		f.Violations = append(f.Violations, "the control, a version deleted from the database, was not missed")
	}
	if n := l.Receipts(); o.N >= full && n < each*o.N {
		f.Violations = append(f.Violations, fmt.Sprintf("%d receipts are too few for %d kills", n, o.N))
	}
	f.Words += ", control caught"
	return f, nil
}

// kills ends servers and starts them again, and checks what they promised.
func kills(ctx context.Context, o proof.Options, s *witness.Site, l *witness.Ledger) error {
	choose := rand.New(rand.NewPCG(o.Seed, 0))
	for n := range o.N {
		wait := time.NewTimer(soonest + time.Duration(choose.Int64N(int64(latest-soonest))))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
		dead := [][]*proof.Server{{s.One}, {s.One}, {s.One}, {s.Two}, {s.One, s.Two}}[choose.IntN(5)]
		for _, p := range dead {
			p.Kill()
		}
		for _, p := range dead {
			if err := p.Start(s.Env...); err != nil {
				return fmt.Errorf("after kill %d: %w", n+1, err)
			}
		}
		if dead[0] == s.One {
			if err := s.Check(ctx, l); err != nil {
				return fmt.Errorf("check after kill %d: %w", n+1, err)
			}
		}
		if (n+1)%50 == 0 {
			fmt.Fprintf(o.Said, "crash: %d kills, %d receipts, %d violations\n", n+1, l.Receipts(), len(l.Violations()))
		}
	}
	return nil
}

// fault is what the control does to the first server's database.
const fault = `DELETE FROM versions WHERE id = (SELECT id FROM versions ORDER BY head_id LIMIT 1)`

// control deletes one promised version from the database of the stopped server
// and reports whether the checks miss it.
func control(ctx context.Context, s *witness.Site, l *witness.Ledger) (bool, error) {
	if err := s.One.Stop(); err != nil {
		return false, err
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.Dir, "one", "data.db"))
	if err != nil {
		return false, err
	}
	_, err = db.ExecContext(ctx, fault)
	if err := errors.Join(err, db.Close()); err != nil {
		return false, err
	}
	if err := s.One.Start(s.Env...); err != nil {
		return false, err
	}
	before := len(l.Violations())
	if err := s.Recheck(ctx, l); err != nil {
		return false, err
	}
	return len(l.Violations()) > before, nil
}
