package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// maxVerdicts is how many verdicts an owner may have.
const maxVerdicts = 10_000

// Join adds an account.
func (d tables) Join(ctx context.Context, a store.Account, invite *store.InviteUse) error {
	trackers, err := packList(a.Trackers)
	if err != nil {
		return wrap("join", err)
	}
	return d.w.one(ctx, "join", func(t *tx) error {
		n, err := t.number(a.Address)
		if err != nil {
			return err
		}
		added, err := t.change(`INSERT INTO accounts (owner, joined, suspended, bytes_limit, messages_limit, bytes_used, messages_used, trackers)
			VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6) ON CONFLICT DO NOTHING`, n, millis(a.Joined), a.Suspended, a.BytesLimit, a.MessagesLimit, trackers)
		if err != nil || added == 0 || invite == nil {
			return err
		}
		used, err := t.change("UPDATE invites SET uses = uses - 1 WHERE token = ?1 AND uses > 0 AND expires > ?2",
			bytes.Clone(invite.Token[:]), millis(invite.Now))
		if err == nil && used == 0 {
			return fmt.Errorf("%s: no such invitation: %w", a.Address.Short(), message.Denied)
		}
		return err
	})
}

// PutInvite adds an invitation.
func (d tables) PutInvite(ctx context.Context, token [32]byte, uses int, expires time.Time) error {
	return d.w.one(ctx, "put invite", func(t *tx) error {
		_, err := t.change("INSERT OR REPLACE INTO invites (token, uses, expires) VALUES (?1, ?2, ?3)", token[:], uses, millis(expires))
		return err
	})
}

const accountColumns = `SELECT x.address, a.joined, a.suspended, a.bytes_limit, a.messages_limit, a.bytes_used, a.messages_used, a.trackers
	FROM addresses x JOIN accounts a ON a.owner = x.id `

// Account reads one account.
func (d tables) Account(ctx context.Context, a message.Address) (store.Account, error) {
	accounts, err := d.accounts(ctx, accountColumns+"WHERE x.address = ?1", a[:])
	if err == nil && len(accounts) == 0 {
		err = fmt.Errorf("%s: %w", a.Short(), message.NotFound)
	}
	if err != nil {
		return store.Account{}, wrap("account", err)
	}
	return accounts[0], nil
}

// Accounts reads a page of accounts.
func (d tables) Accounts(ctx context.Context, after message.Address, limit int) ([]store.Account, error) {
	accounts, err := d.accounts(ctx, accountColumns+"WHERE x.address > ?1 ORDER BY x.address LIMIT ?2", after[:], max(limit, 0))
	return accounts, wrap("accounts", err)
}

func (d tables) accounts(ctx context.Context, query string, args ...any) ([]store.Account, error) {
	var out []store.Account
	err := d.list(ctx, query, args, func(r *sql.Rows) error {
		var a store.Account
		var x address
		var joined int64
		var trackers string
		err := r.Scan(&x, &joined, &a.Suspended, &a.BytesLimit, &a.MessagesLimit, &a.BytesUsed, &a.MessagesUsed, &trackers)
		if err != nil {
			return err
		}
		a.Address, a.Joined = x.Address, moment(joined)
		a.Trackers, err = unpackList(trackers)
		out = append(out, a)
		return err
	})
	return out, err
}

// ChangeAccount changes what c names.
func (d tables) ChangeAccount(ctx context.Context, a message.Address, c store.AccountChange) error {
	var trackers *string
	if c.Trackers != nil {
		s, err := packList(c.Trackers)
		if err != nil {
			return wrap("change account", err)
		}
		trackers = &s
	}
	return d.w.one(ctx, "change account", func(t *tx) error {
		n, _, err := t.known(a)
		if err != nil {
			return err
		}
		changed, err := t.change(`UPDATE accounts SET suspended = coalesce(?2, suspended), bytes_limit = coalesce(?3, bytes_limit),
			messages_limit = coalesce(?4, messages_limit), trackers = coalesce(?5, trackers) WHERE owner = ?1`,
			n, c.Suspended, c.BytesLimit, c.MessagesLimit, trackers)
		if err == nil && changed == 0 {
			return fmt.Errorf("%s: %w", a.Short(), message.NotFound)
		}
		return err
	})
}

// removals erase what was kept for the owner ?1. Recalled messages that some
// recipient has still to hear of stay, as heads, with their tasks.
var removals = []string{
	"CREATE TEMP TABLE IF NOT EXISTS leaving (id INTEGER PRIMARY KEY)",
	"DELETE FROM temp.leaving",
	`INSERT INTO temp.leaving SELECT m.id FROM messages m WHERE m.author = ?1 AND NOT (m.tombstone AND EXISTS
		(SELECT 1 FROM deliveries d WHERE d.id BETWEEN m.id << 8 AND (m.id << 8) + 255 AND d.due IS NOT NULL))`,
	"DELETE FROM versions WHERE id IN (SELECT v.id FROM temp.leaving l CROSS JOIN versions v WHERE v.id BETWEEN l.id << 10 AND (l.id << 10) + 1023)",
	"DELETE FROM deliveries WHERE id IN (SELECT v.id FROM temp.leaving l CROSS JOIN deliveries v WHERE v.id BETWEEN l.id << 8 AND (l.id << 8) + 255)",
	"DELETE FROM fetches WHERE message IN (SELECT id FROM temp.leaving)",
	"DELETE FROM messages WHERE id IN (SELECT id FROM temp.leaving)",
	"DELETE FROM temp.leaving",
	"INSERT INTO temp.leaving SELECT id FROM entries WHERE owner = ?1",
	"DELETE FROM alerts WHERE id IN (SELECT v.id FROM temp.leaving l CROSS JOIN alerts v WHERE v.id BETWEEN l.id << 10 AND (l.id << 10) + 1023)",
	"DELETE FROM copies WHERE entry IN (SELECT id FROM temp.leaving)",
	"DELETE FROM entries WHERE owner = ?1",
	"DELETE FROM notices WHERE owner = ?1",
	"DELETE FROM uses WHERE owner = ?1",
	"DELETE FROM reservations WHERE owner = ?1",
	"DELETE FROM verdicts WHERE owner = ?1",
	"DELETE FROM passers WHERE owner = ?1",
	"DELETE FROM inquiries WHERE owner = ?1",
	"DELETE FROM tasks WHERE peer = ?1 AND kind = 3",
	"DELETE FROM temp.leaving",
}

// RemoveAccount erases an account.
func (d tables) RemoveAccount(ctx context.Context, a message.Address) error {
	return d.w.one(ctx, "remove account", func(t *tx) error {
		n, _, err := t.known(a)
		if err != nil {
			return err
		}
		removed, err := t.change("DELETE FROM accounts WHERE owner = ?1", n)
		if err != nil {
			return err
		}
		if removed == 0 {
			return fmt.Errorf("%s: %w", a.Short(), message.NotFound)
		}
		for _, q := range removals {
			var args []any
			if strings.Contains(q, "?1") {
				args = []any{n}
			}
			if _, err := t.change(q, args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetVerdicts replaces verdicts.
func (d tables) SetVerdicts(ctx context.Context, owner message.Address, v map[message.Address]store.Verdict) error {
	return d.w.one(ctx, "set verdicts", func(t *tx) error {
		n, ok, err := t.account(owner)
		if err != nil {
			return err
		}
		if !ok {
			return message.NotFound
		}
		for _, sender := range slices.SortedFunc(maps.Keys(v), message.Address.Compare) {
			if err := t.setVerdict(n, sender, v[sender]); err != nil {
				return err
			}
		}
		var count int
		if _, err := t.row("SELECT count(*) FROM verdicts WHERE owner = ?1", []any{n}, &count); err != nil {
			return err
		}
		if count > maxVerdicts {
			return fmt.Errorf("%d verdicts: %w", count, message.Quota)
		}
		return nil
	})
}

// setVerdict replaces one verdict, and moves what a sender who is now allowed
// has in the requests.
func (t *tx) setVerdict(owner int64, sender message.Address, v store.Verdict) error {
	s, err := t.number(sender)
	if err != nil {
		return err
	}
	if v == store.Stranger {
		_, err := t.change("DELETE FROM verdicts WHERE owner = ?1 AND sender = ?2", owner, s)
		return err
	}
	if _, err := t.change("INSERT OR REPLACE INTO verdicts (owner, sender, verdict) VALUES (?1, ?2, ?3)", owner, s, int(v)); err != nil {
		return err
	}
	if v != store.Allow {
		return nil
	}
	var moved []int64
	err = t.rows("SELECT id FROM entries INDEXED BY entries_requests WHERE owner = ?1 AND author = ?2 AND folder = 2 AND deleted = 0 ORDER BY seq",
		[]any{owner, s}, scanIDs(&moved))
	for _, id := range moved {
		if err == nil {
			_, err = t.change("UPDATE entries SET folder = ?2, seq = ?3 WHERE id = ?1", id, int(store.Inbox), t.next().Seq)
		}
	}
	return err
}

// Verdict reads one verdict.
func (d tables) Verdict(ctx context.Context, owner, sender message.Address) (store.Verdict, error) {
	v := store.Stranger
	_, err := d.find(ctx, `SELECT verdict FROM verdicts WHERE owner = (SELECT id FROM addresses WHERE address = ?1)
		AND sender = (SELECT id FROM addresses WHERE address = ?2)`, []any{owner[:], sender[:]}, &v)
	return v, wrap("verdict", err)
}

// Verdicts reads all of an owner's.
func (d tables) Verdicts(ctx context.Context, owner message.Address) (map[message.Address]store.Verdict, error) {
	out := make(map[message.Address]store.Verdict)
	err := d.list(ctx, `SELECT a.address, v.verdict FROM verdicts v JOIN addresses a ON a.id = v.sender
		WHERE v.owner = (SELECT id FROM addresses WHERE address = ?1)`, []any{owner[:]}, func(r *sql.Rows) error {
		var a address
		var v store.Verdict
		err := r.Scan(&a, &v)
		out[a.Address] = v
		return err
	})
	return out, wrap("verdicts", err)
}

// account is the number of an address that has an account.
func (t *tx) account(a message.Address) (int64, bool, error) {
	n, ok, err := t.known(a)
	if !ok || err != nil {
		return 0, false, err
	}
	var one int
	ok, err = t.row("SELECT 1 FROM accounts WHERE owner = ?1", []any{n}, &one)
	return n, ok, err
}

// use is what something adds to an account; forced, whatever the limits say.
type use struct {
	bytes, messages int64
	forced          bool
}

// charge counts a use. Errors: message.NotFound, message.Quota.
func (t *tx) charge(owner int64, u use) error {
	wrote := t.wrote
	changed, err := t.change(`UPDATE accounts SET bytes_used = bytes_used + ?2, messages_used = messages_used + ?3 WHERE owner = ?1 AND (?4 OR
		((bytes_limit = 0 OR bytes_used + ?2 <= bytes_limit) AND (messages_limit = 0 OR ?3 = 0 OR messages_used + ?3 <= messages_limit)))`,
		owner, u.bytes, u.messages, u.forced)
	if err != nil || changed > 0 {
		return err
	}
	// Nothing was changed, so a plain step may still refuse.
	t.wrote = wrote || t.saved
	var one int
	ok, err := t.row("SELECT 1 FROM accounts WHERE owner = ?1", []any{owner}, &one)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("no account: %w", message.NotFound)
	}
	return message.Quota
}

// refund takes a use back.
func (t *tx) refund(owner, bytes, messages int64) error {
	if bytes == 0 && messages == 0 {
		return nil
	}
	_, err := t.change("UPDATE accounts SET bytes_used = bytes_used - ?2, messages_used = messages_used - ?3 WHERE owner = ?1", owner, bytes, messages)
	return err
}

// scanIDs collects the one column of rows.
func scanIDs(into *[]int64) func(r *sql.Rows) error {
	return func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		*into = append(*into, id)
		return err
	}
}

// packList and unpackList keep a short list in a column.
func packList(l []string) (string, error) {
	b, err := json.Marshal(l)
	return string(b), err
}

func unpackList(s string) (l []string, err error) {
	err = json.Unmarshal([]byte(s), &l)
	return l, err
}
