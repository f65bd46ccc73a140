package witness

import (
	"context"
	"slices"

	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Mark is what was promised up to a moment.
type Mark map[message.ID]bool

// Mark notes what has been promised so far, and lets the authors begin anew to
// remember what they send.
func (s *Site) Mark(l *Ledger) Mark {
	m := Mark{}
	for _, a := range s.Authors {
		a.mu.Lock()
		a.recent, a.resumes = nil, true
		a.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.owed {
		for _, id := range d.versions {
			m[id] = true
		}
	}
	return m
}

// Resume is what clients do when a server comes back as it was before: it finds
// out what the first server has lost, which must be nothing that is marked, and
// hands that in again, in the order in which it was written. It returns how many
// versions were handed in. Nobody may be writing.
func (s *Site) Resume(ctx context.Context, l *Ledger, kept Mark) (int, error) {
	clear(s.shown)
	for _, a := range s.Authors {
		a.cursor = nil
		if err := a.read(ctx, s.shown); err != nil {
			return 0, err
		}
	}
	l.mu.Lock()
	for ref, d := range l.owed {
		for n, id := range d.versions {
			if kept[id] && s.shown[ref][n] != id {
				l.violations = append(l.violations, "lost: by a restore: "+ref.MID.String())
			}
		}
	}
	l.mu.Unlock()
	again := 0
	for _, a := range s.Authors {
		a.mu.Lock()
		recent := a.recent
		a.mu.Unlock()
		slices.SortStableFunc(recent, func(x, y *message.Sealed) int { return int(x.Head.Version) - int(y.Head.Version) })
		for _, v := range recent {
			if s.shown[v.Head.Ref()][v.Head.Version] == v.Head.ID {
				continue
			}
			results, err := a.submit(ctx, []*message.Sealed{v})
			if err != nil {
				return again, err
			}
			again++
			if err := message.OpenRefusal(results[0].GetRefusal()); err != nil {
				l.Violated("lost: %s cannot be handed in again: %v", v.Head.MID, err)
				continue
			}
			if err := l.promised(a, v.Head, results[0].GetReceipt()); err != nil {
				return again, err
			}
		}
	}
	return again, nil
}

// Place is where the log of somebody's account stands: its epoch, and the
// sequence number within it. A later place is never lower.
type Place struct{ Epoch, Seq uint64 }

// Before reports whether p lies before q.
func (p Place) Before(q Place) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Seq < q.Seq
}

// PlaceOf asks a person's server for the place of the account's log.
func PlaceOf(ctx context.Context, p *proof.Person) (Place, error) {
	res, err := p.Peer.Mailbox().Account(ctx, &wirev1.AccountRequest{})
	if err != nil {
		return Place{}, err
	}
	return Place{res.GetNow().GetEpoch(), res.GetNow().GetSeq()}, nil
}
