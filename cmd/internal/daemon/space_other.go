//go:build !linux && !darwin && !freebsd

package daemon

import "errors"

// freeSpace cannot be told here.
func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }
