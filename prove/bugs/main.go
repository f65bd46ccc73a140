// Bugs puts faults into the product, one at a time, and demands that a test
// finds each of them: the one that is named beside the fault, which must pass
// without it.
//
// The faults are of the sort that a careless change makes and that costs
// somebody mail or lets somebody in: an acknowledgement before the commit, a
// check that is skipped, a comparison that is off by one. They are rows of a
// table here and not in the product: a row says which text of which file becomes
// which other text, and the part lays the changed file over the real one (go's
// -overlay), behind a build tag of the row's own. So the product's code stays
// free of them, and a text that is not found exactly once, because the product
// has changed since, ends the part with an error.
//
// A fault counts as caught where the named test itself fails: a program that
// does not compile, or a test that does not end, is an error of the part. What
// is not covered is all that no row speaks of. The control is a row that changes
// nothing that matters; if that is caught, the tests fail for another reason.
//
// ROWS=pin_unchecked,alert_for_anybody in the environment takes these faults alone,
// whatever the count.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"

	"airdispatch/prove/proof"
	"airdispatch/prove/seeded"
)

// atOnce is how many faults are worked on at a time: each compiles much of the
// product again.
const atOnce = 2

func main() {
	proof.Main(proof.Part{Name: "bugs", Full: len(faults()), Run: run})
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	all := faults()
	if only := os.Getenv("ROWS"); only != "" {
		named := strings.Split(only, ",")
		all = slices.DeleteFunc(all, func(f seeded.Fault) bool { return !slices.Contains(named, f.Tag) })
		if o.N = len(all); o.N != len(named) {
			return proof.Figure{}, fmt.Errorf("ROWS names %d faults, and %d of them are there", len(named), o.N)
		}
	}
	rows := append(choose(all, o), control())
	b, err := seeded.Lay(ctx, o.Dir, rows)
	if err != nil {
		return proof.Figure{}, err
	}
	verdicts := make([]seeded.Verdict, len(rows))
	errs := make([]error, len(rows))
	var group sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for n, f := range rows {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				return
			}
			if verdicts[n], errs[n] = b.Try(ctx, f); errs[n] != nil {
				errs[n] = fmt.Errorf("%s: %w", f.Tag, errs[n])
				fmt.Fprintf(o.Said, "bugs: %v\n", errs[n])
				return
			}
			fmt.Fprintf(o.Said, "bugs: %s: %s by %s in %s\n", f.Tag, verdicts[n], f.Test, f.Room)
		})
	}
	group.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return proof.Figure{}, err
	}
	return figure(rows, verdicts), nil
}

// choose takes some rows, all of them at the full count, in the seed's order.
func choose(all []seeded.Fault, o proof.Options) []seeded.Fault {
	var rows []seeded.Fault
	for _, n := range rand.New(rand.NewPCG(o.Seed, 0)).Perm(len(all))[:min(o.N, len(all))] {
		rows = append(rows, all[n])
	}
	return rows
}

// figure says what became of rows, of which the last is the control.
func figure(rows []seeded.Fault, verdicts []seeded.Verdict) proof.Figure {
	var f proof.Figure
	last := len(rows) - 1
	found := 0
	for n, r := range rows[:last] {
		switch verdicts[n] {
		case seeded.Caught:
			found++
		default:
			f.Violations = append(f.Violations, fmt.Sprintf("%s: %s by %s in %s", r.Tag, verdicts[n], r.Test, r.Room))
		}
	}
	word := "was not caught, as it must be"
	if verdicts[last] != seeded.Missed {
		word = "went wrong"
		f.Violations = append(f.Violations, fmt.Sprintf("the control, which changes nothing that matters: %s", verdicts[last]))
	}
	f.Words = fmt.Sprintf("%d of %d caught, each by a named test that passes without it; the control, a harmless change, %s", found, last, word)
	return f
}
