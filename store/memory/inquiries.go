package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// inquiryKey names a question.
type inquiryKey struct{ owner, peer message.Address }

// AddInquiries puts questions.
func (m *tables) AddInquiries(ctx context.Context, qs []store.Inquiry) error {
	return m.with(ctx, func() error {
		open := make(map[message.Address]int)
		for k := range m.inquiries {
			open[k.owner]++
		}
		fresh := make(map[inquiryKey]bool)
		for _, q := range qs {
			k := inquiryKey{q.Owner, q.Peer}
			if m.inquiries[k] != nil || fresh[k] || !m.hosted(q.Owner) {
				continue
			}
			fresh[k] = true
			if open[q.Owner]++; open[q.Owner] > store.MaxInquiries {
				return fmt.Errorf("inquiries of one owner: %w", message.Quota)
			}
		}
		for _, q := range qs {
			if m.hosted(q.Owner) {
				m.inquire(q.Owner, q.Peer, q.Queued, q.Due)
			}
		}
		return nil
	})
}

// inquire puts one question, unless one is open that is not older.
func (m *tables) inquire(owner, peer message.Address, queued, due time.Time) {
	k := inquiryKey{owner, peer}
	if held := m.inquiries[k]; held != nil && !held.Queued.Before(whole(queued)) {
		return
	}
	m.inquiries[k] = &store.Inquiry{Owner: owner, Peer: peer, Queued: whole(queued), Due: whole(due)}
}

// askAgain puts the questions that follow a restore.
func (m *tables) askAgain() {
	now := time.Now()
	for owner, verdicts := range m.verdicts {
		for sender, v := range verdicts {
			if v == store.Allow {
				m.inquire(owner, sender, now, now)
			}
		}
	}
	for k, e := range m.entries {
		if m.hosted(k.owner) {
			m.inquire(k.owner, e.origin, now, now)
		}
	}
}

// ClaimInquiries takes due questions.
func (m *tables) ClaimInquiries(ctx context.Context, now time.Time, lease time.Duration, limit int) (out []store.Inquiry, err error) {
	err = m.with(ctx, func() error {
		var due []*store.Inquiry
		for _, q := range m.inquiries {
			if !whole(now).Before(q.Due) {
				due = append(due, q)
			}
		}
		slices.SortFunc(due, func(a, b *store.Inquiry) int {
			return cmp.Or(a.Due.Compare(b.Due), a.Owner.Compare(b.Owner), a.Peer.Compare(b.Peer))
		})
		for _, q := range due[:min(len(due), max(limit, 0))] {
			q.Due = whole(now.Add(lease))
			out = append(out, *q)
		}
		return nil
	})
	return out, err
}

// SettleInquiries records what became of questions.
func (m *tables) SettleInquiries(ctx context.Context, qs []store.Inquiry) error {
	return m.with(ctx, func() error {
		for _, q := range qs {
			k := inquiryKey{q.Owner, q.Peer}
			held := m.inquiries[k]
			switch {
			case held == nil || !held.Queued.Equal(whole(q.Queued)):
			case q.Done:
				delete(m.inquiries, k)
			default:
				held.After, held.Pages, held.Due, held.Attempts = q.After, q.Pages, whole(q.Due), q.Attempts
			}
		}
		return nil
	})
}

// NextInquiry tells when the next question is due.
func (m *tables) NextInquiry(ctx context.Context) (next time.Time, err error) {
	err = m.with(ctx, func() error {
		found := false
		for _, q := range m.inquiries {
			if !found || q.Due.Before(next) {
				next, found = q.Due, true
			}
		}
		if !found {
			return message.NotFound
		}
		return nil
	})
	return next, err
}

// Held reads a page of what is kept here for a recipient.
func (m *tables) Held(ctx context.Context, q store.HeldQuery) (items []store.ListItem, more bool, err error) {
	err = m.with(ctx, func() error {
		for ref, l := range m.messages {
			if l.seq <= q.After || !slices.ContainsFunc(l.deliveries, func(d *delivery) bool { return d.to == q.To }) {
				continue
			}
			v := l.newest().Version
			v.Head, v.Slots, v.Payload, v.Blobs = statement(v.Head), slots(v.Slots), nil, nil
			items = append(items, store.ListItem{Seq: l.seq, Ref: ref, Versions: []store.Version{v}})
		}
		items, more = page(items, func(i store.ListItem) uint64 { return i.Seq }, q.Limit)
		return nil
	})
	return items, more, err
}
