package witness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Check holds the first server to what it promised since the last check: it
// reads the authors' logs from where it left off.
func (s *Site) Check(ctx context.Context, l *Ledger) error {
	due := l.due()
	for _, a := range s.Authors {
		if err := a.read(ctx, s.shown); err != nil {
			return err
		}
	}
	for ref, owed := range due {
		l.compare(ref, owed, s.shown[ref])
	}
	return nil
}

// read adds what the server shows of the author's messages since the cursor.
func (a *Author) read(ctx context.Context, shown map[message.Ref]map[uint64]message.ID) error {
	from := a.cursor
	for {
		res, err := a.Peer.Mailbox().Sent(ctx, &wirev1.SentRequest{After: from, Limit: 1000})
		if err != nil {
			if errors.Is(err, message.Unavailable) && ctx.Err() == nil {
				time.Sleep(again)
				continue
			}
			return fmt.Errorf("%s: sent: %w", a.name, err)
		}
		for _, item := range res.GetItems() {
			if err := note(shown, item.GetHeads()); err != nil {
				return fmt.Errorf("%s: sent: %w", a.name, err)
			}
		}
		from = res.GetNext()
		if !res.GetMore() {
			a.cursor = res.GetNext()
			return nil
		}
	}
}

// note adds the heads of one message.
func note(shown map[message.Ref]map[uint64]message.ID, heads []*wirev1.Signed) error {
	for _, h := range heads {
		c, err := message.ParseHead(h)
		if err != nil {
			return err
		}
		ref := message.Ref{From: c.From(), MID: c.MID()}
		if shown[ref] == nil {
			shown[ref] = map[uint64]message.ID{}
		}
		shown[ref][c.Version()] = c.ID()
	}
	return nil
}

// Settle waits until all is brought, and compares everything: both servers'
// logs from their beginning, and every text as the reader opens it.
func (s *Site) Settle(ctx context.Context, l *Ledger) error {
	if err := s.Recheck(ctx, l); err != nil {
		return err
	}
	deadline := time.Now().Add(settling)
	for {
		missing, entries, err := s.inbox(ctx, l)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return s.openAll(ctx, l, entries)
		}
		if time.Now().After(deadline) {
			for _, ref := range missing {
				l.Violated("lost: %s never came to its reader in its newest version", ref.MID)
			}
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Recheck compares all that is owed.
func (s *Site) Recheck(ctx context.Context, l *Ledger) error {
	l.all()
	clear(s.shown)
	for _, a := range s.Authors {
		a.cursor = nil
	}
	return s.Check(ctx, l)
}

// inbox reads the reader's whole log and tells which messages are not there in
// their newest version. What is there twice is a violation.
func (s *Site) inbox(ctx context.Context, l *Ledger) (missing []message.Ref, entries map[message.Ref]*wirev1.Entry, err error) {
	entries = map[message.Ref]*wirev1.Entry{}
	has := map[message.Ref]message.HeadClaim{}
	req := &wirev1.InboxRequest{Limit: 1000}
	for {
		res, err := s.Reader.Peer.Mailbox().Inbox(ctx, req)
		if err != nil {
			return nil, nil, fmt.Errorf("inbox: %w", err)
		}
		for _, e := range res.GetEntries() {
			c, err := message.ParseHead(e.GetHead())
			if err != nil {
				return nil, nil, fmt.Errorf("inbox: %w", err)
			}
			ref := message.Ref{From: c.From(), MID: c.MID()}
			if old, twice := entries[ref]; twice && old.GetSeq() != e.GetSeq() && has[ref].Version() == c.Version() {
				l.Violated("twice: %s in version %d", ref.MID, c.Version())
			}
			entries[ref], has[ref] = e, c
		}
		req.After = res.GetNext()
		if !res.GetMore() {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref, d := range l.owed {
		if c, ok := has[ref]; !ok || c.Version() < d.newest {
			missing = append(missing, ref)
		}
	}
	return missing, entries, nil
}

// settling is how long alerts may take to be brought.
const settling = 3 * time.Minute

// fetched is how many messages one call brings, readers how many calls are made at
// the same time.
const fetched, readers = 64, 8

// openAll reads every text through the reader's own server and opens it.
func (s *Site) openAll(ctx context.Context, l *Ledger, entries map[message.Ref]*wirev1.Entry) error {
	var refs []message.Ref
	for ref := range entries {
		refs = append(refs, ref)
	}
	chains := map[message.Address]*message.Chain{}
	for _, a := range s.Authors {
		chains[a.Address()] = a.Keys.Chain
	}
	pages := slices.Collect(slices.Chunk(refs, fetched))
	next := make(chan []message.Ref, len(pages))
	for _, p := range pages {
		next <- p
	}
	close(next)
	errs := make([]error, readers)
	var all sync.WaitGroup
	for n := range errs {
		all.Go(func() {
			for page := range next {
				if errs[n] = s.openPage(ctx, l, chains, page); errs[n] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// openPage reads and opens one call's worth of messages.
func (s *Site) openPage(ctx context.Context, l *Ledger, chains map[message.Address]*message.Chain, refs []message.Ref) error {
	req := &wirev1.FetchRequest{}
	for _, ref := range refs {
		req.Items = append(req.Items, &wirev1.FetchItem{From: ref.From.Bytes(), Mid: ref.MID.Bytes()})
	}
	res, err := s.Reader.Peer.Mailbox().Fetch(ctx, req)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if len(res.GetResults()) != len(refs) {
		return fmt.Errorf("fetch: %d results for %d", len(res.GetResults()), len(refs))
	}
	for i, p := range res.GetResults() {
		if err := s.openOne(l, refs[i], chains[refs[i].From], p); err != nil {
			l.Violated("altered: %s: %v", refs[i].MID, err)
		}
	}
	return nil
}

// openOne opens a message and compares its words with those that were written.
func (s *Site) openOne(l *Ledger, ref message.Ref, author *message.Chain, p *wirev1.Pulled) error {
	if err := message.OpenRefusal(p.GetRefusal()); err != nil {
		return err
	}
	if len(p.GetHeads()) == 0 {
		return errors.New("no heads")
	}
	h, err := message.OpenHead(l.verifier, author, p.GetHeads()[len(p.GetHeads())-1])
	if err != nil {
		return err
	}
	letter, err := s.Reader.Keys.Open(h, p.GetSlot(), p.GetPayload())
	if err != nil {
		return err
	}
	l.mu.Lock()
	want, ok := l.texts[h.ID]
	l.mu.Unlock()
	if got, _ := letter.Content.Body(); !ok || strings.TrimSpace(got) != want {
		return fmt.Errorf("says %q, written was %q", got, want)
	}
	return nil
}
