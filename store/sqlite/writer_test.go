package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"airdispatch/message"
	"airdispatch/store"
)

// testWriter is the writer of a new file.
func testWriter(t *testing.T) (*writer, tables) {
	t.Helper()
	db, err := File(filepath.Join(t.TempDir(), "tracker.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := OpenTracker(context.Background(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return d.w, d.tables()
}

// hold keeps the writer busy until the returned func is called, and returns
// when it is.
func hold(w *writer) (release func()) {
	started, end, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.do(context.Background(), step{run: func(*tx) error {
			close(started)
			<-end
			return nil
		}})
	}()
	<-started
	return func() {
		close(end)
		<-done
	}
}

// queue starts a job and returns when it waits in the queue.
func queue(w *writer, ctx context.Context, steps ...step) <-chan []error {
	w.mu.Lock()
	before := len(w.queue)
	w.mu.Unlock()
	out := make(chan []error, 1)
	go func() { out <- w.do(ctx, steps...) }()
	for {
		w.mu.Lock()
		n := len(w.queue)
		w.mu.Unlock()
		if n > before {
			return out
		}
		runtime.Gosched()
	}
}

// list is a step that lists an address and then ends with err.
func list(a byte, err error) step {
	return step{run: func(t *tx) error {
		n, fault := t.number(message.Address{a})
		if fault != nil {
			return fault
		}
		if _, fault := t.change("INSERT INTO listings (address, listing) VALUES (?1, 1)", n); fault != nil {
			return fault
		}
		return err
	}}
}

func listed(t *testing.T, d tables, a byte) bool {
	t.Helper()
	l, err := d.Listing(context.Background(), message.Address{a})
	if err != nil {
		t.Fatal(err)
	}
	return l == store.Allowed
}

// TestGroup: what waits shares one commit, and one that is refused harms no
// other, nor leaves anything behind.
func TestGroup(t *testing.T) {
	w, d := testWriter(t)
	release := hold(w)
	ctx := context.Background()
	var versions []int64
	version := func(t *tx) error {
		var v int64
		_, err := t.row("SELECT total_changes()", nil, &v)
		versions = append(versions, v)
		return err
	}
	one := queue(w, ctx, list(1, nil), step{run: version})
	two := queue(w, ctx, list(2, message.Quota), list(3, nil))
	three := queue(w, ctx, list(4, nil), step{run: version})
	before := w.at()
	release()
	for _, c := range []struct {
		errs []error
		want error
	}{{<-one, nil}, {<-two, message.Quota}, {<-three, nil}} {
		if !errors.Is(c.errs[0], c.want) || c.errs[1] != nil {
			t.Fatalf("got %v, want %v and none", c.errs, c.want)
		}
	}
	if !listed(t, d, 1) || listed(t, d, 2) || !listed(t, d, 3) || !listed(t, d, 4) {
		t.Fatal("the wrong ones were undone")
	}
	// An address that got its number in what was undone gets one again.
	if errs := w.do(ctx, list(2, nil)); errs[0] != nil || !listed(t, d, 2) {
		t.Fatalf("the one that was undone, again: %v", errs)
	}
	if now := w.at(); now.Seq != before.Seq {
		t.Fatalf("the log went from %v to %v and nobody took a place", before, now)
	}
	if len(versions) != 2 {
		t.Fatalf("%d of 2 ran", len(versions))
	}
}

// TestFault: a fault of the storage fails all that share the commit.
func TestFault(t *testing.T) {
	w, d := testWriter(t)
	release := hold(w)
	ctx := context.Background()
	one := queue(w, ctx, list(1, nil))
	two := queue(w, ctx, list(2, &fault{errors.New("the disk is gone")}))
	release()
	for _, errs := range [][]error{<-one, <-two} {
		if f, ok := errors.AsType[*fault](errs[0]); !ok || f.Error() != "the disk is gone" {
			t.Fatalf("got %v, want the fault", errs)
		}
	}
	if listed(t, d, 1) || listed(t, d, 2) {
		t.Fatal("a part of the failed commit is there")
	}
	if errs := w.do(ctx, list(1, nil)); errs[0] != nil || !listed(t, d, 1) {
		t.Fatalf("after the fault: %v", errs)
	}
}

// TestPlainPromise: a step that broke its promise must not be half kept.
func TestPlainPromise(t *testing.T) {
	w, d := testWriter(t)
	s := list(1, message.Quota)
	s.plain = true
	if errs := w.do(context.Background(), s); !errors.Is(errs[0], message.Quota) {
		t.Fatal(errs)
	}
	if listed(t, d, 1) {
		t.Fatal("half of a refused step is there")
	}
}

// TestConstraint: values that do not fit fail their own step alone.
func TestConstraint(t *testing.T) {
	w, d := testWriter(t)
	release := hold(w)
	ctx := context.Background()
	one, two := queue(w, ctx, list(1, nil)), queue(w, ctx, list(1, nil))
	release()
	if errs := <-one; errs[0] != nil {
		t.Fatal(errs)
	}
	if errs := <-two; errs[0] == nil {
		t.Fatal("a row was inserted twice")
	}
	if !listed(t, d, 1) {
		t.Fatal("the first was undone with the second")
	}
}

// TestGivenUp: a caller that gives up while it waits has changed nothing; one
// whose change is being committed gets the result.
func TestGivenUp(t *testing.T) {
	w, d := testWriter(t)
	release := hold(w)
	ctx, cancel := context.WithCancel(context.Background())
	waits := queue(w, ctx, list(1, nil))
	cancel()
	if errs := <-waits; !errors.Is(errs[0], context.Canceled) {
		t.Fatalf("got %v, want the context's error", errs)
	}
	release()
	ctx, cancel = context.WithCancel(context.Background())
	errs := w.do(ctx, step{run: func(t *tx) error {
		cancel()
		return list(2, nil).run(t)
	}})
	if errs[0] != nil || !listed(t, d, 2) || listed(t, d, 1) {
		t.Fatalf("given up while it ran: %v; listed %v, %v", errs, listed(t, d, 1), listed(t, d, 2))
	}
}

// TestNumbers: the writer's memory of numbers begins anew when it is full.
func TestNumbers(t *testing.T) {
	w, d := testWriter(t)
	errs := w.do(context.Background(), step{run: func(t *tx) error {
		for n := range maxNumbers {
			t.remember(message.Address{0xff, byte(n), byte(n >> 8), byte(n >> 16)}, int64(n))
		}
		return list(1, nil).run(t)
	}})
	if errs[0] != nil || !listed(t, d, 1) || len(w.numbers) != 1 {
		t.Fatalf("got %v, %d numbers", errs, len(w.numbers))
	}
}
