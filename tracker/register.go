package tracker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Published is what became of a publication at one tracker.
type Published struct {
	// Tracker is zero where the tracker could not be met.
	Tracker   message.Address
	Reference message.Reference
	// Receipt was verified; nil with Err.
	Receipt *message.Receipt
	Err     error
}

// Publish offers a publication to every tracker at once. The list has one entry
// for each; the error is nil if any of them took it.
func (r *Resolver) Publish(ctx context.Context, p *wirev1.Publication) ([]Published, error) {
	trackers := r.remotes()
	if len(trackers) == 0 {
		return nil, fmt.Errorf("tracker: publish: no tracker is known: %w", message.Invalid)
	}
	out := make([]Published, len(trackers))
	var publishing sync.WaitGroup
	for n, t := range trackers {
		publishing.Go(func() { out[n] = r.publishTo(ctx, t, p) })
	}
	publishing.Wait()
	if a, err := message.IdentityAddress(p.GetSubject()); err == nil {
		r.found.Invalidate(a)
		r.asked.Invalidate(message.Query{Address: a})
	}
	var errs []error
	for _, o := range out {
		if o.Err == nil {
			return out, nil
		}
		errs = append(errs, o.Err)
	}
	return out, errors.Join(errs...)
}

// publishTo offers a publication to one tracker and verifies its receipt.
func (r *Resolver) publishTo(ctx context.Context, t *remote, p *wirev1.Publication) Published {
	out := Published{Reference: t.ref}
	peer, chain, err := t.connect(ctx, r)
	if err != nil {
		out.Err = err
		return out
	}
	out.Tracker = chain.Address()
	response, err := peer.Tracker().Publish(ctx, &wirev1.PublishRequest{Publications: []*wirev1.Publication{p}})
	switch {
	case err != nil:
	case len(response.GetResults()) != 1:
		err = message.Invalid
	default:
		err = message.OpenRefusal(response.GetResults()[0].GetRefusal())
	}
	if err == nil {
		out.Receipt, err = r.openReceipt(chain, response.GetResults()[0].GetReceipt(), p)
	}
	if err != nil {
		if errors.Is(err, message.Unavailable) || errors.Is(err, message.BadSignature) {
			t.forget(peer)
		}
		out.Receipt, out.Err = nil, fmt.Errorf("tracker: publish at %s: %w", t.ref.URL, err)
	}
	return out
}

// openReceipt verifies a tracker's receipt, and that it is for this route.
func (r *Resolver) openReceipt(chain *message.Chain, s *wirev1.Signed, p *wirev1.Publication) (*message.Receipt, error) {
	receipt, err := message.OpenReceipt(r.c.Verifier, chain, s)
	if err != nil {
		return nil, err
	}
	i, err := message.OpenIdentity(r.c.Verifier, p.GetSubject(), nil)
	if err != nil {
		return nil, err
	}
	id := i.Chain.Head().ID
	if i.Route != nil {
		id = i.Route.ID
	}
	if receipt.Kind != message.ReceiptPublished || receipt.ID != id {
		return nil, fmt.Errorf("tracker: a receipt for something else: %w", message.Invalid)
	}
	return receipt, nil
}

// Claim asks a tracker for a name for the address of the client's keyring.
// Errors: message.NameTaken, message.Quota, message.Denied,
// message.Unavailable. The caller compares the record's address with its own.
func (r *Resolver) Claim(ctx context.Context, tracker message.Reference, name string) (*message.NameRecord, error) {
	t := r.remote(tracker)
	peer, chain, err := t.connect(ctx, r)
	if err != nil {
		return nil, err
	}
	response, err := peer.Tracker().Claim(ctx, &wirev1.ClaimRequest{Name: name})
	if err != nil {
		return nil, fmt.Errorf("tracker: claim %s: %w", name, err)
	}
	record, err := message.OpenName(r.c.Verifier, chain, response.GetRecord())
	if err != nil {
		return nil, err
	}
	if record.Name != name {
		return nil, fmt.Errorf("tracker: claim %s: the record is for another name: %w", name, message.Invalid)
	}
	r.asked.Invalidate(message.Query{Name: name, Host: hostOf(t.ref.URL)})
	return record, nil
}

// Name finds who has a name at a tracker, and what is known of them. Only the
// tracker at that host can say: a known one, or whoever WebPKI says it is.
// Errors: message.NotFound, message.Unavailable.
func (r *Resolver) Name(ctx context.Context, name, host string) (*message.NameRecord, *Found, error) {
	q := message.Query{Name: name, Host: host}
	if err := message.CheckUserName(name); err != nil {
		return nil, nil, err
	}
	var e *askedEntry
	var err error
	if known := at(r.remotes(), host); len(known) > 0 {
		e, err = r.ask(ctx, q, false)
	} else {
		ref, parsed := message.ParseReference("https://" + host)
		if parsed != nil {
			return nil, nil, parsed
		}
		e = &askedEntry{}
		e.answers, err = r.gather(ctx, q, []*remote{{ref: ref}})
	}
	if err != nil {
		return nil, nil, err
	}
	for _, a := range e.answers {
		if a.Found && a.Name != nil {
			f, err := r.judge(ctx, a.Subject.Address(), &askedEntry{answers: []*message.Answer{a}}, time.Now())
			return a.Name, f, err
		}
	}
	return nil, nil, fmt.Errorf("tracker: name %s at %s: %w", name, host, message.NotFound)
}

// remote is the tracker of a reference: one of the known, or one made up for
// this call.
func (r *Resolver) remote(ref message.Reference) *remote {
	for _, t := range r.remotes() {
		if t.ref == ref {
			return t
		}
	}
	return &remote{ref: ref}
}

// hostOf is host[:port] of a URL, as names are written: lower case, and
// without the port that https has anyway.
func hostOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return link
	}
	return strings.TrimSuffix(strings.ToLower(u.Host), ":443")
}
