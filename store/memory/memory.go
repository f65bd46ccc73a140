package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// tables is a store.
type tables struct {
	// mu guards everything below.
	mu         sync.Mutex
	place      store.Place
	identities map[message.Address]*store.IdentityRecord
	evidence   map[message.Address][]evidence
	names      map[string]store.NameClaim
	listings   map[message.Address]store.Listing
	accounts   map[message.Address]*store.Account
	invites    map[[32]byte]*invite
	passers    map[string]store.Passer
	verdicts   map[message.Address]map[message.Address]store.Verdict
	messages   map[message.Ref]*letter
	entries    map[entryKey]*entry
	notices    map[noticeKey]*notice
	tasks      map[int64]*task
	inquiries  map[inquiryKey]*store.Inquiry
	blobs      map[message.ID]*blob
}

// NewTracker is an empty tracker's store.
func NewTracker() *store.Tracker {
	m := newTables()
	return &store.Tracker{Identities: m, Names: m, Listings: m, Log: m}
}

// NewMail is an empty mail server's store, with blobs beside it.
func NewMail(blobs store.Blobs) *store.Mail {
	m := newTables()
	return &store.Mail{
		Identities: m, Listings: m, Log: m, Accounts: m, Invites: m, Passers: m, Policies: m, Outgoing: m, Deliveries: m,
		Incoming: m, Copies: m, Tasks: m, Inquiries: m, BlobIndex: m, Blobs: blobs,
	}
}

func newTables() *tables {
	return &tables{
		place:      store.Place{Epoch: 1},
		identities: make(map[message.Address]*store.IdentityRecord),
		evidence:   make(map[message.Address][]evidence),
		names:      make(map[string]store.NameClaim),
		listings:   make(map[message.Address]store.Listing),
		accounts:   make(map[message.Address]*store.Account),
		invites:    make(map[[32]byte]*invite),
		passers:    make(map[string]store.Passer),
		verdicts:   make(map[message.Address]map[message.Address]store.Verdict),
		messages:   make(map[message.Ref]*letter),
		entries:    make(map[entryKey]*entry),
		notices:    make(map[noticeKey]*notice),
		tasks:      make(map[int64]*task),
		inquiries:  make(map[inquiryKey]*store.Inquiry),
		blobs:      make(map[message.ID]*blob),
	}
}

// with runs a transaction.
func (m *tables) with(ctx context.Context, run func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := run(); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return nil
}

// next takes the next place in the log.
func (m *tables) next() store.Place {
	m.place.Seq++
	return m.place
}

// whole is a time as it comes back: milliseconds, in UTC.
func whole(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

// statement is a copy that nobody else holds.
func statement(s *wirev1.Signed) *wirev1.Signed { return proto.CloneOf(s) }

func statements(l []*wirev1.Signed) []*wirev1.Signed {
	var out []*wirev1.Signed
	for _, s := range l {
		out = append(out, statement(s))
	}
	return out
}

func slots(l []*wirev1.Slot) []*wirev1.Slot {
	var out []*wirev1.Slot
	for _, s := range l {
		out = append(out, proto.CloneOf(s))
	}
	return out
}

// page sorts items by their place, keeps those of one page, and tells whether
// there are more.
func page[T any](items []T, seq func(T) uint64, limit int) ([]T, bool) {
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(seq(a), seq(b)) })
	if limit = max(limit, 0); len(items) > limit {
		return items[:limit], true
	}
	return items, false
}
