package memory

import (
	"context"
	"maps"
	"slices"

	"airdispatch/message"
	"airdispatch/store"
)

// AddPasser adds a name.
func (m *tables) AddPasser(ctx context.Context, p store.Passer) error {
	return m.with(ctx, func() error {
		if _, ok := m.accounts[p.Address]; !ok {
			return message.NotFound
		}
		if _, ok := m.passers[p.Name]; ok {
			return message.NameTaken
		}
		p.Added = whole(p.Added)
		m.passers[p.Name] = p
		return nil
	})
}

// Passer reads one name.
func (m *tables) Passer(ctx context.Context, name string) (out store.Passer, err error) {
	err = m.with(ctx, func() error {
		held, ok := m.passers[name]
		if !ok {
			return message.NotFound
		}
		out = held
		return nil
	})
	return out, err
}

// Passers reads a page of names.
func (m *tables) Passers(ctx context.Context, after string, limit int) (out []store.Passer, err error) {
	err = m.with(ctx, func() error {
		for _, name := range slices.Sorted(maps.Keys(m.passers)) {
			if name > after && len(out) < limit {
				out = append(out, m.passers[name])
			}
		}
		return nil
	})
	return out, err
}

// RemovePasser removes a name.
func (m *tables) RemovePasser(ctx context.Context, name string) error {
	return m.with(ctx, func() error {
		if _, ok := m.passers[name]; !ok {
			return message.NotFound
		}
		delete(m.passers, name)
		return nil
	})
}
