// Package keyfile keeps a keyring in a file.
//
// A key file is the PEM text of message.MarshalKeyring, or that text locked
// under a passphrase in the age format (crypto.Lock), which the age tool opens
// too. It has the mode 0600; its directory is made with 0700. A file that
// others may read is refused rather than used: its keys may have been copied.
// Files are written durably, and a key is never overwritten by accident: Write
// refuses a name that exists, Replace is the deliberate way. No error repeats
// anything of the content.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store/durable"
)

const (
	filePerm = 0o600
	dirPerm  = 0o700
	// others are the mode bits by which somebody else could read the file.
	others = 0o077
	// maxFile fits the largest keyring, 6 MiB, in the armor of a locked file.
	maxFile = 9 << 20
)

// Write keeps k in a new file; with an empty passphrase in the clear. Errors:
// message.Conflict where the file exists.
func Write(path string, k *message.Keyring, passphrase crypto.Secret) error {
	err := put(path, k, passphrase, durable.CreateFile)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keyfile: write %s: a key is there already: %w", path, message.Conflict)
	}
	if err != nil {
		return fmt.Errorf("keyfile: write: %w", err)
	}
	return nil
}

// Replace keeps k in place of what the file held: after a rotation, or under
// another passphrase. The old file stays until the new one is durable.
func Replace(path string, k *message.Keyring, passphrase crypto.Secret) error {
	if err := put(path, k, passphrase, durable.WriteFile); err != nil {
		return fmt.Errorf("keyfile: replace: %w", err)
	}
	return nil
}

// put makes the directory and the file.
func put(path string, k *message.Keyring, passphrase crypto.Secret, write func(*os.Root, string, []byte, fs.FileMode) error) error {
	b, err := message.MarshalKeyring(k)
	if err != nil {
		return err
	}
	if len(passphrase) > 0 {
		if b, err = crypto.Lock(b, passphrase, 0); err != nil {
			return err
		}
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, dirPerm); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(write(root, filepath.Base(path), b, filePerm), root.Close())
}

// Read opens a key file. It calls passphrase only where the file is locked, so
// that nobody is asked without need. Errors: message.NotFound; message.Denied
// for a file that others may read, and for a locked one without a passphrase
// func; crypto.ErrPassphrase for the wrong passphrase; those of
// message.ParseKeyring.
func Read(path string, passphrase func() (crypto.Secret, error)) (*message.Keyring, error) {
	b, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keyfile: read %s: %w", path, message.NotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("keyfile: read: %w", err)
	}
	if crypto.IsLocked(b) {
		if passphrase == nil {
			return nil, fmt.Errorf("keyfile: read %s: it is locked and no passphrase was given: %w", path, message.Denied)
		}
		p, err := passphrase()
		if err != nil {
			return nil, fmt.Errorf("keyfile: read %s: %w", path, err)
		}
		if b, err = crypto.Unlock(b, p); err != nil {
			return nil, fmt.Errorf("keyfile: read %s: %w", path, err)
		}
	}
	k, err := message.ParseKeyring(b)
	if err != nil {
		return nil, fmt.Errorf("keyfile: read %s: %w", path, err)
	}
	return k, nil
}

// readPrivate reads a file after a look at who else could; both through one
// handle, so that the file looked at is the file read.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := readOpen(f, path)
	return b, errors.Join(err, f.Close())
}

func readOpen(f *os.File, path string) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, message.Invalid)
	}
	// Windows has no such bits; its files inherit the rights of the home directory.
	if runtime.GOOS != "windows" && info.Mode().Perm()&others != 0 {
		return nil, fmt.Errorf("%s can be read by others; run: chmod 600 %s: %w", path, path, message.Denied)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: %w", path, message.TooLarge)
	}
	return b, nil
}
