package storetest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func copyTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"copies/are kept and read back":      testCopy,
		"copies/a newer one takes the place": testCopyVersions,
		"copies/need an entry":               testCopyEntry,
		"copies/are taken and dropped":       testCopyTaken,
		"copies/of what is over are dropped": testCopyExpired,
		"copies/a deletion erases them":      testCopyDeleted,
	}
}

// held is an entry of bob's with a copy.
func held(t *testing.T, m *store.Mail, d Draft) (*Person, *Person, store.Submission) {
	t.Helper()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, bob)
	d.To = []*Person{bob}
	s := alerted(t, m, bob, ann.write(t, d))
	done(t, "put", m.Copies.PutCopy(context.Background(), bob.Address(), copyOf(s)))
	return ann, bob, s
}

func copyOf(s store.Submission) store.Copy {
	return store.Copy{
		Ref: s.Head.Ref(), Version: s.Head.Version, Heads: []*wirev1.Signed{s.Head.Signed}, Slot: s.Slots[0], Payload: s.Payload,
		Blobs: []store.BlobRef{{ID: message.ID{byte(s.Head.Version)}, Size: 5}}, At: s.Now,
	}
}

func testCopy(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	_, bob, s := held(t, m, Draft{Body: "x"})
	got, err := m.Copies.Copy(ctx, bob.Address(), s.Head.Ref())
	done(t, "copy", err)
	want := copyOf(s)
	if got.Ref != want.Ref || got.Version != 1 || len(got.Heads) != 1 || !proto.Equal(got.Heads[0], s.Head.Signed) || !proto.Equal(got.Slot, want.Slot) ||
		!bytes.Equal(got.Payload, want.Payload) || len(got.Blobs) != 1 || got.Blobs[0] != want.Blobs[0] || !got.At.Equal(want.At) || got.Taken {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	got.Payload[0]++
	again, err := m.Copies.Copy(ctx, bob.Address(), s.Head.Ref())
	if err != nil || !bytes.Equal(again.Payload, want.Payload) {
		t.Fatal("a change of what was handed out reached the store")
	}
}

func testCopyVersions(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, one := held(t, m, Draft{Body: "x"})
	two := ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"})
	done(t, "take", m.Copies.TakeCopy(ctx, bob.Address(), one.Head.Ref(), 1))
	done(t, "the same again", m.Copies.PutCopy(ctx, bob.Address(), copyOf(one)))
	if c, err := m.Copies.Copy(ctx, bob.Address(), one.Head.Ref()); err != nil || !c.Taken {
		t.Fatalf("put again, it is taken no more: %+v, %v", c, err)
	}
	done(t, "newer", m.Copies.PutCopy(ctx, bob.Address(), copyOf(two)))
	done(t, "older", m.Copies.PutCopy(ctx, bob.Address(), copyOf(one)))
	c, err := m.Copies.Copy(ctx, bob.Address(), one.Head.Ref())
	if err != nil || c.Version != 2 || c.Taken || !bytes.Equal(c.Payload, two.Payload) {
		t.Fatalf("got %+v, %v", c, err)
	}
	for id, want := range map[byte]bool{1: false, 2: true} {
		if used, err := m.BlobIndex.Used(ctx, one.Head.Ref(), message.ID{id}); err != nil || used != want {
			t.Fatalf("blob %d used: %v, %v, want %v", id, used, err, want)
		}
	}
}

func testCopyEntry(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	s := ann.write(t, Draft{To: []*Person{bob}, Body: "x"})
	refused(t, "no account", m.Copies.PutCopy(ctx, bob.Address(), copyOf(s)), message.NotFound)
	join(t, m, bob)
	refused(t, "no entry", m.Copies.PutCopy(ctx, bob.Address(), copyOf(s)), message.NotFound)
	_, err := m.Copies.Copy(ctx, bob.Address(), s.Head.Ref())
	refused(t, "no copy", err, message.NotFound)
	refused(t, "nothing to take", m.Copies.TakeCopy(ctx, bob.Address(), s.Head.Ref(), 1), message.NotFound)
	alerted(t, m, bob, s)
	_, err = m.Copies.Copy(ctx, bob.Address(), s.Head.Ref())
	refused(t, "an entry without a copy", err, message.NotFound)
}

func testCopyTaken(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	_, bob, s := held(t, m, Draft{Body: "x"})
	before := account(t, m, bob).BytesUsed
	drop := func(before, now time.Time, want int) {
		t.Helper()
		if n, err := m.Copies.DropCopies(ctx, before, now, 10); err != nil || n != want {
			t.Fatalf("dropped %d, %v, want %d", n, err, want)
		}
	}
	far := time.Now().Add(time.Hour)
	drop(far, far, 0)
	refused(t, "another version", m.Copies.TakeCopy(ctx, bob.Address(), s.Head.Ref(), 2), message.NotFound)
	done(t, "take", m.Copies.TakeCopy(ctx, bob.Address(), s.Head.Ref(), 1))
	if c, err := m.Copies.Copy(ctx, bob.Address(), s.Head.Ref()); err != nil || !c.Taken {
		t.Fatalf("got %+v, %v", c, err)
	}
	drop(time.Now().Add(-time.Hour), far, 0)
	drop(far, far, 1)
	_, err := m.Copies.Copy(ctx, bob.Address(), s.Head.Ref())
	refused(t, "a copy that was dropped", err, message.NotFound)
	if freed := before - account(t, m, bob).BytesUsed; freed < int64(len(s.Payload)) {
		t.Fatalf("%d bytes were freed", freed)
	}
}

func testCopyExpired(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	over := noon().Add(time.Hour)
	_, bob, s := held(t, m, Draft{Body: "x", Terms: message.Ephemeral, Expires: over})
	for _, c := range []struct {
		now  time.Time
		want int
	}{{over.Add(-time.Millisecond), 0}, {over, 1}, {over, 0}} {
		if n, err := m.Copies.DropCopies(ctx, noon(), c.now, 10); err != nil || n != c.want {
			t.Fatalf("at %v: dropped %d, %v, want %d", c.now, n, err, c.want)
		}
	}
	_, err := m.Copies.Copy(ctx, bob.Address(), s.Head.Ref())
	refused(t, "a copy of what is over", err, message.NotFound)
}

func testCopyDeleted(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	_, bob, s := held(t, m, Draft{Body: "x"})
	yes := true
	mark(t, m, bob, store.Marking{Ref: s.Head.Ref(), Deleted: &yes})
	_, err := m.Copies.Copy(ctx, bob.Address(), s.Head.Ref())
	refused(t, "the copy of a deleted entry", err, message.NotFound)
	refused(t, "a copy for a deleted entry", m.Copies.PutCopy(ctx, bob.Address(), copyOf(s)), message.NotFound)
	if a := account(t, m, bob); a.BytesUsed != 0 || a.MessagesUsed != 0 {
		t.Fatalf("%d bytes, %d messages used after all was deleted", a.BytesUsed, a.MessagesUsed)
	}
}
