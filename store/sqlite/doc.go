// Package sqlite keeps what a tracker or a mail server must remember in one
// SQLite file, through any database/sql driver; driver.go names the one that
// the commands use.
//
// # Durability
//
// The file is in WAL mode with synchronous=FULL, and opening refuses anything
// less: a method returns nil only after the commit that holds its change was
// synced. One goroutine writes. What arrives while it commits shares the next
// commit, so that many waiting callers pay for one sync; the changes of one
// caller are undone by themselves where they are refused, and a fault of the
// storage fails all that shared the commit. Reading goes through the pool, on
// snapshots, and never waits for the writer.
//
// # Layout
//
// Addresses have small numbers. Rows that belong to a message or an entry have
// keys made of its number and their own place, so that one tree serves for
// them, and new rows go to the right of it: keys that rise cost a fraction of
// what random ones do. The alert task of a recipient lies in the row that tells
// how far the delivery has come.
//
// # Changes of the layout
//
// The schema is made by the migrations in this package, one list for trackers
// and one for mail servers. A file that a newer program has written is refused,
// as is one of the other sort.
package sqlite
