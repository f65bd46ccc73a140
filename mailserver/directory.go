package mailserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// selfFresh is how long the answer about the server itself is given again
// before it is signed anew.
const selfFresh = message.AnswerFresh

// selfAnswer is the answer to the query for the answerer. Safe for concurrent use.
type selfAnswer struct {
	// mu guards what follows.
	mu     sync.Mutex
	about  *message.Identity
	at     time.Time
	signed *wirev1.Signed
}

// Lookup answers the query for the answerer to anybody: it is how connections
// begin. Owners, and nobody else, also get the trackers' answers about others,
// so that trackers do not learn who asks; they are passed on as they were signed.
func (s *Server) Lookup(ctx context.Context, req *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	n := len(req.GetQueries())
	if n < 1 || n > maxItems {
		return nil, fmt.Errorf("mailserver: look-up: %d queries, 1 to %d: %w", n, maxItems, message.Invalid)
	}
	queries := make([]message.Query, n)
	others := false
	for i, w := range req.GetQueries() {
		q, err := message.OpenQuery(w)
		if err != nil {
			return nil, err
		}
		queries[i], others = q, others || !q.Self()
	}
	if others {
		if _, err := s.owner(ctx); err != nil {
			return nil, err
		}
	}
	results := parallel(queries, func(q message.Query) *wirev1.LookupResult {
		answers, err := s.answers(ctx, q)
		if err != nil {
			return &wirev1.LookupResult{Refusal: s.refusal("look-up", err)}
		}
		return &wirev1.LookupResult{Answers: answers}
	})
	left := answerBudget
	for i, r := range results {
		if left -= proto.Size(r); left < 0 && i > 0 {
			results[i] = &wirev1.LookupResult{Refusal: s.refusal("look-up", fmt.Errorf("mailserver: look-up: no room in this answer: %w", message.TooLarge))}
		}
	}
	return &wirev1.LookupResponse{Results: results}, nil
}

// answers are the signed answers to one query.
func (s *Server) answers(ctx context.Context, q message.Query) ([]*wirev1.Signed, error) {
	if !q.Self() {
		return s.c.Resolver.Answers(ctx, q)
	}
	signed, err := s.self.sign(s.c.Identity(), s.c.Keyring, time.Now())
	if err != nil {
		return nil, err
	}
	return []*wirev1.Signed{signed}, nil
}

// sign is the answer about the server itself, signed at most a minute ago.
func (a *selfAnswer) sign(about *message.Identity, k *message.Keyring, now time.Time) (*wirev1.Signed, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.signed != nil && a.about == about && now.Sub(a.at) < selfFresh && !now.Before(a.at) {
		return a.signed, nil
	}
	signed, err := message.SignAnswer(message.Answer{Tracker: k.Address(), Time: now, Found: true, Subject: about}, k.Signer)
	if err != nil {
		return nil, errors.Join(err, message.Internal)
	}
	a.about, a.at, a.signed = about, now, signed
	return signed, nil
}
