package message

import (
	"errors"
	"fmt"
	"time"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Code is one of the reasons for which something is refused. The list is
// closed; the numbers are those of wirev1.Reason. A Code is an error, so
// errors.Is(err, message.NotFound) holds for an error that was made here as
// well as for one that a peer sent.
type Code int32

// The codes. Each comment is the sentence that a peer sees.
const (
	Invalid         = Code(wirev1.Reason_REASON_INVALID)
	NotFound        = Code(wirev1.Reason_REASON_NOT_FOUND)
	BadSignature    = Code(wirev1.Reason_REASON_BAD_SIGNATURE)
	Stale           = Code(wirev1.Reason_REASON_STALE)
	Conflict        = Code(wirev1.Reason_REASON_CONFLICT)
	NeedBundle      = Code(wirev1.Reason_REASON_NEED_BUNDLE)
	NotAccepted     = Code(wirev1.Reason_REASON_NOT_ACCEPTED)
	Denied          = Code(wirev1.Reason_REASON_DENIED)
	Unauthenticated = Code(wirev1.Reason_REASON_UNAUTHENTICATED)
	Clock           = Code(wirev1.Reason_REASON_CLOCK)
	Expired         = Code(wirev1.Reason_REASON_EXPIRED)
	TooLarge        = Code(wirev1.Reason_REASON_TOO_LARGE)
	Quota           = Code(wirev1.Reason_REASON_QUOTA)
	RateLimited     = Code(wirev1.Reason_REASON_RATE_LIMITED)
	StorageFull     = Code(wirev1.Reason_REASON_STORAGE_FULL)
	AlreadyFetched  = Code(wirev1.Reason_REASON_ALREADY_FETCHED)
	Contract        = Code(wirev1.Reason_REASON_CONTRACT)
	Recalled        = Code(wirev1.Reason_REASON_RECALLED)
	NameTaken       = Code(wirev1.Reason_REASON_NAME_TAKEN)
	Unsupported     = Code(wirev1.Reason_REASON_UNSUPPORTED)
	Unavailable     = Code(wirev1.Reason_REASON_UNAVAILABLE)
	Internal        = Code(wirev1.Reason_REASON_INTERNAL)
	Disagreement    = Code(wirev1.Reason_REASON_DISAGREEMENT)
)

// sentences has the fixed text of every code: what a peer may see, whatever
// the cause was.
var sentences = map[Code]string{
	Invalid:         "the request does not have the form that the protocol asks for",
	NotFound:        "not found",
	BadSignature:    "a signature does not verify",
	Stale:           "something newer is already held",
	Conflict:        "another statement already stands in this place",
	NeedBundle:      "the cards and route of an identity are needed",
	NotAccepted:     "not accepted",
	Denied:          "not allowed",
	Unauthenticated: "no valid access came with the request",
	Clock:           "a time lies outside its window",
	Expired:         "expired",
	TooLarge:        "too large",
	Quota:           "over quota",
	RateLimited:     "too many requests; try again later",
	StorageFull:     "storage is full; try again later",
	AlreadyFetched:  "a final message that has been fetched cannot be recalled",
	Contract:        "the contract of the message does not allow this",
	Recalled:        "the message has been recalled",
	NameTaken:       "the name is taken or reserved",
	Unsupported:     "not supported here",
	Unavailable:     "unavailable; try again later",
	Internal:        "internal error",
	Disagreement:    "trackers disagree about this identity",
}

// names has the word of every code, for logs, for --json and for the test
// vectors. The words are as fixed as the numbers.
var names = map[Code]string{
	Invalid:         "invalid",
	NotFound:        "not_found",
	BadSignature:    "bad_signature",
	Stale:           "stale",
	Conflict:        "conflict",
	NeedBundle:      "need_bundle",
	NotAccepted:     "not_accepted",
	Denied:          "denied",
	Unauthenticated: "unauthenticated",
	Clock:           "clock",
	Expired:         "expired",
	TooLarge:        "too_large",
	Quota:           "quota",
	RateLimited:     "rate_limited",
	StorageFull:     "storage_full",
	AlreadyFetched:  "already_fetched",
	Contract:        "contract",
	Recalled:        "recalled",
	NameTaken:       "name_taken",
	Unsupported:     "unsupported",
	Unavailable:     "unavailable",
	Internal:        "internal",
	Disagreement:    "disagreement",
}

// Name is the word of the code, lower case with underscores; empty for a code
// that is not on the list.
func (c Code) Name() string { return names[c] }

// ParseCode reads the word of a code. Errors: Invalid.
func ParseCode(name string) (Code, error) {
	for c, n := range names {
		if n == name {
			return c, nil
		}
	}
	return 0, refuse(Invalid, "code %q", clip(name))
}

// Error is the fixed sentence of the code.
func (c Code) Error() string {
	if s, ok := sentences[c]; ok {
		return s
	}
	return fmt.Sprintf("refused for a reason unknown here (%d)", int32(c))
}

// Known reports whether c is on the closed list.
func (c Code) Known() bool { _, ok := sentences[c]; return ok }

// CodeOf returns the code that err wraps, or Internal if it wraps none.
func CodeOf(err error) Code {
	if c, ok := errors.AsType[Code](err); ok {
		return c
	}
	return Internal
}

// Refused is a refusal that came from a peer: its code, and what the peer
// said beside it.
type Refused struct {
	Code Code
	// ServerTime is the peer's clock; zero where it said nothing.
	ServerTime time.Time
	// Address is the identity whose bundle the peer asks for, with NeedBundle.
	Address Address
}

// Error is the sentence of the code.
func (r *Refused) Error() string { return r.Code.Error() }

// Unwrap makes errors.Is match the code.
func (r *Refused) Unwrap() error { return r.Code }

// OpenRefusal turns a refusal from a result into an error; nil stays nil. A
// reason that is not on the list becomes Internal, so that a peer cannot make
// a caller depend on words that only the peer knows.
func OpenRefusal(w *wirev1.Refusal) error {
	if w == nil || w.GetReason() == wirev1.Reason_REASON_UNSPECIFIED {
		return nil
	}
	r := &Refused{Code: Code(w.GetReason())}
	if !r.Code.Known() {
		r.Code = Internal
	}
	if w.GetServerTime() != 0 && checkTimes("refusal", w.GetServerTime()) == nil {
		r.ServerTime = fromMillis(w.GetServerTime())
	}
	if a, err := AddressFromBytes(w.GetAddress()); err == nil {
		r.Address = a
	}
	return r
}

// Refusal turns an error into what a peer sees: the code, the clock and, with
// NeedBundle, the address. Nothing else of err leaves.
func Refusal(err error, now time.Time) *wirev1.Refusal {
	if err == nil {
		return nil
	}
	w := &wirev1.Refusal{Reason: wirev1.Reason(CodeOf(err)), ServerTime: millis(now)}
	// An address beside another code was a peer's word to this program alone.
	if r, ok := errors.AsType[*Refused](err); ok && w.GetReason() == wirev1.Reason_REASON_NEED_BUNDLE && !r.Address.IsZero() {
		w.Address = r.Address.Bytes()
	}
	return w
}

// Need is the refusal that asks for the bundle of a.
func Need(a Address) error { return &Refused{Code: NeedBundle, Address: a} }

// because makes an error of this room out of another one, whose words say
// enough: the code is matched and not shown.
func because(code Code, err error, what string) error {
	return &caused{code: code, err: err, what: what}
}

// caused is an error with a code that its text does not repeat.
type caused struct {
	code Code
	err  error
	what string
}

// Error is what was done, and why it failed.
func (c *caused) Error() string { return "message: " + c.what + ": " + c.err.Error() }

// Unwrap makes errors.Is and errors.AsType find the cause and the code.
func (c *caused) Unwrap() []error { return []error{c.err, c.code} }

// refuse makes an error of this room: what was being read, why, and the code.
func refuse(code Code, format string, args ...any) error {
	return fmt.Errorf("message: %s: %w", fmt.Sprintf(format, args...), code)
}
