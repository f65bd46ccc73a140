package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/sqlite"
)

func ExampleOpenTracker() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := sqlite.File(filepath.Join(dir, "tracker.db"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = db.Close() }()
	ctx := context.Background()
	t, d, err := sqlite.OpenTracker(ctx, db)
	if err != nil {
		panic(err)
	}
	fmt.Println(t.Listings.SetListing(ctx, message.Address{1}, store.Allowed))
	fmt.Println(d.Check(ctx))
	fmt.Println(d.Close())
	// Output:
	// <nil>
	// <nil>
	// <nil>
}
