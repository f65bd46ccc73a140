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
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"airdispatch/prove/proof"
)

// atOnce is how many faults are worked on at a time: each compiles much of the
// product again.
const atOnce = 2

func main() {
	proof.Main(proof.Part{Name: "bugs", Full: len(faults()), Run: run})
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	all := faults()
	rows := append(choose(all, o), control())
	b, err := lay(ctx, o.Dir, rows)
	if err != nil {
		return proof.Figure{}, err
	}
	verdicts := make([]verdict, len(rows))
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
			if verdicts[n], errs[n] = b.try(ctx, f); errs[n] != nil {
				errs[n] = fmt.Errorf("%s: %w", f.tag, errs[n])
				fmt.Fprintf(o.Said, "bugs: %v\n", errs[n])
				return
			}
			fmt.Fprintf(o.Said, "bugs: %s: %s by %s in %s\n", f.tag, verdicts[n], f.test, f.room)
		})
	}
	group.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return proof.Figure{}, err
	}
	return figure(rows, verdicts), nil
}

// choose takes some rows, all of them at the full count, in the seed's order.
func choose(all []fault, o proof.Options) []fault {
	var rows []fault
	for _, n := range rand.New(rand.NewPCG(o.Seed, 0)).Perm(len(all))[:min(o.N, len(all))] {
		rows = append(rows, all[n])
	}
	return rows
}

// figure says what became of rows, of which the last is the control.
func figure(rows []fault, verdicts []verdict) proof.Figure {
	var f proof.Figure
	last := len(rows) - 1
	found := 0
	for n, r := range rows[:last] {
		switch verdicts[n] {
		case caught:
			found++
		default:
			f.Violations = append(f.Violations, fmt.Sprintf("%s: %s by %s in %s", r.tag, verdicts[n], r.test, r.room))
		}
	}
	word := "was not caught, as it must be"
	if verdicts[last] != missed {
		word = "went wrong"
		f.Violations = append(f.Violations, fmt.Sprintf("the control, which changes nothing that matters: %s", verdicts[last]))
	}
	f.Words = fmt.Sprintf("%d of %d caught, each by a named test that passes without it; the control, a harmless change, %s", found, last, word)
	return f
}

// verdict is what became of a fault.
type verdict int

const (
	// missed: the named test passes with the fault.
	missed verdict = iota
	// caught: the named test passes without the fault and fails with it.
	caught
	// broken: the named test fails without the fault.
	broken
)

// String is the verdict in words.
func (v verdict) String() string {
	return strings.Split("not caught,caught,not to be judged: the test fails without it", ",")[v]
}
