package main

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"airdispatch/client"
)

const (
	// handOverLook is how often nearby serve looks whether something waits in the home; the pauses between
	// tries of a server that cannot be reached grow from the first to the last.
	handOverLook                    = 5 * time.Second
	firstHandOver, lastHandOverWait = 2 * time.Second, 5 * time.Minute
)

// handOver hands the own server what waits for it, after a command that has reached it. What still
// waits is no error of that command.
func (a *app) handOver(ctx context.Context, c *client.Client) {
	if !c.Reached() || ctx.Err() != nil {
		return
	}
	if n, err := c.Waiting(ctx); err != nil || n == 0 {
		return
	}
	a.sayHandedOver(c.HandOver(ctx))
}

// sayHandedOver tells the person what the own server has now.
func (a *app) sayHandedOver(done []client.HandedOver, err error) {
	for _, one := range done {
		if one.Err != nil {
			a.sayf("your mail server does not take %s: %s", one.Ref, visible(plain(one.Err.Error())))
			continue
		}
		a.sayf("your mail server has %s now", one.Ref)
	}
	if err != nil {
		a.logger().Info("a letter still waits for the mail server", "error", err)
	}
}

// handOverLater does so for as long as nearby serve runs.
func (n *neighbourhood) handOverLater(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstHandOver, lastHandOverWait
	wait := firstHandOver
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		wait = handOverLook
		waiting, err := n.c.Waiting(ctx)
		if err == nil && waiting > 0 {
			var done []client.HandedOver
			done, err = n.c.HandOver(ctx)
			n.sayHandedOver(done, err)
		}
		switch {
		case errors.Is(err, client.ErrNoAccount), err == nil:
			pause.Reset()
		default:
			wait = pause.NextBackOff()
		}
	}
}
