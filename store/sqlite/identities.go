package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxEvidence is how many contradictions are kept about one address.
const maxEvidence = 16

// Identity reads a record.
func (d tables) Identity(ctx context.Context, a message.Address) (*store.IdentityRecord, error) {
	r := &store.IdentityRecord{Address: a}
	var card, route, expires, updated int64
	var bundle []byte
	ok, err := d.find(ctx, `SELECT revision, pair_card, pair_route, route_id, expires, updated, bundle FROM identities
		WHERE address = (SELECT id FROM addresses WHERE address = ?1)`, []any{a[:]},
		&r.Revision, &card, &route, fixed(r.RouteID[:]), &expires, &updated, &bundle)
	if err != nil {
		return nil, wrap("identity", err)
	}
	if !ok {
		return nil, fmt.Errorf("sqlite: identity %s: %w", a.Short(), message.NotFound)
	}
	r.Pair = pairOf(card, route)
	var w wirev1.Identity
	if err := unpack(bundle, &w); err != nil {
		return nil, wrap("identity", err)
	}
	r.Cards, r.Route, r.Expires, r.Updated = w.GetCards(), w.GetRoute(), moment(expires), moment(updated)
	for _, ms := range w.GetFirstSeen() {
		r.FirstSeen = append(r.FirstSeen, moment(ms))
	}
	return r, nil
}

// pairOf is a pair as it is kept. SQLite has no unsigned numbers, and somebody's
// route may have any; nothing is ordered by these columns.
func pairOf(card, route int64) message.Pair {
	return message.Pair{Card: uint64(card), Route: uint64(route)}
}

// Revision reads the revision of a record.
func (d tables) Revision(ctx context.Context, a message.Address) (uint64, error) {
	var n uint64
	ok, err := d.find(ctx, "SELECT revision FROM identities WHERE address = (SELECT id FROM addresses WHERE address = ?1)", []any{a[:]}, &n)
	if err == nil && !ok {
		err = message.NotFound
	}
	if err != nil {
		return 0, fmt.Errorf("sqlite: revision of %s: %w", a.Short(), err)
	}
	return n, nil
}

// PutIdentity replaces a record of a known revision.
func (d tables) PutIdentity(ctx context.Context, r *store.IdentityRecord) error {
	w := &wirev1.Identity{Cards: r.Cards, Route: r.Route}
	for _, t := range r.FirstSeen {
		w.FirstSeen = append(w.FirstSeen, millis(t))
	}
	bundle, err := pack(w)
	if err != nil {
		return wrap("put identity", err)
	}
	a, old := r.Address, r.Revision
	args := []any{old + 1, int64(r.Pair.Card), int64(r.Pair.Route), bytes.Clone(r.RouteID[:]), millis(r.Expires), millis(r.Updated), bundle}
	return d.w.one(ctx, "put identity", func(t *tx) error {
		n, err := t.number(a)
		if err != nil {
			return err
		}
		query := `UPDATE identities SET revision = ?1, pair_card = ?2, pair_route = ?3, route_id = ?4, expires = ?5, updated = ?6,
			bundle = ?7 WHERE address = ?8 AND revision = ?1 - 1`
		if old == 0 {
			query = `INSERT INTO identities (revision, pair_card, pair_route, route_id, expires, updated, bundle, address)
				VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING`
		}
		changed, err := t.change(query, append(args, n)...)
		if err == nil && changed == 0 {
			return fmt.Errorf("%s: another revision: %w", a.Short(), message.Conflict)
		}
		return err
	})
}

// AddEvidence keeps a contradiction.
func (d tables) AddEvidence(ctx context.Context, about message.Address, kind string, a, b *wirev1.Signed) error {
	rawA, err := pack(a)
	if err != nil {
		return wrap("add evidence", err)
	}
	rawB, err := pack(b)
	if err != nil {
		return wrap("add evidence", err)
	}
	return d.w.one(ctx, "add evidence", func(t *tx) error { return t.evidence(about, kind, rawA, rawB) })
}

// evidence adds a pair unless it is there, in either order, or there are enough.
func (t *tx) evidence(about message.Address, kind string, a, b []byte) error {
	n, err := t.number(about)
	if err != nil {
		return err
	}
	_, err = t.change(`INSERT INTO evidence (about, kind, a, b) SELECT ?1, ?2, ?3, ?4
		WHERE (SELECT count(*) FROM evidence WHERE about = ?1) < ?5 AND NOT EXISTS (SELECT 1 FROM evidence
			WHERE about = ?1 AND kind = ?2 AND ((a = ?3 AND b = ?4) OR (a = ?4 AND b = ?3)))`, n, kind, a, b, maxEvidence)
	return err
}

// Evidence reads what was kept.
func (d tables) Evidence(ctx context.Context, about message.Address) ([][2]*wirev1.Signed, error) {
	var out [][2]*wirev1.Signed
	err := d.list(ctx, `SELECT a, b FROM evidence WHERE about = (SELECT id FROM addresses WHERE address = ?1) ORDER BY id`,
		[]any{about[:]}, func(r *sql.Rows) error {
			var raw [2][]byte
			if err := r.Scan(&raw[0], &raw[1]); err != nil {
				return err
			}
			var pair [2]*wirev1.Signed
			for i := range raw {
				s, err := unpackSigned(raw[i])
				if err != nil {
					return err
				}
				pair[i] = s
			}
			out = append(out, pair)
			return nil
		})
	return out, wrap("evidence", err)
}

// ClaimName gives a name away.
func (d tables) ClaimName(ctx context.Context, c store.NameClaim, limit int) error {
	return d.w.one(ctx, "claim name", func(t *tx) error {
		n, err := t.number(c.Address)
		if err != nil {
			return err
		}
		var owner int64
		taken, err := t.row("SELECT address FROM names WHERE name = ?1", []any{c.Name}, &owner)
		switch {
		case err != nil || taken && owner == n:
			return err
		case taken:
			return message.NameTaken
		}
		var has int
		if _, err := t.row("SELECT count(*) FROM names WHERE address = ?1", []any{n}, &has); err != nil {
			return err
		}
		if has >= limit {
			return message.Quota
		}
		_, err = t.change("INSERT INTO names (name, address, time) VALUES (?1, ?2, ?3)", c.Name, n, millis(c.Time))
		return err
	})
}

// Name reads a claim.
func (d tables) Name(ctx context.Context, name string) (store.NameClaim, error) {
	var a address
	var at int64
	ok, err := d.find(ctx, "SELECT a.address, n.time FROM names n JOIN addresses a ON a.id = n.address WHERE n.name = ?1", []any{name}, &a, &at)
	if err == nil && !ok {
		err = message.NotFound
	}
	if err != nil {
		return store.NameClaim{}, wrap("name", err)
	}
	return store.NameClaim{Name: name, Address: a.Address, Time: moment(at)}, nil
}

// SetListing lists an address.
func (d tables) SetListing(ctx context.Context, a message.Address, l store.Listing) error {
	return d.w.one(ctx, "set listing", func(t *tx) error {
		n, err := t.number(a)
		if err != nil {
			return err
		}
		if l == store.Unlisted {
			_, err = t.change("DELETE FROM listings WHERE address = ?1", n)
		} else {
			_, err = t.change("INSERT OR REPLACE INTO listings (address, listing) VALUES (?1, ?2)", n, int(l))
		}
		return err
	})
}

// Listing reads an address's listing.
func (d tables) Listing(ctx context.Context, a message.Address) (store.Listing, error) {
	l := store.Unlisted
	_, err := d.find(ctx, "SELECT listing FROM listings WHERE address = (SELECT id FROM addresses WHERE address = ?1)", []any{a[:]}, &l)
	return l, wrap("listing", err)
}

// Listed reads all listings.
func (d tables) Listed(ctx context.Context) (map[message.Address]store.Listing, error) {
	out := make(map[message.Address]store.Listing)
	err := d.list(ctx, "SELECT a.address, l.listing FROM listings l JOIN addresses a ON a.id = l.address", nil, func(r *sql.Rows) error {
		var a address
		var l store.Listing
		err := r.Scan(&a, &l)
		out[a.Address] = l
		return err
	})
	return out, wrap("listed", err)
}

// Place is where the last commit left the log.
func (d tables) Place(ctx context.Context) (store.Place, error) {
	if err := ctx.Err(); err != nil {
		return store.Place{}, wrap("place", err)
	}
	return d.w.at(), nil
}

// RaiseEpoch begins an epoch.
func (d tables) RaiseEpoch(ctx context.Context) error {
	return d.w.one(ctx, "raise epoch", func(t *tx) error {
		t.place.Epoch++
		return t.askAgain()
	})
}

// Advance takes a place.
func (d tables) Advance(ctx context.Context) (store.Place, error) {
	var p store.Place
	err := d.w.one(ctx, "advance", func(t *tx) error {
		p = t.next()
		return nil
	})
	if err != nil {
		return store.Place{}, err
	}
	return p, nil
}
