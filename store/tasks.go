package store

import (
	"context"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TaskKind says what is to be done.
type TaskKind int

// The kinds.
const (
	// TaskAlert: bring the newest head of Ref to Peer, a recipient.
	TaskAlert TaskKind = 1
	// TaskReceipt: bring Receipt about Ref back to Peer, the author.
	TaskReceipt TaskKind = 2
	// TaskPrefetch: pull Ref for Peer, an owner here.
	TaskPrefetch TaskKind = 3
)

// Task is something that must be brought or fetched, now or later. A task is
// named by Kind, Ref, Peer and, of receipts, Version and Receipt.
type Task struct {
	ID      int64
	Kind    TaskKind
	Ref     message.Ref
	Version uint64
	Peer    message.Address
	Receipt *wirev1.Signed
	// Queued is when the task was made; Attempts were made since.
	Queued   time.Time
	Attempts int
	// Noticed: the owner has been told that it is overdue.
	Noticed bool
	// Due is when it is to be tried; in a claimed task, when the claim ends.
	Due time.Time
}

// Outcome settles one claimed task.
type Outcome struct {
	ID int64
	// Version of the task as it was claimed: an outcome for a task that has been
	// replaced since by a newer version is passed over.
	Version uint64
	// Done removes the task; else it is tried again at Retry with one attempt more.
	Done    bool
	Retry   time.Time
	Noticed bool
}

// Tasks is the outbox: durable, in one transaction with what caused them.
type Tasks interface {
	// AddTasks adds tasks; one that is there already stays as it is.
	AddTasks(ctx context.Context, t []Task) error
	// Claim takes up to limit due tasks of a kind, the longest due first, and
	// makes each due again at now+lease, so that they are not lost when the
	// claimer dies.
	Claim(ctx context.Context, kind TaskKind, now time.Time, lease time.Duration, limit int) ([]Task, error)
	// Settle records outcomes of claimed tasks.
	Settle(ctx context.Context, o []Outcome) error
	// NextDue is when the next task of a kind is due; message.NotFound without any.
	NextDue(ctx context.Context, kind TaskKind) (time.Time, error)
}
