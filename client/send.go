package client

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// inlineBody is how much of a payload may be taken by subject, body and other
// components; beyond it the largest become blobs.
const inlineBody = message.MaxPayload - 128<<10

// Sent is a version that the own server has promised to keep.
type Sent struct {
	Head *message.Head
	// Receipt is the server's promise.
	Receipt *message.Receipt
	// Classical: some recipient has no post-quantum box.
	Classical bool
	// Blind: the recipient was in Bcc.
	Blind bool
}

// Send seals a draft to its recipients' cards, as trackers confirm them now,
// uploads what belongs to it and submits it. It returns when the own server has
// accepted; bringing the alert is the server's work. The first of the result is
// the message to everybody in To, the others are those in Bcc.
//
// A draft that could not be sent is kept and the error is a *DraftError; what
// cannot be sent at all (message.Invalid, message.TooLarge) is not kept. Errors:
// ErrNoIdentity, ErrNoAccount, message.NotFound (no such recipient),
// message.Disagreement, message.Unavailable, message.Quota and other refusals.
func (c *Client) Send(ctx context.Context, d Draft) ([]*Sent, error) {
	if _, err := c.Account(ctx); err != nil {
		return nil, err
	}
	if err := d.normal(time.Now()); err != nil {
		return nil, err
	}
	if err := c.checkTexts(ctx, append(slices.Clone(d.To), d.Bcc...)); err != nil {
		return nil, err
	}
	content, err := d.content()
	if err != nil {
		return nil, err
	}
	if _, err := message.MarshalContent(content); err != nil {
		return nil, err
	}
	if d.Attach, err = absolute(d.Attach); err != nil {
		return nil, err
	}
	k := &keptDraft{Draft: d}
	id, err := c.keepDraft(ctx, 0, k, "being sent")
	if err != nil {
		return nil, err
	}
	return c.sendKept(ctx, id, k, false)
}

// absolute are files by absolute paths: a draft is perhaps sent from another
// directory.
func absolute(files []File) ([]File, error) {
	out := slices.Clone(files)
	for n := range out {
		path, err := filepath.Abs(out[n].Path)
		if err != nil {
			return nil, fmt.Errorf("client: attach: %w", err)
		}
		out[n].Path = path
	}
	return out, nil
}

// checkTexts refuses what cannot be a recipient before anything is kept.
func (c *Client) checkTexts(ctx context.Context, texts []string) error {
	for _, text := range texts {
		if _, err := c.Target(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// sendKept sends what is left of a kept draft and removes it.
func (c *Client) sendKept(ctx context.Context, id int64, k *keptDraft, again bool) ([]*Sent, error) {
	sent, err := c.sendParts(ctx, id, k, again)
	if err == nil {
		err = c.home.RemoveDraft(ctx, c.me, id)
		for _, f := range k.files() {
			err = errors.Join(err, c.forgetUpload(ctx, f))
		}
		return sent, err
	}
	lost := errors.Is(err, message.Invalid) || errors.Is(err, message.TooLarge)
	if lost && !again && len(sent) == 0 {
		return nil, errors.Join(err, c.home.RemoveDraft(context.WithoutCancel(ctx), c.me, id))
	}
	// Also when the person interrupts.
	if _, keepErr := c.keepDraft(context.WithoutCancel(ctx), id, k, err.Error()); keepErr != nil {
		return sent, errors.Join(err, keepErr)
	}
	return sent, &DraftError{ID: id, Err: err}
}

func (c *Client) sendParts(ctx context.Context, id int64, k *keptDraft, again bool) ([]*Sent, error) {
	if k.Edit != nil {
		return c.sendEdit(ctx, id, k)
	}
	if len(k.Parts) == 0 {
		if err := c.plan(ctx, k); err != nil {
			return nil, err
		}
		if _, err := c.keepDraft(ctx, id, k, "being sent"); err != nil {
			return nil, err
		}
	}
	content, blobs, err := c.compose(ctx, &k.Draft)
	if err != nil {
		return nil, err
	}
	var out []*Sent
	for n := range k.Parts {
		p := &k.Parts[n]
		if p.Done {
			continue
		}
		s, err := c.sendPart(ctx, k, p, outgoing{content: content, blobs: blobs, again: again, note: func(t *triedPart) error {
			p.Tried = t
			_, err := c.keepDraft(ctx, id, k, "being sent")
			return err
		}})
		if err != nil {
			return out, err
		}
		s.Blind = n > 0 || len(k.Draft.To) == 0 && !k.Draft.Public
		out, p.Done = append(out, s), true
		if _, err := c.keepDraft(ctx, id, k, "being sent"); err != nil {
			return out, err
		}
	}
	return out, nil
}

// plan finds the recipients and chooses the message ids.
func (c *Client) plan(ctx context.Context, k *keptDraft) error {
	to, err := c.addresses(ctx, k.Draft.To)
	if err != nil {
		return err
	}
	bcc, err := c.addresses(ctx, k.Draft.Bcc)
	if err != nil {
		return err
	}
	var parts []part
	if len(to) != 0 || k.Draft.Public {
		parts = append(parts, part{To: to})
	}
	for _, a := range bcc {
		if !slices.Contains(to, a) {
			parts = append(parts, part{To: []message.Address{a}})
		}
	}
	for n := range parts {
		mid, err := message.NewMID(time.Now(), c.c.Rand)
		if err != nil {
			return err
		}
		if k.Draft.Name != "" {
			mid = message.NamedMID(k.Draft.Name)
		}
		parts[n].MID = mid.String()
	}
	k.Parts = parts
	return nil
}

// addresses are the addresses that a person wrote, each once.
func (c *Client) addresses(ctx context.Context, texts []string) ([]message.Address, error) {
	var out []message.Address
	for _, text := range texts {
		a, err := c.Resolve(ctx, text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out, nil
}

// compose uploads what belongs to a draft and makes its content.
func (c *Client) compose(ctx context.Context, d *Draft) (*message.Content, []store.BlobRef, error) {
	content, err := d.content()
	if err != nil {
		return nil, nil, err
	}
	blobs, err := c.outsource(ctx, content)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range d.Passed {
		ref, err := c.pass(ctx, p)
		if err != nil {
			return nil, nil, err
		}
		content.Attachments, blobs = append(content.Attachments, p.Attachment), append(blobs, ref)
	}
	for _, f := range d.Attach {
		a, ref, err := c.attachFile(ctx, f)
		if err != nil {
			return nil, nil, err
		}
		content.Attachments, blobs = append(content.Attachments, a), append(blobs, ref)
	}
	return content, distinct(blobs), nil
}

// distinct is each blob once: a message lists none twice.
func distinct(refs []store.BlobRef) []store.BlobRef {
	var out []store.BlobRef
	for _, r := range refs {
		if !slices.ContainsFunc(out, func(o store.BlobRef) bool { return o.ID == r.ID }) {
			out = append(out, r)
		}
	}
	return out
}

// outsource turns the largest components into blobs until the rest fits into a
// payload. The data stays beside the blob, for the own copy.
func (c *Client) outsource(ctx context.Context, content *message.Content) ([]store.BlobRef, error) {
	var refs []store.BlobRef
	for {
		total, largest := 0, -1
		for n, p := range content.Components {
			if p.Blob != nil {
				continue
			}
			total += len(p.Data) + len(p.Type) + 16
			if largest < 0 || len(p.Data) > len(content.Components[largest].Data) {
				largest = n
			}
		}
		if total <= inlineBody || largest < 0 {
			return refs, nil
		}
		p := &content.Components[largest]
		a, ref, err := c.uploadBytes(ctx, "body", "application/octet-stream", p.Data)
		if err != nil {
			return nil, err
		}
		p.Blob, refs = &a, append(refs, ref)
	}
}

// outgoing is what a version says.
type outgoing struct {
	content *message.Content
	blobs   []store.BlobRef
	// again: it may have been submitted before.
	again bool
	// note, where not nil, writes down what is about to be submitted, and to whom.
	note func(*triedPart) error
}

// sendPart seals and submits one message of a draft.
func (c *Client) sendPart(ctx context.Context, k *keptDraft, p *part, o outgoing) (*Sent, error) {
	mid, err := message.ParseMID(p.MID)
	if err != nil {
		return nil, err
	}
	ref := message.Ref{From: c.me, MID: mid}
	d := message.Draft{
		Author: c.c.Keyring.Chain, MID: mid, Time: time.Now(), Audience: message.Private, Terms: k.Draft.Terms, Expires: k.Draft.Expires, Content: o.content,
	}
	if k.Draft.Public {
		d.Audience, d.Name = message.Public, k.Draft.Name
	}
	if o.again || k.Draft.Name != "" {
		stands, err := c.standing(ctx, ref)
		if err != nil {
			return nil, err
		}
		if stands != nil && k.Draft.Name == "" && (c.signedNow(stands) || stands.Terms == message.Final) {
			// An earlier try came through, and only its answer was lost.
			return c.keepSent(ctx, &message.Sealed{Head: stands}, o, nil)
		}
		// One that a key signed which has been taken off the cards meanwhile is said
		// again: its readers may not believe that key any more.
		d.Prev = stands
	}
	if d.Prev == nil && k.Draft.Name == "" {
		s, err := c.sendElsewhere(ctx, p, o)
		if s != nil || err != nil {
			return s, err
		}
		if d.MID, err = message.ParseMID(p.MID); err != nil {
			return nil, err
		}
	}
	if d.Readers, err = c.readers(ctx, p.To); err != nil {
		return nil, err
	}
	return c.submit(ctx, d, o)
}

// standing is the newest version of one's own message as the own server has it;
// nil for none.
func (c *Client) standing(ctx context.Context, ref message.Ref) (*message.Head, error) {
	heads, err := c.standingHeads(ctx, ref)
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	return heads[len(heads)-1], nil
}

// signedNow reports whether a head of one's own was signed by a device that is
// still on one's cards.
func (c *Client) signedNow(h *message.Head) bool {
	claim, err := message.ParseHead(h.Signed)
	if err == nil {
		_, err = claim.Verify(c.verifier, c.c.Keyring.Chain)
	}
	return err == nil
}

// standingHeads are all versions of one's own message that the own server has.
func (c *Client) standingHeads(ctx context.Context, ref message.Ref) ([]*message.Head, error) {
	var resp *wirev1.StatusResponse
	err := c.ask(ctx, func(p *rpc.Peer) (err error) {
		resp, err = p.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: ref.MID.Bytes()})
		return err
	})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	heads, err := c.history(ctx, pulling{ref: ref}, resp.GetHeads())
	if !errors.Is(err, message.BadSignature) {
		return heads, err
	}
	// The device that signed the newest may be one that has been taken off since.
	for _, w := range resp.GetHeads() {
		h, keptErr := c.ownHead(w)
		if keptErr != nil || h.Ref() != ref || len(heads) > 0 && heads[len(heads)-1].CheckNext(h) != nil || len(heads) == 0 && h.Version != 1 {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// submit seals a version, hands it to the own server, verifies its receipt and
// keeps one's own copy.
func (c *Client) submit(ctx context.Context, d message.Draft, o outgoing) (*Sent, error) {
	sealed, err := message.Seal(d, c.c.Keyring.Signer, c.c.Rand)
	if err != nil {
		return nil, err
	}
	if o.note != nil {
		t, err := c.tried(ctx, submissionOf(sealed, o))
		if err == nil {
			err = o.note(t)
		}
		if err != nil {
			return nil, err
		}
	}
	receipt, err := c.hand(ctx, sealed, o)
	if err != nil {
		return nil, err
	}
	return c.keepSent(ctx, sealed, o, receipt)
}

// hand hands a version to the own server and verifies its receipt.
func (c *Client) hand(ctx context.Context, sealed *message.Sealed, o outgoing) (*message.Receipt, error) {
	return c.handSubmission(ctx, sealed.Head, submissionOf(sealed, o))
}

// submissionOf is what is handed in of a version.
func submissionOf(sealed *message.Sealed, o outgoing) *wirev1.Submission {
	w := &wirev1.Submission{Head: sealed.Head.Signed, Slots: sealed.Slots, Payload: sealed.Payload}
	for _, b := range o.blobs {
		w.Blobs = append(w.Blobs, &wirev1.BlobRef{Hash: b.ID[:], Size: uint64(b.Size)})
	}
	return w
}

// handSubmission is hand for what was sealed before.
func (c *Client) handSubmission(ctx context.Context, head *message.Head, w *wirev1.Submission) (*message.Receipt, error) {
	var receipt *message.Receipt
	err := c.ask(ctx, func(p *rpc.Peer) error {
		resp, err := p.Mailbox().Submit(ctx, &wirev1.SubmitRequest{Submissions: []*wirev1.Submission{w}})
		if err != nil {
			return err
		}
		if len(resp.GetResults()) != 1 {
			return fmt.Errorf("client: submit: %d results for one version: %w", len(resp.GetResults()), message.Invalid)
		}
		r := resp.GetResults()[0]
		if err := message.OpenRefusal(r.GetRefusal()); err != nil {
			return c.conflict(head, r.GetCurrent(), err)
		}
		receipt, err = message.OpenReceipt(c.verifier, p.Identity().Chain, r.GetReceipt())
		if err == nil && (receipt.Kind != message.ReceiptSubmitted || receipt.ID != head.ID) {
			err = fmt.Errorf("client: submit: a receipt for something else: %w", message.Invalid)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("client: submit: %w", err)
	}
	return receipt, nil
}

// keepSent keeps one's own copy of what the server has accepted.
func (c *Client) keepSent(ctx context.Context, sealed *message.Sealed, o outgoing, receipt *message.Receipt) (*Sent, error) {
	// The server has it: what was said cannot be unsaid by an interruption.
	ctx = context.WithoutCancel(ctx)
	h := sealed.Head
	box := home.Sent
	if h.Audience == message.Public {
		box |= home.Public
	}
	m := home.Message{Ref: h.Ref(), Box: box}
	fill(&m, h)
	for _, s := range sealed.Slots {
		if string(s.GetAddress()) == string(c.me.Bytes()) {
			m.Slot = s
		}
	}
	if err := c.home.PutMessage(ctx, c.me, m); err != nil {
		return nil, err
	}
	v := home.Version{Number: h.Version, Head: h.Signed, Content: o.content, Blobs: o.blobs, Classical: sealed.Classical, Fetched: time.Now()}
	if err := c.home.PutVersion(ctx, c.me, h.Ref(), v); err != nil {
		return nil, err
	}
	return &Sent{Head: h, Receipt: receipt, Classical: sealed.Classical}, nil
}
