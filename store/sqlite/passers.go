package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"airdispatch/message"
	"airdispatch/store"
)

// AddPasser adds a name.
func (d tables) AddPasser(ctx context.Context, p store.Passer) error {
	return d.w.one(ctx, "add passer", func(t *tx) error {
		n, ok, err := t.account(p.Address)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s: %w", p.Address.Short(), message.NotFound)
		}
		added, err := t.change("INSERT INTO passers (name, owner, secret, added) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
			p.Name, n, p.Secret[:], millis(p.Added))
		if err == nil && added == 0 {
			return message.NameTaken
		}
		return err
	})
}

const passerColumns = "SELECT p.name, x.address, p.secret, p.added FROM passers p JOIN addresses x ON x.id = p.owner "

// Passer reads one name.
func (d tables) Passer(ctx context.Context, name string) (store.Passer, error) {
	all, err := d.passers(ctx, passerColumns+"WHERE p.name = ?1", name)
	if err == nil && len(all) == 0 {
		err = message.NotFound
	}
	if err != nil {
		return store.Passer{}, wrap("passer", err)
	}
	return all[0], nil
}

// Passers reads a page of names.
func (d tables) Passers(ctx context.Context, after string, limit int) ([]store.Passer, error) {
	all, err := d.passers(ctx, passerColumns+"WHERE p.name > ?1 ORDER BY p.name LIMIT ?2", after, max(limit, 0))
	return all, wrap("passers", err)
}

func (d tables) passers(ctx context.Context, query string, args ...any) ([]store.Passer, error) {
	var out []store.Passer
	err := d.list(ctx, query, args, func(r *sql.Rows) error {
		var p store.Passer
		var x address
		var added int64
		err := r.Scan(&p.Name, &x, fixed(p.Secret[:]), &added)
		p.Address, p.Added = x.Address, moment(added)
		out = append(out, p)
		return err
	})
	return out, err
}

// RemovePasser removes a name.
func (d tables) RemovePasser(ctx context.Context, name string) error {
	return d.w.one(ctx, "remove passer", func(t *tx) error {
		removed, err := t.change("DELETE FROM passers WHERE name = ?1", name)
		if err == nil && removed == 0 {
			return message.NotFound
		}
		return err
	})
}
