package sqlite

import (
	"context"
	"fmt"
)

// LimitPages makes the disk look full when the file has n pages: the limit
// belongs to the writer's connection, so the writer sets it.
func LimitPages(ctx context.Context, d *DB, n int) error {
	return d.w.one(ctx, "limit pages", func(t *tx) error {
		var got int
		_, err := t.row(fmt.Sprintf("PRAGMA max_page_count = %d", n), nil, &got)
		return err
	})
}

// Told is what a caller is told of an error of the driver.
func Told(err error) error { return wrap("try", faulty(err)) }
