package mailserver_test

import (
	"testing"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestDeliver is the way of a letter between two servers: submitted, alerted,
// fetched, read, edited, recalled, with the status at each step.
func TestDeliver(t *testing.T) {
	for name, keep := range map[string]func(testing.TB) *store.Mail{"memory": inMemory, "files": inFiles} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.keep = keep
			defer w.stop()
			deliver(t, w)
		})
	}
}

func deliver(t *testing.T, w *world) {
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)

	first := ann.send(ann.letter("hello", bob))
	e := bob.awaits(first)
	if e.GetFolder() != wirev1.Folder_FOLDER_REQUESTS {
		t.Fatalf("a stranger's mail is in %v", e.GetFolder())
	}
	w.until("the receipt", func() bool {
		return ann.status(first.MID, bob).GetState() == wirev1.DeliveryState_DELIVERY_STATE_ALERTED
	})
	if got := bob.reads(ann, first.Ref()); got != "hello" {
		t.Fatalf("bob reads %q", got)
	}
	w.until("the fetched receipt", func() bool {
		return ann.status(first.MID, bob).GetState() == wirev1.DeliveryState_DELIVERY_STATE_FETCHED
	})

	second := ann.send(ann.edit(first, "hello again", bob))
	bob.awaits(second)
	r, err := bob.fetch(first.Ref(), 1)
	must(t, err)
	if len(r.GetHeads()) != 1 || bob.open(ann, r) != "hello again" {
		t.Fatalf("the edit: %d heads, %q", len(r.GetHeads()), bob.open(ann, r))
	}

	third := ann.send(ann.recall(second))
	bob.awaits(third)
	if got := bob.reads(ann, first.Ref()); got != "(recalled)" {
		t.Fatalf("after the recall bob reads %q", got)
	}
	if got := ann.reads(ann, first.Ref()); got != "(recalled)" {
		t.Fatalf("after the recall ann reads %q", got)
	}
	_, err = ann.trySend(ann.draft(message.Draft{Prev: second}, "too late", bob))
	refused(t, err, message.Conflict)
}
