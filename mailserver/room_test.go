package mailserver_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"airdispatch/message"
)

// disk is a disk that is as free as somebody says.
type disk struct{ free atomic.Int64 }

func (d *disk) reserve(n int64) func(*configs, *couriers) {
	return func(c *configs, _ *couriers) {
		c.Limits.ReserveBytes = n
		c.Free = func() (int64, error) { return d.free.Load(), nil }
	}
}

// TestReserve: what would not leave the reserve is not taken, letters and reading
// go on, and with room again the upload goes on from where it was.
func TestReserve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = inFiles
	defer w.stop()
	var d disk
	one := w.host("one", d.reserve(10<<20))
	ann, bob := w.person("ann", one), w.person("bob", one)
	b, id := blobOf(t, 1<<20, 4)
	old, oldID := blobOf(t, 1000, 5)

	d.free.Store(11 << 20)
	if _, _, err := ann.put(oldID, old, 0, len(old)); err != nil {
		t.Fatal(err)
	}
	if code, _, err := ann.put(id, b, 0, 1000); err != nil || code != http.StatusAccepted {
		t.Fatalf("what just fits: %d, %v", code, err)
	}
	// What is to come counts, not what this part brings.
	d.free.Store(11<<20 - 1001)
	_, _, err := ann.put(id, b, 1000, 1001)
	refused(t, err, message.StorageFull)
	if code, _, err := bob.put(oldID, old, 0, len(old)); err != nil || code != http.StatusOK {
		t.Fatalf("what is there already: %d, %v", code, err)
	}

	d.free.Store(0)
	h := ann.send(ann.letter("the disk is full of pictures", bob))
	bob.awaits(h)
	if text := bob.reads(ann, h.Ref()); text != "the disk is full of pictures" {
		t.Fatal(text)
	}
	if code, head, _, err := do(w, ann.peer, plain{http.MethodHead, blobPath(id), nil, nil}); err != nil || code != http.StatusPartialContent || head.Get("Airdispatch-Have") != "1000" {
		t.Fatalf("how much: %d, %v, %v", code, head, err)
	}
	d.free.Store(11 << 20)
	if code, _, err := ann.put(id, b, 1000, len(b)); err != nil || code != http.StatusOK {
		t.Fatalf("with room again: %d, %v", code, err)
	}
}

// TestReserveIsKeptWhileUploading: uploads that were let in on the same room do
// not overrun the reserve together.
func TestReserveIsKeptWhileUploading(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = inFiles
	defer w.stop()
	var looks atomic.Int64
	one := w.host("one", func(c *configs, _ *couriers) {
		c.Limits.ReserveBytes = 10 << 20
		c.Free = func() (int64, error) {
			// Room at the door and after the first MiB; then others have taken it.
			if looks.Add(1) <= 2 {
				return 1 << 30, nil
			}
			return 10<<20 - 1, nil
		}
	})
	ann := w.person("ann", one)
	b, id := blobOf(t, 5<<20, 6)
	_, _, err := ann.put(id, b, 0, len(b))
	refused(t, err, message.StorageFull)
	if _, head, _, err := do(w, ann.peer, plain{http.MethodHead, blobPath(id), nil, nil}); err != nil || head.Get("Airdispatch-Have") != "2097152" {
		t.Fatalf("what came before stays: %v, %v", head, err)
	}
	looks.Store(-100)
	if code, _, err := ann.put(id, b, 2<<20, len(b)); err != nil || code != http.StatusOK {
		t.Fatalf("the rest: %d, %v", code, err)
	}
}

// TestNoReserve: a negative reserve is none.
func TestNoReserve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	var d disk
	ann := w.person("ann", w.host("one", d.reserve(-1)))
	b, id := blobOf(t, 1000, 7)
	if code, _, err := ann.put(id, b, 0, len(b)); err != nil || code != http.StatusOK {
		t.Fatalf("%d, %v", code, err)
	}
}
