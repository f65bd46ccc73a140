package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// pace is how often the healthy two do something, and dead how long they wait.
const pace, dead = 25 * time.Millisecond, 10 * time.Second

// healthy are two people who use the server quietly: one writes to the other, who
// looks into the inbox.
type healthy struct {
	writer, reader *proof.Person
	// sent are the messages with receipts.
	sent map[string]bool
	// failed says what went wrong.
	failed []string
}

// newHealthy lets them join.
func newHealthy(ctx context.Context, t *town) (h *healthy, err error) {
	h = &healthy{sent: map[string]bool{}}
	if h.writer, err = t.Join(ctx, t.mail.Reference); err != nil {
		return nil, err
	}
	if h.reader, err = t.Join(ctx, t.mail.Reference); err != nil {
		return nil, err
	}
	rule := &wirev1.Rule{Address: h.writer.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW}
	_, err = h.reader.Peer.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{rule}})
	return h, err
}

func (h *healthy) close() {
	h.writer.Client.Close()
	h.reader.Client.Close()
}

// use is what they do for a time; it returns how long each call took. One that
// fails counts as dead.
func (h *healthy) use(ctx context.Context, long time.Duration) (out []time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return out
		case <-ticks.C:
		}
		limited, done := context.WithTimeout(context.WithoutCancel(ctx), dead)
		took, err := h.once(limited, n%2 == 0)
		done()
		if err != nil {
			took = dead
			h.failed = append(h.failed, fmt.Sprintf("a healthy call failed: %v", err))
		}
		out = append(out, took)
	}
}

// once makes one call: the writer's, or the reader's.
func (h *healthy) once(ctx context.Context, write bool) (time.Duration, error) {
	if write {
		p, err := post(ctx, h.writer, h.reader.Keys.Chain)
		if err == nil {
			h.sent[p.mid] = true
		}
		return p.done.Sub(p.begun), err
	}
	begun := time.Now()
	_, err := h.reader.Peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{Limit: 20})
	return time.Since(begun), err
}

// arrived waits until the reader has all that the writer sent, and returns how
// much is missing in the end.
func (h *healthy) arrived(ctx context.Context, patience time.Duration) (missing int, err error) {
	var at *wirev1.Cursor
	missing = len(h.sent)
	for end := time.Now().Add(patience); missing > 0 && time.Now().Before(end); {
		res, err := h.reader.Peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{After: at, Limit: 200})
		if err != nil {
			return missing, err
		}
		at = res.GetNext()
		for _, e := range res.GetEntries() {
			if mid := string(e.GetMid()); h.sent[mid] {
				delete(h.sent, mid)
				missing--
			}
		}
		if !res.GetMore() {
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return missing, err
			}
		}
	}
	return missing, nil
}

// percentile is the 99th.
func percentile(s []time.Duration) time.Duration {
	if len(s) == 0 {
		return time.Hour
	}
	s = slices.Sorted(slices.Values(s))
	return s[min(len(s)-1, len(s)*99/100)]
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
