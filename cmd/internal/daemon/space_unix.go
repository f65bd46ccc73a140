//go:build linux || darwin || freebsd

package daemon

import "syscall"

// SpaceOf is the space of the file system that dir is on.
func SpaceOf(dir string) (Space, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return Space{}, err
	}
	// Where root alone may still write, some systems tell less than nothing.
	free := max(int64(st.Bavail), 0)
	return Space{Free: free * int64(st.Bsize), Total: int64(st.Blocks) * int64(st.Bsize)}, nil
}
