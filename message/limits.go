package message

import "time"

// Sizes that a reader checks before it parses, in bytes unless they say
// otherwise (docs/protocol.md §8.1).
const (
	MaxCard    = 16 << 10
	MaxRoute   = 8 << 10
	MaxTicket  = 1 << 10
	MaxHead    = 8 << 10
	MaxName    = 1 << 10
	MaxAccess  = 1 << 10
	MaxReceipt = 1 << 10
	// MaxAnswer holds two full identities; longer chains come in parts.
	MaxAnswer  = 3 << 20
	MaxPayload = 1 << 20
	// MaxCall is the size of one call of a service.
	MaxCall = 4 << 20
	// MaxSlot fits the largest box kind with room to spare.
	MaxSlot = 4 << 10
	// MaxBlob is the largest blob as stored: 1 TiB.
	MaxBlob = 1 << 40
)

// Counts.
const (
	MaxChain      = 256
	MaxRotation   = 4
	MaxSigners    = 16
	MaxBoxes      = 4
	MaxServices   = 4
	MaxHosts      = 4
	MaxRecipients = 64
	MaxVersions   = 1000
	// MaxBlobs is how many blobs one message may list.
	MaxBlobs = 256
	// MaxComponents bounds components and attachments, each.
	MaxComponents = 256
)

// Times.
const (
	// ForkWindow is how long a higher rotation key may undo what a lower one
	// did. People are away from their mail for longer than the 72 hours that
	// did:plc allows.
	ForkWindow = 7 * 24 * time.Hour
	// MaxAhead is how far in the future a statement may lie.
	MaxAhead = 10 * time.Minute
	// AccessSlack is how far clocks may differ around an Access.
	AccessSlack = 2 * time.Minute
	// MaxAccessLife is the longest validity of an Access.
	MaxAccessLife = 10 * time.Minute
	// AnswerFresh is how long an answer may be reused without asking again.
	AnswerFresh = time.Minute
	// AnswerLife is the age at which an answer is refused.
	AnswerLife = 10 * time.Minute
	// MaxRouteLife is the longest validity of a route: a year, also a leap year.
	MaxRouteLife = 366 * 24 * time.Hour
)

// maxMillis is the end of the year 9999, beyond which RFC 3339 has no form for
// a time; the wire's times lie between 1970 and then.
const maxMillis = 253402300799999

// checkTimes refuses, with Invalid, times that no clock shows, so that a
// stranger's number can neither overflow a subtraction nor break an output.
func checkTimes(what string, ms ...int64) error {
	for _, t := range ms {
		if t < 0 || t > maxMillis {
			return refuse(Invalid, "%s: time %d", what, t)
		}
	}
	return nil
}

// millis is the wire form of a time: milliseconds since 1970.
func millis(t time.Time) int64 { return t.UnixMilli() }

// fromMillis reads the wire form of a time.
func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// NotAhead refuses, with Clock, a time of somebody else's that lies more than
// MaxAhead after now. The past is never refused here: order is decided by
// sequence numbers, not by clocks.
func NotAhead(t, now time.Time) error {
	if t.After(now.Add(MaxAhead)) {
		return refuse(Clock, "time %s is ahead of %s", t.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return nil
}
