package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// small is a file system of its own, of 16 MiB.
const small = "size=16m,mode=0700"

// errMay says that this process may not mount anything.
var errMay = errors.New("no right to mount")

// mount makes a small file system at dir.
func mount(dir string) (unmount func() error, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	err = syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NODEV|syscall.MS_NOSUID, small)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return nil, errMay
	}
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	return func() error { return syscall.Unmount(dir, 0) }, nil
}

// limit sets how large files may become, or how many may be open, for a process
// that runs, and returns how to set it back.
func limit(pid, what int, to uint64) (back func() error, err error) {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, what, nil, &old); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	if err := unix.Prlimit(pid, what, &unix.Rlimit{Cur: min(to, old.Max), Max: old.Max}, nil); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	return func() error { return unix.Prlimit(pid, what, &old, nil) }, nil
}
