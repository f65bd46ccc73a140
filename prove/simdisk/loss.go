package simdisk

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// sector is what a disk writes at once, at best.
const sector = 512

// torn is how often a sector is cut in the middle instead of lost.
const torn = 0.1

// loss is how one loss of power goes.
type loss struct {
	r *rand.Rand
	// share is how many sectors survive; what comes after the count cut does not.
	share float64
	cut   int
	// noise says that what a file grew by without its bytes is not zeros.
	noise bool
}

// Loss is the disk that is found when the power is back. This one is dead then.
func (d *Disk) Loss(r *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	bytes, names := newLoss(r, d.n), newLoss(r, d.n)
	if r.IntN(2) == 0 {
		// A disk that keeps one order for bytes and names.
		names = bytes
	}
	left := maps.Clone(d.durable)
	for _, c := range d.changes {
		switch {
		case !names.survives(c.n):
		case c.file == nil:
			delete(left, c.name)
		default:
			left[c.name] = c.file
		}
	}
	n := New()
	for _, name := range slices.Sorted(maps.Keys(left)) {
		n.put(name, bytes.of(left[name]))
	}
	return n
}

// newLoss draws how a loss goes, of a disk after n operations.
func newLoss(r *rand.Rand, n int) loss {
	l := loss{r: r, share: 1, cut: n, noise: r.IntN(2) == 0}
	switch r.IntN(8) {
	case 0: // nothing that was not synced
		l.share = 0
	case 1: // everything
	case 2, 3: // up to some operation
		l.cut = n - r.IntN(min(n, 64)+1)
	default:
		l.share = r.Float64()
	}
	return l
}

// survives draws whether something of a count does.
func (l loss) survives(n int) bool { return n <= l.cut && l.r.Float64() < l.share }

// of is what is left of a file's bytes.
func (l loss) of(f *file) []byte {
	b := slices.Clone(f.durable)
	for _, u := range f.pending {
		if u.data == nil {
			if l.survives(u.n) {
				b = l.grow(b, u.off)
				b = b[:u.off]
			}
			continue
		}
		for from := int64(0); from < int64(len(u.data)); {
			to := min(int64(len(u.data)), (u.off+from)/sector*sector+sector-u.off)
			piece := u.data[from:to]
			if !l.survives(u.n) {
				keep := 0
				if u.n <= l.cut && l.share > 0 && l.r.Float64() < torn {
					keep = l.r.IntN(len(piece))
				}
				piece = piece[:keep]
			}
			if len(piece) > 0 {
				b = l.grow(b, u.off+from)
				b = update{off: u.off + from, data: piece}.on(b)
			}
			from = to
		}
	}
	return b
}

// grow fills the hole before a size with whatever is there.
func (l loss) grow(b []byte, size int64) []byte {
	for l.noise && int64(len(b)) < size {
		b = append(b, byte(l.r.Uint32()))
	}
	return resize(b, max(size, int64(len(b))))
}
