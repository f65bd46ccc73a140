package rpc

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// The headers of a refusal on a plain HTTP path.
const (
	// RefusalHeader has the number of the refusal's reason.
	RefusalHeader = "Airdispatch-Refusal"
	// TimeHeader has the refuser's clock in milliseconds, because an answer to
	// HEAD has no body to put it in.
	TimeHeader = "Airdispatch-Time"
)

// codes is the one table of how a refusal looks in Connect (and from there in
// gRPC and HTTP).
var codes = map[message.Code]connect.Code{
	message.Invalid:         connect.CodeInvalidArgument,
	message.NotFound:        connect.CodeNotFound,
	message.BadSignature:    connect.CodeInvalidArgument,
	message.Stale:           connect.CodeFailedPrecondition,
	message.Conflict:        connect.CodeAborted,
	message.NeedBundle:      connect.CodeFailedPrecondition,
	message.NotAccepted:     connect.CodePermissionDenied,
	message.Denied:          connect.CodePermissionDenied,
	message.Unauthenticated: connect.CodeUnauthenticated,
	message.Clock:           connect.CodeFailedPrecondition,
	message.Expired:         connect.CodeFailedPrecondition,
	message.TooLarge:        connect.CodeResourceExhausted,
	message.Quota:           connect.CodeResourceExhausted,
	message.RateLimited:     connect.CodeResourceExhausted,
	message.StorageFull:     connect.CodeResourceExhausted,
	message.AlreadyFetched:  connect.CodeFailedPrecondition,
	message.Contract:        connect.CodeFailedPrecondition,
	message.Recalled:        connect.CodeFailedPrecondition,
	message.NameTaken:       connect.CodeAlreadyExists,
	message.Unsupported:     connect.CodeUnimplemented,
	message.Unavailable:     connect.CodeUnavailable,
	message.Internal:        connect.CodeInternal,
	message.Disagreement:    connect.CodeFailedPrecondition,
}

// statuses is the same for plain HTTP paths.
var statuses = map[message.Code]int{
	message.Invalid:         http.StatusBadRequest,
	message.NotFound:        http.StatusNotFound,
	message.BadSignature:    http.StatusBadRequest,
	message.Stale:           http.StatusConflict,
	message.Conflict:        http.StatusConflict,
	message.NeedBundle:      http.StatusPreconditionFailed,
	message.NotAccepted:     http.StatusForbidden,
	message.Denied:          http.StatusForbidden,
	message.Unauthenticated: http.StatusUnauthorized,
	message.Clock:           http.StatusPreconditionFailed,
	message.Expired:         http.StatusGone,
	message.TooLarge:        http.StatusRequestEntityTooLarge,
	message.Quota:           http.StatusInsufficientStorage,
	message.RateLimited:     http.StatusTooManyRequests,
	message.StorageFull:     http.StatusInsufficientStorage,
	message.AlreadyFetched:  http.StatusConflict,
	message.Contract:        http.StatusConflict,
	message.Recalled:        http.StatusGone,
	message.NameTaken:       http.StatusConflict,
	message.Unsupported:     http.StatusNotImplemented,
	message.Unavailable:     http.StatusServiceUnavailable,
	message.Internal:        http.StatusInternalServerError,
	message.Disagreement:    http.StatusConflict,
}

// codeFromConnect reads an error that carries no Refusal: what Connect itself
// answers, or a proxy on the way.
func codeFromConnect(c connect.Code) message.Code {
	switch c {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return message.Invalid
	case connect.CodeNotFound:
		return message.NotFound
	case connect.CodePermissionDenied:
		return message.Denied
	case connect.CodeUnauthenticated:
		return message.Unauthenticated
	case connect.CodeResourceExhausted:
		return message.TooLarge
	case connect.CodeUnimplemented:
		return message.Unsupported
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled, connect.CodeAborted:
		return message.Unavailable
	default:
		return message.Internal
	}
}

// refusal is what a peer sees of err: a code from the closed list, its sentence,
// the clock, and nothing else.
func refusal(err error, now time.Time) *connect.Error {
	w := message.Refusal(err, now)
	code := message.Code(w.GetReason())
	e := connect.NewError(codes[code], code)
	if d, err := connect.NewErrorDetail(w); err == nil {
		e.AddDetail(d)
	}
	return e
}

// plainRefusal is the body of a refusal on a plain HTTP path.
type plainRefusal struct {
	Reason     string          `json:"reason"`
	ServerTime int64           `json:"server_time"`
	Address    message.Address `json:"address,omitzero"`
}

// reasonName is the lower-case name of a code, as quota for REASON_QUOTA.
func reasonName(c message.Code) string {
	return strings.ToLower(strings.TrimPrefix(wirev1.Reason(c).String(), "REASON_"))
}

// Refuse answers a plain HTTP request with what a peer may see of err: a status,
// the RefusalHeader and a small JSON body. The caller logs the cause.
func Refuse(w http.ResponseWriter, err error) {
	r := message.Refusal(err, time.Now())
	code := message.Code(r.GetReason())
	body := plainRefusal{Reason: reasonName(code), ServerTime: r.GetServerTime()}
	if a, err := message.AddressFromBytes(r.GetAddress()); err == nil {
		body.Address = a
	}
	b, err := json.Marshal(body)
	if err != nil {
		b = []byte(`{"reason":"internal"}`)
	}
	h := w.Header()
	h.Set(RefusalHeader, strconv.Itoa(int(code)))
	h.Set(TimeHeader, strconv.FormatInt(r.GetServerTime(), 10))
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(statuses[code])
	_, _ = w.Write(append(b, '\n')) // whoever asked has gone; nobody is left to tell
}

// refusedBy reads the refusal of a plain HTTP answer, or nil from a success. It
// reads at most a few kilobytes of the body and does not close it.
func refusedBy(res *http.Response) error {
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return nil
	}
	w := &wirev1.Refusal{}
	if n, err := strconv.ParseInt(res.Header.Get(RefusalHeader), 10, 32); err == nil && n > 0 {
		w.Reason = wirev1.Reason(n)
	} else {
		w.Reason = wirev1.Reason(codeFromStatus(res.StatusCode))
	}
	if ms, err := strconv.ParseInt(res.Header.Get(TimeHeader), 10, 64); err == nil {
		w.ServerTime = ms
	}
	var body plainRefusal
	if b, err := io.ReadAll(io.LimitReader(res.Body, 4<<10)); err == nil && json.Unmarshal(b, &body) == nil && !body.Address.IsZero() {
		w.Address = body.Address.Bytes()
	}
	return message.OpenRefusal(w)
}

// codeFromStatus reads the status of somebody who does not speak the protocol: a
// proxy, or a wrong host. A redirect is not followed, so it is an answer that
// does not have the form that was asked for.
func codeFromStatus(status int) message.Code {
	switch {
	case status == http.StatusNotFound:
		return message.NotFound
	case status == http.StatusUnauthorized:
		return message.Unauthenticated
	case status == http.StatusForbidden:
		return message.Denied
	case status == http.StatusRequestEntityTooLarge:
		return message.TooLarge
	case status == http.StatusTooManyRequests:
		return message.RateLimited
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout, status == http.StatusRequestTimeout:
		return message.Unavailable
	case status >= 500:
		return message.Internal
	}
	return message.Invalid
}

// explain turns the error of a call into one that callers decide by: what the
// peer said as *message.Refused, and everything else by what went wrong here.
// ctx is the call's: its end by cancelling is the caller's, by deadline anybody's.
func explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*message.Refused](err); ok {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("rpc: %s: %w", what, context.Canceled)
	}
	if c, ok := errors.AsType[*connect.Error](err); ok && connect.IsWireError(c) {
		said := opened(c)
		if errors.Is(said, message.Unavailable) && overdue(ctx) {
			return fmt.Errorf("rpc: %s: %w: %w", what, said, context.DeadlineExceeded)
		}
		return fmt.Errorf("rpc: %s: %w", what, said)
	}
	if code := localCode(err); code != message.Unavailable {
		return fmt.Errorf("rpc: %s: %w: %v", what, code, err)
	}
	if errors.Is(err, context.DeadlineExceeded) || connect.CodeOf(err) == connect.CodeDeadlineExceeded {
		return fmt.Errorf("rpc: %s: %w: %w", what, message.Unavailable, context.DeadlineExceeded)
	}
	return fmt.Errorf("rpc: %s: %w: %v", what, message.Unavailable, err)
}

// overdue reports whether the deadline of ctx has come. The peer knows the same
// deadline and may give up, and say so, an instant before our own timer fires.
func overdue(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// localCode says what went wrong on this side of a call.
func localCode(err error) message.Code {
	if c, ok := errors.AsType[message.Code](err); ok {
		return c
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return message.BadSignature
	}
	if connect.CodeOf(err) == connect.CodeResourceExhausted {
		return message.TooLarge // Connect's own word for an answer over the limit
	}
	return message.Unavailable
}

// opened reads the Refusal from an error that a peer sent.
func opened(c *connect.Error) error {
	for _, d := range c.Details() {
		if v, err := d.Value(); err == nil {
			if w, ok := v.(*wirev1.Refusal); ok && w.GetReason() != wirev1.Reason_REASON_UNSPECIFIED {
				return message.OpenRefusal(w)
			}
		}
	}
	return &message.Refused{Code: codeFromConnect(c.Code())}
}
