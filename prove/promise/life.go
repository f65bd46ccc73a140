package promise

import (
	"context"
	"errors"
	"fmt"

	"airdispatch/prove/simdisk"
	"airdispatch/store/sqlite"
)

// Life is the real store on a simulated disk, which may be opened again and
// again, and what it was asked for.
type Life struct {
	Machine *simdisk.Machine
	Disk    *simdisk.Disk
	Work    *Work
	// Tracker says whose store it is.
	Tracker bool
	Server  Server

	broken  []string
	plugged *simdisk.Plugged
	db      *sqlite.DB
}

// Open opens the store on the disk.
func (l *Life) Open(ctx context.Context, s simdisk.Setting) (err error) {
	if l.plugged, err = l.Machine.Plug(l.Disk, s); err != nil {
		return err
	}
	if l.Tracker {
		l.Server.Tracker, l.db, err = sqlite.OpenTracker(ctx, l.plugged.DB)
	} else {
		l.Server.Mail, l.db, err = sqlite.OpenMail(ctx, l.plugged.DB, nil)
	}
	if err != nil {
		return errors.Join(err, l.plugged.Unplug())
	}
	return nil
}

// Close closes it.
func (l *Life) Close() error { return errors.Join(l.db.Close(), l.plugged.Unplug()) }

// Blame notes what went wrong beside the promises.
func (l *Life) Blame(format string, args ...any) {
	l.broken = append(l.broken, fmt.Sprintf(format, args...))
}

// Found is all that went wrong.
func (l *Life) Found() []string { return append(l.broken, l.Work.Violations()...) }

// Look holds a store that was opened again to its promises, and to the file's
// own order.
func (l *Life) Look(ctx context.Context) {
	if err := l.Work.Check(ctx, l.Server, false); err != nil {
		l.Blame("does not read: %v", err)
		return
	}
	if err := l.db.Check(ctx); err != nil {
		l.Blame("%v", err)
	}
	var answer string
	if err := l.plugged.DB.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&answer); err != nil || answer != "ok" {
		l.Blame("integrity_check: %s %v", answer, err)
	}
	if l.Tracker {
		return
	}
	if err := l.Work.Again(ctx, l.Server); err != nil {
		l.Blame("%v", err)
	}
}
