package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
)

// task is a task, and the delivery that an alert task belongs to.
type task struct {
	store.Task
	delivery *delivery
}

// kindBits are the low bits of a task's id that tell its kind.
const kindBits = 2

// named reports whether two tasks are one.
func named(a, b *store.Task) bool {
	same := a.Kind == b.Kind && a.Ref == b.Ref && a.Peer == b.Peer
	return same && (a.Kind != store.TaskReceipt || a.Version == b.Version && proto.Equal(a.Receipt, b.Receipt))
}

// alertTask gives the i-th delivery of a message its task, anew.
func (m *tables) alertTask(l *letter, i int, ref message.Ref, t store.Task) {
	d := l.deliveries[i]
	t.ID = (l.id<<8|int64(i))<<kindBits | int64(store.TaskAlert)
	t.Kind, t.Ref, t.Version, t.Peer, t.Queued, t.Due = store.TaskAlert, ref, d.version, d.to, whole(t.Queued), whole(t.Due)
	d.task = &task{t, d}
	m.tasks[t.ID] = d.task
}

// AddTasks adds tasks that are not there.
func (m *tables) AddTasks(ctx context.Context, tasks []store.Task) error {
	return m.with(ctx, func() error {
		for _, t := range tasks {
			if t.Kind != store.TaskAlert {
				continue
			}
			l, ok := m.messages[t.Ref]
			if !ok || !slices.ContainsFunc(l.deliveries, func(d *delivery) bool { return d.to == t.Peer }) {
				return message.NotFound
			}
		}
		for _, t := range tasks {
			m.addTask(t)
		}
		return nil
	})
}

func (m *tables) addTask(t store.Task) {
	if t.Kind == store.TaskAlert {
		l := m.messages[t.Ref]
		i := slices.IndexFunc(l.deliveries, func(d *delivery) bool { return d.to == t.Peer })
		if l.deliveries[i].task == nil {
			m.alertTask(l, i, t.Ref, t)
		}
		return
	}
	id := int64(m.next().Seq)<<kindBits | int64(t.Kind)
	for _, held := range m.tasks {
		if named(&held.Task, &t) {
			return
		}
	}
	t.ID, t.Receipt, t.Queued, t.Due = id, statement(t.Receipt), whole(t.Queued), whole(t.Due)
	if t.Kind == store.TaskPrefetch {
		t.Receipt = nil
	}
	m.tasks[id] = &task{Task: t}
}

// Claim takes due tasks.
func (m *tables) Claim(ctx context.Context, kind store.TaskKind, now time.Time, lease time.Duration, limit int) (out []store.Task, err error) {
	err = m.with(ctx, func() error {
		var due []*task
		for _, t := range m.tasks {
			if t.Kind == kind && !whole(now).Before(t.Due) {
				due = append(due, t)
			}
		}
		slices.SortFunc(due, func(a, b *task) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID)) })
		for _, t := range due[:min(len(due), max(limit, 0))] {
			t.Due = whole(now.Add(lease))
			c := t.Task
			c.Receipt = statement(c.Receipt)
			out = append(out, c)
		}
		return nil
	})
	return out, err
}

// Settle records outcomes.
func (m *tables) Settle(ctx context.Context, outcomes []store.Outcome) error {
	return m.with(ctx, func() error {
		for _, o := range outcomes {
			t, ok := m.tasks[o.ID]
			switch {
			case !ok || t.Version != o.Version:
			case o.Done:
				m.dropTask(t)
			default:
				t.Due, t.Noticed = whole(o.Retry), t.Noticed || o.Noticed
				t.Attempts++
			}
		}
		return nil
	})
}

func (m *tables) dropTask(t *task) {
	delete(m.tasks, t.ID)
	if t.delivery != nil {
		t.delivery.task = nil
	}
}

// NextDue tells when the next task is due.
func (m *tables) NextDue(ctx context.Context, kind store.TaskKind) (next time.Time, err error) {
	err = m.with(ctx, func() error {
		found := false
		for _, t := range m.tasks {
			if t.Kind == kind && (!found || t.Due.Before(next)) {
				next, found = t.Due, true
			}
		}
		if !found {
			return message.NotFound
		}
		return nil
	})
	return next, err
}
