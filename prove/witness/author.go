package witness

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// together is how many messages one call submits.
	together = 3
	// again is how long whoever had no answer waits before asking again.
	again = 10 * time.Millisecond
)

// Author is somebody who writes, and edits what they wrote.
type Author struct {
	*proof.Person
	name   string
	reader *message.Chain

	mu sync.Mutex
	// standing is the newest acknowledged head of each message.
	standing []*message.Head
	written  int
	// recent is what was sent since the last backup, to be handed in again; kept
	// only where there was one.
	recent  []*message.Sealed
	resumes bool
	// cursor is how far of the author's log at the server was compared.
	cursor *wirev1.Cursor
}

// seal makes the next version of prev, or a new message where it is nil.
func (a *Author) seal(prev *message.Head) (*message.Sealed, string, error) {
	a.mu.Lock()
	a.written++
	text := fmt.Sprintf("%s, text %d", a.name, a.written)
	a.mu.Unlock()
	d := message.Draft{
		Author: a.Keys.Chain, Readers: []*message.Chain{a.reader}, Prev: prev, Time: time.Now(), Terms: message.Revisable,
		Audience: message.Private, Content: &message.Content{},
	}
	d.Content.Set(message.TypeMarkdown, []byte(text))
	if prev == nil {
		var err error
		if d.MID, err = message.NewMID(d.Time, crand.Reader); err != nil {
			return nil, "", err
		}
	}
	sealed, err := message.Seal(d, a.Keys.Signer, crand.Reader)
	return sealed, text, err
}

// submit brings versions to the server, again and again until it answers, and
// returns its results.
func (a *Author) submit(ctx context.Context, all []*message.Sealed) ([]*wirev1.SubmitResult, error) {
	req := &wirev1.SubmitRequest{}
	for _, s := range all {
		req.Submissions = append(req.Submissions, &wirev1.Submission{Head: s.Head.Signed, Slots: s.Slots, Payload: s.Payload})
	}
	for {
		res, err := a.Peer.Mailbox().Submit(ctx, req)
		switch {
		case err == nil && len(res.GetResults()) != len(all):
			return nil, fmt.Errorf("%s: %d results for %d", a.name, len(res.GetResults()), len(all))
		case err == nil:
			return res.GetResults(), nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, message.Unavailable):
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		wait := time.NewTimer(again)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, ctx.Err()
		}
	}
}

// write submits new messages until ctx ends.
func (a *Author) write(ctx context.Context, l *Ledger) error {
	for ctx.Err() == nil {
		all := make([]*message.Sealed, together)
		texts := make([]string, together)
		for n := range all {
			var err error
			if all[n], texts[n], err = a.seal(nil); err != nil {
				return err
			}
		}
		if err := a.bring(ctx, l, all, texts); err != nil {
			return err
		}
	}
	return nil
}

// edit replaces messages until ctx ends.
func (a *Author) edit(ctx context.Context, l *Ledger, choose *rand.Rand) error {
	for ctx.Err() == nil {
		a.mu.Lock()
		n := len(a.standing)
		var prev *message.Head
		at := 0
		if n != 0 {
			at = choose.IntN(n)
			prev = a.standing[at]
		}
		a.mu.Unlock()
		if prev == nil || prev.Version >= 20 { // far below what one message may have
			time.Sleep(again)
			continue
		}
		next, text, err := a.seal(prev)
		if err != nil {
			return err
		}
		if err := a.bring(ctx, l, []*message.Sealed{next}, []string{text}); err != nil {
			return err
		}
	}
	return nil
}

// bring submits versions and notes what was promised. Whoever is told to stop
// leaves without an answer, which is no error.
func (a *Author) bring(ctx context.Context, l *Ledger, all []*message.Sealed, texts []string) error {
	for n, s := range all {
		l.wrote(s.Head, texts[n])
	}
	results, err := a.submit(ctx, all)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	for n, r := range results {
		if err := message.OpenRefusal(r.GetRefusal()); err != nil {
			if errors.Is(err, message.Conflict) && a.adopt(l, r.GetCurrent()) {
				continue
			}
			l.Violated("%s: version %d of %s refused: %v", a.name, all[n].Head.Version, all[n].Head.MID, err)
			continue
		}
		if err := l.promised(a, all[n].Head, r.GetReceipt()); err != nil {
			return err
		}
		a.mu.Lock()
		if a.resumes {
			a.recent = append(a.recent, all[n])
		}
		a.standing = stand(a.standing, all[n].Head)
		a.mu.Unlock()
	}
	return nil
}

// adopt takes what stands at the server for the newest, if it is one's own: a
// version whose answer never came, because the server was killed for good.
func (a *Author) adopt(l *Ledger, current *wirev1.Signed) bool {
	h, err := message.OpenHead(l.verifier, a.Keys.Chain, current)
	if err != nil || !l.knows(h.ID) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.standing = stand(a.standing, h)
	return true
}

// stand puts the newest version of a message into its place.
func stand(all []*message.Head, h *message.Head) []*message.Head {
	if h.Version == 1 {
		return append(all, h)
	}
	for n, old := range all {
		if old.MID == h.MID {
			all[n] = h
		}
	}
	return all
}
