package mailserver

import (
	"context"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Receipts takes FETCHED and OPENED receipts about messages that were submitted
// here. Each proves itself; who brings it matters only for the rate.
func (s *Server) Receipts(ctx context.Context, req *wirev1.ReceiptsRequest) (*wirev1.ReceiptsResponse, error) {
	if n := len(req.GetItems()); n < 1 || n > maxItems {
		return nil, fmt.Errorf("mailserver: receipts: %d items, 1 to %d: %w", n, maxItems, message.Invalid)
	}
	b, err := s.bundle(req.GetIdentities())
	if err != nil {
		return nil, err
	}
	caller, err := b.caller(ctx, rpc.Authorization(ctx))
	if err != nil {
		return nil, err
	}
	if err := s.brings(caller, len(req.GetItems())); err != nil {
		return nil, err
	}
	type judged struct {
		report store.Report
		err    error
	}
	all := parallel(req.GetItems(), func(w *wirev1.Acknowledgement) judged {
		r, err := s.openReport(ctx, b, w)
		return judged{r, err}
	})
	resp := &wirev1.ReceiptsResponse{}
	var reports []store.Report
	for _, j := range all {
		if j.err != nil {
			resp.Results = append(resp.Results, s.refusal("receipts", j.err))
			continue
		}
		resp.Results = append(resp.Results, &wirev1.Refusal{})
		reports = append(reports, j.report)
	}
	if len(reports) == 0 {
		return resp, nil
	}
	return resp, s.c.Store.Deliveries.Report(ctx, reports)
}

// openReport verifies one receipt: it names the head of that version, its reader
// is a recipient, and its issuer is the reader (opened) or a server in the
// reader's route (fetched).
func (s *Server) openReport(ctx context.Context, b *bundle, w *wirev1.Acknowledgement) (store.Report, error) {
	var none store.Report
	ref, err := parseRef(w.GetFrom(), w.GetMid())
	if err != nil {
		return none, err
	}
	issuer, err := message.ReceiptIssuer(w.GetReceipt())
	if err != nil {
		return none, err
	}
	versions, err := s.c.Store.Outgoing.Versions(ctx, ref)
	if err != nil {
		return none, err
	}
	d, err := describe(versions[len(versions)-1].Head)
	if err != nil {
		return none, err
	}
	signer, err := b.identity(ctx, issuer)
	if err != nil {
		return none, err
	}
	r, err := message.OpenReceipt(s.c.Verifier, signer.Chain, w.GetReceipt())
	if err != nil {
		return none, err
	}
	if !d.addressed(r.For) || !has(versions, w.GetVersion(), r.ID) {
		return none, fmt.Errorf("mailserver: receipts: no such version or reader: %w", message.NotFound)
	}
	if err := message.NotAhead(r.AcceptedAt, time.Now()); err != nil {
		return none, err
	}
	out := store.Report{Ref: ref, To: r.For, Version: w.GetVersion(), Time: r.AcceptedAt, Receipt: w.GetReceipt()}
	switch r.Kind {
	case message.ReceiptOpened:
		// OpenReceipt takes it from the reader alone.
		out.State = store.OpenedFor
	case message.ReceiptFetched:
		out.State = store.Fetched
		ok, err := b.speaks(ctx, issuer, r.For, message.PurposeInbox)
		if err != nil {
			return none, err
		}
		if !ok {
			return none, fmt.Errorf("mailserver: receipts: %s does not speak for the reader: %w", issuer.Short(), message.Denied)
		}
	default:
		return none, fmt.Errorf("mailserver: receipts: kind %d: %w", r.Kind, message.Invalid)
	}
	return out, nil
}

// has reports whether a version has this id.
func has(versions []store.Version, number uint64, id message.ID) bool {
	for _, v := range versions {
		if v.Number == number && v.ID == id {
			return true
		}
	}
	return false
}
