package mailserver

import (
	"context"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// republishEvery is how often the server shows itself to all trackers again.
	republishEvery = 7 * 24 * time.Hour
	// publishTimeout bounds one round.
	publishTimeout = 30 * time.Second
)

// Publish shows the server's own cards and route to every tracker it knows. The
// error is nil when at least one took them.
func (s *Server) Publish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	results, err := s.c.Resolver.Publish(ctx, &wirev1.Publication{Subject: s.bundleOf(ctx, s.address)})
	for _, r := range results {
		if r.Err != nil {
			s.c.Log.Warn("publish", "tracker", r.Reference.URL, "err", r.Err)
		}
	}
	return err
}

// republishing publishes whenever a tracker is new, and weekly; where no tracker
// can be reached, again with growing waits. The first time is up to whoever
// starts the server, who waits for it.
func (s *Server) republishing(ctx context.Context) {
	failures, wait := 0, republishEvery
	for pause(ctx, wait, s.publish) {
		wait = republishEvery
		if err := s.Publish(ctx); err != nil && len(s.c.Resolver.Trackers()) > 0 {
			failures++
			wait = s.backoff.Delay(failures)
		} else {
			failures = 0
		}
	}
}

// learnTrackers makes the trackers known that the accounts announced before.
func (s *Server) learnTrackers(ctx context.Context) error {
	const page = 500
	for last := (message.Address{}); ; {
		accounts, err := s.c.Store.Accounts.Accounts(ctx, last, page)
		if err != nil || len(accounts) == 0 {
			return err
		}
		for _, a := range accounts {
			refs, err := parseTrackers(a.Trackers)
			if err != nil {
				s.c.Log.Warn("trackers of an account", "account", a.Address.Short(), "err", err)
				continue
			}
			s.c.Resolver.AddTrackers(refs...)
		}
		last = accounts[len(accounts)-1].Address
	}
}
