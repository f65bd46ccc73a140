package courier

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Backoff says how long to wait before the next attempt.
type Backoff struct {
	// First is the longest wait after the first attempt.
	First time.Duration
	// Max is the longest wait of all.
	Max time.Duration
	// Rand is where the jitter comes from.
	Rand io.Reader
}

// Delay is the wait after so many attempts: First, doubled with each attempt up
// to Max, of which between half and the whole is taken, so that what failed
// together does not come back together.
func (b Backoff) Delay(attempts int) time.Duration {
	d := b.longest(attempts)
	return d/2 + Jitter(b.Rand, d/2)
}

// longest is the wait without jitter.
func (b Backoff) longest(attempts int) time.Duration {
	e := backoff.ExponentialBackOff{InitialInterval: b.First, Multiplier: 2, MaxInterval: b.Max}
	e.Reset()
	d := e.NextBackOff()
	// Sixty doublings reach any Max; more only cost time.
	for range min(attempts, 60) - 1 {
		d = e.NextBackOff()
	}
	return d
}

// at is when to try again: after Delay, moved back to a grid of quarters of the
// wait, so that what waits for one server comes in batches again. phase is
// where this courier's grid lies: no two servers of the world share one.
func (b Backoff) at(now time.Time, attempts int, phase time.Duration) time.Time {
	t := now.Add(b.Delay(attempts))
	if grid := b.longest(attempts) / 4; grid > 0 {
		t = t.Add(-time.Duration((t.UnixNano() + int64(phase)) % int64(grid)))
	}
	return t
}

// Jitter is a random duration from 0 up to limit. Where rand fails it is zero:
// a wait without jitter is better than none.
func Jitter(rand io.Reader, limit time.Duration) time.Duration {
	var b [8]byte
	if limit <= 0 {
		return 0
	}
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(limit))
}
