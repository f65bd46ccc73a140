package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	inboxLog = "inbox"
	// inboxPage is how many entries one call brings.
	inboxPage = 500
	// fetchPage is how many messages one Fetch asks for.
	fetchPage = 32
)

// InboxQuery says which messages to list.
type InboxQuery struct {
	// Requests lists what strangers sent, Archive what was archived; else the
	// inbox.
	Requests, Archive bool
	Unread            bool
	// Limit is how many of the newest; 0 is all.
	Limit int
}

// Inbox lists received messages as they are in the home, oldest first; Sync
// before it to hear of new ones.
func (c *Client) Inbox(ctx context.Context, q InboxQuery) ([]*Item, error) {
	folder := store.Inbox
	switch {
	case q.Requests:
		folder = store.Requests
	case q.Archive:
		folder = store.Archive
	}
	ms, err := c.home.List(ctx, c.me, home.Query{Box: home.Received, Folders: []store.Folder{folder}, Unread: q.Unread, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	return c.items(ctx, ms)
}

// Notices is the own server's words about messages that could not be brought.
func (c *Client) Notices(ctx context.Context) ([]home.Notice, error) {
	return c.home.Notices(ctx, c.me)
}

// Synced is what a Sync brought.
type Synced struct {
	// Changed messages, in the order of the server's log; Notices are counted
	// apart.
	Changed []message.Ref
	Notices int
}

// Sync hears what changed in the inbox since the last time, and renews the
// account's ticket when that is due. A server that was restored from a backup
// is read from its beginning; what is kept here stays.
func (c *Client) Sync(ctx context.Context) (*Synced, error) {
	out := &Synced{}
	err := c.ask(ctx, func(p *rpc.Peer) error { return c.syncPages(ctx, p, out) })
	if err != nil {
		return out, fmt.Errorf("client: inbox: %w", err)
	}
	if err := c.renew(ctx); err != nil {
		c.log.WarnContext(ctx, "the account could not be renewed", "error", err)
	}
	return out, nil
}

// syncPages takes all that is new in the server's log.
func (c *Client) syncPages(ctx context.Context, p *rpc.Peer, out *Synced) error {
	for {
		more, err := c.syncPage(ctx, p, out)
		if err != nil || !more {
			return err
		}
	}
}

// syncPage takes one page of the server's log.
func (c *Client) syncPage(ctx context.Context, p *rpc.Peer, out *Synced) (more bool, err error) {
	epoch, seq, err := c.home.Cursor(ctx, c.me, inboxLog)
	if err != nil {
		return false, err
	}
	resp, err := p.Mailbox().Inbox(ctx, &wirev1.InboxRequest{After: &wirev1.Cursor{Epoch: epoch, Seq: seq}, Limit: inboxPage})
	if err != nil {
		return false, err
	}
	next := resp.GetNext()
	if seq != 0 && next.GetEpoch() != epoch {
		// The server went back: what it answered may begin after what it now has.
		return true, c.home.SetCursor(ctx, c.me, inboxLog, next.GetEpoch(), 0)
	}
	if resp.GetMore() && next.GetSeq() <= seq {
		return false, fmt.Errorf("client: inbox: the server's log does not go on: %w", message.Invalid)
	}
	c.learnAll(ctx, resp.GetIdentities())
	var ms []home.Message
	marked := make(map[Marks][]message.Ref)
	for _, e := range resp.GetEntries() {
		if e.GetNotice() != nil {
			out.Notices++
			if err := c.takeNotice(ctx, e.GetNotice()); err != nil {
				return false, err
			}
			continue
		}
		m, err := c.takeEntry(ctx, e)
		if err != nil {
			c.log.WarnContext(ctx, "an inbox entry is not believed", "error", err)
			continue
		}
		if k, again := c.broughtAgain(ctx, &m); again {
			marked[k] = append(marked[k], m.Ref)
		}
		ms = append(ms, m)
		out.Changed = append(out.Changed, m.Ref)
	}
	err = c.home.PutMessages(ctx, c.me, ms, home.Reading{Log: inboxLog, Epoch: next.GetEpoch(), Seq: next.GetSeq()})
	if err != nil {
		return false, err
	}
	for k, refs := range marked {
		if err := c.mark(ctx, refs, k); err != nil {
			c.log.WarnContext(ctx, "the server was not told what was read before", "error", err)
		}
	}
	return resp.GetMore(), c.eraseRecalled(ctx, ms)
}

// learnAll takes in the bundles that came along; those that are not to be
// believed are passed over, and looked up when they are needed.
func (c *Client) learnAll(ctx context.Context, ws []*wirev1.Identity) {
	for _, w := range ws {
		_, err := c.known.Learn(ctx, &wirev1.Identity{Cards: w.GetCards(), Route: w.GetRoute()}, time.Now())
		if err != nil && !errors.Is(err, message.Stale) {
			c.log.InfoContext(ctx, "a bundle is not taken", "error", err)
		}
	}
}

// takeNotice keeps the server's word about a message of one's own.
func (c *Client) takeNotice(ctx context.Context, w *wirev1.Notice) error {
	mid, err1 := message.MIDFromBytes(w.GetMid())
	to, err2 := message.AddressFromBytes(w.GetTo())
	if err1 != nil || err2 != nil {
		return nil
	}
	return c.home.PutNotice(ctx, c.me, home.Notice{MID: mid, To: to, Version: w.GetVersion(), Reason: message.Code(w.GetReason()), Time: time.UnixMilli(w.GetTime())})
}

// takeEntry reads and verifies one entry. A head that is not believed is kept
// as trouble where the message is known; the older state stays in sight.
func (c *Client) takeEntry(ctx context.Context, e *wirev1.Entry) (home.Message, error) {
	from, err := message.AddressFromBytes(e.GetFrom())
	if err != nil {
		return home.Message{}, err
	}
	mid, err := message.MIDFromBytes(e.GetMid())
	if err != nil {
		return home.Message{}, err
	}
	m := home.Message{Ref: message.Ref{From: from, MID: mid}, Box: home.Received, Seq: e.GetSeq(), Folder: store.Folder(e.GetFolder()), Read: e.GetRead(), Hidden: e.GetDeleted()}
	if e.GetDeleted() || e.GetHead() == nil {
		return m, nil
	}
	h, err := c.believe(ctx, m.Ref, e.GetHead())
	if err != nil {
		return m, err
	}
	if h.Audience != message.Private || !h.Addressed(c.me) {
		return m, fmt.Errorf("client: an alert for somebody else: %w", message.Invalid)
	}
	fill(&m, h)
	m.Slot, m.Arrived = e.GetSlot(), time.UnixMilli(e.GetArrived())
	if err := c.compare(ctx, h); err != nil {
		m.Trouble = err.Error()
	}
	return m, nil
}

// fill copies what the home wants to know of a head.
func fill(m *home.Message, h *message.Head) {
	m.Version, m.Head, m.Time, m.Ended, m.Expires = h.Version, h.Signed, h.Time, h.Tombstone(), h.Expires
}

// believe verifies the newest head of a message against its author's cards; they
// are looked up where those that are known do not suffice.
func (c *Client) believe(ctx context.Context, ref message.Ref, s *wirev1.Signed) (*message.Head, error) {
	claim, err := message.ParseHead(s)
	if err != nil {
		return nil, err
	}
	if claim.From() != ref.From || claim.MID() != ref.MID {
		return nil, fmt.Errorf("client: a head of another message: %w", message.BadSignature)
	}
	i, err := c.identity(ctx, ref.From)
	if err != nil {
		return nil, err
	}
	h, err := claim.Verify(c.verifier, i.Chain)
	if err == nil || ref.From == c.me || (!errors.Is(err, message.NeedBundle) && !errors.Is(err, message.BadSignature)) {
		return h, err
	}
	found, lookErr := c.lookups(ctx).Fresh(ctx, ref.From)
	if lookErr != nil {
		return nil, errors.Join(err, lookErr)
	}
	return claim.Verify(c.verifier, found.Subject.Chain)
}

// compare holds a head that was alerted against the versions that are known.
// Errors: ErrRewritten, message.Contract.
func (c *Client) compare(ctx context.Context, h *message.Head) error {
	versions, err := c.home.Versions(ctx, c.me, h.Ref())
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, v := range versions {
		claim, err := message.ParseHead(v.Head)
		if err != nil {
			return err
		}
		same := v.Number == h.Version && claim.ID() != h.ID
		next := v.Number+1 == h.Version && claim.ID() != h.Prev
		if same || next {
			return errors.Join(ErrRewritten, c.home.AddEvidence(ctx, h.From, "head", v.Head, h.Signed))
		}
		if v.Number < h.Version && h.Terms == message.Final && !h.Tombstone() {
			return errors.Join(fmt.Errorf("client: another version of a final message: %w", message.Contract), c.home.AddEvidence(ctx, h.From, "contract", v.Head, h.Signed))
		}
	}
	return nil
}

// eraseRecalled erases what nobody has read of messages that were taken back:
// it is as if it had not been fetched.
func (c *Client) eraseRecalled(ctx context.Context, ms []home.Message) error {
	for _, m := range ms {
		if !m.Ended {
			continue
		}
		was, err := c.home.Message(ctx, c.me, m.Ref)
		if err != nil {
			return err
		}
		if was.Kept == 0 || !was.Unseen {
			continue
		}
		if err := c.home.Erase(ctx, c.me, m.Ref); err != nil {
			return err
		}
	}
	return nil
}

// FetchNew fetches the content of what is in the inbox and was not fetched yet,
// so that subjects can be shown and mail read offline. What strangers sent is
// never fetched so. What cannot be had now is no error.
func (c *Client) FetchNew(ctx context.Context) error {
	ms, err := c.home.List(ctx, c.me, home.Query{Box: home.Received, Folders: []store.Folder{store.Inbox}})
	if err != nil {
		return err
	}
	return c.fetchMissing(ctx, ms)
}

// fetchMissing fetches those whose newest content is not here.
func (c *Client) fetchMissing(ctx context.Context, ms []home.Message) error {
	var wanted []home.Message
	for _, m := range ms {
		over := !m.Expires.IsZero() && !time.Now().Before(m.Expires)
		if m.Kept < m.Version && !m.Ended && !over && m.Trouble == "" {
			wanted = append(wanted, m)
		}
	}
	for len(wanted) > 0 {
		n := min(len(wanted), fetchPage)
		if err := c.fetchMany(ctx, wanted[:n]); err != nil {
			return err
		}
		wanted = wanted[n:]
	}
	return nil
}
