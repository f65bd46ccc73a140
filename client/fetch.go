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

// fetchMany asks the own server for messages and keeps what it verifies. Only a
// failure of the call itself is an error.
func (c *Client) fetchMany(ctx context.Context, ms []home.Message) error {
	req := &wirev1.FetchRequest{}
	for _, m := range ms {
		req.Items = append(req.Items, fetchItem(m.Ref, m.Kept))
	}
	resp, err := c.callFetch(ctx, req)
	if err != nil {
		return err
	}
	for n, m := range ms {
		if _, err := c.takePulled(ctx, pulling{ref: m.Ref, known: &m, box: m.Box}, resp.GetResults()[n]); err != nil {
			c.log.InfoContext(ctx, "a message is not fetched yet", "message", m.Ref.String(), "error", err)
		}
	}
	return nil
}

func fetchItem(ref message.Ref, after uint64) *wirev1.FetchItem {
	return &wirev1.FetchItem{From: ref.From.Bytes(), Mid: ref.MID.Bytes(), AfterVersion: after}
}

// callFetch asks the own server, and learns the bundles that came along.
func (c *Client) callFetch(ctx context.Context, req *wirev1.FetchRequest) (*wirev1.FetchResponse, error) {
	var resp *wirev1.FetchResponse
	err := c.ask(ctx, func(p *rpc.Peer) (err error) {
		resp, err = p.Mailbox().Fetch(ctx, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("client: fetch: %w", err)
	}
	if len(resp.GetResults()) != len(req.GetItems()) {
		return nil, fmt.Errorf("client: fetch: %d results for %d items: %w", len(resp.GetResults()), len(req.GetItems()), message.Invalid)
	}
	c.learnAll(ctx, resp.GetIdentities())
	return resp, nil
}

// pulling is one message that was asked for, and what is known of it.
type pulling struct {
	ref message.Ref
	// known is nil where the home has nothing.
	known *home.Message
	box   home.Box
}

// after is the version to ask after: the newest whose content is here.
func (p pulling) after() uint64 {
	if p.known == nil {
		return 0
	}
	return p.known.Kept
}

// takePulled verifies an answer about one message against everything that was
// seen of it before, and keeps it. It reports whether anything is new. Nothing
// of an answer that does not verify is kept but evidence. Errors: the answer's
// refusal, ErrRewritten, message.BadSignature, message.Contract, message.Stale.
func (c *Client) takePulled(ctx context.Context, p pulling, w *wirev1.Pulled) (bool, error) {
	if err := message.OpenRefusal(w.GetRefusal()); err != nil {
		return false, err
	}
	if len(w.GetHeads()) == 0 {
		return false, p.behind(p.after(), w.GetKeptCopy())
	}
	heads, err := c.history(ctx, p, w.GetHeads())
	if err != nil {
		return false, err
	}
	newest := heads[len(heads)-1]
	if err := p.behind(newest.Version, w.GetKeptCopy()); err != nil {
		return false, err
	}
	if newest.Expired(time.Now()) {
		return false, fmt.Errorf("client: %s: %w", p.ref, message.Expired)
	}
	letter, err := c.openLetter(newest, w)
	if err != nil {
		return false, err
	}
	blobs, err := blobsOf(letter.Content, w.GetBlobs())
	if err != nil {
		return false, err
	}
	if err := c.fillBlobs(ctx, place{p.ref, newest.Audience == message.Public}, letter.Content); err != nil {
		return false, err
	}
	m := home.Message{Ref: p.ref, Box: p.box, Slot: w.GetSlot()}
	fill(&m, newest)
	if err := c.home.PutMessage(ctx, c.me, m); err != nil {
		return false, err
	}
	now := time.Now()
	var versions []home.Version
	for _, h := range heads {
		versions = append(versions, home.Version{Number: h.Version, Head: h.Signed, Fetched: now})
	}
	last := &versions[len(versions)-1]
	last.Content, last.Blobs, last.Classical = letter.Content, blobs, letter.Classical
	return true, c.home.PutVersion(ctx, c.me, p.ref, versions...)
}

// behind refuses an answer that ends before the version that was alerted: a
// server that hides an edit, or one that could not ask the origin.
func (p pulling) behind(newest uint64, keptCopy bool) error {
	if p.known == nil || p.known.Trouble != "" || newest >= p.known.Version {
		return nil
	}
	if keptCopy {
		return fmt.Errorf("client: %s: version %d was announced and the sender's server cannot be asked: %w", p.ref, p.known.Version, message.Unavailable)
	}
	return fmt.Errorf("client: %s: version %d was announced and version %d was served: %w", p.ref, p.known.Version, newest, message.Stale)
}

// history verifies heads, oldest first, on top of what is known: the newest
// against the author's cards as they stand now, each as the successor of the one
// before it, and all against what was alerted. Errors: ErrRewritten,
// message.Contract, message.BadSignature, message.Invalid.
func (c *Client) history(ctx context.Context, p pulling, signed []*wirev1.Signed) ([]*message.Head, error) {
	if len(signed) == 0 {
		return nil, fmt.Errorf("client: %s: no heads: %w", p.ref, message.Invalid)
	}
	newest, err := c.believe(ctx, p.ref, signed[len(signed)-1])
	if err != nil {
		return nil, err
	}
	author, err := c.identity(ctx, p.ref.From)
	if err != nil {
		return nil, err
	}
	heads := make([]*message.Head, 0, len(signed))
	for _, s := range signed[:len(signed)-1] {
		claim, err := message.ParseHead(s)
		if err != nil {
			return nil, err
		}
		h, err := claim.VerifyKept(c.verifier, author.Chain)
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	heads = append(heads, newest)
	known, err := c.knownHeads(ctx, p.ref, author.Chain)
	if err != nil {
		return nil, err
	}
	for n, h := range heads {
		if was := known[h.Version]; was != nil && was.ID != h.ID {
			return nil, c.evidence(ctx, "head", was, h, ErrRewritten)
		}
		var prev *message.Head
		switch {
		case n > 0:
			prev = heads[n-1]
		case h.Version > 1:
			if prev = known[h.Version-1]; prev == nil {
				return nil, fmt.Errorf("client: %s: the history begins with version %d: %w", p.ref, h.Version, message.Invalid)
			}
		default:
			continue
		}
		if err := prev.CheckNext(h); err != nil {
			if errors.Is(err, message.Conflict) {
				err = ErrRewritten
			}
			return nil, c.evidence(ctx, "head", prev, h, err)
		}
	}
	return heads, nil
}

// knownHeads are the heads of a message that are on record, by version.
func (c *Client) knownHeads(ctx context.Context, ref message.Ref, author *message.Chain) (map[uint64]*message.Head, error) {
	out := make(map[uint64]*message.Head)
	versions, err := c.home.Versions(ctx, c.me, ref)
	if err != nil && !absent(err) {
		return nil, err
	}
	for _, v := range versions {
		claim, err := message.ParseHead(v.Head)
		if err != nil {
			return nil, err
		}
		h, err := claim.VerifyKept(c.verifier, author)
		if err != nil {
			return nil, err
		}
		out[h.Version] = h
	}
	return out, nil
}

// evidence keeps two heads that contradict each other and returns why.
func (c *Client) evidence(ctx context.Context, kind string, a, b *message.Head, why error) error {
	return errors.Join(why, c.home.AddEvidence(ctx, a.From, kind, a.Signed, b.Signed))
}

// openLetter decrypts the newest version.
func (c *Client) openLetter(h *message.Head, w *wirev1.Pulled) (*message.Letter, error) {
	if h.Audience == message.Public || h.Tombstone() {
		return message.Open(h, nil, nil, w.GetPayload())
	}
	if c.c.Keyring == nil {
		return nil, ErrNoIdentity
	}
	letter, err := c.c.Keyring.Open(h, w.GetSlot(), w.GetPayload())
	if absent(err) {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	return letter, err
}

// blobsOf checks that the blobs listed beside a head are those of the content.
func blobsOf(content *message.Content, ws []*wirev1.BlobRef) ([]store.BlobRef, error) {
	if content == nil {
		return nil, nil
	}
	sizes := make(map[message.ID]int64, len(ws))
	for _, w := range ws {
		id, err := message.IDFromBytes(w.GetHash())
		if err != nil {
			return nil, err
		}
		sizes[id] = int64(w.GetSize())
	}
	var out []store.BlobRef
	for _, a := range content.Blobs() {
		// One that is not listed will not be served; the rest of the message is good.
		out = append(out, store.BlobRef{ID: a.Blob, Size: sizes[a.Blob]})
	}
	return out, nil
}
