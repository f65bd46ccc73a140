package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// invite is how often an invitation is still good, and until when.
type invite struct {
	uses    int
	expires time.Time
}

// maxVerdicts is how many verdicts an owner may have.
const maxVerdicts = 10_000

// Join adds an account.
func (m *tables) Join(ctx context.Context, a store.Account, u *store.InviteUse) error {
	return m.with(ctx, func() error {
		if _, ok := m.accounts[a.Address]; ok {
			return nil
		}
		if u != nil {
			i, ok := m.invites[u.Token]
			if !ok || i.uses < 1 || !u.Now.Before(i.expires) {
				return message.Denied
			}
			i.uses--
		}
		a.Joined, a.Trackers, a.BytesUsed, a.MessagesUsed = whole(a.Joined), slices.Clone(a.Trackers), 0, 0
		m.accounts[a.Address] = &a
		return nil
	})
}

// PutInvite adds an invitation.
func (m *tables) PutInvite(ctx context.Context, token [32]byte, uses int, expires time.Time) error {
	return m.with(ctx, func() error {
		m.invites[token] = &invite{uses, whole(expires)}
		return nil
	})
}

// Account reads one account.
func (m *tables) Account(ctx context.Context, a message.Address) (out store.Account, err error) {
	err = m.with(ctx, func() error {
		held, ok := m.accounts[a]
		if !ok {
			return message.NotFound
		}
		out = *held
		out.Trackers = slices.Clone(held.Trackers)
		return nil
	})
	return out, err
}

// Accounts reads a page of accounts.
func (m *tables) Accounts(ctx context.Context, after message.Address, limit int) (out []store.Account, err error) {
	err = m.with(ctx, func() error {
		for _, a := range sortedKeys(m.accounts) {
			if a.Compare(after) > 0 && len(out) < limit {
				c := *m.accounts[a]
				c.Trackers = slices.Clone(c.Trackers)
				out = append(out, c)
			}
		}
		return nil
	})
	return out, err
}

// ChangeAccount changes what c names.
func (m *tables) ChangeAccount(ctx context.Context, a message.Address, c store.AccountChange) error {
	return m.with(ctx, func() error {
		held, ok := m.accounts[a]
		if !ok {
			return message.NotFound
		}
		if c.Suspended != nil {
			held.Suspended = *c.Suspended
		}
		if c.BytesLimit != nil {
			held.BytesLimit = *c.BytesLimit
		}
		if c.MessagesLimit != nil {
			held.MessagesLimit = *c.MessagesLimit
		}
		if c.Trackers != nil {
			held.Trackers = slices.Clone(c.Trackers)
		}
		return nil
	})
}

// RemoveAccount erases an account. Recalled messages that some recipient has
// still to hear of stay, as heads, with their tasks.
func (m *tables) RemoveAccount(ctx context.Context, a message.Address) error {
	return m.with(ctx, func() error {
		if _, ok := m.accounts[a]; !ok {
			return message.NotFound
		}
		delete(m.accounts, a)
		delete(m.verdicts, a)
		maps.DeleteFunc(m.passers, func(_ string, p store.Passer) bool { return p.Address == a })
		maps.DeleteFunc(m.inquiries, func(k inquiryKey, _ *store.Inquiry) bool { return k.owner == a })
		for ref, l := range m.messages {
			if ref.From == a && !(l.newest().Tombstone && l.pending()) {
				delete(m.messages, ref)
				l.dropTasks(m)
			}
		}
		for k := range m.entries {
			if k.owner == a {
				delete(m.entries, k)
			}
		}
		for k := range m.notices {
			if k.owner == a {
				delete(m.notices, k)
			}
		}
		for id, t := range m.tasks {
			if t.Kind == store.TaskPrefetch && t.Peer == a {
				delete(m.tasks, id)
			}
		}
		for _, b := range m.blobs {
			delete(b.reserved, a)
		}
		return nil
	})
}

// SetVerdicts replaces verdicts.
func (m *tables) SetVerdicts(ctx context.Context, owner message.Address, v map[message.Address]store.Verdict) error {
	return m.with(ctx, func() error {
		if _, ok := m.accounts[owner]; !ok {
			return message.NotFound
		}
		next := maps.Clone(m.verdicts[owner])
		if next == nil {
			next = make(map[message.Address]store.Verdict)
		}
		for a, verdict := range v {
			next[a] = verdict
			if verdict == store.Stranger {
				delete(next, a)
			}
		}
		if len(next) > maxVerdicts {
			return message.Quota
		}
		m.verdicts[owner] = next
		for _, sender := range sortedKeys(v) {
			if v[sender] == store.Allow {
				m.admit(owner, sender)
			}
		}
		return nil
	})
}

// admit moves a sender's requests to the inbox.
func (m *tables) admit(owner, sender message.Address) {
	var moved []*entry
	for k, e := range m.entries {
		if k.owner == owner && k.ref.From == sender && e.folder == store.Requests && !e.deleted {
			moved = append(moved, e)
		}
	}
	moved, _ = page(moved, func(e *entry) uint64 { return e.seq }, len(moved))
	for _, e := range moved {
		e.folder, e.seq = store.Inbox, m.next().Seq
	}
}

// Verdict reads one verdict.
func (m *tables) Verdict(ctx context.Context, owner, sender message.Address) (v store.Verdict, err error) {
	err = m.with(ctx, func() error {
		v = m.verdicts[owner][sender]
		return nil
	})
	return v, err
}

// Verdicts reads all of an owner's.
func (m *tables) Verdicts(ctx context.Context, owner message.Address) (out map[message.Address]store.Verdict, err error) {
	err = m.with(ctx, func() error {
		if out = maps.Clone(m.verdicts[owner]); out == nil {
			out = make(map[message.Address]store.Verdict)
		}
		return nil
	})
	return out, err
}

// use is what something adds to an account; forced, whatever the limits say.
type use struct {
	bytes, messages int64
	forced          bool
}

// admits says whether an account has room for a use, and counts nothing.
func (m *tables) admits(owner message.Address, u use) error {
	a, ok := m.accounts[owner]
	switch {
	case !ok:
		return message.NotFound
	case u.forced:
		return nil
	case a.BytesLimit > 0 && a.BytesUsed+u.bytes > a.BytesLimit:
		return message.Quota
	case a.MessagesLimit > 0 && u.messages != 0 && a.MessagesUsed+u.messages > a.MessagesLimit:
		return message.Quota
	}
	return nil
}

// count counts a use, or with negative numbers takes it back.
func (m *tables) count(owner message.Address, bytes, messages int64) {
	if a, ok := m.accounts[owner]; ok {
		a.BytesUsed += bytes
		a.MessagesUsed += messages
	}
}
