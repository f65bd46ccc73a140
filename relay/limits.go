package relay

import "time"

// Limits of a Server. Zero fields take the default, negative ones are no limit.
type Limits struct {
	// Sockets in all, and of one address: 20,000 and 64.
	Sockets, SocketsPerAddress int
	// Connections in all, and of one address at either end: 50,000 and 256.
	Connections, ConnectionsPerAddress int
	// BytesPerSecond is what one address may send, in streams and otherwise, and
	// BurstBytes how much of it at once: 32 MiB and 4 MiB.
	BytesPerSecond, BurstBytes int
	// Idle is how long a connection may be silent: 1 h.
	Idle time.Duration
}

// filled puts the defaults in.
func (l Limits) filled() Limits {
	fill(&l.Sockets, 20_000)
	fill(&l.SocketsPerAddress, 64)
	fill(&l.Connections, 50_000)
	fill(&l.ConnectionsPerAddress, 256)
	fill(&l.BytesPerSecond, 32<<20)
	fill(&l.BurstBytes, 4<<20)
	fill(&l.Idle, time.Hour)
	return l
}

func fill[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// over reports whether n is one too many.
func over(n, limit int) bool { return limit >= 0 && n >= limit }

const (
	// ResumeFor is how long a connection outlives the socket of one of its ends.
	ResumeFor = 60 * time.Second
	// helloWithin is how long a socket may be nobody's.
	helloWithin = 10 * time.Second
	// answerWithin is how long a call may wait for its answer at the relay.
	answerWithin = 30 * time.Second
	// sweepEvery is how often a server looks for what is over.
	sweepEvery = 5 * time.Second
	// smallestCost is what a frame is counted as at least, in bytes: one of ten bytes
	// is as much work as one of some hundred.
	smallestCost = 512
)
