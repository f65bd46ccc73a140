package store

import (
	"context"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// BlobRef is a blob that a message uses.
type BlobRef struct {
	ID   message.ID
	Size int64
}

// Version is one version of a message, as its sender's server keeps it.
type Version struct {
	Head *wirev1.Signed
	ID   message.ID
	// Number is the version, 1, 2, 3.
	Number    uint64
	Tombstone bool
	At        time.Time
	// Slots, Payload and Blobs are empty after a recall or an expiry, and in
	// listings that do not ask for them.
	Slots   []*wirev1.Slot
	Payload []byte
	Blobs   []BlobRef
}

// Submission is one version on its way into the store. Everything about it was
// verified; what is left to decide needs the transaction.
type Submission struct {
	Head    *message.Head
	Slots   []*wirev1.Slot
	Payload []byte
	Blobs   []BlobRef
	// UnlessFetched refuses, with message.AlreadyFetched, where any reader has
	// been served any version: the recall of a final message.
	UnlessFetched bool
	Now           time.Time
}

// Outgoing is the sender's side: versions of messages, kept where they were
// submitted.
type Outgoing interface {
	// Submit keeps a version, in one transaction with an alert task for each
	// recipient, the author included where it is one (TaskAlert; an older one of the same message and
	// recipient is replaced and starts anew), the blobs' references and the
	// quota. A tombstone erases slots, payloads and blob references of all
	// versions and keeps the heads. The same head again is taken in again. Many
	// submissions may share one commit; the results are one for each, in order.
	// Errors of one: message.Conflict (Head.Prev is not the newest version's id,
	// or version 1 of a message that exists), message.Quota,
	// message.AlreadyFetched, message.NotFound (the author has no account, or a
	// blob is not complete).
	Submit(ctx context.Context, s []Submission) []SubmitResult
	// Versions is all versions of a message without slots and payloads, oldest
	// first. Errors: message.NotFound.
	Versions(ctx context.Context, ref message.Ref) ([]Version, error)
	// Serve hands messages to one reader: of each, all versions after a number,
	// the newest with its payload, blobs and slots (the caller picks the
	// reader's). Before a private message leaves, a mark that the reader was
	// handed its newest version is committed, one commit for all, and the
	// reader's delivery moves on to Served. A reader of zero takes no mark:
	// nobody, and authors themselves. Nothing newer than After gives an empty
	// list. Results in order. Errors of one: message.NotFound, what May says.
	Serve(ctx context.Context, q ServeQuery) []Serving
	// List is messages of an author that changed after seq, in that order, all
	// versions each.
	List(ctx context.Context, q ListQuery) (items []ListItem, more bool, err error)
	// Expire erases slots, payloads and blob references of ephemeral messages
	// that are over, at most limit, and tells how many there were.
	Expire(ctx context.Context, now time.Time, limit int) (int, error)
}

// ServeQuery asks for messages in the name of one reader.
type ServeQuery struct {
	Items  []ServeItem
	Reader message.Address
	Now    time.Time
	// May, where not nil, decides before anything is marked whether an item may
	// leave, by its heads after After and, always the last of them, the newest.
	// It may be asked again about an item that changed meanwhile.
	May func(item int, heads []Version) error
}

// ServeItem is one message that is asked for.
type ServeItem struct {
	Ref   message.Ref
	After uint64
}

// Serving is what a reader gets of one message.
type Serving struct {
	Versions []Version
	Err      error
}

// ServeOne serves a single message.
func ServeOne(ctx context.Context, o Outgoing, item ServeItem, reader message.Address, now time.Time) ([]Version, error) {
	s := o.Serve(ctx, ServeQuery{Items: []ServeItem{item}, Reader: reader, Now: now})[0]
	return s.Versions, s.Err
}

// SubmitResult is what became of one submission.
type SubmitResult struct {
	Accepted Accepted
	// Current is the newest head, with message.Conflict.
	Current *wirev1.Signed
	Err     error
}

// ListQuery asks for messages of one author.
type ListQuery struct {
	From message.Address
	// Public lists public messages and no others, with payload and blobs of the
	// newest version; else private and public ones, without.
	Public bool
	After  uint64
	Limit  int
	// To restricts to private messages with this recipient, with the slots of
	// the newest version.
	To message.Address
}

// ListItem is one message in a list.
type ListItem struct {
	Seq      uint64
	Ref      message.Ref
	Versions []Version
}

// DeliveryState is how far a message has come for one recipient, by number
// as on the wire.
type DeliveryState int

// The states; each is at least as far as the one before but for Refused.
const (
	Queued    = DeliveryState(wirev1.DeliveryState_DELIVERY_STATE_QUEUED)
	Alerted   = DeliveryState(wirev1.DeliveryState_DELIVERY_STATE_ALERTED)
	NotTaken  = DeliveryState(wirev1.DeliveryState_DELIVERY_STATE_REFUSED)
	Served    = DeliveryState(wirev1.DeliveryState_DELIVERY_STATE_SERVED)
	Fetched   = DeliveryState(wirev1.DeliveryState_DELIVERY_STATE_FETCHED)
	OpenedFor = DeliveryState(wirev1.DeliveryState_DELIVERY_STATE_OPENED)
)

// Delivery is how far one message has come for one recipient.
type Delivery struct {
	To message.Address
	// State of Version, the newest that has one; Time is when it was reached.
	State   DeliveryState
	Version uint64
	Time    time.Time
	Reason  message.Code
	// Attempts of the pending alert, and when the next is due; zero without one.
	Attempts    int
	NextAttempt time.Time
	Overdue     bool
	// Receipts are the signed words behind the state: ALERTED, FETCHED, OPENED.
	Receipts []*wirev1.Signed
}

// Deliveries is what the sender may know about each recipient.
type Deliveries interface {
	// Deliveries of a message, in the order of its recipients. Submit makes them,
	// as Queued. Errors: message.NotFound.
	Deliveries(ctx context.Context, ref message.Ref) ([]Delivery, error)
	// Report moves a delivery on: a version below the recorded one, or a state
	// that is not further for the same version, adds its receipt and changes
	// nothing else. Unknown deliveries are passed over.
	Report(ctx context.Context, reports []Report) error
}

// Report is news about a delivery.
type Report struct {
	Ref     message.Ref
	To      message.Address
	Version uint64
	State   DeliveryState
	Reason  message.Code
	Time    time.Time
	Receipt *wirev1.Signed
}
