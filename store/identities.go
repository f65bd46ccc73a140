package store

import (
	"context"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// IdentityRecord is what is held of one address: statements as received.
type IdentityRecord struct {
	Address message.Address
	// Cards is the whole chain of the winning branch, genesis first.
	Cards []*wirev1.Signed
	// FirstSeen has one time for each card, by this server's clock.
	FirstSeen []time.Time
	// Route is nil where none is held.
	Route *wirev1.Signed
	// RouteID is zero without a route.
	RouteID message.ID
	// Pair is the highest pair ever seen, also past expiry.
	Pair message.Pair
	// Expires of the route; zero without one.
	Expires time.Time
	// Updated is when the record was put last.
	Updated time.Time
	// Revision counts the puts of this address: 1 after the first.
	Revision uint64
}

// Identities keeps what is known of addresses, one's own among them.
type Identities interface {
	// Identity is the record of a. Errors: message.NotFound.
	Identity(ctx context.Context, a message.Address) (*IdentityRecord, error)
	// Revision is that of the record of a, without reading the rest of it.
	// Errors: message.NotFound.
	Revision(ctx context.Context, a message.Address) (uint64, error)
	// PutIdentity replaces the record of r.Address if its revision is r.Revision
	// (0: there is none yet) and gives it the next revision; else it changes
	// nothing and returns message.Conflict.
	PutIdentity(ctx context.Context, r *IdentityRecord) error
	// AddEvidence keeps two statements that contradict each other: two routes
	// under one pair, two heads under one version. At most 16 for an address;
	// what is already kept is not kept twice.
	AddEvidence(ctx context.Context, about message.Address, kind string, a, b *wirev1.Signed) error
	// Evidence is what was kept about an address, oldest first, as pairs.
	Evidence(ctx context.Context, about message.Address) ([][2]*wirev1.Signed, error)
}

// Names keeps the names that a tracker gave.
type Names interface {
	// ClaimName gives name to r.Address if nobody has it. The same claim again
	// is no error. Errors: message.NameTaken; message.Quota where the address
	// has limit names already.
	ClaimName(ctx context.Context, r NameClaim, limit int) error
	// Name is the claim of a name. Errors: message.NotFound.
	Name(ctx context.Context, name string) (NameClaim, error)
}

// NameClaim is who has a name, and since when.
type NameClaim struct {
	Name    string
	Address message.Address
	Time    time.Time
}

// Listing is an operator's word about an address.
type Listing int

// The listings.
const (
	Unlisted Listing = iota
	Allowed
	Refused
)

// Listings is an operator's list of addresses: whom a private tracker or a
// server with accounts by list takes, and whom nobody takes.
type Listings interface {
	// SetListing replaces the listing of an address; Unlisted removes it.
	SetListing(ctx context.Context, a message.Address, l Listing) error
	// Listing of an address; Unlisted for one that nobody spoke of.
	Listing(ctx context.Context, a message.Address) (Listing, error)
	// Listed is all listings, ordered by address.
	Listed(ctx context.Context) (map[message.Address]Listing, error)
}

// Log is the place where the store stands.
type Log interface {
	// Place is the newest place in the log.
	Place(ctx context.Context) (Place, error)
	// RaiseEpoch begins the next epoch: after a restore, before anything else.
	RaiseEpoch(ctx context.Context) error
	// Advance takes a place for a change that is kept elsewhere in the same
	// server, a receipt for a publication for instance.
	Advance(ctx context.Context) (Place, error)
}

// Place is a position in a server's log.
type Place struct {
	Epoch, Seq uint64
}

// Accepted says where and when something was taken in. A receipt is made of
// it, after the store returned; taking the same thing in again gives the same
// Accepted, with Again set.
type Accepted struct {
	Place
	At    time.Time
	Again bool
}

// Tracker is all that a tracker keeps.
type Tracker struct {
	Identities Identities
	Names      Names
	Listings   Listings
	Log        Log
}
