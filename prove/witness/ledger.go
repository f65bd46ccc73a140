package witness

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Ledger is what was written and what was promised, in the harness's memory,
// which no server can lose.
type Ledger struct {
	verifier crypto.Verifier

	mu         sync.Mutex
	texts      map[message.ID]string // of each version that was ever sent
	owed       map[message.Ref]*debt // of each message with a receipt
	fresh      map[message.Ref]bool  // promised since the last check
	counted    int                   // receipts
	edits      int                   // receipts for later versions
	violations []string
}

// debt is what a server owes for one message.
type debt struct {
	versions map[uint64]message.ID
	newest   uint64
}

// NewLedger is an empty one.
func NewLedger() *Ledger {
	return &Ledger{verifier: crypto.NewVerifier(), texts: map[message.ID]string{}, owed: map[message.Ref]*debt{}, fresh: map[message.Ref]bool{}}
}

// wrote notes the words of a version before it is sent.
func (l *Ledger) wrote(h *message.Head, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.texts[h.ID] = text
}

// knows reports whether a version was ever sent.
func (l *Ledger) knows(id message.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.texts[id]
	return ok
}

// promised verifies and notes a receipt.
func (l *Ledger) promised(a *Author, h *message.Head, signed *wirev1.Signed) error {
	r, err := message.OpenReceipt(l.verifier, a.Host.Chain, signed)
	if err != nil {
		return fmt.Errorf("%s: receipt: %w", a.name, err)
	}
	if r.Kind != message.ReceiptSubmitted || r.ID != h.ID {
		l.Violated("%s: the receipt is for %x, not for %x", a.name, r.ID, h.ID)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.owed[h.Ref()]
	if d == nil {
		d = &debt{versions: map[uint64]message.ID{}}
		l.owed[h.Ref()] = d
	}
	if was, had := d.versions[h.Version]; had && was != h.ID {
		l.violations = append(l.violations, fmt.Sprintf("%s: two versions %d were promised", h.MID, h.Version))
	}
	if d.versions[h.Version] = h.ID; h.Version > 1 {
		l.edits++
	}
	d.newest = max(d.newest, h.Version)
	l.counted++
	l.fresh[h.Ref()] = true
	return nil
}

// Violated notes what should not be.
func (l *Ledger) Violated(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations = append(l.violations, fmt.Sprintf(format, args...))
}

// Receipts is how many there are.
func (l *Ledger) Receipts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counted
}

// due takes the messages that were promised since the last check, with what is
// owed for them then.
func (l *Ledger) due() map[message.Ref]map[uint64]message.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[message.Ref]map[uint64]message.ID{}
	for ref := range l.fresh {
		versions := map[uint64]message.ID{}
		for n, id := range l.owed[ref].versions {
			versions[n] = id
		}
		out[ref] = versions
	}
	clear(l.fresh)
	return out
}

// all marks everything as due again.
func (l *Ledger) all() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref := range l.owed {
		l.fresh[ref] = true
	}
}

// compare holds what a server shows of one message against what it owes.
func (l *Ledger) compare(ref message.Ref, owed map[uint64]message.ID, has map[uint64]message.ID) {
	for n, id := range owed {
		switch got, ok := has[n]; {
		case !ok:
			l.Violated("lost: version %d of %s", n, ref.MID)
		case got != id:
			l.Violated("altered: version %d of %s is %x, promised was %x", n, ref.MID, got, id)
		}
	}
}

// Violations are what was violated so far.
func (l *Ledger) Violations() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.violations)
}

// Words count what was promised and what became of it.
func (l *Ledger) Words() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := map[string]int{}
	for _, v := range l.violations {
		kind, _, _ := strings.Cut(v, ":")
		kinds[kind]++
	}
	return fmt.Sprintf("%d receipts (%d for edits), %d lost, %d altered, %d visible twice", l.counted, l.edits, kinds["lost"], kinds["altered"], kinds["twice"])
}
