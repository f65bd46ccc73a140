package memory

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// evidence is two statements that contradict each other.
type evidence struct {
	kind string
	a, b *wirev1.Signed
}

// maxEvidence is how many contradictions are kept about one address.
const maxEvidence = 16

func (m *tables) record(r *store.IdentityRecord) *store.IdentityRecord {
	c := *r
	c.Cards, c.Route, c.FirstSeen = statements(r.Cards), statement(r.Route), nil
	for _, t := range r.FirstSeen {
		c.FirstSeen = append(c.FirstSeen, whole(t))
	}
	c.Expires, c.Updated = whole(r.Expires), whole(r.Updated)
	return &c
}

// Identity reads a record.
func (m *tables) Identity(ctx context.Context, a message.Address) (r *store.IdentityRecord, err error) {
	err = m.with(ctx, func() error {
		held, ok := m.identities[a]
		if !ok {
			return message.NotFound
		}
		r = m.record(held)
		return nil
	})
	return r, err
}

// Revision is that of a record.
func (m *tables) Revision(ctx context.Context, a message.Address) (n uint64, err error) {
	err = m.with(ctx, func() error {
		held, ok := m.identities[a]
		if !ok {
			return message.NotFound
		}
		n = held.Revision
		return nil
	})
	return n, err
}

// PutIdentity replaces a record of a known revision.
func (m *tables) PutIdentity(ctx context.Context, r *store.IdentityRecord) error {
	return m.with(ctx, func() error {
		var revision uint64
		if held, ok := m.identities[r.Address]; ok {
			revision = held.Revision
		}
		if revision != r.Revision {
			return message.Conflict
		}
		c := m.record(r)
		c.Revision++
		m.identities[r.Address] = c
		return nil
	})
}

// AddEvidence keeps a contradiction.
func (m *tables) AddEvidence(ctx context.Context, about message.Address, kind string, a, b *wirev1.Signed) error {
	return m.with(ctx, func() error {
		m.addEvidence(about, evidence{kind, a, b})
		return nil
	})
}

func (m *tables) addEvidence(about message.Address, e evidence) {
	held := m.evidence[about]
	if len(held) >= maxEvidence {
		return
	}
	for _, h := range held {
		same := proto.Equal(h.a, e.a) && proto.Equal(h.b, e.b) || proto.Equal(h.a, e.b) && proto.Equal(h.b, e.a)
		if same && h.kind == e.kind {
			return
		}
	}
	m.evidence[about] = append(held, evidence{e.kind, statement(e.a), statement(e.b)})
}

// Evidence reads what was kept.
func (m *tables) Evidence(ctx context.Context, about message.Address) (out [][2]*wirev1.Signed, err error) {
	err = m.with(ctx, func() error {
		for _, e := range m.evidence[about] {
			out = append(out, [2]*wirev1.Signed{statement(e.a), statement(e.b)})
		}
		return nil
	})
	return out, err
}

// ClaimName gives a name away.
func (m *tables) ClaimName(ctx context.Context, c store.NameClaim, limit int) error {
	return m.with(ctx, func() error {
		if held, ok := m.names[c.Name]; ok {
			if held.Address != c.Address {
				return message.NameTaken
			}
			return nil
		}
		has := 0
		for _, held := range m.names {
			if held.Address == c.Address {
				has++
			}
		}
		if has >= limit {
			return message.Quota
		}
		c.Time = whole(c.Time)
		m.names[c.Name] = c
		return nil
	})
}

// Name reads a claim.
func (m *tables) Name(ctx context.Context, name string) (c store.NameClaim, err error) {
	err = m.with(ctx, func() error {
		held, ok := m.names[name]
		if !ok {
			return message.NotFound
		}
		c = held
		return nil
	})
	return c, err
}

// SetListing lists an address.
func (m *tables) SetListing(ctx context.Context, a message.Address, l store.Listing) error {
	return m.with(ctx, func() error {
		m.listings[a] = l
		if l == store.Unlisted {
			delete(m.listings, a)
		}
		return nil
	})
}

// Listing reads an address's listing.
func (m *tables) Listing(ctx context.Context, a message.Address) (l store.Listing, err error) {
	err = m.with(ctx, func() error {
		l = m.listings[a]
		return nil
	})
	return l, err
}

// Listed reads all listings.
func (m *tables) Listed(ctx context.Context) (out map[message.Address]store.Listing, err error) {
	err = m.with(ctx, func() error {
		out = maps.Clone(m.listings)
		return nil
	})
	return out, err
}

// Place is where the log stands.
func (m *tables) Place(ctx context.Context) (p store.Place, err error) {
	err = m.with(ctx, func() error {
		p = m.place
		return nil
	})
	return p, err
}

// RaiseEpoch begins an epoch.
func (m *tables) RaiseEpoch(ctx context.Context) error {
	return m.with(ctx, func() error {
		m.place.Epoch++
		m.askAgain()
		return nil
	})
}

// Advance takes a place.
func (m *tables) Advance(ctx context.Context) (p store.Place, err error) {
	err = m.with(ctx, func() error {
		p = m.next()
		return nil
	})
	return p, err
}

// sortedKeys are a map's addresses in order.
func sortedKeys[V any](of map[message.Address]V) []message.Address {
	return slices.SortedFunc(maps.Keys(of), message.Address.Compare)
}
