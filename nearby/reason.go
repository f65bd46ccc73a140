package nearby

import (
	"net/http"

	"airdispatch/message"
)

// Reason is why a connection was not made, or ended. The list is closed; each is also
// a message.Code, for those who ask by that.
type Reason int

// The reasons.
const (
	// UnknownProtocol: the other end is there and does not serve this protocol.
	UnknownProtocol Reason = iota + 1
	// Refused: the other end does not take this caller.
	Refused
	// Busy: a limit was reached at the other end.
	Busy
	// Gone: the other end stops, or has gone without a word.
	Gone
)

// reasons are what each is called by.
var reasons = map[Reason]struct {
	text   string
	code   message.Code
	status int
}{
	UnknownProtocol: {"the protocol is not served there", message.NotFound, http.StatusNotFound},
	Refused:         {"the connection was refused", message.Denied, http.StatusForbidden},
	Busy:            {"too many connections at once", message.RateLimited, http.StatusTooManyRequests},
	Gone:            {"the other end has gone", message.Unavailable, http.StatusServiceUnavailable},
}

// Error is the sentence of the reason.
func (r Reason) Error() string { return reasons[r].text }

// Unwrap is the code that it is one of.
func (r Reason) Unwrap() error { return reasons[r].code }

// reasonOf is what a number means for somebody who wanted a connection.
func reasonOf(status int) error {
	for r, is := range reasons {
		if is.status == status {
			return r
		}
	}
	return codeOf(status)
}
