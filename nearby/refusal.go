package nearby

import (
	"net/http"

	"airdispatch/message"
)

// statuses are the numbers that refusals have in HTTP, in order: the first one of a
// number is what that number is read as.
var statuses = []struct {
	code   message.Code
	status int
}{
	{message.Invalid, http.StatusBadRequest},
	{message.NeedBundle, http.StatusUnauthorized},
	{message.Denied, http.StatusForbidden},
	{message.NotFound, http.StatusNotFound},
	{message.Conflict, http.StatusConflict},
	{message.TooLarge, http.StatusRequestEntityTooLarge},
	{message.BadSignature, http.StatusUnprocessableEntity},
	{message.RateLimited, http.StatusTooManyRequests},
	{message.Internal, http.StatusInternalServerError},
	{message.Unavailable, http.StatusServiceUnavailable},
	{message.StorageFull, http.StatusInsufficientStorage},
	{message.NotAccepted, http.StatusForbidden},
	{message.Contract, http.StatusConflict},
	{message.Recalled, http.StatusGone},
	{message.Expired, http.StatusGone},
	{message.Stale, http.StatusConflict},
	{message.Unsupported, http.StatusNotImplemented},
}

// statusOf is the number of an error.
func statusOf(err error) int {
	code := message.CodeOf(err)
	for _, s := range statuses {
		if s.code == code {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// codeOf is what a number means.
func codeOf(status int) message.Code {
	for _, s := range statuses {
		if s.status == status {
			return s.code
		}
	}
	return message.Unavailable
}
