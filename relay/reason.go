package relay

import (
	"strings"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Reason is why a connection was not made, or why it ended. The list is closed.
type Reason int32

// The reasons. All but Done are errors.
const (
	// Done: in order, by one of its ends.
	Done = Reason(wirev1.LiveReason_LIVE_REASON_DONE)
	// UnknownProtocol: the other end is there and does not serve this protocol.
	UnknownProtocol = Reason(wirev1.LiveReason_LIVE_REASON_UNKNOWN_PROTOCOL)
	// NotOnline: nobody is there.
	NotOnline = Reason(wirev1.LiveReason_LIVE_REASON_NOT_ONLINE)
	// Refused: the other end does not take this caller.
	Refused = Reason(wirev1.LiveReason_LIVE_REASON_REFUSED)
	// Gone: the other end has gone without a word, or the relay has forgotten the connection.
	Gone = Reason(wirev1.LiveReason_LIVE_REASON_GONE)
	// Busy: a limit was reached, at the other end or at the relay.
	Busy = Reason(wirev1.LiveReason_LIVE_REASON_BUSY)
	// Idle: nothing was said for too long.
	Idle = Reason(wirev1.LiveReason_LIVE_REASON_IDLE)
	// Broken: somebody did not follow the protocol, or was not who they should be.
	Broken = Reason(wirev1.LiveReason_LIVE_REASON_BROKEN)
)

// Error is the sentence of the reason.
func (r Reason) Error() string {
	switch r {
	case Done:
		return "the connection was closed"
	case UnknownProtocol:
		return "the protocol is not served there"
	case NotOnline:
		return "nobody is there to take the connection"
	case Refused:
		return "the connection was refused"
	case Gone:
		return "the other end has gone"
	case Busy:
		return "too many connections at once"
	case Idle:
		return "the connection was silent for too long"
	}
	return "the connection broke"
}

// Name is a stable word for programs, as not_online.
func (r Reason) Name() string {
	name, ok := wirev1.LiveReason_name[int32(r)]
	if !ok || r == 0 {
		r, name = Broken, wirev1.LiveReason_LIVE_REASON_BROKEN.String()
	}
	return strings.ToLower(strings.TrimPrefix(name, "LIVE_REASON_"))
}

// reasonOf reads a reason that somebody sent; what is not on the list is Broken.
func reasonOf(w wirev1.LiveReason) Reason {
	if w < wirev1.LiveReason_LIVE_REASON_DONE || w > wirev1.LiveReason_LIVE_REASON_BROKEN {
		return Broken
	}
	return Reason(w)
}
