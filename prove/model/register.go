package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// outcome is how a call ended, for whoever made it.
type outcome int

const (
	// done: the server says that it did it.
	done outcome = iota
	// refused: it says that something else stands.
	refused
	// lower: it says that something higher stands.
	lower
	// unknown: there was no answer; it may be done, or be done later, or never.
	unknown
	// earlier: it was sent before within the same call, to no answer; it may be done by the end of
	// the call, or never.
	earlier
)

// String is the outcome in a word.
func (o outcome) String() string {
	return strings.Split("done refused lower unknown earlier", " ")[o]
}

// input is a call: a read, or a write of next, after prev or with a number.
type input struct {
	read bool
	prev string
	next string
	seq  uint64
}

// output is its answer: how a write ended, or what a read showed.
type output struct {
	outcome outcome
	shows   string
}

// swaps is a message: the ids of its versions, of which each follows the one
// before. What was done is done again without a change.
func swaps(first string) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{first} },
		Step: func(state, in, out any) []any {
			s, i, o := state.(string), in.(input), out.(output)
			fits, had := strings.HasSuffix(s, i.prev), strings.Contains(s, i.next)
			switch after := s + " " + i.next; {
			case i.read:
				return when(o.shows == s, s)
			case o.outcome == done && had:
				return []any{s}
			case o.outcome == done:
				return when(fits, after)
			case o.outcome == unknown && fits && !had:
				return []any{s, after}
			case o.outcome == unknown:
				return []any{s}
			default:
				return when(!fits && !had, s)
			}
		},
		DescribeOperation: describe,
	}
	return m.ToModel()
}

// standing is a route by its number and id.
type standing struct {
	seq uint64
	id  string
}

// rises is a route: a higher number replaces a lower one, and of two under one
// number the first stays.
func rises(first standing) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{first} },
		Step: func(state, in, out any) []any {
			s, i, o := state.(standing), in.(input), out.(output)
			after := standing{i.seq, i.next}
			switch {
			case i.read:
				return when(o.shows == s.id, s)
			case o.outcome == done && after == s:
				return []any{s}
			case o.outcome == done:
				return when(i.seq > s.seq, after)
			case (o.outcome == unknown || o.outcome == earlier) && i.seq > s.seq:
				return []any{s, after}
			case o.outcome == unknown || o.outcome == earlier:
				return []any{s}
			case o.outcome == lower:
				return when(i.seq < s.seq, s)
			default:
				return when(i.seq == s.seq && i.next != s.id, s)
			}
		},
		DescribeOperation: describe,
	}
	return m.ToModel()
}

// when is a state, or none.
func when(holds bool, state any) []any {
	if holds {
		return []any{state}
	}
	return nil
}

// describe is a call in words.
func describe(in, out any) string {
	i, o := in.(input), out.(output)
	if i.read {
		return "shows " + o.shows
	}
	return fmt.Sprintf("%d %s after %s: %s", i.seq, i.next, i.prev, o.outcome)
}

// patience is how long the checker may look for an order.
const patience = time.Minute

// verdict is whether a history has an order, and whether that was found out.
func verdict(m porcupine.Model, ops []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(m, ops, patience)
}

// stale is a history with one more read at its end, of what stood first.
func stale(ops []porcupine.Operation, first string) []porcupine.Operation {
	at := int64(0)
	for _, op := range ops {
		if op.Return != never {
			at = max(at, op.Return)
		}
	}
	return append(ops[:len(ops):len(ops)], porcupine.Operation{ClientId: clients, Input: input{read: true}, Call: at + 1, Output: output{shows: first}, Return: at + 2})
}
