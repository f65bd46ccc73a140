package town

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/blobfile"
	"airdispatch/store/memory"
	"airdispatch/store/sqlite"
)

// kept is what a host keeps. In files it is closed and opened with the host, in
// memory it simply stays.
type kept struct {
	role    message.Role
	dir     string
	mail    *store.Mail
	records *store.Tracker
	shut    func() error
}

// keep prepares what a host keeps, in the way of the town.
func (w *Town) keep(_ context.Context, name string, role message.Role) (*kept, error) {
	k := &kept{role: role}
	if w.keeping == InMemory {
		k.remember()
		return k, nil
	}
	k.dir = filepath.Join(w.dir, name)
	return k, os.MkdirAll(k.dir, 0o700)
}

// open opens the files; memory is always open.
func (k *kept) open(ctx context.Context) error {
	if k.dir == "" {
		return nil
	}
	db, err := sqlite.File(filepath.Join(k.dir, "data.db"))
	if err != nil {
		return err
	}
	var d *sqlite.DB
	if k.role == message.RoleTracker {
		k.records, d, err = sqlite.OpenTracker(ctx, db)
		k.shut = func() error { return errors.Join(d.Close(), db.Close()) }
	} else {
		d, err = k.openMail(ctx, db)
	}
	if err != nil {
		k.shut = nil
		return errors.Join(err, db.Close())
	}
	return nil
}

// openMail opens what a mail server keeps: a database, and blobs beside it.
func (k *kept) openMail(ctx context.Context, db *sql.DB) (*sqlite.DB, error) {
	dir := filepath.Join(k.dir, "blobs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	blobs, err := blobfile.Open(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	mail, d, err := sqlite.OpenMail(ctx, db, blobs)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	k.mail = mail
	k.shut = func() error { return errors.Join(d.Close(), db.Close(), root.Close()) }
	return d, nil
}

// remember keeps in memory.
func (k *kept) remember() {
	if k.role == message.RoleTracker {
		k.records = memory.NewTracker()
		return
	}
	k.mail = memory.NewMail(memory.NewBlobs())
}

// close closes the files.
func (k *kept) close() error {
	if k.shut == nil {
		return nil
	}
	shut := k.shut
	k.shut = nil
	return shut()
}

// tracker is what a tracker keeps.
func (k *kept) tracker() *store.Tracker { return k.records }

// Copy is what a stopped host keeps in files, as a backup has it: a directory.
func (h *Host) Copy() string {
	h.town.t.Helper()
	to := filepath.Join(h.town.dir, h.name+" copy")
	h.town.act("copying "+h.name, func(context.Context) error { return os.CopyFS(to, os.DirFS(h.kept.dir)) })
	return to
}

// Restore sets a stopped host back to what a copy has. It is up to the story to
// begin a new epoch.
func (h *Host) Restore(from string) {
	h.town.t.Helper()
	h.town.act("restoring "+h.name, func(context.Context) error {
		if err := os.RemoveAll(h.kept.dir); err != nil {
			return err
		}
		return os.CopyFS(h.kept.dir, os.DirFS(from))
	})
}
