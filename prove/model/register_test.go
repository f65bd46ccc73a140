package main

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// op is a call in a history.
func op(client int, from, to int64, in input, out output) porcupine.Operation {
	return porcupine.Operation{ClientId: client, Input: in, Call: from, Output: out, Return: to}
}

func TestSwaps(t *testing.T) {
	swap := func(prev, next string) input { return input{prev: prev, next: next} }
	read, shows := input{read: true}, func(s string) output { return output{shows: s} }
	yes, no, none := output{outcome: done}, output{outcome: refused}, output{outcome: unknown}
	for name, c := range map[string]struct {
		ops  []porcupine.Operation
		want porcupine.CheckResult
	}{
		"one after the other":  {[]porcupine.Operation{op(0, 0, 1, swap("a", "b"), yes), op(1, 2, 3, swap("b", "c"), yes), op(0, 4, 5, read, shows("a b c"))}, porcupine.Ok},
		"two win":              {[]porcupine.Operation{op(0, 0, 1, swap("a", "b"), yes), op(1, 0, 1, swap("a", "c"), yes)}, porcupine.Illegal},
		"one wins":             {[]porcupine.Operation{op(0, 0, 1, swap("a", "b"), yes), op(1, 0, 1, swap("a", "c"), no)}, porcupine.Ok},
		"nobody wins":          {[]porcupine.Operation{op(0, 0, 1, swap("a", "b"), no), op(1, 0, 1, swap("a", "c"), no)}, porcupine.Illegal},
		"a stale read":         {[]porcupine.Operation{op(0, 0, 1, swap("a", "b"), yes), op(1, 2, 3, read, shows("a"))}, porcupine.Illegal},
		"no answer, done":      {[]porcupine.Operation{op(0, 0, never, swap("a", "b"), none), op(1, 2, 3, read, shows("a b"))}, porcupine.Ok},
		"no answer, not done":  {[]porcupine.Operation{op(0, 0, never, swap("a", "b"), none), op(1, 2, 3, swap("a", "c"), yes)}, porcupine.Ok},
		"no answer, done late": {[]porcupine.Operation{op(0, 0, never, swap("a", "b"), none), op(1, 2, 3, read, shows("a")), op(1, 4, 5, read, shows("a b"))}, porcupine.Ok},
		"done and undone":      {[]porcupine.Operation{op(0, 0, never, swap("a", "b"), none), op(1, 2, 3, read, shows("a b")), op(1, 4, 5, read, shows("a"))}, porcupine.Illegal},
		"done again":           {[]porcupine.Operation{op(0, 0, never, swap("a", "b"), none), op(0, 2, 3, swap("a", "b"), yes), op(0, 4, 5, swap("a", "b"), yes)}, porcupine.Ok},
		"lost":                 {[]porcupine.Operation{op(0, 0, 1, swap("a", "b"), yes), op(1, 2, 3, swap("a", "c"), yes)}, porcupine.Illegal},
	} {
		if got := verdict(swaps("a"), c.ops); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestRises(t *testing.T) {
	publish := func(seq uint64, id string) input { return input{seq: seq, next: id} }
	read, shows := input{read: true}, func(s string) output { return output{shows: s} }
	yes, no, low, none := output{outcome: done}, output{outcome: refused}, output{outcome: lower}, output{outcome: unknown}
	first := output{outcome: earlier}
	for name, c := range map[string]struct {
		ops  []porcupine.Operation
		want porcupine.CheckResult
	}{
		"higher":               {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), yes), op(1, 2, 3, publish(5, "c"), yes), op(0, 4, 5, read, shows("c"))}, porcupine.Ok},
		"lower is refused":     {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), yes), op(1, 2, 3, publish(2, "c"), low)}, porcupine.Ok},
		"lower is taken":       {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), yes), op(1, 2, 3, publish(2, "c"), yes)}, porcupine.Illegal},
		"higher is refused":    {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), low)}, porcupine.Illegal},
		"the same twice":       {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), yes), op(1, 2, 3, publish(3, "b"), yes)}, porcupine.Ok},
		"two of one number":    {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), yes), op(1, 2, 3, publish(3, "c"), yes)}, porcupine.Illegal},
		"the second refused":   {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), yes), op(1, 2, 3, publish(3, "c"), no)}, porcupine.Ok},
		"a stale read":         {[]porcupine.Operation{op(0, 0, 1, publish(3, "b"), yes), op(1, 2, 3, read, shows("a"))}, porcupine.Illegal},
		"sent twice":           {[]porcupine.Operation{op(0, 0, 9, publish(3, "b"), low), op(0, 0, 9, publish(3, "b"), first), op(1, 1, 2, read, shows("b")), op(1, 3, 4, publish(5, "c"), yes)}, porcupine.Ok},
		"sent twice, too late": {[]porcupine.Operation{op(0, 0, 2, publish(3, "b"), low), op(0, 0, 2, publish(3, "b"), first), op(1, 3, 4, publish(5, "c"), yes)}, porcupine.Illegal},
		"no answer":            {[]porcupine.Operation{op(0, 0, never, publish(3, "b"), none), op(1, 2, 3, read, shows("a")), op(1, 4, 5, read, shows("b"))}, porcupine.Ok},
		"no answer, goes back": {[]porcupine.Operation{op(0, 0, never, publish(3, "b"), none), op(1, 2, 3, read, shows("b")), op(1, 4, 5, read, shows("a"))}, porcupine.Illegal},
	} {
		if got := verdict(rises(standing{1, "a"}), c.ops); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
