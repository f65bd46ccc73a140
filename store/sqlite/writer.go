package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

const (
	// maxSteps bounds one transaction, so that the first of them does not wait long for the last.
	maxSteps = 1024
	// reclaimEvery is how long a full disk is left alone: each try writes as much
	// as the WAL holds.
	reclaimEvery = 100 * time.Millisecond
	// scarcePages is checkpointPages where room is scarce: 1 MiB.
	scarcePages = 250
	// maxNumbers bounds the writer's memory of addresses' numbers; beyond it, it begins anew.
	maxNumbers = 100_000
)

// errClosed answers what comes after Close.
var errClosed = errors.New("the store is closed")

// A step is one change. It returns an error to undo what it did.
type step struct {
	run func(t *tx) error
	// plain steps decide before they write: they never return an error after a
	// write but a fault, so no savepoint is needed to undo them.
	plain bool
}

// The states of a job.
const (
	queued int32 = iota
	taken
	dropped
)

// A job is what one caller waits for.
type job struct {
	steps []step
	// errs has one for each step, once done is closed.
	errs  []error
	state atomic.Int32
	done  chan struct{}
}

// writer is the one goroutine that changes the database.
type writer struct {
	conn  *sql.Conn
	ended chan struct{}
	wake  chan struct{}

	// Only the goroutine uses these.
	stmts   map[string]*sql.Stmt
	numbers map[message.Address]int64
	// tight is why there was no room, until the WAL is in the file; tried is when
	// it was to be brought there last.
	tight error
	tried time.Time

	// mu guards queue, closed and place.
	mu     sync.Mutex
	queue  []*job
	closed bool
	// place is what was committed last.
	place store.Place
}

// startWriter starts the goroutine; close ends it.
func startWriter(conn *sql.Conn, place store.Place) *writer {
	w := &writer{
		conn: conn, ended: make(chan struct{}), wake: make(chan struct{}, 1), place: place,
		stmts: make(map[string]*sql.Stmt), numbers: make(map[message.Address]int64),
	}
	go w.loop()
	return w
}

// close lets what was taken in finish, refuses the rest, and waits.
func (w *writer) close() error {
	w.mu.Lock()
	again := w.closed
	w.closed = true
	w.mu.Unlock()
	if again {
		<-w.ended
		return nil
	}
	close(w.wake)
	<-w.ended
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

// do runs the steps in one transaction, which others may share, and returns
// one error for each of them after it was committed. A caller that gives up
// while its job is queued has changed nothing; one that gives up later gets
// the result all the same.
func (w *writer) do(ctx context.Context, steps ...step) []error {
	j := &job{steps: steps, errs: make([]error, len(steps)), done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		return j.fail(err)
	}
	if len(steps) == 0 {
		return nil
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return j.fail(errClosed)
	}
	w.queue = append(w.queue, j)
	// Under the lock, so that close cannot come between.
	select {
	case w.wake <- struct{}{}:
	default:
	}
	w.mu.Unlock()
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(queued, dropped) {
			return j.fail(ctx.Err())
		}
		<-j.done
	}
	return j.errs
}

// one is do for a single change, with its error wrapped.
func (w *writer) one(ctx context.Context, verb string, run func(t *tx) error) error {
	return wrap(verb, w.do(ctx, step{run: run})[0])
}

// fail gives all steps one error.
func (j *job) fail(err error) []error {
	for i := range j.errs {
		j.errs[i] = err
	}
	return j.errs
}

// at is where the log stands, as committed.
func (w *writer) at() store.Place {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.place
}

// loop commits batch after batch.
func (w *writer) loop() {
	defer close(w.ended)
	for range w.wake {
		for {
			w.gather()
			batch := w.take()
			if len(batch) == 0 {
				break
			}
			w.commit(batch)
		}
	}
	// Closed: what was queued before that is still answered.
	for batch := w.take(); len(batch) > 0; batch = w.take() {
		w.commit(batch)
	}
}

// gather lets callers that can run at once come first. Those who were answered
// together mostly ask again together; without this the first of them would
// pay for a commit of its own, and the others would wait for it.
func (w *writer) gather() {
	for before := -1; ; {
		w.mu.Lock()
		n := len(w.queue)
		w.mu.Unlock()
		if n == 0 || n == before || n >= maxSteps {
			return
		}
		before = n
		runtime.Gosched()
	}
}

// take removes the next batch from the queue, without the jobs that were given up.
func (w *writer) take() []*job {
	w.mu.Lock()
	defer w.mu.Unlock()
	var batch []*job
	steps := 0
	for len(w.queue) > 0 && (steps == 0 || steps+len(w.queue[0].steps) <= maxSteps) {
		j := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		if j.state.CompareAndSwap(queued, taken) {
			batch = append(batch, j)
			steps += len(j.steps)
		}
	}
	return batch
}

// commit runs a batch in one transaction and answers its jobs.
func (w *writer) commit(batch []*job) {
	t := &tx{w: w}
	err := w.reclaim()
	if err == nil {
		err = t.begin()
	}
	for _, j := range batch {
		for i := range j.steps {
			if err == nil {
				j.errs[i], err = t.step(j.steps[i])
			}
		}
	}
	if err == nil {
		err = t.commit()
	}
	if err != nil {
		t.rollback()
		if full(err) {
			w.tight = err
		}
	} else {
		w.mu.Lock()
		w.place = t.place
		w.mu.Unlock()
	}
	for _, j := range batch {
		if err != nil {
			j.fail(err)
		}
		close(j.done)
	}
}

// reclaim brings the WAL into the file once the disk was full. SQLite does so by
// itself when the WAL has reached its length, which there may never be room for;
// and room that comes free must go to the file first: then the WAL begins anew
// in the room that it has, where otherwise it would take the new room too and
// leave the file none to grow into. Until that is done, nothing is written.
func (w *writer) reclaim() error {
	if w.tight == nil {
		return nil
	}
	if time.Since(w.tried) < reclaimEvery {
		return w.tight
	}
	w.tried = time.Now()
	var busy, frames, moved int
	err := w.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &moved)
	switch {
	case err != nil && full(err):
		return w.tight
	case err == nil && moved < frames:
		// A reader still needs the old pages: tried again after the next commit.
		return nil
	}
	w.tight = nil
	// A disk that was full is short of room: the WAL is kept short from now on.
	_, err = w.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", scarcePages))
	return faulty(err)
}
