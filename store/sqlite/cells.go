package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// A cell takes one column as the driver has it: scanning into plain variables
// goes through reflection, and through text where a number is unsigned, which
// was a third of the time of reading a page. The bytes are the driver's and
// hold until the next row.
type cell struct {
	n int64
	b []byte
}

// Scan takes a column; NULL is zero and no bytes.
func (c *cell) Scan(v any) error {
	*c = cell{}
	switch v := v.(type) {
	case nil:
	case int64:
		c.n = v
	case []byte:
		c.b = v
	case bool:
		if v {
			c.n = 1
		}
	default:
		return fmt.Errorf("a column is a %T", v)
	}
	return nil
}

// fill copies bytes of a fixed length: ids and mids.
func (c *cell) fill(into []byte) error {
	if len(c.b) != len(into) {
		return errors.New("a column has another length")
	}
	copy(into, c.b)
	return nil
}

// cells reads rows of n columns into the same cells again and again.
func (d *DB) cells(ctx context.Context, query string, args []any, n int, each func(row []cell) error) error {
	row, into := make([]cell, n), make([]any, n)
	for i := range row {
		into[i] = &row[i]
	}
	return d.list(ctx, query, args, func(r *sql.Rows) error {
		if err := r.Scan(into...); err != nil {
			return err
		}
		return each(row)
	})
}

// own makes the bytes of some cells the caller's own, all in one piece of
// memory: what is unpacked from them shares it.
func own(cells ...*cell) {
	size := 0
	for _, c := range cells {
		size += len(c.b)
	}
	whole := make([]byte, 0, size)
	for _, c := range cells {
		from := len(whole)
		whole = append(whole, c.b...)
		c.b = whole[from:len(whole):len(whole)]
	}
}

// shareSigned reads a statement whose fields share b; no bytes are nil.
func shareSigned(b []byte) (*wirev1.Signed, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if f, ok := threeFields(b); ok {
		return &wirev1.Signed{Body: f[0], Key: f[1], Signature: f[2]}, nil
	}
	return unpackSigned(b)
}

// shareSlot reads a slot whose fields share b.
func shareSlot(b []byte) (*wirev1.Slot, error) {
	if f, ok := threeFields(b); ok {
		return &wirev1.Slot{Address: f[0], Box: f[1], Sealed: f[2]}, nil
	}
	s := new(wirev1.Slot)
	return s, unpack(b, s)
}

// threeFields splits a serialised message that has bytes fields 1, 2 and 3,
// each once, and nothing else. Another one is for the library to read: it
// keeps the fields that nobody here knows.
func threeFields(b []byte) (f [3][]byte, ok bool) {
	seen := 0
	for ; len(b) > 0; seen++ {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType || number > 3 || f[number-1] != nil {
			return f, false
		}
		value, size := protowire.ConsumeBytes(b[n:])
		if size < 0 {
			return f, false
		}
		f[number-1], b = value[:len(value):len(value)], b[n+size:]
	}
	return f, seen == 3
}

// fieldSlots and fieldBlobs are what a version's parts are made of, by number
// in a Submission.
const (
	fieldSlots = 2
	fieldBlobs = 4
)

// shareParts reads the slots and blob references of a version; the slots share b.
func shareParts(b []byte, v *store.Version) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			return fmt.Errorf("a version's parts are damaged: %w", message.Internal)
		}
		value, size := protowire.ConsumeBytes(b[n:])
		if size < 0 {
			return fmt.Errorf("a version's parts are damaged: %w", message.Internal)
		}
		b = b[n+size:]
		switch number {
		case fieldSlots:
			s, err := shareSlot(value)
			if err != nil {
				return err
			}
			v.Slots = append(v.Slots, s)
		case fieldBlobs:
			w := new(wirev1.BlobRef)
			if err := unpack(value, w); err != nil {
				return err
			}
			l, err := fromWireBlobs([]*wirev1.BlobRef{w})
			if err != nil {
				return err
			}
			v.Blobs = append(v.Blobs, l...)
		}
	}
	return nil
}
