package store

import (
	"context"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Folder of an owner's own copy, by number as on the wire.
type Folder int

// The folders.
const (
	Inbox    = Folder(wirev1.Folder_FOLDER_INBOX)
	Requests = Folder(wirev1.Folder_FOLDER_REQUESTS)
	Archive  = Folder(wirev1.Folder_FOLDER_ARCHIVE)
)

// Alert is a verified head with the recipient's slot, on its way into the store.
type Alert struct {
	To   message.Address
	Head *message.Head
	Slot *wirev1.Slot
	// Origin is the server that brought it.
	Origin message.Address
	Folder Folder
	Caps   Caps
	// PrefetchAt, where not zero, adds a prefetch task for that time.
	PrefetchAt time.Time
	Now        time.Time
}

// Caps bound what strangers can put into the requests; zero is none. When the
// mailbox or the origin is at its cap, the oldest unread request of the same
// origin makes room; where there is none, the alert is message.Quota.
type Caps struct {
	PerSender, PerOrigin, PerMailbox int
}

// Incoming is the recipient's side: alerts.
type Incoming interface {
	// Alert takes alerts in. The key is (To, From, MID, Version): the same id
	// again gets the same Accepted; another id is message.Conflict and both are
	// kept as evidence about the sender. The message's entry shows the newest
	// version and is unread again; an entry that the owner deleted stays deleted
	// for versions already seen, and comes back with a newer one; an entry that
	// was already in the inbox or archive keeps its folder but an archived one
	// returns to the inbox with a new content version. A version
	// below the newest is kept and shows nothing. A tombstone erases copies that
	// were not taken, and pending prefetches. Errors of one: message.Quota,
	// message.Conflict, message.NotFound (no account). Results in order.
	Alert(ctx context.Context, alerts []Alert) []AlertResult
	// Entries of an owner that changed after seq, in that order, with notices.
	Entries(ctx context.Context, owner message.Address, after uint64, limit int) (entries []Entry, more bool, err error)
	// Entry is one entry. Errors: message.NotFound.
	Entry(ctx context.Context, owner message.Address, ref message.Ref) (Entry, error)
	// Mark changes properties of entries; unknown entries are passed over.
	Mark(ctx context.Context, owner message.Address, marks []Marking) error
	// Notify adds a notice to an owner's entries. A second one about the same
	// message and recipient changes nothing.
	Notify(ctx context.Context, owner message.Address, n Notice) error
}

// AlertResult is what became of one alert.
type AlertResult struct {
	Accepted Accepted
	Err      error
}

// Entry is one message in an inbox in its newest state, or a notice.
type Entry struct {
	Seq     uint64
	Ref     message.Ref
	Version uint64
	Head    *wirev1.Signed
	Slot    *wirev1.Slot
	// Origin is the server that brought the newest alert.
	Origin  message.Address
	Arrived time.Time
	Folder  Folder
	Read    bool
	// Deleted by the owner: only Seq and Ref are set besides.
	Deleted bool
	Notice  *Notice
}

// Notice is the server's word that a message could not be brought.
type Notice struct {
	MID     message.MID
	Version uint64
	To      message.Address
	Reason  message.Code
	Time    time.Time
}

// Marking changes one entry; nil fields stay.
type Marking struct {
	Ref                     message.Ref
	Read, Archived, Deleted *bool
}

// Copy is a message that the recipient's server pulled for its owner.
type Copy struct {
	Ref     message.Ref
	Version uint64
	// Heads are all heads known, oldest first.
	Heads   []*wirev1.Signed
	Slot    *wirev1.Slot
	Payload []byte
	Blobs   []BlobRef
	At      time.Time
	// Taken: a device of the owner has it.
	Taken bool
}

// Copies are what the recipient's server pulled and keeps until the owner's
// device has taken it, and some time after, for other devices.
type Copies interface {
	// PutCopy keeps a copy in place of an older version's; one that is older than
	// what is kept, or whose message is known to be recalled, changes nothing.
	// Errors: message.Quota, message.NotFound (no account or no entry).
	PutCopy(ctx context.Context, owner message.Address, c Copy) error
	// Copy of a message. Errors: message.NotFound.
	Copy(ctx context.Context, owner message.Address, ref message.Ref) (Copy, error)
	// TakeCopy marks that a device has taken the copy.
	TakeCopy(ctx context.Context, owner message.Address, ref message.Ref, version uint64) error
	// DropCopies erases the copies that were taken before a time, the expired
	// ones, and those of an ephemeral message that is over; at most limit.
	DropCopies(ctx context.Context, takenBefore, now time.Time, limit int) (int, error)
}
