package simworld

import (
	"context"
	"errors"
	"fmt"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/simdisk"
	"airdispatch/store"
	"airdispatch/store/memory"
	"airdispatch/store/sqlite"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Shelf has the disks of mail servers. One is enough for a process.
type Shelf struct {
	machine *simdisk.Machine
	empty   *simdisk.Disk
}

// NewShelf makes a shelf, and the disk with an empty store on it of which every
// server gets a copy; dir is for shared memory.
func NewShelf(ctx context.Context, dir string) (*Shelf, error) {
	s := &Shelf{machine: simdisk.NewMachine("world", dir), empty: simdisk.New()}
	k := &keep{shelf: s, disk: s.empty}
	if err := k.open(ctx); err != nil {
		return nil, err
	}
	return s, k.close()
}

// keep is what one mail server keeps, on a disk that may lose its power. Blobs
// are kept in memory and never lost.
type keep struct {
	shelf   *Shelf
	disk    *simdisk.Disk
	blobs   store.Blobs
	mail    *store.Mail
	plugged *simdisk.Plugged
	db      *sqlite.DB
}

func (s *Shelf) keep() *keep {
	return &keep{shelf: s, disk: s.empty.Clone(), blobs: memory.NewBlobs()}
}

// open opens the store that is on the disk.
func (k *keep) open(ctx context.Context) (err error) {
	if k.plugged, err = k.shelf.machine.Plug(k.disk, simdisk.Setting{Checkpoint: 64, Planned: true}); err != nil {
		return err
	}
	if k.mail, k.db, err = sqlite.OpenMail(ctx, k.plugged.DB, k.blobs); err != nil {
		return errors.Join(err, k.plugged.Unplug())
	}
	return nil
}

// close closes it; a disk without power lets go without a word.
func (k *keep) close() error {
	err := errors.Join(k.db.Close(), k.plugged.Unplug())
	if k.disk.Dead() {
		return nil
	}
	return err
}

// identity is what the store holds of somebody.
func (k *keep) identity(ctx context.Context, a message.Address) (*message.Identity, error) {
	if k.mail == nil {
		return nil, message.Unavailable // its server is down
	}
	r, err := k.mail.Identities.Identity(ctx, a)
	if err != nil {
		return nil, err
	}
	return message.OpenIdentity(crypto.Single{}, &wirev1.Identity{Cards: r.Cards, Route: r.Route}, nil)
}

// check looks for damage.
func (k *keep) check(ctx context.Context) error {
	var answer string
	err := k.plugged.DB.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&answer)
	if err == nil && answer != "ok" {
		err = fmt.Errorf("integrity_check: %s: %w", answer, message.Internal)
	}
	return errors.Join(err, k.db.Check(ctx))
}
