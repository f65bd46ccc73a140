package simdisk

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/ncruces/go-sqlite3/vfs"
)

// tries is enough for everything that a loss may do to be seen.
const tries = 400

// open opens a file of a disk of its own.
func open(t *testing.T, m *Machine, place, name string, flags vfs.OpenFlag) vfs.File {
	t.Helper()
	f, _, err := m.Open(place+"/"+name, flags|vfs.OPEN_CREATE|vfs.OPEN_READWRITE)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func done(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, f vfs.File, off int64, b []byte) {
	t.Helper()
	_, err := f.WriteAt(b, off)
	done(t, err)
}

// left is what a file holds after many losses of a disk that make prepares.
func left(t *testing.T, name string, make func(m *Machine, d *Disk, place string)) map[string]int {
	t.Helper()
	m := NewMachine("test", t.TempDir())
	found := map[string]int{}
	for n := range tries {
		d := New()
		place := m.plug(d)
		make(m, d, place)
		after := d.Loss(rand.New(rand.NewPCG(1, uint64(n))))
		if f := after.durable[name]; f == nil {
			found["no file"]++
		} else {
			found[string(f.durable)]++
		}
		done(t, m.unplug(place))
	}
	return found
}

// TestSyncedStays: what a sync returned for is there after every loss.
func TestSyncedStays(t *testing.T) {
	want := bytes.Repeat([]byte("a"), 3000)
	found := left(t, "wal", func(m *Machine, _ *Disk, place string) {
		f := open(t, m, place, "wal", vfs.OPEN_WAL)
		write(t, f, 0, want)
		done(t, f.Sync(vfs.SYNC_NORMAL))
	})
	if found[string(want)] != tries {
		t.Fatalf("only %d of %d losses left the synced bytes", found[string(want)], tries)
	}
}

// TestUnsyncedGoes: what was written over synced bytes and not synced is lost,
// kept, kept in part by whole sectors, and torn.
func TestUnsyncedGoes(t *testing.T) {
	const size = 4 * sector
	found := left(t, "wal", func(m *Machine, _ *Disk, place string) {
		f := open(t, m, place, "wal", vfs.OPEN_WAL)
		write(t, f, 0, bytes.Repeat([]byte("a"), size))
		done(t, f.Sync(vfs.SYNC_NORMAL))
		write(t, f, 100, bytes.Repeat([]byte("b"), size-200))
	})
	var lost, kept, reordered, torn int
	for b, n := range found {
		if b[:100] != string(bytes.Repeat([]byte("a"), 100)) || b[size-100:] != string(bytes.Repeat([]byte("a"), 100)) || len(b) != size {
			t.Fatalf("bytes that nobody wrote to changed: %q", b)
		}
		one, two := b[sector:2*sector], b[2*sector:3*sector]
		switch as, bs := bytes.Count([]byte(b), []byte("a")), bytes.Count([]byte(b), []byte("b")); {
		case bs == 0:
			lost += n
		case as == 200:
			kept += n
		case one[0] == 'a' && two[0] == 'b':
			reordered += n
		}
		if one[0] != one[sector-1] {
			torn += n
		}
	}
	if lost == 0 || kept == 0 || reordered == 0 || torn == 0 {
		t.Fatalf("lost %d, kept %d, reordered %d, torn %d: each must happen", lost, kept, reordered, torn)
	}
}

// TestNames: a name is lost or kept until the directory is synced, and a file
// that was deleted may be back.
func TestNames(t *testing.T) {
	t.Run("created", func(t *testing.T) {
		found := left(t, "data", func(m *Machine, _ *Disk, place string) {
			f := open(t, m, place, "data", vfs.OPEN_MAIN_DB)
			write(t, f, 0, []byte("x"))
			done(t, f.Sync(vfs.SYNC_NORMAL), f.Close())
		})
		if found["no file"] == 0 || found["x"] == 0 || len(found) != 2 {
			t.Fatalf("found %v: a synced file whose name was not synced is there or not", found)
		}
	})
	t.Run("synced with a journal", func(t *testing.T) {
		found := left(t, "data", func(m *Machine, _ *Disk, place string) {
			f := open(t, m, place, "data", vfs.OPEN_MAIN_DB)
			write(t, f, 0, []byte("x"))
			j := open(t, m, place, "journal", vfs.OPEN_MAIN_JOURNAL)
			done(t, f.Sync(vfs.SYNC_NORMAL), j.Sync(vfs.SYNC_NORMAL), f.Close())
		})
		if found["x"] != tries {
			t.Fatalf("found %v", found)
		}
	})
	for _, synced := range []bool{false, true} {
		found := left(t, "wal", func(m *Machine, _ *Disk, place string) {
			f := open(t, m, place, "wal", vfs.OPEN_WAL)
			write(t, f, 0, []byte("x"))
			done(t, f.Sync(vfs.SYNC_NORMAL), f.Close(), m.Delete(place+"/wal", synced))
		})
		if back := found["x"] > 0; back == synced || found["no file"] == 0 {
			t.Fatalf("deleted, directory synced %v: found %v", synced, found)
		}
	}
}

// TestTruncated: a truncation that was not synced may be undone.
func TestTruncated(t *testing.T) {
	found := left(t, "wal", func(m *Machine, _ *Disk, place string) {
		f := open(t, m, place, "wal", vfs.OPEN_WAL)
		write(t, f, 0, []byte("long"))
		done(t, f.Sync(vfs.SYNC_NORMAL), f.Truncate(1))
	})
	if found["long"] == 0 || found["l"] == 0 || len(found) != 2 {
		t.Fatalf("found %v", found)
	}
}

// TestFailedSync: bytes that a sync failed for never become durable by the
// next one.
func TestFailedSync(t *testing.T) {
	found := left(t, "wal", func(m *Machine, d *Disk, place string) {
		f := open(t, m, place, "wal", vfs.OPEN_WAL)
		write(t, f, 0, []byte("aa"))
		done(t, f.Sync(vfs.SYNC_NORMAL))
		write(t, f, 0, []byte("b"))
		d.Arm(func(Event) Fault { return Broken })
		if f.Sync(vfs.SYNC_NORMAL) == nil {
			t.Fatal("a broken sync reports success")
		}
		d.Arm(nil)
		write(t, f, 1, []byte("c"))
		done(t, f.Sync(vfs.SYNC_NORMAL))
		if size, err := f.Size(); size != 2 || err != nil {
			t.Fatal(size, err)
		}
		var seen [2]byte
		if _, err := f.ReadAt(seen[:], 0); err != nil || string(seen[:]) != "bc" {
			t.Fatalf("programs see %q, %v", seen, err)
		}
	})
	if found["ac"] != tries {
		t.Fatalf("found %v", found)
	}
}

// TestLies: a disk that lies loses what it said it had.
func TestLies(t *testing.T) {
	found := left(t, "wal", func(m *Machine, d *Disk, place string) {
		d.Lie()
		f := open(t, m, place, "wal", vfs.OPEN_WAL)
		write(t, f, 0, []byte("x"))
		done(t, f.Sync(vfs.SYNC_NORMAL))
	})
	if found["x"] == 0 || found["x"] == tries {
		t.Fatalf("found %v", found)
	}
}

// TestFaults: each fault does what its name says, and the dead stay dead.
func TestFaults(t *testing.T) {
	m := NewMachine("test", t.TempDir())
	d := New()
	place := m.plug(d)
	f := open(t, m, place, "wal", vfs.OPEN_WAL)
	for _, c := range []struct {
		fault Fault
		size  int64
	}{{None, 4}, {Silent, 4}, {Broken, 4}, {Full, 4}, {Short, 6}, {Dead, 8}, {None, 8}} {
		d.Arm(func(Event) Fault { return c.fault })
		size, err := f.Size()
		done(t, err)
		_, err = f.WriteAt([]byte("text"), min(size, 4))
		if (err == nil) != ((c.fault == None || c.fault == Silent) && !d.Dead()) {
			t.Fatalf("fault %d: %v", c.fault, err)
		}
		if size, err = f.Size(); size != c.size || err != nil {
			t.Fatalf("fault %d: the file has %d bytes, %v; want %d", c.fault, size, err, c.size)
		}
	}
	if f.Sync(vfs.SYNC_NORMAL) == nil || !d.Dead() {
		t.Fatal("a dead disk syncs")
	}
}
