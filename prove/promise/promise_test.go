package promise_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"airdispatch/prove/promise"
	"airdispatch/store"
	"airdispatch/store/memory"
)

// forgetful forgets each version after some.
type forgetful struct {
	store.Outgoing
	left int
}

// Submit forgets.
func (f *forgetful) Submit(ctx context.Context, s []store.Submission) []store.SubmitResult {
	if f.left--; f.left < 0 {
		out := make([]store.SubmitResult, len(s))
		for i := range out {
			out[i].Accepted = store.Accepted{At: s[i].Now}
		}
		return out
	}
	return f.Outgoing.Submit(ctx, s)
}

func work(t *testing.T, spoil func(m *store.Mail)) []string {
	t.Helper()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 1))
	pool, err := promise.NewPool(r)
	if err != nil {
		t.Fatal(err)
	}
	m := memory.NewMail(nil)
	spoil(m)
	s := promise.Server{Mail: m}
	w := pool.NewWork(false)
	if err := w.Settle(ctx, s); err != nil {
		t.Fatal(err)
	}
	// A store that forgets refuses what comes after; that is its error.
	var refused error
	for n := 0; n < 300 && refused == nil; n++ {
		refused = w.Act(ctx, s, r, n%2, 2)
	}
	if err := w.Check(ctx, s, true); err != nil {
		t.Fatal(err)
	}
	if len(w.Violations()) == 0 {
		if w.Receipts() < 100 || refused != nil {
			t.Fatalf("only %d receipts, %v", w.Receipts(), refused)
		}
		if err := w.Again(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	return w.Violations()
}

// TestKeeps: a store that keeps everything is not blamed for anything.
func TestKeeps(t *testing.T) {
	if v := work(t, func(*store.Mail) {}); len(v) > 0 {
		t.Fatal(strings.Join(v, "\n"))
	}
}

// TestForgets: one that acknowledges and forgets is.
func TestForgets(t *testing.T) {
	v := work(t, func(m *store.Mail) { m.Outgoing = &forgetful{m.Outgoing, 40} })
	if len(v) == 0 || !strings.HasPrefix(v[0], "lost: ") {
		t.Fatal(v)
	}
}
