package store

import (
	"context"
	"time"

	"airdispatch/message"
)

// Inquiry is a question that a server still has to ask for one of its owners:
// what do you hold for this address?
type Inquiry struct {
	Owner message.Address
	// Peer is whom to ask: a mail server, or a sender whose mail servers have to
	// be found first.
	Peer message.Address
	// After is how far the peer's log was read, Pages how many pages that took.
	After Place
	Pages int
	// Queued names the question: one that was put anew is another one.
	Queued time.Time
	// Due is when it is to be asked; in a claimed one, when the claim ends.
	Due time.Time
	// Attempts failed since one worked.
	Attempts int
	// Done, in an outcome, ends the question.
	Done bool
}

// HeldQuery asks what authors here keep for one recipient.
type HeldQuery struct {
	To    message.Address
	After uint64
	Limit int
}

// MaxInquiries is how many questions may be open for one owner: as many as there
// are verdicts.
const MaxInquiries = 10_000

// Inquiries is how servers find again what one of them has lost or never had,
// after a restore or a move: the questions still to ask, and the answer to those
// of others. RaiseEpoch of a mail store asks, in its own transaction, all senders
// whom an owner has allowed and all servers that have brought something.
type Inquiries interface {
	// AddInquiries puts questions. Where one about the same owner and peer is open,
	// a younger one begins anew in its place, and any other changes nothing.
	// Those of owners without an account are passed over. Errors: message.Quota
	// where an owner would have more than MaxInquiries; then none is put.
	AddInquiries(ctx context.Context, q []Inquiry) error
	// ClaimInquiries takes up to limit due questions, the longest due first, and
	// makes each due again at now+lease.
	ClaimInquiries(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]Inquiry, error)
	// SettleInquiries records After, Pages, Due and Attempts of claimed questions,
	// or ends them. What was put anew since is passed over.
	SettleInquiries(ctx context.Context, q []Inquiry) error
	// NextInquiry is when the next question is due; message.NotFound without any.
	NextInquiry(ctx context.Context) (time.Time, error)
	// Held is a page of the private messages of all authors here that name a
	// recipient and changed after a place, in that order: of each the newest
	// version with its slots, without its payload.
	Held(ctx context.Context, q HeldQuery) (items []ListItem, more bool, err error)
}
