package client

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// wire is a message as bytes.
func wire(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzPulled hands the client any bytes as its server's answer about a letter: it
// shows one of the author's versions in full, and never an older one than before.
func FuzzPulled(f *testing.F) {
	k := newKeyring(f)
	c := alone(f, k)
	a := newAuthor(f, c, k)
	one := a.version(nil, "one")
	two := a.version(one.Head, "two")
	three := a.version(two.Head, "three")
	a.alert(c, two)
	if _, err := a.take(c, a.pulled(two, one)); err != nil {
		f.Fatal(err)
	}
	a.alert(c, three)
	lacking := a.pulled(three, two)
	lacking.Payload = lacking.Payload[:len(lacking.Payload)-1] // only chance would find the rest
	stripped := a.pulled(three, two)
	stripped.Slot = nil
	for _, w := range []*wirev1.Pulled{lacking, stripped, a.pulled(two, one), {Refusal: &wirev1.Refusal{Reason: wirev1.Reason_REASON_EXPIRED}}, {KeptCopy: true, Heads: lacking.Heads}} {
		f.Add(wire(f, w))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w wirev1.Pulled
		if proto.Unmarshal(b, &w) != nil {
			return
		}
		a.t = t
		_, err := a.take(c, &w)
		i, keptErr := c.kept(t.Context(), one.Head.Ref())
		if keptErr != nil {
			t.Fatalf("%v, after %v", keptErr, err)
		}
		if body, _ := i.Content.Body(); i.Shown < 2 || body != map[uint64]string{2: "two", 3: "three"}[i.Shown] {
			t.Fatalf("version %d reads %q, after %v", i.Shown, body, err)
		}
	})
}

// FuzzEntry hands the client any bytes as a line of its inbox: whatever is taken
// is a letter whose author signed its head, to this reader.
func FuzzEntry(f *testing.F) {
	k := newKeyring(f)
	c := alone(f, k)
	a := newAuthor(f, c, k)
	one := a.version(nil, "one")
	good := &wirev1.Entry{Seq: 1, Head: one.Head.Signed, From: a.k.Address().Bytes(), Mid: a.mid.Bytes(), Folder: wirev1.Folder_FOLDER_INBOX, Arrived: 1}
	bare := &wirev1.Entry{Seq: 2, From: a.k.Address().Bytes(), Mid: a.mid.Bytes(), Deleted: true}
	f.Add(wire(f, good))
	f.Add(wire(f, bare))
	f.Add(wire(f, good)[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		var e wirev1.Entry
		if proto.Unmarshal(b, &e) != nil {
			return
		}
		m, err := c.takeEntry(t.Context(), &e)
		if err != nil {
			return
		}
		if e.GetHead() != nil && m.Ref != (message.Ref{From: a.k.Address(), MID: a.mid}) {
			t.Fatalf("a head of %s was taken for %s", m.Ref, one.Head.Ref())
		}
		if err := c.home.PutMessages(t.Context(), c.me, []home.Message{m}, home.Reading{Log: inboxLog, Seq: m.Seq}); err != nil {
			t.Fatalf("taken, and cannot be kept: %v", err)
		}
	})
}
