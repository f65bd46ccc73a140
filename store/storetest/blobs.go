package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
)

func indexTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"index/a blob counts once for each owner": testReserve,
		"index/submit wants complete blobs":       testSubmitBlobs,
		"index/used until recall or expiry":       testUsed,
		"index/unused blobs are taken out":        testUnused,
	}
}

func testReserve(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann, bob)
	b := store.BlobRef{ID: message.ID{1}, Size: 1000}
	for range 2 {
		done(t, "reserve", m.BlobIndex.Reserve(ctx, ann.Address(), b, noon()))
	}
	refused(t, "complete what others reserved", m.BlobIndex.Complete(ctx, bob.Address(), b.ID), message.NotFound)
	done(t, "reserve", m.BlobIndex.Reserve(ctx, bob.Address(), b, noon()))
	for _, p := range []*Person{ann, bob} {
		if used := account(t, m, p).BytesUsed; used != 1000 {
			t.Fatalf("%d bytes used, want 1000", used)
		}
	}
	refused(t, "another size", m.BlobIndex.Reserve(ctx, ann.Address(), store.BlobRef{ID: b.ID, Size: 1}, noon()), message.Conflict)
	limit := int64(1999)
	done(t, "change", m.Accounts.ChangeAccount(ctx, ann.Address(), store.AccountChange{BytesLimit: &limit}))
	refused(t, "beyond the quota", m.BlobIndex.Reserve(ctx, ann.Address(), store.BlobRef{ID: message.ID{2}, Size: 1000}, noon()), message.Quota)
	done(t, "what counts already", m.BlobIndex.Reserve(ctx, ann.Address(), b, noon()))
	refused(t, "complete what is not there", m.BlobIndex.Complete(ctx, ann.Address(), message.ID{2}), message.NotFound)
	done(t, "release what was not reserved", m.BlobIndex.Release(ctx, ann.Address(), message.ID{2}))
	for range 2 {
		done(t, "release", m.BlobIndex.Release(ctx, ann.Address(), b.ID))
	}
	if a, b := account(t, m, ann).BytesUsed, account(t, m, bob).BytesUsed; a != 0 || b != 1000 {
		t.Fatalf("%d and %d bytes used after a release, want 0 and 1000", a, b)
	}
	done(t, "complete", m.BlobIndex.Complete(ctx, bob.Address(), b.ID))
	done(t, "release what is complete", m.BlobIndex.Release(ctx, bob.Address(), b.ID))
	if used := account(t, m, bob).BytesUsed; used != 1000 {
		t.Fatalf("%d bytes used, want 1000", used)
	}
}

// attached reserves and completes a blob, and writes a message that lists it.
func attached(t *testing.T, m *store.Mail, p *Person, id byte, d Draft) store.Submission {
	t.Helper()
	ctx := context.Background()
	b := store.BlobRef{ID: message.ID{id}, Size: 100}
	done(t, "reserve", m.BlobIndex.Reserve(ctx, p.Address(), b, noon()))
	done(t, "complete", m.BlobIndex.Complete(ctx, p.Address(), b.ID))
	s := p.write(t, d)
	s.Blobs = []store.BlobRef{b}
	return submitted(t, m, s)
}

func testSubmitBlobs(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann, bob)
	b := store.BlobRef{ID: message.ID{1}, Size: 100}
	s := ann.write(t, Draft{To: []*Person{bob}, Body: "x"})
	s.Blobs = []store.BlobRef{b}
	try := func() error { return m.Outgoing.Submit(ctx, []store.Submission{s})[0].Err }
	refused(t, "an unknown blob", try(), message.NotFound)
	done(t, "reserve", m.BlobIndex.Reserve(ctx, bob.Address(), b, noon()))
	done(t, "complete", m.BlobIndex.Complete(ctx, bob.Address(), b.ID))
	refused(t, "somebody else's blob", try(), message.NotFound)
	other := store.BlobRef{ID: message.ID{2}, Size: 100}
	done(t, "reserve", m.BlobIndex.Reserve(ctx, ann.Address(), other, noon()))
	s.Blobs = []store.BlobRef{other}
	refused(t, "an unfinished blob", try(), message.NotFound)
	done(t, "complete", m.BlobIndex.Complete(ctx, ann.Address(), other.ID))
	s.Blobs[0].Size = 99
	refused(t, "another size", try(), message.NotFound)
	s.Blobs[0].Size = 100
	done(t, "submit", try())
	v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, bob.Address(), noon())
	if err != nil || len(v[0].Blobs) != 1 || v[0].Blobs[0] != other {
		t.Fatalf("got %+v, %v", v, err)
	}
}

func testUsed(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	to := []*Person{bob}
	one := attached(t, m, ann, 1, Draft{To: to, Body: "one"})
	two := attached(t, m, ann, 2, Draft{To: to, Prev: one.Head, Body: "two"})
	over := attached(t, m, ann, 3, Draft{To: to, Body: "x", Terms: message.Ephemeral, Expires: noon().Add(time.Hour)})
	check := func(ref message.Ref, id byte, want bool) {
		t.Helper()
		if used, err := m.BlobIndex.Used(ctx, ref, message.ID{id}); err != nil || used != want {
			t.Fatalf("blob %d used: %v, %v, want %v", id, used, err, want)
		}
	}
	check(one.Head.Ref(), 1, true)
	check(one.Head.Ref(), 2, true)
	check(one.Head.Ref(), 3, false)
	check(over.Head.Ref(), 3, true)
	check(over.Head.Ref(), 1, false)
	if n, err := m.Outgoing.Expire(ctx, noon().Add(time.Hour), 10); err != nil || n != 1 {
		t.Fatalf("expire: %d, %v", n, err)
	}
	check(over.Head.Ref(), 3, false)
	submitted(t, m, ann.write(t, Draft{To: to, Prev: two.Head, Recall: true}))
	check(one.Head.Ref(), 1, false)
	check(one.Head.Ref(), 2, false)
}

func testUnused(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann, bob)
	s := attached(t, m, ann, 1, Draft{To: []*Person{bob}, Body: "x"})
	idle, late := store.BlobRef{ID: message.ID{2}, Size: 50}, store.BlobRef{ID: message.ID{3}, Size: 7}
	done(t, "reserve", m.BlobIndex.Reserve(ctx, ann.Address(), idle, noon()))
	done(t, "reserve", m.BlobIndex.Reserve(ctx, bob.Address(), store.BlobRef{ID: message.ID{1}, Size: 100}, noon()))
	done(t, "reserve", m.BlobIndex.Reserve(ctx, ann.Address(), late, noon().Add(time.Hour)))
	unused := func(want ...byte) {
		t.Helper()
		got, err := m.BlobIndex.Unused(ctx, noon().Add(time.Minute), 10)
		if err != nil || len(got) != len(want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
		for i, id := range want {
			if got[i] != (message.ID{id}) {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	}
	unused(2)
	unused()
	if used := account(t, m, bob).BytesUsed; used != 0 {
		t.Fatalf("bob's %d bytes are not given back", used)
	}
	refused(t, "complete what was taken out", m.BlobIndex.Complete(ctx, ann.Address(), idle.ID), message.NotFound)
	before := account(t, m, ann).BytesUsed
	submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: s.Head, Recall: true}))
	unused(1)
	if freed := before - account(t, m, ann).BytesUsed; freed < 100 {
		t.Fatalf("%d bytes were freed", freed)
	}
}

// RunBlobs holds a store of blobs to its contract.
func RunBlobs(t *testing.T, open func(t *testing.T) store.Blobs) {
	for name, run := range map[string]func(*testing.T, store.Blobs){
		"in one go":                     testBlobWhole,
		"in parts":                      testBlobParts,
		"a reader that fails":           testBlobFails,
		"the wrong bytes":               testBlobWrong,
		"nothing but an id":             testBlobEmpty,
		"removal":                       testBlobRemove,
		"two writers":                   testBlobRace,
		"a caller that gives up":        testBlobContext,
		"more bytes than were promised": testBlobMore,
	} {
		t.Run(name, func(t *testing.T) { run(t, open(t)) })
	}
}

// pieces is a blob of n bytes that are the same in every run.
func pieces(t *testing.T, n int) ([]byte, store.BlobRef) {
	t.Helper()
	data, err := crypto.RandomBytes(NewDice("blob"), n)
	done(t, "random", err)
	id, size, err := crypto.BlobID(bytes.NewReader(data))
	done(t, "id", err)
	return data, store.BlobRef{ID: id, Size: size}
}

func wantSize(t *testing.T, b store.Blobs, id message.ID, want int64, whole bool) {
	t.Helper()
	size, complete, err := b.Size(context.Background(), id)
	if err != nil || size != want || complete != whole {
		t.Fatalf("size %d, complete %v, %v; want %d, %v", size, complete, err, want, whole)
	}
}

func wantBlob(t *testing.T, b store.Blobs, id message.ID, want []byte) {
	t.Helper()
	r, err := b.Open(context.Background(), id)
	done(t, "open", err)
	got, err := io.ReadAll(r)
	done(t, "read", err)
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes come back, and not the same", len(got))
	}
	if len(want) > 10 {
		part := make([]byte, 5)
		if _, err := r.ReadAt(part, 3); err != nil || !bytes.Equal(part, want[3:8]) {
			t.Fatalf("a part: %v, %v", part, err)
		}
		if n, err := r.Seek(-4, io.SeekEnd); err != nil || n != int64(len(want)-4) {
			t.Fatalf("seek: %d, %v", n, err)
		}
	}
	done(t, "close", r.Close())
}

func testBlobWhole(t *testing.T, b store.Blobs) {
	ctx := context.Background()
	data, ref := pieces(t, 3<<20+17)
	wantSize(t, b, ref.ID, 0, false)
	_, err := b.Open(ctx, ref.ID)
	refused(t, "open before", err, message.NotFound)
	n, err := b.Write(ctx, ref, 0, iotest.HalfReader(bytes.NewReader(data)))
	if err != nil || n != ref.Size {
		t.Fatalf("write: %d, %v", n, err)
	}
	wantSize(t, b, ref.ID, ref.Size, true)
	wantBlob(t, b, ref.ID, data)
	n, err = b.Write(ctx, ref, ref.Size, bytes.NewReader(nil))
	if err != nil || n != ref.Size {
		t.Fatalf("what is complete, at its end: %d, %v", n, err)
	}
	_, err = b.Write(ctx, ref, 0, bytes.NewReader(data))
	refused(t, "what is complete, from the start", err, message.Conflict)
}

func testBlobParts(t *testing.T, b store.Blobs) {
	ctx := context.Background()
	data, ref := pieces(t, 2<<20+5)
	offset := 0
	for _, part := range []int{1, 1 << 20, 10, 1<<20 - 10} {
		_, err := b.Write(ctx, ref, int64(offset+1), bytes.NewReader(data))
		refused(t, "another offset", err, message.Conflict)
		n, err := b.Write(ctx, ref, int64(offset), bytes.NewReader(data[offset:offset+part]))
		offset += part
		if err != nil || n != int64(offset) {
			t.Fatalf("write: %d, %v, want %d", n, err, offset)
		}
		wantSize(t, b, ref.ID, int64(offset), false)
		_, err = b.Open(ctx, ref.ID)
		refused(t, "open an unfinished blob", err, message.NotFound)
	}
	n, err := b.Write(ctx, ref, int64(offset), bytes.NewReader(data[offset:]))
	if err != nil || n != ref.Size {
		t.Fatalf("the last: %d, %v", n, err)
	}
	wantBlob(t, b, ref.ID, data)
}

func testBlobFails(t *testing.T, b store.Blobs) {
	ctx := context.Background()
	data, ref := pieces(t, 1000)
	broken := errors.New("broken")
	n, err := b.Write(ctx, ref, 0, io.MultiReader(bytes.NewReader(data[:600]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || n != 600 {
		t.Fatalf("got %d, %v, want 600 and the reader's error", n, err)
	}
	wantSize(t, b, ref.ID, 600, false)
	n, err = b.Write(ctx, ref, 600, bytes.NewReader(data[600:]))
	if err != nil || n != 1000 {
		t.Fatalf("the rest: %d, %v", n, err)
	}
	wantBlob(t, b, ref.ID, data)
}

func testBlobWrong(t *testing.T, b store.Blobs) {
	ctx := context.Background()
	data, ref := pieces(t, 1000)
	bad := bytes.Clone(data)
	bad[500]++
	for _, first := range []int{0, 700} {
		if first > 0 {
			_, err := b.Write(ctx, ref, 0, bytes.NewReader(bad[:first]))
			done(t, "the first part", err)
		}
		_, err := b.Write(ctx, ref, int64(first), bytes.NewReader(bad[first:]))
		refused(t, "wrong bytes", err, message.BadSignature)
		wantSize(t, b, ref.ID, 0, false)
	}
	_, err := b.Write(ctx, ref, 0, bytes.NewReader(data))
	done(t, "the right ones", err)
	wantBlob(t, b, ref.ID, data)
}

func testBlobEmpty(t *testing.T, b store.Blobs) {
	data, ref := pieces(t, 0)
	_, err := b.Write(context.Background(), ref, 0, bytes.NewReader(data))
	done(t, "write", err)
	wantSize(t, b, ref.ID, 0, true)
	wantBlob(t, b, ref.ID, data)
}

func testBlobRemove(t *testing.T, b store.Blobs) {
	ctx := context.Background()
	data, ref := pieces(t, 100)
	done(t, "remove what is absent", b.Remove(ctx, ref.ID))
	_, err := b.Write(ctx, ref, 0, bytes.NewReader(data[:50]))
	done(t, "write", err)
	done(t, "remove what is unfinished", b.Remove(ctx, ref.ID))
	wantSize(t, b, ref.ID, 0, false)
	_, err = b.Write(ctx, ref, 0, bytes.NewReader(data))
	done(t, "write", err)
	r, err := b.Open(ctx, ref.ID)
	done(t, "open", err)
	done(t, "remove what is open", b.Remove(ctx, ref.ID))
	wantSize(t, b, ref.ID, 0, false)
	_, err = b.Open(ctx, ref.ID)
	refused(t, "open after", err, message.NotFound)
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("a blob that was open: %d bytes, %v", len(got), err)
	}
	done(t, "close", r.Close())
}

func testBlobRace(t *testing.T, b store.Blobs) {
	data, ref := pieces(t, 300_000)
	won := 0
	for _, err := range together(4, func(int) error {
		_, err := b.Write(context.Background(), ref, 0, iotest.OneByteReader(bytes.NewReader(data)))
		return err
	}) {
		if err == nil {
			won++
		} else {
			refused(t, "write", err, message.Conflict)
		}
	}
	if won != 1 {
		t.Fatalf("%d of 4 writers wrote", won)
	}
	wantBlob(t, b, ref.ID, data)
}

func testBlobContext(t *testing.T, b store.Blobs) {
	ctx, cancel := context.WithCancel(context.Background())
	data, ref := pieces(t, 100)
	r := io.MultiReader(bytes.NewReader(data[:40]), readFunc(func([]byte) (int, error) {
		cancel()
		return 0, nil
	}), bytes.NewReader(data[40:]))
	n, err := b.Write(ctx, ref, 0, r)
	if !errors.Is(err, context.Canceled) || n != 40 {
		t.Fatalf("got %d, %v, want 40 and the context's error", n, err)
	}
	wantSize(t, b, ref.ID, 40, false)
}

// readFunc is a func that reads.
type readFunc func([]byte) (int, error)

// Read calls the func.
func (r readFunc) Read(p []byte) (int, error) { return r(p) }

func testBlobMore(t *testing.T, b store.Blobs) {
	data, ref := pieces(t, 100)
	n, err := b.Write(context.Background(), ref, 0, bytes.NewReader(append(bytes.Clone(data), "and more"...)))
	if err != nil || n != 100 {
		t.Fatalf("got %d, %v", n, err)
	}
	wantBlob(t, b, ref.ID, data)
}
