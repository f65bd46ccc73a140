// Package simdisk is a disk in memory that loses what was not synced, for
// SQLite to keep its files on.
//
// # Model
//
// A file has the bytes that programs see, the bytes that are durable, and
// between them the writes and truncations since the last Sync. So has the
// directory: a name that was created or deleted is durable only once the
// directory was synced, which SQLite's own layer does when it first syncs a new
// journal or WAL, and where it deletes with that wish; so does this one. At a
// loss of power, each unsynced sector of 512 bytes survives, is lost or is torn
// at some byte, in no order; or the disk kept an order and the loss is a cut
// through it; or all is lost; or nothing is. What a file grew by without its
// bytes may hold zeros or noise. Names survive or not in the same way, apart
// from the bytes. Bytes that a write does not touch are never harmed, as SQLite
// assumes of all disks (powersafe overwrite).
//
// # Faults
//
// Every open, write, truncation, sync and deletion is counted and may be told
// to fail: with an error, for want of room, after half of the bytes, without
// a word, or because the power goes, after which nothing works any more. A sync that fails takes
// the bytes with it: they stay visible and never become durable, unless they
// are written again, as on Linux. A disk can also lie: it reports each sync
// as done and does nothing.
//
// # SQLite
//
// Machine is an SQLite VFS for any number of disks. The shared memory of a WAL
// is a real file, as no loss of power keeps it; locks are kept here. Connector
// opens connections for database/sql with the settings that store/sqlite asks
// its own driver for. The SQLite is that of github.com/ncruces/go-sqlite3, the
// same library compiled to Go: what is shown here is SQLite's way of writing
// and what store/sqlite does with it, not the driver of the commands.
package simdisk

import (
	"bytes"
	"maps"
	"sync"
)

// Kind is a kind of operation that is counted.
type Kind int

// The kinds.
const (
	Open Kind = iota
	Write
	Truncate
	Sync
	Delete
)

// Event is one operation that is about to happen.
type Event struct {
	// N counts the disk's operations, from 1 on.
	N    int
	Kind Kind
	Name string
	// Used is how many bytes all files would take after it, of a write.
	Used int64
}

// Fault is what happens to an operation.
type Fault int

// The faults.
const (
	// None lets it happen.
	None Fault = iota
	// Broken fails with an error and does nothing.
	Broken
	// Full fails for want of room and does nothing; a sync and a deletion need none.
	Full
	// Short writes half and then fails for want of room; what does not write is not cut short.
	Short
	// Silent does nothing and reports success.
	Silent
	// Dead is the loss of power: this fails, and so does all that comes later.
	Dead
)

// Disk is one directory of files.
type Disk struct {
	mu sync.Mutex
	// names is the directory as programs see it, durable what is left of it when
	// the power goes now, and changes lies between.
	names, durable map[string]*file
	changes        []change
	n              int
	arm            func(Event) Fault
	dead, lies     bool
}

// file is the bytes of one file, with or without a name.
type file struct {
	live, durable []byte
	pending       []update
	locks         locks
}

// update is one write, or a truncation to off where data is nil, at a count.
type update struct {
	n    int
	off  int64
	data []byte
}

// change gives a name to a file, or takes it away where file is nil.
type change struct {
	n    int
	name string
	file *file
}

// New is an empty disk.
func New() *Disk { return &Disk{names: map[string]*file{}, durable: map[string]*file{}} }

// Arm has f decide about every operation from now on; nil lets all happen. The
// count goes on.
func (d *Disk) Arm(f func(Event) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arm = f
}

// Lie makes each sync from now on do nothing and report success.
func (d *Disk) Lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies = true
}

// Count is how many operations there were.
func (d *Disk) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

// Holds reports whether some bytes are in any file, as programs see it.
func (d *Disk) Holds(b []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.names {
		if bytes.Contains(f.live, b) {
			return true
		}
	}
	return false
}

// Dead reports whether the power is gone.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Clone is another disk with the durable bytes of this one.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	for name, f := range d.durable {
		c.put(name, append([]byte(nil), f.durable...))
	}
	return c
}

// put makes a durable file.
func (d *Disk) put(name string, data []byte) {
	f := &file{live: data, durable: append([]byte(nil), data...)}
	d.names[name], d.durable[name] = f, f
}

// event counts an operation, which makes a file grow, and tells what happens to it.
func (d *Disk) event(k Kind, name string, grows int64) Fault {
	if d.dead {
		return Dead
	}
	d.n++
	if d.arm == nil {
		return None
	}
	for _, f := range d.names {
		grows += int64(len(f.live))
	}
	f := d.arm(Event{d.n, k, name, grows})
	d.dead = f == Dead
	return f
}

// link changes the directory.
func (d *Disk) link(name string, f *file) {
	if f == nil {
		delete(d.names, name)
	} else {
		d.names[name] = f
	}
	d.changes = append(d.changes, change{d.n, name, f})
}

// syncNames makes the directory durable.
func (d *Disk) syncNames() {
	if !d.lies {
		d.durable, d.changes = maps.Clone(d.names), nil
	}
}

// write changes what programs see of a file; a truncation where data is nil.
func (d *Disk) write(f *file, off int64, data []byte) {
	if data != nil {
		data = append([]byte{}, data...)
	}
	u := update{d.n, off, data}
	f.live = u.on(f.live)
	f.pending = append(f.pending, u)
}

// on applies an update to bytes.
func (u update) on(b []byte) []byte {
	if u.data == nil {
		return resize(b, u.off)
	}
	if end := u.off + int64(len(u.data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[u.off:], u.data)
	return b
}

// resize cuts bytes or adds zeros.
func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// sync makes a file's bytes durable.
func (d *Disk) sync(f *file) {
	if d.lies {
		return
	}
	for _, u := range f.pending {
		f.durable = u.on(f.durable)
	}
	f.pending = nil
}
