// Package simworld is a whole network and the people in it, on simnet's bus:
// three trackers, five mail servers and twenty people, all of the product's own
// code but for the wires and the disks. Mail servers keep what they keep in the
// product's SQLite store on disks of simdisk, which lose what was not synced;
// trackers keep theirs in memory, and lose nothing when they are killed; so do the
// homes of people, whose clients are killed and opened again.
//
// # What happens
//
// Everybody registers. Then people write, read, edit, recall, post, ask how far a
// letter has come, try again what did not work, and move to other servers, each
// after a pause, while trouble comes and goes: bad weather, partitions, links that
// go and come one by one, clocks that are set wrong by up to ten minutes, power
// that goes when a server is idle or in the middle of a write, trackers and clients
// that are killed. One person's keys are stolen: the thief gives the address a new
// card and has its mail come elsewhere, until the owner signs another with the
// paper key. And one of all, a person, a server or a tracker, is a rogue. A rogue
// host keeps two books and answers from either, spoils answers, or says nothing
// that makes sense; a rogue person or server asks for letters of others, offers
// trackers lower routes and second routes under one number, floods a stranger, or
// writes in a name that is none. What is chosen follows from the seed.
//
// # What is held to
//
//   - I1 what a receipt was given for is in that server's store, in that version,
//     looked at after every loss of power and at the end;
//   - I2 every text that a client shows was written by the author that it shows;
//   - I3 no client shows a message twice, or one letter as two messages, at any
//     time; a day after everything was mended each letter is there once, in its
//     newest version;
//   - I4 no client sees a version go back, and no server promises two versions
//     under one number;
//   - I5 a server that gave a receipt for a recall would serve no payload any more;
//   - I6 no host goes back to a lower card or route, or changes the branch of an
//     address that was not stolen; the stolen one is its owner's again everywhere;
//   - I7 no private text is readable on the wire, past TLS, or on a server's disk;
//   - I8 no client shows a letter that is for others, and a rogue that asks for one
//     gets neither payload nor head;
//   - I9 a second route under one number is refused, and the evidence verifies;
//   - I10 goroutines and open exchanges stay within bounds, looked at before every
//     operation, and a stranger's requests within theirs;
//   - I11 everything that people did ends, and within the day their drafts are sent;
//   - I12 mail to somebody who is said to live at private addresses leads nobody there:
//     rpc.Guard refuses, and nobody comes;
//   - I13 what people see has the order of their server's log and of versions,
//     whatever clocks say: I3 and I4 hold while clocks are wrong.
//
// What is promised by a rogue host, or to people who have had an account at one, is
// not held to, nor what the theft may have cost: letters from and to its victim
// that are older than its end. A letter of a stranger that lies at a server which
// its reader left while that could not be asked counts apart, as does what was over
// before it could be brought. Blobs and live connections are not part of the world.
package simworld

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"airdispatch/message"
	"airdispatch/prove/simnet"
)

// How many there are.
const (
	trackers = 3
	servers  = 5
	people   = 20
)

// Setting is one run.
type Setting struct {
	Seed uint64
	// Shelf has the disks.
	Shelf *Shelf
	// Operations of the network, before everything is mended.
	Operations int
	// Control spoils the run on purpose.
	Control Control
	// Trace, where not nil, takes the whole trace.
	Trace io.Writer `json:"-"`
	// Log, where not nil, takes what hosts and clients say.
	Log *slog.Logger
}

// Control is a fault that the run must catch.
type Control int

// The controls.
const (
	// None: nothing is spoiled.
	None Control = iota
	// Forgets: a server goes back to an older state of its disk, which loses what
	// it has promised since.
	Forgets
	// Twice: clients send every letter a second time, as another message.
	Twice
	// Perturbed: one delivery comes a nanosecond later.
	Perturbed
)

// Outcome is what came of a run.
type Outcome struct {
	// Sum is that of the trace, of all that was delivered and done.
	Sum string
	// Operations of the network, in all.
	Operations int
	Violations []string
	// Tail is the end of the trace.
	Tail []string
	// Counts say what happened how often.
	Counts map[string]int
}

// World is one run.
type World struct {
	Setting
	t   *testing.T
	bus *simnet.Bus
	log *slog.Logger
	ctx context.Context

	trackers, servers []*Host
	people            []*Person
	pending           int
	rogue             rogue
	theft             *theft
	lure              lure
	// closing ends what belongs to no host.
	closing []func()
	// ending is what still runs at hosts that have crashed.
	ending     sync.WaitGroup
	living     bool
	operations int
	crowded    bool
	looks      int

	mu         sync.Mutex
	sum        hash.Hash
	lines      []string
	steps      uint64
	violations []string
	counts     map[string]int
	ledger     ledger
	// recalled has the messages for whose tombstone there is a receipt.
	recalled map[message.Ref]bool
	// held is how identities stood at hosts when one looked last.
	held map[[2]string]standing
	// outcast is an address that nobody welcomes.
	outcast message.Address
}

// tail is how many lines of the trace are kept.
const tail = 80

// Play makes one run; it is called in a bubble.
func Play(t *testing.T, s Setting) Outcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &World{Setting: s, t: t, ctx: ctx, log: s.Log, sum: sha256.New(), counts: map[string]int{},
		ledger: ledger{said: map[string]*said{}, byRef: map[message.Ref]*letter{}}, recalled: map[message.Ref]bool{}, held: map[[2]string]standing{},
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.bus = simnet.New(s.Seed, w)
	w.bus.Watch(w.overhear)
	w.reseed()
	if err := w.play(); err != nil {
		w.blame("the world does not go on: %v", err)
	}
	w.counts["ways refused by the guard"] = w.bus.Refused()
	return Outcome{
		Sum: hex.EncodeToString(w.sum.Sum(nil)[:8]), Operations: w.operations, Violations: w.violations, Tail: w.lines, Counts: w.counts,
	}
}

// Line is the bus's trace.
func (w *World) Line(at time.Time, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := at.UTC().Format("01-02 15:04:05.000000000 ") + what
	w.sum.Write([]byte(line + "\n"))
	if w.Trace != nil {
		fmt.Fprintln(w.Trace, line)
	}
	if w.lines = append(w.lines, line); len(w.lines) > 2*tail {
		w.lines = append([]string(nil), w.lines[tail:]...)
	}
	w.steps++
	w.reseed()
}

// overhear looks at all that goes over the network, past TLS: what is sealed must
// not be readable there (I7).
func (w *World) overhear(from, to string, b []byte) {
	if bytes.Contains(b, []byte(mark)) {
		w.blame("I7: a private text went from %s to %s", from, to)
	}
}

// reseed begins the machine's own randomness anew with every operation, so that
// what one operation draws, in whatever order, moves no other.
func (w *World) reseed() { cryptotest.SetGlobalRandom(w.t, w.Seed<<32^w.steps) }

// blame notes what should not be.
func (w *World) blame(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
}

// count counts something that happened.
func (w *World) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// play is the whole run.
func (w *World) play() error {
	defer w.close()
	if err := w.settle(); err != nil {
		return err
	}
	begun := w.bus.Delivered()
	w.living = true
	for _, p := range w.people {
		w.next(p)
	}
	w.choose()
	w.plan()
	w.spoil()
	w.trouble(0)
	w.bus.Run(w.ctx, func() bool {
		w.watch()
		return w.bus.Delivered()-begun >= w.Operations
	})
	w.operations = w.bus.Delivered() - begun
	w.living = false
	return w.heal()
}

// spoil does what a control asks for.
func (w *World) spoil() {
	h := w.servers[0]
	switch w.Control {
	case Perturbed:
		w.bus.Perturb()
	case Forgets:
		w.bus.Post(2*time.Minute, "an older disk", func() string {
			older := h.kept.disk.Clone()
			w.bus.Post(8*time.Minute, "goes back", func() string {
				if h.up {
					h.crash()
				}
				h.kept.disk = older
				return w.up(h)
			})
			return "is kept"
		})
	}
}

// settle builds everybody and has them move in.
func (w *World) settle() error {
	for i := range trackers {
		if _, err := w.host(fmt.Sprintf("tracker%d", i), message.RoleTracker); err != nil {
			return err
		}
	}
	for i := range servers {
		if _, err := w.host(fmt.Sprintf("server%d", i), message.RoleServer); err != nil {
			return err
		}
	}
	for i := range people {
		if err := w.person(fmt.Sprintf("person%02d", i)); err != nil {
			return err
		}
	}
	for i, p := range w.people {
		w.does(p, "registers", time.Duration(i)*time.Second, p.register)
	}
	w.bus.Run(w.ctx, w.still)
	var err error
	w.pending++
	go func() {
		err = w.lay(w.ctx)
		w.bus.Post(time.Second, "a lure is laid", func() string { w.pending--; return code(err) })
	}()
	w.bus.Run(w.ctx, w.still)
	return err
}

// still reports whether nobody does anything.
func (w *World) still() bool {
	w.watch()
	return w.pending == 0
}

// close ends everybody.
func (w *World) close() {
	for _, p := range w.people {
		p.place.Crash()
	}
	if w.theft != nil {
		w.theft.thief.place.Crash()
	}
	for _, h := range w.hosts() {
		h.place.Crash()
	}
	w.bus.Run(w.ctx, func() bool { return w.pending == 0 })
	for _, h := range w.hosts() {
		h.halt()
	}
	w.ending.Wait()
	for _, f := range w.closing {
		f()
	}
	if w.theft != nil {
		w.theft.thief.close()
	}
	for _, p := range w.people {
		p.close()
	}
}

// hosts are the trackers and the servers.
func (w *World) hosts() []*Host { return append(slices.Clone(w.trackers), w.servers...) }

// ip is a public address for the n-th place.
func ip(n int) netip.Addr { return netip.AddrFrom4([4]byte{5, 0, byte(n), 1}) }

// chance is somebody's randomness. What it gives depends on who asks when: two
// that draw at one moment change nothing for those who draw later.
type chance struct {
	seed uint64
	who  string

	mu sync.Mutex
	at int64
	n  uint64
}

// Read gives bytes.
func (c *chance) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now().UnixNano(); now != c.at {
		c.at, c.n = now, 0
	}
	c.n++
	seed := sha256.Sum256(fmt.Appendf(nil, "%d %s %d %d", c.seed, c.who, c.at, c.n))
	return rand.NewChaCha8(seed).Read(p)
}

// dice are for choices that belong to one key.
func (w *World) dice(key string) *rand.Rand {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d dice %s", w.Seed, key))
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])))
}

// code is what an error says that is the same in every run.
func code(err error) string {
	if err == nil {
		return "done"
	}
	if errors.Is(err, context.Canceled) {
		return "given up"
	}
	return message.CodeOf(err).Error()
}
