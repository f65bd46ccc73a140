//go:build linux || darwin || freebsd

package daemon

import "syscall"

// freeSpace is how many bytes may still be written below dir.
func freeSpace(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
