package passer

import "time"

// Limits of a Server. Zero fields take the default, negative ones are no limit.
type Limits struct {
	// Clients in all, and of one address: 1,000 and 16.
	Clients, ClientsPerAddress int
	// Connections of one client, at either end: 256.
	Connections int
	// BytesPerSecond is what the clients of one address may send, and BurstBytes how
	// much of it at once: 8 MiB and 4 MiB.
	BytesPerSecond, BurstBytes int
	// QueueBytes is what may wait for one client: 8 MiB. A quarter of it may be from
	// one connection, but always one frame, and twice as much may wait for all clients of an address.
	QueueBytes int
	// Idle is how long a client may be logged in with nothing said by it or to it: 24 h.
	Idle time.Duration
}

// filled puts the defaults in.
func (l Limits) filled() Limits {
	fill(&l.Clients, 1_000)
	fill(&l.ClientsPerAddress, 16)
	fill(&l.Connections, 256)
	fill(&l.BytesPerSecond, 8<<20)
	fill(&l.BurstBytes, 4<<20)
	fill(&l.QueueBytes, 8<<20)
	fill(&l.Idle, 24*time.Hour)
	return l
}

func fill[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// over reports whether n is more than what is allowed.
func over(n, limit int) bool { return limit >= 0 && n > limit }

const (
	// greetWithin is how long a socket may be nobody's.
	greetWithin = 10 * time.Second
	// greeting is how many sockets may be nobody's: from one network, where one more is
	// closed at once, and in all, where the oldest makes room.
	greetingPerNetwork, greetingInAll = 16, 256
	// answerWithin is how long a call may wait for its answer.
	answerWithin = 30 * time.Second
	// writeWithin is how long a client may take nothing of what waits for it.
	writeWithin = 30 * time.Second
	// partWithin is how long a client that is to go may take to hear why.
	partWithin = time.Second
	// sweepEvery is how often the server looks for what is over, and lookEvery
	// whether those who are logged in still have an account.
	sweepEvery, lookEvery = 5 * time.Second, 30 * time.Second
	// queueInAll bounds what waits for all clients together.
	queueInAll = 256 << 20
	// slack is what may wait for a client beyond its queue: words about connections that end.
	slack = 256 << 10
	// batch is about how much is written at once.
	batch = 64 << 10
	// smallestCost is what a frame is counted as at least by the pace: one of ten bytes
	// is as much work as one of some hundred.
	smallestCost = 512
	// callCost is the same for a call, for which the store is asked.
	callCost = 16 << 10
	// maxFrame is the longest frame of a client that is logged in, in JSON, where Data
	// takes four bytes for three.
	maxFrame = MaxData*4/3 + 4 + maxWords
)
