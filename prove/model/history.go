package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"airdispatch/message"
	"airdispatch/prove/proof"
)

const (
	// clients work at the same time, each with callsEach calls.
	clients, callsEach = 8, 50
	// people own two messages and a route each; half the clients are devices of
	// the one, half of the other, and all of them publish and ask for both routes.
	people, messagesEach = 2, 2
	// never is when a call returns that had no answer: its effect may come at any
	// time after it was made.
	never = math.MaxInt64
)

// tally is what became of all histories.
type tally struct {
	histories, calls, unknown, late int
	wrong                           []string
	// forged is whether a stale read was put into a history of each sort, and
	// found there.
	forgedSwap, forgedRise bool
}

// register is one thing that all read and write, and what was said about it.
type register struct {
	name  string
	first string
	model porcupine.Model

	// mu guards ops.
	mu  sync.Mutex
	ops []porcupine.Operation
}

// add notes a call. A read without an answer says nothing.
func (r *register) add(client int, in input, out output, from, to int64) {
	if out.outcome == unknown {
		if to = never; in.read {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	call := porcupine.Operation{ClientId: client, Input: in, Call: from, Output: out, Return: to}
	r.ops = append(r.ops, call)
	if out.outcome == lower {
		// A transport whose connection breaks sends a call again, which may have been done the
		// first time: what was published then stood until the higher one came.
		call.Output = output{outcome: earlier}
		r.ops = append(r.ops, call)
	}
}

// histories makes and judges them.
func histories(ctx context.Context, o proof.Options) (tally, error) {
	var t tally
	s, err := open(ctx, o.Dir)
	if s != nil {
		defer s.close()
	}
	if err != nil {
		return t, err
	}
	for n := range max(1, o.N/sequencesEach) {
		registers, err := history(ctx, s, rand.New(rand.NewPCG(o.Seed, uint64(n))))
		if err != nil {
			return t, fmt.Errorf("history %d: %w", n+1, err)
		}
		t.judge(n+1, registers)
		if t.histories++; t.histories%25 == 0 {
			fmt.Fprintf(o.Said, "model: %d histories, %d calls, %d without an answer, %d violations\n", t.histories, t.calls, t.unknown, len(t.wrong))
		}
	}
	if !t.forgedSwap || !t.forgedRise {
		t.wrong = append(t.wrong, "the control, a stale read at the end of a history, was not found")
	}
	return t, nil
}

// judge looks for an order of each register's calls, and until they are found for
// that of a history with a stale read.
func (t *tally) judge(n int, registers []*register) {
	for _, r := range registers {
		changed := false
		for _, op := range r.ops {
			if op.Output.(output).outcome != earlier {
				t.calls++
			}
			if op.Output.(output).outcome == unknown {
				t.unknown++
			} else if !op.Input.(input).read && op.Output.(output).outcome == done {
				changed = true
			}
		}
		switch verdict(r.model, r.ops) {
		case porcupine.Unknown:
			t.late++
			t.wrong = append(t.wrong, fmt.Sprintf("history %d: %s: no order was found in time", n, r.name))
		case porcupine.Illegal:
			t.wrong = append(t.wrong, fmt.Sprintf("history %d: %s: there is no order:\n%s", n, r.name, listed(r.ops)))
		}
		found := &t.forgedSwap
		if strings.HasPrefix(r.name, "route") {
			found = &t.forgedRise
		}
		if changed && !*found {
			*found = verdict(r.model, stale(r.ops, r.first)) == porcupine.Illegal
		}
	}
}

// listed is a history in words, in the order of the calls.
func listed(ops []porcupine.Operation) string {
	ops = slices.Clone(ops)
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "client %d from %d to %d: %s\n", op.ClientId, op.Call, op.Return, describe(op.Input, op.Output))
	}
	return b.String()
}

// history lets the clients work for a while, with faults, and returns what they
// saw.
func history(ctx context.Context, s *site, dice *rand.Rand) ([]*register, error) {
	h := &story{site: s, begun: time.Now()}
	defer h.end()
	for n := range people {
		if err := h.moveIn(ctx, n); err != nil {
			return nil, err
		}
	}
	var working sync.WaitGroup
	errs := make(chan error, clients+1)
	over := make(chan struct{})
	for n := range clients {
		c, err := h.client(n, rand.New(rand.NewPCG(dice.Uint64(), 1)))
		if err != nil {
			return nil, err
		}
		working.Go(func() { errs <- c.work(ctx) })
	}
	var breaking sync.WaitGroup
	breaking.Go(func() { errs <- h.breaks(ctx, rand.New(rand.NewPCG(dice.Uint64(), 2)), over) })
	working.Wait()
	close(over)
	breaking.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return h.registers, errors.Join(err, ctx.Err())
}

// story is one history while it is made.
type story struct {
	site      *site
	begun     time.Time
	owners    []*owner
	callers   []*caller
	registers []*register
	calls     atomic.Int64
}

// now is the time since the beginning.
func (h *story) now() int64 { return time.Since(h.begun).Nanoseconds() }

// end closes all connections.
func (h *story) end() {
	for _, c := range h.callers {
		c.rpc.Close()
	}
	for _, o := range h.owners {
		o.Client.Close()
	}
}

// breaks cuts connections all the time, and kills the servers once in the middle.
func (h *story) breaks(ctx context.Context, dice *rand.Rand, over <-chan struct{}) error {
	killAt := int64(clients*callsEach/4 + dice.IntN(clients*callsEach/2))
	killed := false
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !killed && h.calls.Load() >= killAt {
			killed = true
			if err := h.site.kill(); err != nil {
				return err
			}
		}
		if dice.IntN(20) == 0 {
			h.callers[dice.IntN(len(h.callers))].wires.cut()
		}
	}
}

// owner is a person with registers.
type owner struct {
	*proof.Person
	messages []*register
	// drafted are the first versions of the messages.
	drafted []*message.Head
	route   *register
}
