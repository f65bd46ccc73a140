package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"airdispatch/message"
	"airdispatch/store"
)

// tx is the writer's transaction while it runs. Its methods return faults.
type tx struct {
	w     *writer
	place store.Place
	// fresh are addresses that got their number in this transaction.
	fresh []message.Address
	// plain says that the running step promised to need no savepoint; saved that
	// it has one; wrote that it has changed something.
	plain, saved, wrote bool
}

// begin opens the transaction. The log's row is read each time: an operator's
// tool may have written to the file meanwhile.
func (t *tx) begin() error {
	if err := t.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	_, err := t.row("SELECT epoch, seq FROM log", nil, &t.place.Epoch, &t.place.Seq)
	return err
}

// step runs one step. own is the step's error; spoilt is one that fails the
// whole transaction.
func (t *tx) step(s step) (own, spoilt error) {
	t.plain, t.saved, t.wrote = s.plain, false, false
	fresh := len(t.fresh)
	err := s.run(t)
	switch {
	case err == nil && t.saved:
		return nil, t.run("RELEASE step")
	case err == nil || !t.wrote:
		if ofStorage(err) {
			return err, err
		}
		return err, nil
	case ofStorage(err) || !t.saved:
		return err, err
	}
	t.forget(fresh)
	if undo := t.run("ROLLBACK TO step"); undo != nil {
		return err, undo
	}
	return err, t.run("RELEASE step")
}

// commit writes where the log stands and ends the transaction.
func (t *tx) commit() error {
	t.plain = true
	if _, err := t.change("UPDATE log SET epoch = ?1, seq = ?2", t.place.Epoch, t.place.Seq); err != nil {
		return err
	}
	return t.run("COMMIT")
}

// rollback undoes the transaction. Its error says nothing new: SQLite has
// already rolled back by itself after some faults, and if not, the next BEGIN
// fails.
func (t *tx) rollback() {
	t.forget(0)
	_ = t.run("ROLLBACK")
}

// forget drops the numbers that were given since there were n of them.
func (t *tx) forget(n int) {
	for _, a := range t.fresh[n:] {
		delete(t.w.numbers, a)
	}
	t.fresh = t.fresh[:n]
}

// next takes the next place in the log.
func (t *tx) next() store.Place {
	t.place.Seq++
	return t.place
}

// stmt prepares a query once. The writer's statements have no context: a
// transaction that others share is not stopped in the middle for one of them.
func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.w.stmts[query]; ok {
		return s, nil
	}
	s, err := t.w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, faulty(fmt.Errorf("prepare: %w", err))
	}
	t.w.stmts[query] = s
	return s, nil
}

// run executes a statement of the transaction itself.
func (t *tx) run(query string) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	_, err = s.Exec()
	return faulty(err)
}

// exec changes something, behind a savepoint unless the step needs none.
func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	if !t.plain && !t.saved {
		if err := t.run("SAVEPOINT step"); err != nil {
			return nil, err
		}
		t.saved = true
	}
	t.wrote = true
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	r, err := s.Exec(args...)
	return r, faulty(err)
}

// change executes a statement and tells how many rows it changed.
func (t *tx) change(query string, args ...any) (int64, error) {
	r, err := t.exec(query, args...)
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return n, faulty(err)
}

// insert executes a statement and returns the new row's id.
func (t *tx) insert(query string, args ...any) (int64, error) {
	r, err := t.exec(query, args...)
	if err != nil {
		return 0, err
	}
	id, err := r.LastInsertId()
	return id, faulty(err)
}

// row reads one row and reports whether there is one.
func (t *tx) row(query string, args []any, into ...any) (bool, error) {
	s, err := t.stmt(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRow(args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, faulty(err)
}

// rows reads all rows.
func (t *tx) rows(query string, args []any, each func(r *sql.Rows) error) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	r, err := s.Query(args...)
	if err != nil {
		return faulty(err)
	}
	return drain(r, each)
}

// drain reads rows to their end.
func drain(r *sql.Rows, each func(r *sql.Rows) error) error {
	for r.Next() {
		if err := each(r); err != nil {
			_ = r.Close()
			return faulty(err)
		}
	}
	return faulty(errors.Join(r.Err(), r.Close()))
}

// known is the number of an address that has one.
func (t *tx) known(a message.Address) (int64, bool, error) {
	if n, ok := t.w.numbers[a]; ok {
		return n, true, nil
	}
	var n int64
	ok, err := t.row("SELECT id FROM addresses WHERE address = ?1", []any{a[:]}, &n)
	if ok {
		t.remember(a, n)
	}
	return n, ok, err
}

// number is the number of an address, which gets one where it has none.
func (t *tx) number(a message.Address) (int64, error) {
	n, ok, err := t.known(a)
	if ok || err != nil {
		return n, err
	}
	if n, err = t.insert("INSERT INTO addresses (address) VALUES (?1)", a[:]); err != nil {
		return 0, err
	}
	t.remember(a, n)
	t.fresh = append(t.fresh, a)
	return n, nil
}

func (t *tx) remember(a message.Address, n int64) {
	if len(t.w.numbers) >= maxNumbers {
		clear(t.w.numbers)
	}
	t.w.numbers[a] = n
}
