package promise

import (
	"context"
	"fmt"
	"sync"

	"airdispatch/message"
	"airdispatch/store"
)

// Server is an open store. Of a tracker, Mail is nil.
type Server struct {
	Mail    *store.Mail
	Tracker *store.Tracker
}

// shared is what both sorts have.
func (s Server) shared() (store.Identities, store.Log) {
	if s.Mail != nil {
		return s.Mail.Identities, s.Mail.Log
	}
	return s.Tracker.Identities, s.Tracker.Log
}

// kind says what an item is.
type kind int

const (
	account kind = iota
	letter
	arrival
	identity
	name
)

// item is one thing that a store keeps, as far as it was promised.
type item struct {
	kind kind
	n    int // its number in the pool
	// sure was promised, maybe is what an open call would make of it.
	sure, maybe standing
	open        *call
	// seen is how many versions anybody was shown.
	seen int
	// accepted is what was said about each version.
	accepted []store.Accepted
}

// standing is where an item stands.
type standing struct {
	versions      int // or revisions; 1 of what has one
	served        bool
	folder        store.Folder
	read, deleted bool
}

// call is one call and the items it is about.
type call struct{ items []*item }

// Work is all that one store was asked for.
type Work struct {
	pool  *Pool
	items []*item

	// mu guards what follows, and seen of the items.
	mu         sync.Mutex
	seq        uint64 // the newest place that was promised
	receipts   int
	violations []string
}

// NewWork begins a life: of a mail server, or of a tracker.
func (p *Pool) NewWork(tracker bool) *Work {
	w := &Work{pool: p}
	add := func(k kind, n int) {
		for i := range n {
			w.items = append(w.items, &item{kind: k, n: i})
		}
	}
	add(identity, len(p.records))
	if tracker {
		add(name, len(p.names))
		return w
	}
	add(account, len(p.owners))
	add(letter, len(p.letters))
	add(arrival, len(p.arrivals))
	return w
}

// Fork is a life that goes on from where this one is; nothing may be open.
func (w *Work) Fork() *Work {
	f := &Work{pool: w.pool, seq: w.seq}
	for _, i := range w.items {
		c := *i
		c.accepted = append([]store.Accepted(nil), i.accepted...)
		f.items = append(f.items, &c)
	}
	return f
}

// Receipts is how many promises there are so far.
func (w *Work) Receipts() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.receipts
}

// Violations are all that were found so far.
func (w *Work) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.violations
}

// Done reports whether there is little left to do.
func (w *Work) Done() bool {
	left := 0
	for _, i := range w.items {
		left += w.most(i) - i.sure.versions
	}
	return left < len(w.items)/2
}

// violated notes what should not be.
func (w *Work) violated(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
}

// most is how many versions an item can have.
func (w *Work) most(i *item) int {
	switch i.kind {
	case letter:
		return len(w.pool.letters[i.n].versions)
	case arrival:
		return len(w.pool.arrivals[i.n].versions)
	case identity:
		return len(w.pool.records[i.n])
	}
	return 1
}

// words is how an item is called in a violation.
func (w *Work) words(i *item) string {
	return fmt.Sprintf("%s %d", [...]string{"account", "letter", "arrival", "identity", "name"}[i.kind], i.n)
}

// outcome is what a store said about one item of a call.
type outcome struct {
	err error
	// accepted of a version; zero of what gets none.
	accepted store.Accepted
}

// ask makes one call about items that each go to a standing, and none where
// there are no items. What was answered is promised; the first error is returned, and its items stay open.
func (w *Work) ask(items []*item, next []standing, do func() []outcome) error {
	if len(items) == 0 {
		return nil
	}
	c := &call{items}
	for n, i := range items {
		i.maybe, i.open = next[n], c
	}
	var failed error
	for n, o := range do() {
		if o.err != nil {
			if failed == nil {
				failed = o.err
			}
			continue
		}
		w.promised(items[n], o.accepted)
	}
	return failed
}

// promised settles an item as the call said.
func (w *Work) promised(i *item, a store.Accepted) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i.maybe.versions > i.sure.versions && (i.kind == letter || i.kind == arrival) {
		i.accepted = append(i.accepted, a)
	}
	i.sure, i.open = i.maybe, nil
	i.seen = max(i.seen, i.sure.versions)
	w.seq = max(w.seq, a.Seq)
	w.receipts++
}

// Settle joins the accounts that are not there yet.
func (w *Work) Settle(ctx context.Context, s Server) error {
	for _, i := range w.items {
		if i.kind != account || i.sure.versions > 0 {
			continue
		}
		err := w.ask([]*item{i}, []standing{{versions: 1}}, func() []outcome {
			return []outcome{{err: s.Mail.Accounts.Join(ctx, store.Account{Address: w.pool.owners[i.n].Address()}, nil)}}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// written is what was written of a letter or an arrival.
func (w *Work) written(i *item) written {
	if i.kind == letter {
		return w.pool.letters[i.n]
	}
	return w.pool.arrivals[i.n]
}

// recalled reports whether a version of an item is a recall.
func (w *Work) recalled(i *item, versions int) bool {
	return versions > 0 && w.written(i).versions[versions-1].Head.Tombstone()
}

// alert is a version on its way in.
func (w *Work) alert(i *item, version int) store.Alert {
	x := w.written(i)
	s := x.versions[version-1]
	a := store.Alert{To: x.owner, Head: s.Head, Origin: message.Address{9}, Folder: store.Inbox, Now: s.Now}
	if len(s.Slots) > 0 {
		a.Slot = s.Slots[0]
	}
	return a
}
