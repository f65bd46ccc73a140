package tracker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// askedEntry is what trackers said to one query.
type askedEntry struct {
	// answers were verified, found or not.
	answers []*message.Answer
	// loose are subjects that prove themselves and nothing more: the tracker
	// that answered is not known here.
	loose []*message.Identity
	until time.Time
}

// Answers is the trackers' signed answers to a query as they were received, for
// a mail server to pass on. Answers under a minute old come from the cache.
// Names are asked of known trackers only, so that nobody can make a server
// connect to a host of their choice. Errors: message.NotFound where no tracker
// can be asked, message.Unavailable where none answered.
func (r *Resolver) Answers(ctx context.Context, q message.Query) ([]*wirev1.Signed, error) {
	if q.Self() {
		return nil, fmt.Errorf("tracker: answers: about nobody: %w", message.Invalid)
	}
	e, err := r.ask(ctx, q, false)
	if err != nil {
		return nil, err
	}
	var out []*wirev1.Signed
	for _, a := range e.answers {
		out = append(out, a.Signed)
	}
	return out, nil
}

// ask puts one query to whoever is to be asked, once for all who want to know.
func (r *Resolver) ask(ctx context.Context, q message.Query, fresh bool) (*askedEntry, error) {
	if q.Host != "" {
		q.Host = hostOf("https://" + q.Host)
	}
	if e, ok := r.asked.GetIfPresent(q); ok && !fresh && time.Now().Before(e.until) {
		return e, nil
	}
	if fresh {
		return r.askOnce(ctx, q, true)
	}
	return r.asking.do(ctx, q, func(ctx context.Context) (*askedEntry, error) { return r.askOnce(ctx, q, false) })
}

// askOnce asks the own server, unless past its cache, and then trackers if that
// did not settle it.
func (r *Resolver) askOnce(ctx context.Context, q message.Query, fresh bool) (*askedEntry, error) {
	trackers := r.remotes()
	if q.Name != "" {
		trackers = at(trackers, q.Host)
	}
	e := &askedEntry{}
	var err error
	if r.c.Via != nil && (!fresh || len(trackers) == 0) {
		e, err = r.askVia(ctx, q)
		if err != nil {
			r.log.InfoContext(ctx, "own server did not answer a look-up", "error", err)
		}
	}
	if len(e.answers) < min(2, len(trackers)) {
		direct, directErr := r.gather(ctx, q, trackers)
		e.answers = append(e.answers, direct...)
		err = errors.Join(err, directErr)
	}
	if len(e.answers) == 0 && len(e.loose) == 0 {
		switch {
		case err != nil:
			return nil, fmt.Errorf("tracker: ask: %w", err)
		case len(trackers) == 0:
			return nil, fmt.Errorf("tracker: ask: no tracker is known: %w", message.NotFound)
		}
	}
	e.until = freshUntil(e.answers, time.Now())
	r.asked.Set(q, e)
	return e, nil
}

// freshUntil is how long answers may be used again: a minute from their
// signing, at least leastFresh; ten seconds where nothing was found, since what
// follows a failed look-up is often a publication.
func freshUntil(answers []*message.Answer, now time.Time) time.Time {
	until, found := now.Add(message.AnswerFresh), false
	for _, a := range answers {
		found = found || a.Found
		if t := a.Time.Add(message.AnswerFresh); t.Before(until) {
			until = t
		}
	}
	if !found {
		return now.Add(absentFresh)
	}
	if least := now.Add(leastFresh); until.Before(least) {
		return least
	}
	return until
}

// at is those trackers that answer at a host.
func at(trackers []*remote, host string) []*remote {
	var out []*remote
	for _, t := range trackers {
		if hostOf(t.ref.URL) == hostOf("https://"+host) {
			out = append(out, t)
		}
	}
	return out
}

// reply is what one tracker said.
type reply struct {
	answer *message.Answer
	err    error
}

// gather asks two trackers at once, and more while nothing is found or one of
// them failed. It returns what was verified; the error says why there is
// nothing.
func (r *Resolver) gather(ctx context.Context, q message.Query, trackers []*remote) ([]*message.Answer, error) {
	trackers = trackers[:min(len(trackers), maxAsked)]
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	replies := make(chan reply, len(trackers))
	var next, pending, found int
	start := func() {
		if next < len(trackers) {
			t := trackers[next]
			next, pending = next+1, pending+1
			asking.Go(func() {
				a, err := r.askOne(ctx, t, q)
				replies <- reply{a, err}
			})
		}
	}
	start()
	start()
	var answers []*message.Answer
	var errs []error
	var enough <-chan time.Time
	for pending > 0 {
		select {
		case p := <-replies:
			pending--
			switch {
			case p.err != nil:
				errs = append(errs, p.err)
			default:
				answers = append(answers, p.answer)
				if p.answer.Found {
					found++
				}
			}
			if found == 0 || (len(answers) < 2 && pending == 0) {
				start()
			}
			if found > 0 && enough == nil {
				enough = time.After(patience)
			}
		case <-enough:
			return answers, nil
		}
	}
	if len(answers) > 0 {
		return answers, nil
	}
	return nil, errors.Join(errs...)
}

// askOne puts a query to one tracker and verifies the answer.
func (r *Resolver) askOne(ctx context.Context, t *remote, q message.Query) (*message.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	peer, chain, err := t.connect(ctx, r)
	if err != nil {
		return nil, err
	}
	signed, err := r.put(ctx, t, peer, q)
	if err == nil && len(signed) != 1 {
		err = fmt.Errorf("tracker: %d answers from one tracker: %w", len(signed), message.Invalid)
	}
	var a *message.Answer
	if err == nil {
		a, err = message.OpenAnswer(r.c.Verifier, chain, signed[0], q, time.Now())
	}
	if err != nil {
		r.log.WarnContext(ctx, "tracker gave no good answer", "tracker", t.ref.URL, "error", err)
		if errors.Is(err, message.BadSignature) || errors.Is(err, message.Unavailable) {
			// It may have new keys, or live elsewhere now.
			t.forget(peer)
		}
		return nil, fmt.Errorf("tracker: ask %s: %w", t.ref.URL, err)
	}
	return a, nil
}

// put puts a query to one tracker, without saying who asks where that is enough.
func (r *Resolver) put(ctx context.Context, t *remote, peer *rpc.Peer, q message.Query) ([]*wirev1.Signed, error) {
	if r.c.Nobody != nil && !t.wantsNames.Load() {
		nobody, err := r.c.Nobody.Peer(peer.Identity())
		if err != nil {
			return nil, err
		}
		signed, err := lookupOne(ctx, nobody.Directory(), q)
		if !errors.Is(err, message.Unauthenticated) {
			return signed, err
		}
		t.wantsNames.Store(true)
	}
	return lookupOne(ctx, peer.Directory(), q)
}

// lookupOne makes one call for one query.
func lookupOne(ctx context.Context, d wirev1connect.DirectoryClient, q message.Query) ([]*wirev1.Signed, error) {
	response, err := d.Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{q.Wire()}})
	if err != nil {
		return nil, err
	}
	if len(response.GetResults()) != 1 {
		return nil, fmt.Errorf("tracker: %d results for one query: %w", len(response.GetResults()), message.Invalid)
	}
	result := response.GetResults()[0]
	return result.GetAnswers(), message.OpenRefusal(result.GetRefusal())
}

// askVia asks the own server, which passes its trackers' answers on. Each is
// verified by its tracker's chain, where that is known or can be had by a
// reference; other answers count for the subject alone, which proves itself.
func (r *Resolver) askVia(ctx context.Context, q message.Query) (*askedEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	e := &askedEntry{}
	signed, err := lookupOne(ctx, r.c.Via.Directory(), q)
	if err != nil {
		return e, err
	}
	for _, s := range signed[:min(len(signed), maxAsked)] {
		a, err := r.openVia(ctx, s, q)
		if errors.Is(err, errUnknownTracker) {
			if i := looseSubject(r, s, q); i != nil {
				e.loose = append(e.loose, i)
			}
			continue
		}
		if err != nil {
			r.log.WarnContext(ctx, "own server passed on no good answer", "error", err)
			continue
		}
		e.answers = append(e.answers, a)
	}
	return e, nil
}

// errUnknownTracker says that an answer cannot be verified here.
var errUnknownTracker = errors.New("the tracker is not known here")

// openVia verifies an answer that somebody passed on.
func (r *Resolver) openVia(ctx context.Context, s *wirev1.Signed, q message.Query) (*message.Answer, error) {
	tracker, err := message.AnswerTracker(s)
	if err != nil {
		return nil, err
	}
	for _, t := range r.remotes() {
		if t.ref.Address != tracker && t.address() != tracker {
			continue
		}
		chain, err := r.c.Known.Chain(ctx, tracker)
		if err == nil {
			a, err := message.OpenAnswer(r.c.Verifier, chain, s, q, time.Now())
			if !errors.Is(err, message.BadSignature) {
				return a, err
			}
			// It may have new keys, which its own word tells.
			t.forget(nil)
		}
		if _, chain, err = t.connect(ctx, r); err != nil {
			return nil, errUnknownTracker
		}
		return message.OpenAnswer(r.c.Verifier, chain, s, q, time.Now())
	}
	return nil, errUnknownTracker
}

// looseSubject is the subject of an answer whose tracker is not known, if it
// is what was asked for and proves itself; else nil. A name proves nothing.
func looseSubject(r *Resolver, s *wirev1.Signed, q message.Query) *message.Identity {
	var w wirev1.Answer
	if len(s.GetBody()) > message.MaxAnswer || message.CheckFields(s.GetBody(), &w) != nil || proto.Unmarshal(s.GetBody(), &w) != nil || w.GetSubject() == nil || q.Name != "" {
		return nil
	}
	i, err := message.OpenIdentity(r.c.Verifier, &wirev1.Identity{Cards: w.GetSubject().GetCards(), Route: w.GetSubject().GetRoute()}, nil)
	if err != nil || i.Address() != q.Address {
		return nil
	}
	return i
}

// remote is one tracker as it is seen from here.
type remote struct {
	ref message.Reference
	// wantsNames is set where the tracker is private: it answers to whom it knows.
	wantsNames atomic.Bool

	opening flights[struct{}, *rpc.Peer]
	// mu guards the rest; never held across a call.
	mu    sync.Mutex
	peer  *rpc.Peer
	chain *message.Chain
	fault error
	until time.Time
}

// address is who the tracker turned out to be; zero before it was met.
func (t *remote) address() message.Address {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.chain == nil {
		return message.Address{}
	}
	return t.chain.Address()
}

// connect is the connection to the tracker and the chain to verify it with. A
// failure is remembered for a moment.
func (t *remote) connect(ctx context.Context, r *Resolver) (*rpc.Peer, *message.Chain, error) {
	t.mu.Lock()
	peer, chain, fault := t.peer, t.chain, t.fault
	if !time.Now().Before(t.until) {
		fault = nil
	}
	t.mu.Unlock()
	if peer != nil {
		return peer, chain, nil
	}
	if fault != nil {
		return nil, nil, fault
	}
	_, err := t.opening.do(ctx, struct{}{}, func(ctx context.Context) (*rpc.Peer, error) { return t.open(ctx, r) })
	if err != nil {
		return nil, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peer == nil {
		return nil, nil, fmt.Errorf("tracker: open %s: lost again: %w", t.ref.URL, message.Unavailable)
	}
	return t.peer, t.chain, nil
}

// open meets the tracker and remembers who it is.
func (t *remote) open(ctx context.Context, r *Resolver) (*rpc.Peer, error) {
	peer, answer, err := r.c.Client.Open(ctx, t.ref)
	var chain *message.Chain
	if err == nil {
		chain, err = r.trackerChain(ctx, answer)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("tracker: open %s: %w", t.ref.URL, err)
		if ctx.Err() == nil {
			t.fault, t.until = err, time.Now().Add(faultFresh)
		}
		return nil, err
	}
	t.peer, t.chain, t.fault = peer, chain, nil
	return peer, nil
}

// trackerChain is the chain of a tracker that described itself: never an older
// one than was seen before.
func (r *Resolver) trackerChain(ctx context.Context, answer *message.Answer) (*message.Chain, error) {
	w := answer.Subject.Wire()
	w.FirstSeen = nil
	i, err := r.c.Known.Learn(ctx, w, time.Now())
	if err != nil && !errors.Is(err, message.Stale) && !errors.Is(err, message.Conflict) {
		return nil, err
	}
	if i.Chain.Head().ID != answer.Subject.Chain.Head().ID {
		return nil, fmt.Errorf("tracker: %s shows an older card than before: %w", i.Address().Short(), message.Stale)
	}
	return i.Chain, nil
}

// forget closes the acquaintance with peer, or with whoever it is for nil.
func (t *remote) forget(peer *rpc.Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if peer == nil || t.peer == peer {
		t.peer = nil
	}
}
