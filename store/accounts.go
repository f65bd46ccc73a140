package store

import (
	"context"
	"time"

	"airdispatch/message"
)

// Account is one hosted address.
type Account struct {
	Address   message.Address
	Joined    time.Time
	Suspended bool
	// Limits; zero is none.
	BytesLimit, MessagesLimit int64
	// Use: payloads, slots and heads of what the account keeps, its blobs and
	// reservations for blobs, and the alerts and copies kept for it.
	BytesUsed, MessagesUsed int64
	// Trackers are the references that the owner announced.
	Trackers []string
}

// Accounts keeps who is hosted.
type Accounts interface {
	// Join adds an account. With an invite it uses that up in the same
	// transaction. An account that exists stays as it is and uses nothing.
	// Errors: message.Denied where the invite is unknown, expired or used up.
	Join(ctx context.Context, a Account, invite *InviteUse) error
	// Account is one account. Errors: message.NotFound.
	Account(ctx context.Context, a message.Address) (Account, error)
	// Accounts is all accounts after an address, ordered by address.
	Accounts(ctx context.Context, after message.Address, limit int) ([]Account, error)
	// ChangeAccount applies a change; zero fields of it change nothing. Errors:
	// message.NotFound.
	ChangeAccount(ctx context.Context, a message.Address, c AccountChange) error
	// RemoveAccount erases an account and all that was kept for it. What other
	// servers still need to hear (tombstones) is the caller's to submit before.
	RemoveAccount(ctx context.Context, a message.Address) error
}

// AccountChange is what to change of an account; nil fields stay.
type AccountChange struct {
	Suspended                 *bool
	BytesLimit, MessagesLimit *int64
	Trackers                  []string
}

// InviteUse is an invitation on its way to be used.
type InviteUse struct {
	// Token is the hash of the token, so that a stolen database opens nothing.
	Token [32]byte
	Now   time.Time
}

// Invites keeps invitations.
type Invites interface {
	// PutInvite adds an invitation good for some uses until it expires.
	PutInvite(ctx context.Context, token [32]byte, uses int, expires time.Time) error
}

// Verdict of an owner about a sender.
type Verdict int

// The verdicts.
const (
	// Stranger: alerts go to the requests.
	Stranger Verdict = iota
	// Allow: alerts go to the inbox and are fetched on arrival.
	Allow
	// Block: alerts are not taken.
	Block
)

// Policies keeps owners' verdicts.
type Policies interface {
	// SetVerdicts replaces the verdicts about some senders; Stranger removes
	// one. Entries of a sender who is now allowed move from the requests to the
	// inbox, of one who is blocked stay where they are. At most 10,000 for an
	// owner, else message.Quota.
	SetVerdicts(ctx context.Context, owner message.Address, v map[message.Address]Verdict) error
	// Verdict about one sender.
	Verdict(ctx context.Context, owner, sender message.Address) (Verdict, error)
	// Verdicts is all of an owner's.
	Verdicts(ctx context.Context, owner message.Address) (map[message.Address]Verdict, error)
}

// Mail is all that a mail server keeps.
type Mail struct {
	Identities Identities
	Listings   Listings
	Log        Log
	Accounts   Accounts
	Invites    Invites
	Passers    Passers
	Policies   Policies
	Outgoing   Outgoing
	Deliveries Deliveries
	Incoming   Incoming
	Copies     Copies
	Tasks      Tasks
	Inquiries  Inquiries
	BlobIndex  BlobIndex
	Blobs      Blobs
}
