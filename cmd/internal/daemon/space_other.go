//go:build !linux && !darwin && !freebsd

package daemon

import "errors"

// SpaceOf cannot be told here.
func SpaceOf(string) (Space, error) { return Space{}, errors.ErrUnsupported }
