package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// kindBits are the low bits of a task's id that tell its kind: alert tasks lie
// in deliveries, the others in tasks, each with ids of their own.
const kindBits = 2

// AddTasks adds tasks that are not there.
func (d tables) AddTasks(ctx context.Context, tasks []store.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	return d.w.one(ctx, "add tasks", func(t *tx) error {
		for _, k := range tasks {
			if err := t.addTask(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// addTask adds one task.
func (t *tx) addTask(k store.Task) error {
	author, err := t.number(k.Ref.From)
	if err != nil {
		return err
	}
	peer, err := t.number(k.Peer)
	if err != nil {
		return err
	}
	if k.Kind == store.TaskAlert {
		return t.addAlertTask(k, author, peer)
	}
	receipt, name := []byte{}, uint64(0)
	if k.Kind == store.TaskReceipt {
		name = k.Version
		if receipt, err = pack(k.Receipt); err != nil {
			return err
		}
	}
	// An id is never used again: a late outcome of a task that is gone must not
	// meet another one. So it is a place in the log.
	_, err = t.change(`INSERT INTO tasks (kind, author, mid, peer, name_version, receipt, version, due, queued, attempts, noticed, id)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO NOTHING`, int(k.Kind), author, k.Ref.MID[:], peer, name, receipt,
		k.Version, millis(k.Due), millis(k.Queued), k.Attempts, k.Noticed, t.next().Seq)
	return err
}

// addAlertTask puts the task into the delivery that it is about.
func (t *tx) addAlertTask(k store.Task, author, peer int64) error {
	h, ok, err := t.held(author, k.Ref.MID)
	if err != nil {
		return err
	}
	var id int64
	if ok {
		ok, err = t.row("SELECT id FROM deliveries WHERE id BETWEEN ?1 AND ?2 AND recipient = ?3",
			[]any{h.id << recipientBits, h.id<<recipientBits | (1<<recipientBits - 1), peer}, &id)
	}
	if err == nil && !ok {
		return fmt.Errorf("alert task: no such message or recipient: %w", message.NotFound)
	}
	if err != nil {
		return err
	}
	_, err = t.change("UPDATE deliveries SET due = ?2, queued = ?3, attempts = ?4, noticed = ?5 WHERE id = ?1 AND due IS NULL",
		id, millis(k.Due), millis(k.Queued), k.Attempts, k.Noticed)
	return err
}

const (
	dueAlerts = `SELECT d.id, m.author, a.address, m.mid, d.version, p.address, x'', d.queued, d.attempts, d.noticed
		FROM deliveries d JOIN messages m ON m.id = d.id >> 8 JOIN addresses a ON a.id = m.author JOIN addresses p ON p.id = d.recipient
		WHERE d.due <= ?1 ORDER BY d.due, d.id LIMIT ?2`
	dueTasks = `SELECT t.id, t.author, a.address, t.mid, t.version, p.address, t.receipt, t.queued, t.attempts, t.noticed
		FROM tasks t JOIN addresses a ON a.id = t.author JOIN addresses p ON p.id = t.peer
		WHERE t.kind = ?3 AND t.due <= ?1 ORDER BY t.due, t.id LIMIT ?2`
	claimAlerts = "UPDATE deliveries SET due = ?1 WHERE id IN (SELECT value FROM json_each(?2))"
	claimTasks  = "UPDATE tasks SET due = ?1 WHERE id IN (SELECT value FROM json_each(?2))"
)

// Claim takes due tasks.
func (d tables) Claim(ctx context.Context, kind store.TaskKind, now time.Time, lease time.Duration, limit int) ([]store.Task, error) {
	var out []store.Task
	until := now.Add(lease)
	err := d.w.one(ctx, "claim", func(t *tx) error {
		due, claim, args := dueTasks, claimTasks, []any{millis(now), max(limit, 0), int(kind)}
		if kind == store.TaskAlert {
			due, claim, args = dueAlerts, claimAlerts, args[:2]
		}
		var ids []int64
		err := t.rows(due, args, func(r *sql.Rows) error {
			k := store.Task{Kind: kind, Due: whole(until)}
			var author, queued int64
			var from, peer address
			var receipt []byte
			err := r.Scan(&k.ID, &author, &from, fixed(k.Ref.MID[:]), &k.Version, &peer, &receipt, &queued, &k.Attempts, &k.Noticed)
			if err != nil {
				return err
			}
			ids = append(ids, k.ID)
			k.ID = k.ID<<kindBits | int64(kind)
			k.Ref.From, k.Peer, k.Queued = from.Address, peer.Address, moment(queued)
			k.Receipt, err = unpackSigned(receipt)
			out = append(out, k)
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		list, err := json.Marshal(ids)
		if err != nil {
			return err
		}
		_, err = t.change(claim, millis(until), string(list))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Settle records outcomes.
func (d tables) Settle(ctx context.Context, outcomes []store.Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	return d.w.one(ctx, "settle", func(t *tx) error {
		for _, o := range outcomes {
			if err := t.settle(o); err != nil {
				return err
			}
		}
		return nil
	})
}

// settle records one outcome.
func (t *tx) settle(o store.Outcome) error {
	id, kind := o.ID>>kindBits, store.TaskKind(o.ID&(1<<kindBits-1))
	var err error
	switch {
	case kind == store.TaskAlert && o.Done:
		_, err = t.change("UPDATE deliveries SET due = NULL, attempts = 0, noticed = 0 WHERE id = ?1 AND version = ?2 AND due IS NOT NULL", id, o.Version)
	case kind == store.TaskAlert:
		_, err = t.change(`UPDATE deliveries SET due = ?3, attempts = attempts + 1, noticed = max(noticed, ?4)
			WHERE id = ?1 AND version = ?2 AND due IS NOT NULL`, id, o.Version, millis(o.Retry), o.Noticed)
	case o.Done:
		_, err = t.change("DELETE FROM tasks WHERE id = ?1 AND version = ?2", id, o.Version)
	default:
		_, err = t.change("UPDATE tasks SET due = ?3, attempts = attempts + 1, noticed = max(noticed, ?4) WHERE id = ?1 AND version = ?2",
			id, o.Version, millis(o.Retry), o.Noticed)
	}
	return err
}

// NextDue tells when the next task is due.
func (d tables) NextDue(ctx context.Context, kind store.TaskKind) (time.Time, error) {
	query, args := "SELECT due FROM tasks WHERE kind = ?1 ORDER BY due LIMIT 1", []any{int(kind)}
	if kind == store.TaskAlert {
		query, args = "SELECT due FROM deliveries WHERE due IS NOT NULL ORDER BY due LIMIT 1", nil
	}
	due := int64(math.MaxInt64)
	ok, err := d.find(ctx, query, args, &due)
	if err == nil && !ok {
		err = message.NotFound
	}
	if err != nil {
		return time.Time{}, wrap("next due", err)
	}
	return moment(due), nil
}
