package message

import (
	"time"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// ReceiptKind says what a receipt promises.
type ReceiptKind int32

// The kinds of receipts.
const (
	ReceiptSubmitted = ReceiptKind(wirev1.ReceiptKind_RECEIPT_KIND_SUBMITTED)
	ReceiptAlerted   = ReceiptKind(wirev1.ReceiptKind_RECEIPT_KIND_ALERTED)
	ReceiptPublished = ReceiptKind(wirev1.ReceiptKind_RECEIPT_KIND_PUBLISHED)
	ReceiptFetched   = ReceiptKind(wirev1.ReceiptKind_RECEIPT_KIND_FETCHED)
	ReceiptOpened    = ReceiptKind(wirev1.ReceiptKind_RECEIPT_KIND_OPENED)
)

// Receipt is a signed promise, issued after the thing promised was made
// durable. Crash tests check receipts and nothing else.
type Receipt struct {
	Issuer     Address
	Kind       ReceiptKind
	ID         ID
	AcceptedAt time.Time
	Epoch      uint64
	LogSeq     uint64
	// For is the recipient that an alerted, fetched or opened receipt is about.
	For    Address
	Signed *wirev1.Signed
}

// SignReceipt makes a receipt; the fields but Signed are taken from r.
func SignReceipt(r Receipt, key crypto.SigningKey) (*Receipt, error) {
	w := &wirev1.Receipt{
		Issuer: r.Issuer.Bytes(), Kind: wirev1.ReceiptKind(r.Kind), Id: r.ID[:],
		AcceptedAt: millis(r.AcceptedAt), Epoch: r.Epoch, LogSeq: r.LogSeq,
	}
	if !r.For.IsZero() {
		w.For = r.For.Bytes()
	}
	s, err := sign(kindReceipt, w, key)
	if err != nil {
		return nil, err
	}
	r.Signed = s
	return &r, nil
}

// ReceiptIssuer reads who a receipt claims to come from, without believing it.
func ReceiptIssuer(s *wirev1.Signed) (Address, error) {
	var w wirev1.Receipt
	if _, err := parse(kindReceipt, s, MaxReceipt, &w); err != nil {
		return Address{}, err
	}
	return AddressFromBytes(w.GetIssuer())
}

// OpenReceipt verifies a receipt against its issuer's chain. The key must be in
// some card of the chain: a promise outlives the key that made it.
func OpenReceipt(v crypto.Verifier, issuer *Chain, s *wirev1.Signed) (*Receipt, error) {
	var w wirev1.Receipt
	p, err := parse(kindReceipt, s, MaxReceipt, &w)
	if err != nil {
		return nil, err
	}
	r := &Receipt{Kind: ReceiptKind(w.GetKind()), AcceptedAt: fromMillis(w.GetAcceptedAt()), Epoch: w.GetEpoch(), LogSeq: w.GetLogSeq(), Signed: s}
	if r.Kind < ReceiptSubmitted || r.Kind > ReceiptOpened {
		return nil, refuse(Invalid, "receipt: kind %d", r.Kind)
	}
	if err := checkTimes("receipt", w.GetAcceptedAt()); err != nil {
		return nil, err
	}
	if r.Issuer, err = AddressFromBytes(w.GetIssuer()); err != nil {
		return nil, err
	}
	if r.ID, err = IDFromBytes(w.GetId()); err != nil {
		return nil, err
	}
	if len(w.GetFor()) != 0 {
		if r.For, err = AddressFromBytes(w.GetFor()); err != nil {
			return nil, err
		}
	}
	if err := r.checkFor(); err != nil {
		return nil, err
	}
	if r.Issuer != issuer.Address() {
		return nil, refuse(Invalid, "receipt: by another issuer")
	}
	listed := false
	for _, c := range issuer.cards {
		listed = listed || c.Lists(p.key)
	}
	if !listed {
		return nil, refuse(BadSignature, "receipt: not signed by a key of the issuer")
	}
	if err := p.verify(v); err != nil {
		return nil, err
	}
	return r, nil
}

// checkFor refuses a receipt that does not say whom it is about, or says so
// where there is nobody, and an opened receipt by anybody but the reader.
func (r *Receipt) checkFor() error {
	about := r.Kind == ReceiptAlerted || r.Kind == ReceiptFetched || r.Kind == ReceiptOpened
	if about == r.For.IsZero() || (r.Kind == ReceiptOpened && r.For != r.Issuer) {
		return refuse(Invalid, "receipt: kind %d does not go with its recipient", r.Kind)
	}
	return nil
}
