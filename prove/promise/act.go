package promise

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"

	"airdispatch/message"
	"airdispatch/store"
)

// together is how many items one call may be about.
const together = 4

// Act makes one call, with its share of the items: several may act at once, each
// with a part of its own. It returns what the store said where that is an error.
func (w *Work) Act(ctx context.Context, s Server, r *rand.Rand, part, parts int) error {
	acts := []func(context.Context, Server, []*item) error{w.submit, w.submit, w.serve, w.receive, w.receive, w.mark(r), w.look}
	kinds := []kind{letter, letter, letter, arrival, arrival, arrival, letter}
	if s.Mail == nil {
		acts, kinds = []func(context.Context, Server, []*item) error{w.claim, w.look}, []kind{name, identity}
	}
	acts, kinds = append(acts, w.put), append(kinds, identity)
	n := r.IntN(len(acts))
	var mine []*item
	for at, i := range w.items {
		if i.kind == kinds[n] && at%parts == part {
			mine = append(mine, i)
		}
	}
	r.Shuffle(len(mine), func(a, b int) { mine[a], mine[b] = mine[b], mine[a] })
	return acts[n](ctx, s, mine)
}

// some are the first items that a call can be about, and where they go to.
func some(items []*item, most int, next func(i *item) (standing, bool)) (chosen []*item, to []standing) {
	for _, i := range items {
		if i.open != nil || len(chosen) == most {
			continue
		}
		if st, ok := next(i); ok {
			chosen, to = append(chosen, i), append(to, st)
		}
	}
	return chosen, to
}

// submit submits new letters and edits.
func (w *Work) submit(ctx context.Context, s Server, mine []*item) error {
	chosen, to := some(mine, 1+len(mine)%together, func(i *item) (standing, bool) {
		return standing{versions: i.sure.versions + 1}, i.sure.versions < w.most(i)
	})
	return w.ask(chosen, to, func() []outcome {
		var all []store.Submission
		for n, i := range chosen {
			all = append(all, w.pool.letters[i.n].versions[to[n].versions-1])
		}
		out := make([]outcome, len(all))
		for n, res := range s.Mail.Outgoing.Submit(ctx, all) {
			out[n] = outcome{res.Err, res.Accepted}
		}
		return out
	})
}

// serve hands letters to their readers, which the store has to note.
func (w *Work) serve(ctx context.Context, s Server, mine []*item) error {
	var reader message.Address
	chosen, to := some(mine, together, func(i *item) (standing, bool) {
		x := w.pool.letters[i.n]
		ok := i.sure.versions > 0 && !i.sure.served && !w.recalled(i, i.sure.versions) && (reader.IsZero() || reader == x.reader)
		if ok {
			reader = x.reader
		}
		return standing{versions: i.sure.versions, served: true}, ok
	})
	return w.ask(chosen, to, func() []outcome {
		q := store.ServeQuery{Reader: reader}
		for _, i := range chosen {
			q.Items = append(q.Items, store.ServeItem{Ref: w.pool.letters[i.n].ref})
			q.Now = w.pool.letters[i.n].versions[0].Now
		}
		out := make([]outcome, len(chosen))
		for n, res := range s.Mail.Outgoing.Serve(ctx, q) {
			if out[n].err = res.Err; res.Err == nil {
				w.compareVersions(chosen[n], res.Versions)
			}
		}
		return out
	})
}

// receive takes alerts in.
func (w *Work) receive(ctx context.Context, s Server, mine []*item) error {
	chosen, to := some(mine, 1+len(mine)%together, func(i *item) (standing, bool) {
		st := standing{versions: i.sure.versions + 1, folder: i.sure.folder}
		if st.versions > w.most(i) {
			return st, false
		}
		// A recall does not bring back what was put away.
		if i.sure.versions == 0 || i.sure.deleted || !w.recalled(i, st.versions) {
			st.folder = store.Inbox
		}
		return st, true
	})
	return w.ask(chosen, to, func() []outcome {
		var all []store.Alert
		for n, i := range chosen {
			all = append(all, w.alert(i, to[n].versions))
		}
		out := make([]outcome, len(all))
		for n, res := range s.Mail.Incoming.Alert(ctx, all) {
			out[n] = outcome{res.Err, res.Accepted}
		}
		return out
	})
}

// mark marks entries of one owner as read, archived or deleted.
func (w *Work) mark(r *rand.Rand) func(context.Context, Server, []*item) error {
	return func(ctx context.Context, s Server, mine []*item) error {
		var owner message.Address
		var marks []store.Marking
		yes := true
		chosen, to := some(mine, together, func(i *item) (standing, bool) {
			x := w.pool.arrivals[i.n]
			if i.sure.versions == 0 || i.sure.deleted || !owner.IsZero() && owner != x.owner {
				return standing{}, false
			}
			owner = x.owner
			st, k := i.sure, store.Marking{Ref: x.ref}
			switch r.IntN(5) {
			case 0:
				st.deleted, k.Deleted = true, &yes
				st.read, st.folder = false, 0
			case 1, 2:
				st.folder, k.Archived = store.Archive, &yes
			default:
				st.read, k.Read = true, &yes
			}
			marks = append(marks, k)
			return st, true
		})
		return w.ask(chosen, to, func() []outcome {
			err := s.Mail.Incoming.Mark(ctx, owner, marks)
			out := make([]outcome, len(chosen))
			for n := range out {
				out[n].err = err
			}
			return out
		})
	}
}

// put publishes the next route of somebody, and takes a place for its receipt.
func (w *Work) put(ctx context.Context, s Server, mine []*item) error {
	chosen, to := some(mine, 1, func(i *item) (standing, bool) {
		return standing{versions: i.sure.versions + 1}, i.sure.versions < w.most(i)
	})
	ids, log := s.shared()
	err := w.ask(chosen, to, func() []outcome {
		return []outcome{{err: ids.PutIdentity(ctx, w.pool.records[chosen[0].n][to[0].versions-1])}}
	})
	if err != nil || len(chosen) == 0 {
		return err
	}
	place, err := log.Advance(ctx)
	if err == nil {
		w.reached(place)
	}
	return err
}

// reached notes a place in the log that was promised.
func (w *Work) reached(p store.Place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq = max(w.seq, p.Seq)
}

// claim claims a name.
func (w *Work) claim(ctx context.Context, s Server, mine []*item) error {
	chosen, to := some(mine, 1, func(i *item) (standing, bool) { return standing{versions: 1}, i.sure.versions == 0 })
	return w.ask(chosen, to, func() []outcome {
		return []outcome{{err: s.Tracker.Names.ClaimName(ctx, w.pool.names[chosen[0].n], names)}}
	})
}

// look reads one item, of anybody's, while others write: what is seen counts as
// promised.
func (w *Work) look(ctx context.Context, s Server, mine []*item) error {
	if s.Mail == nil || len(mine) == 0 {
		return nil
	}
	at := w.items[(mine[0].n*7+len(mine))%len(w.items)]
	if at.kind != letter {
		return nil
	}
	v, err := s.Mail.Outgoing.Versions(ctx, w.pool.letters[at.n].ref)
	if errors.Is(err, message.NotFound) {
		return nil
	}
	if err == nil {
		w.saw(at, len(v))
	}
	return err
}

func (w *Work) saw(i *item, versions int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i.seen = max(i.seen, versions)
}

// compareVersions holds what a store shows of a message against what was
// written.
func (w *Work) compareVersions(i *item, got []store.Version) {
	all := w.written(i).versions
	if len(got) > len(all) {
		w.violated("unwritten: %s has %d versions", w.words(i), len(got))
		return
	}
	for n, v := range got {
		want := all[n]
		if v.ID != want.Head.ID || v.Number != uint64(n+1) || !bytes.Equal(v.Head.GetBody(), want.Head.Signed.GetBody()) ||
			!bytes.Equal(v.Head.GetSignature(), want.Head.Signed.GetSignature()) {
			w.violated("altered: %s: version %d is another one", w.words(i), n+1)
		}
		if n == len(got)-1 && (!bytes.Equal(v.Payload, want.Payload) || len(v.Slots) != len(want.Slots)) {
			w.violated("altered: %s: version %d has other words", w.words(i), n+1)
		}
	}
}
