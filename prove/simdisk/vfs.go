package simdisk

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Machine is an SQLite VFS: the disks that are in use, by the first part of a
// path. Make one with NewMachine.
type Machine struct {
	name, dir string

	mu    sync.Mutex
	disks map[string]*Disk
	next  int
}

// NewMachine registers a VFS under a name; shared memory is kept in dir.
func NewMachine(name, dir string) *Machine {
	m := &Machine{name: name, dir: dir, disks: map[string]*Disk{}}
	vfs.Register(name, m)
	return m
}

// plug gives a disk a place in paths, until it is unplugged.
func (m *Machine) plug(d *Disk) (place string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	place = fmt.Sprintf("/%d", m.next)
	m.disks[place] = d
	return place
}

func (m *Machine) unplug(place string) error {
	m.mu.Lock()
	delete(m.disks, place)
	m.mu.Unlock()
	return os.RemoveAll(m.shm(place))
}

// shm is the directory of the shared memory of one place.
func (m *Machine) shm(place string) string { return filepath.Join(m.dir, place) }

// at is the disk and the name on it that a path stands for.
func (m *Machine) at(path string) (d *Disk, place, name string, err error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return nil, "", "", sqlite3.CANTOPEN
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d = m.disks[path[:i]]; d == nil {
		return nil, "", "", sqlite3.CANTOPEN
	}
	return d, path[:i], path[i+1:], nil
}

// Open opens or makes a file; one without a name is gone when it is closed, and
// nothing happens to it.
func (m *Machine) Open(path string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if path == "" {
		return &handle{disk: New(), file: &file{}}, flags, nil
	}
	d, place, name, err := m.at(path)
	if err != nil {
		return nil, flags, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[name]
	if f == nil && flags&vfs.OPEN_CREATE == 0 {
		return nil, flags, sqlite3.CANTOPEN
	}
	if fault := d.event(Open, name, 0); fault == Broken || fault == Dead || f == nil && (fault == Full || fault == Short) {
		return nil, flags, fault.err(sqlite3.CANTOPEN)
	}
	if f == nil {
		f = &file{}
		d.link(name, f)
	}
	h := &handle{disk: d, file: f, name: name}
	const journals = vfs.OPEN_MAIN_JOURNAL | vfs.OPEN_SUPER_JOURNAL | vfs.OPEN_WAL
	h.syncNames = flags&vfs.OPEN_CREATE != 0 && flags&journals != 0
	if flags&vfs.OPEN_MAIN_DB != 0 {
		if err := os.MkdirAll(m.shm(place), 0o700); err != nil {
			return nil, flags, err
		}
		h.shm = vfs.NewSharedMemory(filepath.Join(m.shm(place), name+"-shm"), flags)
	}
	return h, flags, nil
}

// Delete deletes a file.
func (m *Machine) Delete(path string, syncNames bool) error {
	d, _, name, err := m.at(path)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return sqlite3.IOERR_DELETE_NOENT
	}
	if fault := d.event(Delete, name, 0); fault == Broken || fault == Dead {
		return fault.err(sqlite3.IOERR_DELETE)
	}
	d.link(name, nil)
	if syncNames {
		d.syncNames()
	}
	return nil
}

// Access reports whether a file is there.
func (m *Machine) Access(path string, _ vfs.AccessFlag) (bool, error) {
	d, _, name, err := m.at(path)
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name] != nil, nil
}

// FullPathname is the path itself.
func (m *Machine) FullPathname(path string) (string, error) { return path, nil }

// err is what SQLite is told.
func (f Fault) err(otherwise error) error {
	if f == Full || f == Short {
		return sqlite3.FULL
	}
	return otherwise
}

// handle is an open file.
type handle struct {
	disk *Disk
	file *file
	name string
	// syncNames says that the next sync makes the directory durable too.
	syncNames bool
	shm       vfs.SharedMemory
	level     vfs.LockLevel
}

// event is the disk's, for a file that has a name.
func (h *handle) event(k Kind, grows int64) Fault {
	if h.name == "" {
		return None
	}
	return h.disk.event(k, h.name, grows)
}

// Close closes it.
func (h *handle) Close() error {
	if h.shm != nil {
		_ = h.shm.Close() // a real file that nobody reads again
	}
	return h.Unlock(vfs.LOCK_NONE)
}

// ReadAt reads what programs see.
func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if off >= int64(len(h.file.live)) {
		return 0, io.EOF
	}
	n := copy(b, h.file.live[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes. What was being written when the power went may be there after.
func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	was := h.disk.dead
	switch fault := h.event(Write, max(0, off+int64(len(b))-int64(len(h.file.live)))); fault {
	case None:
		h.disk.write(h.file, off, b)
		return len(b), nil
	case Silent:
		return len(b), nil
	case Short:
		h.disk.write(h.file, off, b[:len(b)/2])
		return len(b) / 2, fault.err(nil)
	case Dead:
		if !was {
			h.disk.write(h.file, off, b)
		}
		return 0, sqlite3.IOERR_WRITE
	default:
		return 0, fault.err(sqlite3.IOERR_WRITE)
	}
}

// Truncate cuts the file.
func (h *handle) Truncate(size int64) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	switch fault := h.event(Truncate, 0); fault {
	case None:
	case Silent:
		return nil
	default:
		return fault.err(sqlite3.IOERR_TRUNCATE)
	}
	h.disk.write(h.file, size, nil)
	return nil
}

// Sync makes the bytes durable, and the names with those of a new journal.
func (h *handle) Sync(vfs.SyncFlag) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	switch fault := h.event(Sync, 0); fault {
	case None:
	case Silent:
		return nil
	case Dead:
		return sqlite3.IOERR_FSYNC
	default:
		// The bytes are taken for written from now on, and are not.
		h.file.pending = nil
		return sqlite3.IOERR_FSYNC
	}
	h.disk.sync(h.file)
	if h.syncNames {
		h.syncNames = false
		h.disk.syncNames()
	}
	return nil
}

// Size is how long the file is.
func (h *handle) Size() (int64, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return int64(len(h.file.live)), nil
}

// SectorSize is what SQLite's own layer says.
func (h *handle) SectorSize() int { return 4096 }

// DeviceCharacteristics are those of any disk on unix.
func (h *handle) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return vfs.IOCAP_POWERSAFE_OVERWRITE
}

// SharedMemory is the index of the WAL.
func (h *handle) SharedMemory() vfs.SharedMemory { return h.shm }
