package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// routeLife is the validity of a server's own route: long enough that it
	// outlives a long outage of whoever would renew it.
	routeLife = 90 * 24 * time.Hour
	// renewAfter is the age at which the route is signed anew.
	renewAfter = 7 * 24 * time.Hour
	// publishEvery is how often the route is offered again, for trackers that
	// were added or have lost it. The same route again changes nothing.
	publishEvery = 24 * time.Hour
	// maxPublishRetry bounds the wait after a failure.
	maxPublishRetry = 10 * time.Minute
)

// Own is the server's own identity: its cards, and the route that it signs for
// itself and keeps fresh. Safe for concurrent use.
type Own struct {
	keyring *message.Keyring
	known   *store.Known
	host    message.Host
	log     *slog.Logger

	// mu guards identity.
	mu       sync.Mutex
	identity *message.Identity
}

// Own takes up the route where it was left, and signs the next one if the
// host or its pin has changed or it is time.
func (s *Site) Own(ctx context.Context) (*Own, error) {
	o := &Own{keyring: s.Keyring, known: s.Known, host: s.certificate.host(s.Settings), log: s.Log}
	return o, o.Renew(ctx, time.Now())
}

// Identity is the server's cards and its present route.
func (o *Own) Identity() *message.Identity {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.identity
}

// Publication is what trackers are offered.
func (o *Own) Publication() *wirev1.Publication {
	i := o.Identity()
	return &wirev1.Publication{Subject: &wirev1.Identity{Cards: i.Chain.Signed(0), Route: i.Route.Signed}}
}

// Renew signs the next route if one is due.
func (o *Own) Renew(ctx context.Context, now time.Time) error {
	held, err := o.known.Identity(ctx, o.keyring.Address())
	if err != nil && !errors.Is(err, message.NotFound) {
		return fmt.Errorf("own route: %w", err)
	}
	if err == nil && o.current(held, now) {
		o.mu.Lock()
		o.identity = held
		o.mu.Unlock()
		return nil
	}
	// The number follows the clock, so that a restored server, which does not
	// remember its last routes, does not go back behind them.
	seq := uint64(max(now.Unix(), 1))
	if held != nil && held.Route != nil {
		seq = max(seq, held.Route.Pair.Route+1)
	}
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: seq}, Time: now, Expires: now.Add(routeLife), Hosts: []message.Host{o.host},
	}, o.keyring.Chain, o.keyring.Signer)
	if err != nil {
		return fmt.Errorf("own route: %w", err)
	}
	i, err := o.known.Learn(ctx, &wirev1.Identity{Cards: o.keyring.Chain.Signed(0), Route: route.Signed}, now)
	if err != nil {
		return fmt.Errorf("own route: %w", err)
	}
	o.mu.Lock()
	o.identity = i
	o.mu.Unlock()
	o.log.InfoContext(ctx, "own route signed", "url", o.host.URL, "pinned", o.host.Pinned(), "until", route.Expires.Format(time.DateOnly))
	return nil
}

// current reports whether the route that is held says what is so, and is young.
func (o *Own) current(held *message.Identity, now time.Time) bool {
	return held.Route != nil && slices.Equal(held.Route.Hosts, []message.Host{o.host}) &&
		held.Chain.Head().ID == o.keyring.Chain.Head().ID &&
		!now.Before(held.Route.Time) && now.Sub(held.Route.Time) < renewAfter
}

// Keep renews the route and has it published until ctx ends, at once and then
// daily, sooner after a failure. Published is called after each success. A
// tracker, which publishes nowhere, passes nil for both.
func (o *Own) Keep(ctx context.Context, publish func(context.Context, *wirev1.Publication) error, published func()) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = time.Second, maxPublishRetry
	for {
		wait := publishEvery
		if publish != nil {
			if err := publish(ctx, o.Publication()); err != nil {
				wait = retry.NextBackOff()
				o.log.WarnContext(ctx, "own route not published", "error", err, "next", wait.Round(time.Millisecond))
			} else {
				retry.Reset()
				published()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := o.Renew(ctx, time.Now()); err != nil {
			o.log.ErrorContext(ctx, "own route not renewed", "error", err)
		}
	}
}
