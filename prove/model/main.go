// Model compares what servers do with what they should do, as plain models say
// it, in two ways.
//
// Machines are random sequences of about a hundred calls, after each of which the
// real thing must say and hold the same as maps do: a mailbox (submit, edit,
// recall, alert, pull, mark, copies, tasks, expiry, accounts that come and go) over
// SQLite, what is counted towards an account's quota over SQLite, and a tracker
// with its routes, names and refusals, all closed and opened again in between. The
// machines are tests of their rooms (TestCompare, TestQuota, TestModel), which run
// here with larger counts and the part's seeds. Of ten sequences four are of the
// quota, which is the cheapest, a fourth of the tracker, the rest of the mailbox.
//
// Histories are of real servers in processes of their own: eight clients read and
// write at the same time, four messages as compare-and-swap registers and two
// routes as registers that only rise, while calls are given up, connections are
// cut, and in the middle both servers end by SIGKILL and start again. Of a call
// without an answer it is not known whether it was done, then, later or never.
// Each register's history must be linearizable: porcupine looks for an order.
//
// The controls are three faults in the product, one of which each machine must
// find, and a history of each sort with a stale read put at its end, which must
// have no order. What is not covered: several servers at once, which is for the
// simulation of the network, and what none of the models speaks of.
package main

import (
	"context"
	"fmt"

	"airdispatch/prove/proof"
)

const (
	// full is how many sequences the figure stands on, one history for each
	// sequencesEach of them.
	full, sequencesEach = 10_000, 20
	// steps is how many calls a sequence has on average.
	steps = 100
)

func main() { proof.Main(proof.Part{Name: "model", Full: full, Run: run}) }

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	var f proof.Figure
	passed, wrong, err := machines(ctx, o)
	f.Violations = append(f.Violations, wrong...)
	if err != nil {
		return f, err
	}
	t, err := histories(ctx, o)
	f.Violations = append(f.Violations, t.wrong...)
	if err != nil {
		return f, err
	}
	f.Words = fmt.Sprintf("%d sequences of %d steps (mailbox %d, tracker %d, quota %d), %d histories of %d clients (%d calls, %d of them without an answer), %d violations, %d time-outs",
		passed["mailbox"]+passed["tracker"]+passed["quota"], steps, passed["mailbox"], passed["tracker"], passed["quota"],
		t.histories, clients, t.calls, t.unknown, len(f.Violations), t.late)
	if len(f.Violations) == 0 {
		f.Words += ", controls caught"
	}
	return f, nil
}
