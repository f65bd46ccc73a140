package home

import (
	"context"
	"database/sql"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxEvidence is how many contradictions are kept about one address: enough
// to show a pattern, too few to fill a disk.
const maxEvidence = 16

var _ store.Identities = (*Home)(nil)

// Identity is the record of a. Errors: message.NotFound.
func (h *Home) Identity(ctx context.Context, a message.Address) (*store.IdentityRecord, error) {
	r := &store.IdentityRecord{Address: a}
	var bundle, routeID []byte
	var card, route, expires, updated int64
	err := h.db.QueryRowContext(ctx, `select bundle, route_id, pair_card, pair_route, expires, updated, revision from identity where address = ?1`, key(a)).
		Scan(&bundle, &routeID, &card, &route, &expires, &updated, &r.Revision)
	if err != nil {
		return nil, fault("identity", err)
	}
	// SQLite has no unsigned numbers; a stranger's sequence number may need the
	// whole range.
	r.Pair = message.Pair{Card: uint64(card), Route: uint64(route)}
	var w wirev1.Identity
	if err := proto.Unmarshal(bundle, &w); err != nil {
		return nil, fault("identity", unreadable(err))
	}
	r.Cards, r.Route, r.Expires, r.Updated = w.GetCards(), w.GetRoute(), fromMillis(expires), fromMillis(updated)
	for _, ms := range w.GetFirstSeen() {
		r.FirstSeen = append(r.FirstSeen, time.UnixMilli(ms).UTC())
	}
	if len(routeID) != 0 {
		if r.RouteID, err = message.IDFromBytes(routeID); err != nil {
			return nil, fault("identity", unreadable(err))
		}
	}
	return r, nil
}

// Revision is that of the record of a. Errors: message.NotFound.
func (h *Home) Revision(ctx context.Context, a message.Address) (uint64, error) {
	var n uint64
	err := h.db.QueryRowContext(ctx, `select revision from identity where address = ?1`, key(a)).Scan(&n)
	return n, fault("revision", err)
}

// PutIdentity replaces the record of r.Address if its revision is r.Revision.
// Errors: message.Conflict.
func (h *Home) PutIdentity(ctx context.Context, r *store.IdentityRecord) error {
	w := &wirev1.Identity{Cards: r.Cards, Route: r.Route}
	for _, t := range r.FirstSeen {
		w.FirstSeen = append(w.FirstSeen, t.UnixMilli())
	}
	bundle, err := proto.Marshal(w)
	if err != nil {
		return fault("put identity", err)
	}
	routeID := []byte{}
	if !r.RouteID.IsZero() {
		routeID = r.RouteID[:]
	}
	return h.transact(ctx, "put identity", func(tx *sql.Tx) error {
		var res sql.Result
		if r.Revision == 0 {
			res, err = tx.ExecContext(ctx, `insert into identity (address, bundle, route_id, pair_card, pair_route, expires, updated, revision)
				values (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1) on conflict do nothing`,
				key(r.Address), bundle, routeID, int64(r.Pair.Card), int64(r.Pair.Route), millis(r.Expires), millis(r.Updated))
		} else {
			res, err = tx.ExecContext(ctx, `update identity set bundle = ?2, route_id = ?3, pair_card = ?4, pair_route = ?5, expires = ?6, updated = ?7,
				revision = revision + 1 where address = ?1 and revision = ?8`,
				key(r.Address), bundle, routeID, int64(r.Pair.Card), int64(r.Pair.Route), millis(r.Expires), millis(r.Updated), r.Revision)
		}
		if err := changed(res, err); err != nil {
			if err == sql.ErrNoRows {
				return message.Conflict
			}
			return err
		}
		return nil
	})
}

// AddEvidence keeps two statements that contradict each other, up to a bound.
func (h *Home) AddEvidence(ctx context.Context, about message.Address, kind string, a, b *wirev1.Signed) error {
	rawA, errA := proto.Marshal(a)
	rawB, errB := proto.Marshal(b)
	if errA != nil || errB != nil {
		return fault("add evidence", message.Invalid)
	}
	_, err := h.db.ExecContext(ctx, `insert into evidence (about, kind, a, b) select ?1, ?2, ?3, ?4
		where (select count(*) from evidence where about = ?1) < ?5 on conflict do nothing`, key(about), kind, rawA, rawB, maxEvidence)
	return fault("add evidence", err)
}

// Evidence is what was kept about an address, oldest first.
func (h *Home) Evidence(ctx context.Context, about message.Address) ([][2]*wirev1.Signed, error) {
	rows, err := h.db.QueryContext(ctx, `select a, b from evidence where about = ?1 order by n`, key(about))
	out, err := collect(rows, err, func(r *sql.Rows) ([2]*wirev1.Signed, error) {
		pair := [2]*wirev1.Signed{{}, {}}
		var a, b []byte
		if err := r.Scan(&a, &b); err != nil {
			return pair, err
		}
		if err := proto.Unmarshal(a, pair[0]); err != nil {
			return pair, err
		}
		return pair, proto.Unmarshal(b, pair[1])
	})
	return out, fault("evidence", err)
}
