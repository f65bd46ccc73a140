package home

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"airdispatch/message"
)

// Account is where one of one's own addresses is hosted.
type Account struct {
	Owner  message.Address
	Server message.Reference
	// Trackers that the route was published to.
	Trackers []message.Reference
	// Name is name@host where a tracker gave one, else empty.
	Name string
	// Joined is when the account was opened, Renewed when its ticket was last
	// asked for, Expires when that ticket ends.
	Joined, Renewed, Expires time.Time
}

const accountColumns = `owner, server, trackers, name, joined, renewed, expires`

// Account is the account of an owner. Errors: message.NotFound.
func (h *Home) Account(ctx context.Context, owner message.Address) (Account, error) {
	rows, err := h.db.QueryContext(ctx, `select `+accountColumns+` from account where owner = ?1`, key(owner))
	all, err := collect(rows, err, scanAccount)
	if err == nil && len(all) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		return Account{}, fault("account", err)
	}
	return all[0], nil
}

// Accounts is all accounts of this home.
func (h *Home) Accounts(ctx context.Context) ([]Account, error) {
	rows, err := h.db.QueryContext(ctx, `select `+accountColumns+` from account order by joined, owner`)
	all, err := collect(rows, err, scanAccount)
	return all, fault("accounts", err)
}

// PutAccount keeps an account in place of what was kept for its owner.
func (h *Home) PutAccount(ctx context.Context, a Account) error {
	lines := make([]string, 0, len(a.Trackers))
	for _, t := range a.Trackers {
		lines = append(lines, t.String())
	}
	_, err := h.db.ExecContext(ctx, `insert into account (`+accountColumns+`) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		on conflict (owner) do update set server = ?2, trackers = ?3, name = ?4, joined = ?5, renewed = ?6, expires = ?7`,
		key(a.Owner), a.Server.String(), strings.Join(lines, "\n"), a.Name, millis(a.Joined), millis(a.Renewed), millis(a.Expires))
	return fault("put account", err)
}

// RemoveAccount forgets an owner's account and the cursors in its server's
// log; mail stays.
func (h *Home) RemoveAccount(ctx context.Context, owner message.Address) error {
	return h.transact(ctx, "remove account", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `delete from cursor where owner = ?1`, key(owner)); err != nil {
			return err
		}
		return changed(tx.ExecContext(ctx, `delete from account where owner = ?1`, key(owner)))
	})
}

func scanAccount(r *sql.Rows) (Account, error) {
	var a Account
	var owner []byte
	var server, trackers string
	var joined, renewed, expires int64
	err := r.Scan(&owner, &server, &trackers, &a.Name, &joined, &renewed, &expires)
	if err != nil {
		return a, err
	}
	a.Joined, a.Renewed, a.Expires = fromMillis(joined), fromMillis(renewed), fromMillis(expires)
	if a.Owner, err = address(owner); err != nil {
		return a, err
	}
	if a.Server, err = message.ParseReference(server); err != nil {
		return a, err
	}
	for line := range strings.FieldsSeq(trackers) {
		t, err := message.ParseReference(line)
		if err != nil {
			return a, err
		}
		a.Trackers = append(a.Trackers, t)
	}
	return a, nil
}

// Cursor is how far a log was read; zero where it was not. Logs are named by
// whoever reads them: "inbox", "sent", "posts ad1…".
func (h *Home) Cursor(ctx context.Context, owner message.Address, log string) (epoch, seq uint64, err error) {
	var e, s int64
	err = h.db.QueryRowContext(ctx, `select epoch, seq from cursor where owner = ?1 and log = ?2`, key(owner), log).Scan(&e, &s)
	if err == sql.ErrNoRows {
		return 0, 0, nil
	}
	return uint64(e), uint64(s), fault("cursor", err)
}

// SetCursor keeps how far a log was read.
func (h *Home) SetCursor(ctx context.Context, owner message.Address, log string, epoch, seq uint64) error {
	_, err := h.db.ExecContext(ctx, `insert into cursor (owner, log, epoch, seq) values (?1, ?2, ?3, ?4)
		on conflict (owner, log) do update set epoch = ?3, seq = ?4`, key(owner), log, int64(epoch), int64(seq))
	return fault("set cursor", err)
}
