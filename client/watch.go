package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/cenkalti/backoff/v5"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Watch calls changed whenever the inbox has changed, with what Sync brought,
// until the context ends or changed returns an error. It connects again by
// itself.
func (c *Client) Watch(ctx context.Context, changed func(*Synced) error) error {
	sync := func() error {
		s, err := c.Sync(ctx)
		if err != nil {
			return err
		}
		if len(s.Changed)+s.Notices > 0 {
			if err := changed(s); err != nil {
				return &stopped{err}
			}
		}
		return nil
	}
	return c.keepOn(ctx, func(alive func()) error {
		if err := sync(); err != nil {
			return err
		}
		return c.ask(ctx, func(p *rpc.Peer) error {
			epoch, seq, err := c.home.Cursor(ctx, c.me, inboxLog)
			if err != nil {
				return err
			}
			s, err := p.Mailbox().Watch(ctx, &wirev1.WatchRequest{After: &wirev1.Cursor{Epoch: epoch, Seq: seq}})
			if err != nil {
				return err
			}
			defer s.Close()
			for s.Receive() {
				alive()
				if now := s.Msg().GetNow(); now.GetEpoch() != epoch || now.GetSeq() != seq {
					epoch, seq = now.GetEpoch(), now.GetSeq()
					if err := sync(); err != nil {
						return err
					}
				}
			}
			return s.Err()
		})
	})
}

// stopped is an error of the caller's function, which ends a stream for good.
type stopped struct{ error }

// Unwrap is the caller's error.
func (s *stopped) Unwrap() error { return s.error }

// keepOn runs a stream again whenever it breaks, with growing pauses, until the
// context ends or what happened is not mended by waiting.
func (c *Client) keepOn(ctx context.Context, stream func(alive func()) error) error {
	delay := backoff.NewExponentialBackOff()
	for {
		err := stream(delay.Reset)
		if end, ok := errors.AsType[*stopped](err); ok {
			return end.error
		}
		if ctx.Err() != nil {
			return fmt.Errorf("client: %w", ctx.Err())
		}
		if err != nil && !errors.Is(err, message.Unavailable) && !errors.Is(err, message.RateLimited) {
			return err
		}
		c.log.InfoContext(ctx, "a stream broke off and is opened again", "error", err)
		if err := wait(ctx, delay.NextBackOff()); err != nil {
			return err
		}
	}
}
