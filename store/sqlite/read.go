package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// stmt prepares a reader's query once; database/sql prepares it again on each
// connection that comes to run it.
func (d *DB) stmt(query string) (*sql.Stmt, error) {
	d.mu.RLock()
	s, ok := d.stmts[query]
	d.mu.RUnlock()
	if ok {
		return s, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.stmts[query]; ok {
		return s, nil
	}
	s, err := d.db.Prepare(query)
	if err != nil {
		return nil, faulty(err)
	}
	d.stmts[query] = s
	return s, nil
}

// find reads one row and reports whether there is one. The row is there at
// once, so ctx is looked at before and not watched by a goroutine meanwhile.
func (d *DB) find(ctx context.Context, query string, args []any, into ...any) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s, err := d.stmt(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(context.WithoutCancel(ctx), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, faulty(err)
}

// list reads all rows, on one snapshot. All lists are bounded, so ctx is looked
// at between rows and not watched by a goroutine and two channels at each.
func (d *DB) list(ctx context.Context, query string, args []any, each func(r *sql.Rows) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := d.stmt(query)
	if err != nil {
		return err
	}
	r, err := s.QueryContext(context.WithoutCancel(ctx), args...)
	if err != nil {
		return faulty(err)
	}
	return drain(r, func(r *sql.Rows) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return each(r)
	})
}

// address is the address of a number, from memory where it was seen before:
// numbers never change, and a page of an inbox names the same few senders.
func (d *DB) address(ctx context.Context, n int64) (message.Address, error) {
	d.mu.RLock()
	known, ok := d.addresses[n]
	d.mu.RUnlock()
	if ok {
		return known, nil
	}
	var a address
	if _, err := d.find(ctx, "SELECT address FROM addresses WHERE id = ?1", []any{n}, &a); err != nil {
		return message.Address{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.addresses) >= maxNumbers {
		clear(d.addresses)
	}
	d.addresses[n] = a.Address
	return a.Address, nil
}

// millis is a time as it is kept; 0 is none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is a kept time.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// whole is a time as it comes back: milliseconds, in UTC.
func whole(t time.Time) time.Time { return moment(millis(t)) }

// pack serialises a message; nil is no bytes.
func pack(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// unpack reads a message that pack made.
func unpack(b []byte, m proto.Message) error { return proto.Unmarshal(b, m) }

// unpackSigned reads a statement; no bytes are nil.
func unpackSigned(b []byte) (*wirev1.Signed, error) {
	if len(b) == 0 {
		return nil, nil
	}
	s := new(wirev1.Signed)
	return s, unpack(b, s)
}

// address scans an address.
type address struct{ message.Address }

// Scan takes the bytes of a column.
func (a *address) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(a.Address) {
		return errors.New("a column is no address")
	}
	copy(a.Address[:], b)
	return nil
}

// fixed scans bytes of a fixed length: ids and mids.
type fixed []byte

// Scan takes the bytes of a column.
func (f fixed) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(f) {
		return errors.New("a column has another length")
	}
	copy(f, b)
	return nil
}
