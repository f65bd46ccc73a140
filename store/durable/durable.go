// Package durable writes small files so that they survive a loss of power.
//
// A file is written beside its place under a temporary name, synced, closed,
// and only then renamed; the directory is synced last. Whoever reads the name
// therefore sees the old bytes or the new ones, never a part, also after a
// crash at any step. All paths lie inside an os.Root, so no name leads out of
// it. What a crash leaves behind is a file whose name ends in .tmp.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// temporaries is how many writers of one name may be at work or have crashed
// before the next one is refused.
const temporaries = 100

// WriteFile puts data under name in dir, in place of what was there. When it
// returns nil, the bytes survive a loss of power; when it fails, what was there
// before is still there.
func WriteFile(dir *os.Root, name string, data []byte, perm fs.FileMode) error {
	return write(dir, name, data, perm, dir.Rename)
}

// CreateFile is WriteFile for a name that must not exist yet; else it fails
// with fs.ErrExist and changes nothing, also when two create it at once.
func CreateFile(dir *os.Root, name string, data []byte, perm fs.FileMode) error {
	return write(dir, name, data, perm, func(temp, name string) error {
		// A link fails where the name exists; a rename would take its place.
		if err := dir.Link(temp, name); err != nil {
			return err
		}
		return dir.Remove(temp)
	})
}

// write makes the temporary file and hands it to place.
func write(dir *os.Root, name string, data []byte, perm fs.FileMode, place func(temp, name string) error) error {
	f, temp, err := temporary(dir, name, perm)
	if err != nil {
		return fmt.Errorf("durable: write %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = place(temp, name)
	}
	if err != nil {
		_ = dir.Remove(temp)
		return fmt.Errorf("durable: write %s: %w", name, err)
	}
	return SyncDir(dir, path.Dir(name))
}

// temporary opens a new file beside name.
func temporary(dir *os.Root, name string, perm fs.FileMode) (*os.File, string, error) {
	for n := range temporaries {
		temp := fmt.Sprintf("%s.%d.tmp", name, n)
		f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if !errors.Is(err, fs.ErrExist) {
			return f, temp, err
		}
	}
	return nil, "", errors.New("too many temporary files beside it")
}

// SyncDir makes the names in a directory durable: what was created, renamed or
// removed there before.
func SyncDir(dir *os.Root, name string) error {
	d, err := dir.Open(name)
	if err != nil {
		return fmt.Errorf("durable: sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("durable: sync directory: %w", err)
	}
	return nil
}
