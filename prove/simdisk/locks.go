package simdisk

import (
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// locks are who may read and write a database: any number read, one of them may
// have reserved it, and that one writes once nobody else reads.
type locks struct {
	shared            int
	reserved, pending bool
}

// Lock takes a lock, or does not.
func (h *handle) Lock(level vfs.LockLevel) error {
	if h.level >= level {
		return nil
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	l := &h.file.locks
	switch level {
	case vfs.LOCK_SHARED:
		if l.pending {
			return sqlite3.BUSY
		}
		l.shared++
	case vfs.LOCK_RESERVED:
		if l.reserved {
			return sqlite3.BUSY
		}
		l.reserved = true
	case vfs.LOCK_EXCLUSIVE:
		if h.level < vfs.LOCK_RESERVED {
			// A reader that has to roll a journal back goes there at once.
			if l.reserved {
				return sqlite3.BUSY
			}
			l.reserved = true
		}
		h.level, l.pending = vfs.LOCK_PENDING, true
		if l.shared > 1 {
			return sqlite3.BUSY
		}
	}
	h.level = level
	return nil
}

// Unlock gives locks back.
func (h *handle) Unlock(level vfs.LockLevel) error {
	if h.level <= level {
		return nil
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	l := &h.file.locks
	if h.level >= vfs.LOCK_RESERVED {
		l.reserved = false
	}
	if h.level >= vfs.LOCK_PENDING {
		l.pending = false
	}
	if level < vfs.LOCK_SHARED {
		l.shared--
	}
	h.level = level
	return nil
}

// CheckReservedLock reports whether somebody has reserved the database.
func (h *handle) CheckReservedLock() (bool, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.file.locks.reserved, nil
}

// LockState is the lock that is held.
func (h *handle) LockState() vfs.LockLevel { return h.level }
