// Disk lets operations of disks fail and disks run full, and holds the store
// and the real mail server to what they promised all the same.
//
// The first half runs one scenario on a simulated disk (see simdisk): a new
// store is made, some forty calls submit, edit, recall, serve, take alerts in,
// mark and publish, checkpoints among them, and the store is closed. Its k-th
// open, write, truncation, sync or deletion fails: with an error, for want of
// room, after half a write, or with all that come after it. A call that fails
// must say so, want of room as storage_full; while the disk is broken,
// everything can be read and nothing has changed; once it is well, the same call
// is taken at once. In the end the power goes, since a sync that fails takes
// its bytes with it, and the store that is opened on what is left must have all
// it promised and no damage. This is done for every k until the scenario passes
// untouched, in each of the ways; with a small count, for as many k, evenly
// spread.
//
// The second half is a real admaild on a file system of 16 MiB. The rest of it is
// filled, letters are written until they are refused, which must be with
// storage_full; reading must go on; and when the room is free again, a letter
// must be taken within ten seconds without anybody's help, with every letter
// that there is a receipt for in its place. The same is done with the limit on
// the size of files, and a crowd of connections takes all of 128 descriptors.
// Where mounting is not allowed, the full disk is skipped, which the figure says.
//
// The control is a disk that reports writes as done and drops them; the first
// half must find that out.
package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"airdispatch/prove/proof"
	"airdispatch/prove/simdisk"
)

const (
	// full is more operations than the scenario has: every k.
	full = 2000
	// perCycle is how many of the count one full disk stands for.
	perCycle = 20
	// controls are how many operations are dropped without a word, in turn.
	controls = 20
)

func main() {
	proof.Main(proof.Part{Name: "disk", Full: full, Run: run})
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	programs, err := proof.Build(ctx, filepath.Join(o.Dir, "bin"))
	if err != nil {
		return proof.Figure{}, err
	}
	m := simdisk.NewMachine("disk", o.Dir)
	caught, err := control(ctx, m, o.Seed)
	if err != nil {
		return proof.Figure{}, err
	}
	sim, err := faults(ctx, m, o.N, o.Seed, ways())
	if err != nil {
		return proof.Figure{}, err
	}
	fmt.Fprintf(o.Said, "disk: %d faults, %d violations\n", sim.count, len(sim.violations))
	t, err := server(ctx, o, programs, max(1, o.N/perCycle))
	if err != nil {
		return proof.Figure{}, err
	}
	f := proof.Figure{Violations: append(sim.violations, t.violations...)}
	every := "at every k"
	if o.N < sim.operations {
		every = fmt.Sprintf("at %d of %d k", sim.count/len(ways()), sim.operations)
	}
	f.Words = fmt.Sprintf("%d faults %s, %d full-disk cycles, %d file-size and %d descriptor limits, %d letters, %d false acknowledgements or other violations, recovery max %.1fs, control caught %d of %d",
		sim.count, every, t.cycles, t.files, t.handles, t.receipts, len(f.Violations), t.slowest.Round(100*time.Millisecond).Seconds(), caught, controls)
	if t.skipped != "" {
		f.Words += "; " + t.skipped
	}
	if caught == 0 {
		f.Violations = append(f.Violations, "the control, writes that are dropped without a word, was not noticed")
	}
	return f, nil
}

// control drops all writes from some operation on, without a word, and tells
// how often that was noticed.
func control(ctx context.Context, m *simdisk.Machine, seed uint64) (int, error) {
	sim, err := faults(ctx, m, controls, seed, []way{{"dropped", simdisk.Silent, true}})
	if err != nil {
		return 0, err
	}
	return sim.noticed, nil
}
