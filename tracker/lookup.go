package tracker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Bounds of a look-up.
const (
	// maxQueries is the most in one call.
	maxQueries = 256
	// maxResponse is the size at which a response is full; what did not fit is
	// to be asked for again. It leaves room for framing below message.MaxCall.
	maxResponse = message.MaxCall - 64<<10
	// maxAnswers is how many signed answers are held for use again.
	maxAnswers = 20_000
	// absentFresh is how long a "not found" is used again. It is short because
	// the next thing after a failed look-up is often a publication.
	absentFresh = 10 * time.Second
)

// Lookup answers queries, one result for each. The answer to an empty query is
// about the tracker itself and is given to anybody, at a private tracker too:
// it is how a connection begins.
func (s *Server) Lookup(ctx context.Context, r *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	n := len(r.GetQueries())
	if n < 1 || n > maxQueries {
		return nil, fmt.Errorf("tracker: look-up: %d queries, 1 to %d: %w", n, maxQueries, message.Invalid)
	}
	if !s.limiters.lookupFrom(rpc.Remote(ctx, s.c.Proxied), n) {
		return nil, fmt.Errorf("tracker: look-up: from one network: %w", message.RateLimited)
	}
	s.counts.lookups.Add(uint64(n))
	now := time.Now()
	response := &wirev1.LookupResponse{Results: make([]*wirev1.LookupResult, 0, n)}
	room, admitted := maxResponse, !s.c.Private
	for _, w := range r.GetQueries() {
		q, err := message.OpenQuery(w)
		if err == nil && !admitted && !q.Self() {
			if _, err := s.caller(ctx); err != nil {
				return nil, err
			}
			admitted = true
		}
		var signed *wirev1.Signed
		if err == nil {
			signed, err = s.answer(ctx, q, now)
		}
		if room -= len(signed.GetBody()); err == nil && room < 0 {
			err = fmt.Errorf("tracker: look-up: the response is full: %w", message.TooLarge)
		}
		response.Results = append(response.Results, result(signed, err, now))
	}
	return response, nil
}

// result is one entry of a response.
func result(signed *wirev1.Signed, err error, now time.Time) *wirev1.LookupResult {
	if err != nil {
		return &wirev1.LookupResult{Refusal: message.Refusal(err, now)}
	}
	return &wirev1.LookupResult{Answers: []*wirev1.Signed{signed}}
}

// answer is the signed answer to one query, made now or a short while ago.
func (s *Server) answer(ctx context.Context, q message.Query, now time.Time) (*wirev1.Signed, error) {
	q.Host = ""
	if held, ok := s.answers.fresh(q, now); ok {
		return held, nil
	}
	state := s.answers.state()
	a, err := s.compose(ctx, q, now)
	if err != nil {
		return nil, err
	}
	s.counts.signed.Add(1)
	signed, err := message.SignAnswer(a, s.c.Keyring.Signer)
	if err != nil {
		return nil, err
	}
	if !q.Self() {
		s.answers.keep(q, a, signed, state)
	}
	return signed, nil
}

// compose says what is known about a query.
func (s *Server) compose(ctx context.Context, q message.Query, now time.Time) (message.Answer, error) {
	a := message.Answer{Tracker: s.address, Time: now, Query: q}
	about := q.Address
	switch {
	case q.Self():
		about = s.address
	case q.Name != "":
		record, err := s.name(ctx, q.Name)
		if absent(err) {
			return a, nil
		}
		if err != nil {
			return a, err
		}
		a.Name, about = record, record.Address
	}
	subject, err := s.identity(ctx, about)
	if err == nil {
		err = s.visible(ctx, subject)
	}
	if absent(err) {
		a.Name = nil
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a.Found, a.Subject = true, subject
	if subject.Route == nil {
		return a, nil
	}
	a.Stale = subject.Route.Expired(now)
	a.Servers = make(map[message.Address]*message.Identity)
	for _, service := range subject.Route.Services {
		server, err := s.identity(ctx, service.Server)
		if absent(err) {
			continue
		}
		if err != nil {
			return a, err
		}
		a.Servers[service.Server] = server
	}
	return a, nil
}

// visible refuses, with message.NotFound, a subject that the operator refuses
// or that a private tracker does not serve any more.
func (s *Server) visible(ctx context.Context, i *message.Identity) error {
	err := s.admit(ctx, i)
	if message.CodeOf(err) == message.Denied {
		return fmt.Errorf("tracker: look-up: %w", message.NotFound)
	}
	return err
}

// answers holds signed answers, so that batches of look-ups sign nothing.
//
// Whatever changes takes the next number; an answer is good while nothing in it
// has a number above the one that stood when the answer was begun. Numbers are
// kept for marks, 16 bits of each address or name: two of one mark only make an
// answer fall early, and the table can neither grow nor forget.
type answers struct {
	cache *otter.Cache[message.Query, *heldAnswer]
	clock atomic.Uint64
	marks [1 << 16]atomic.Uint64
}

// heldAnswer is a signed answer and what it depends on.
type heldAnswer struct {
	signed *wirev1.Signed
	marks  []uint16
	state  uint64
	until  time.Time
}

func newAnswers() *answers {
	return &answers{cache: bounded[message.Query, *heldAnswer](maxAnswers)}
}

// addressMark is the mark of an address; addresses are hashes themselves.
func addressMark(a message.Address) uint16 { return uint16(a[0])<<8 | uint16(a[1]) }

// nameMark is the mark of a name.
func nameMark(name string) uint16 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return uint16(h ^ h>>16)
}

// state is the number to give to keep; it is read before anything else.
func (a *answers) state() uint64 { return a.clock.Load() }

// drop makes all answers fall that depend on a mark; it is called after the
// change was committed.
func (a *answers) drop(mark uint16) {
	n := a.clock.Add(1)
	for {
		old := a.marks[mark].Load()
		if old >= n || a.marks[mark].CompareAndSwap(old, n) {
			return
		}
	}
}

// fresh is an answer that can be used again.
func (a *answers) fresh(q message.Query, now time.Time) (*wirev1.Signed, bool) {
	h, ok := a.cache.GetIfPresent(q)
	if !ok || !now.Before(h.until) {
		return nil, false
	}
	for _, m := range h.marks {
		if a.marks[m].Load() > h.state {
			return nil, false
		}
	}
	return h.signed, true
}

// keep holds an answer that was begun at a state.
func (a *answers) keep(q message.Query, made message.Answer, signed *wirev1.Signed, state uint64) {
	h := &heldAnswer{signed: signed, state: state, until: made.Time.Add(message.AnswerFresh)}
	if !made.Found {
		h.until = made.Time.Add(absentFresh)
	}
	if q.Name != "" {
		h.marks = append(h.marks, nameMark(q.Name))
	}
	if !q.Address.IsZero() {
		h.marks = append(h.marks, addressMark(q.Address))
	}
	if made.Subject != nil {
		h.marks = append(h.marks, addressMark(made.Subject.Address()))
	}
	for server := range made.Servers {
		h.marks = append(h.marks, addressMark(server))
	}
	a.cache.Set(q, h)
}
