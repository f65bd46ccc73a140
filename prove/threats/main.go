// Threats plays every attack of docs/threats.md whose subject exists against
// real programs: trackers, mail servers and clients that run as processes on
// loopback, and attackers that were made by hand and have the keys that such an
// attacker would have.
//
// A row is one attack: what the attacker does, and what must not come of it. All
// rows share one town, a tracker and two mail servers, so what one attacker does
// must not harm the others. Where a row needs servers with settings of their own,
// it starts them. Rows of docs/threats.md that say what cannot be prevented are
// held to the sentence that says so, in the page that people read.
//
// Meanwhile two people write to each other with texts, names, files, passwords
// and keys that are unique. Everything between them passes recorders, inside TLS
// and outside. At the end all that servers, trackers, other people and the wires
// hold is searched for these canaries, as they are and in the forms that bytes
// are written in. There must be none but in their owners' homes.
//
// The controls: a liar who tells the truth is believed, which each row does that
// could otherwise pass because nothing works; and canaries that are put into a
// log, a file, a database and a packet on purpose are found, in every form.
//
// ROWS=K1,S2 in the environment plays these rows alone.
//
// What is not covered: doors that are not built yet, which are listed as due, and
// what only time shows, such as seven days (the vectors and internal/town do).
package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"airdispatch/prove/proof"
)

// row is one attack.
type row struct {
	// id is the threat's in docs/threats.md.
	id string
	// name says what the attacker does and what must come of it.
	name string
	try  func(ctx context.Context, t *town) error
}

// due are threats whose subject is not built yet, and what they come with.
func due() map[string]string {
	return map[string]string{
		"H2": "pages", "H3": "pages", "H4": "pages", "P3": "pages", "H8": "bridge", "H9": "bridge", "H10": "bridge",
	}
}

// rows are all attacks: first those that wait half a minute for something, which others need not wait for, and
// then the rest, in the order of docs/threats.md.
func rows() (all []row) {
	for _, group := range [][]row{nearbyRows(), passerRows(), trackerRows(), originRows(), readerRows(), networkRows(), clientRows(), theftRows(), reachRows(), hostRows(), liveRows(), directRows(), roomRows()} {
		all = append(all, group...)
	}
	return all
}

// late are rows that are judged by what is left when all others are over.
func late(r row) bool { return r.id == "P1" || r.id == "P2" }

// workers is how many rows are played at once: most of them wait.
const workers = 4

func main() { proof.Main(proof.Part{Name: "threats", Full: 1, Run: run}) }

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	t, err := open(ctx, o)
	if t != nil {
		defer t.close()
	}
	if err != nil {
		return proof.Figure{}, err
	}
	var f proof.Figure
	all := rows()
	if only := os.Getenv("ROWS"); only != "" {
		all = slices.DeleteFunc(all, func(r row) bool { return !slices.Contains(strings.Split(only, ","), r.id) })
	}
	early := slices.DeleteFunc(slices.Clone(all), late)
	told := make(chan error, 1)
	go func() { told <- t.tell(ctx) }()
	held, err := t.play(ctx, early, &f)
	for what, err := range map[string]error{"the story": <-told, "the rows": err, "the search": t.sift(ctx)} {
		if err != nil {
			f.Violations = append(f.Violations, what+": "+strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	more, err := t.play(ctx, slices.DeleteFunc(all, func(r row) bool { return !late(r) }), &f)
	if err != nil {
		return f, err
	}
	held += more
	for _, h := range t.collector.hits {
		f.Violations = append(f.Violations, fmt.Sprintf("the canary %q stands, as %s, in %s", h.canary, h.form, h.place))
	}
	waiting := due()
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		fmt.Fprintf(o.Said, "due: %s with %s\n", id, waiting[id])
	}
	c := &t.collector
	f.Words = fmt.Sprintf("%d rows, %d held, %d canary hits in %d files and %d bytes of traffic (%d due with doors not built)", len(all), held, len(c.hits), c.files, c.traffic, len(waiting))
	return f, ctx.Err()
}

// play plays rows, several at once, and counts those that held.
func (t *town) play(ctx context.Context, all []row, f *proof.Figure) (held int, err error) {
	var mu sync.Mutex
	var done sync.WaitGroup
	queue := make(chan row)
	for range workers {
		done.Go(func() {
			for r := range queue {
				begun := time.Now()
				limited, cancel := context.WithTimeout(ctx, 2*patience)
				err := r.try(limited, t)
				cancel()
				mu.Lock()
				fmt.Fprintf(t.said, "threats: %-4s %5s  %s: %s\n", r.id, time.Since(begun).Round(100*time.Millisecond), cmp.Or(verdict(err), "held"), r.name)
				if err != nil {
					f.Violations = append(f.Violations, r.id+", "+r.name+": "+strings.ReplaceAll(err.Error(), "\n", "; "))
				} else {
					held++
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range all {
		if ctx.Err() != nil {
			break
		}
		queue <- r
	}
	close(queue)
	done.Wait()
	return held, ctx.Err()
}

// verdict is a word about a row that did not hold.
func verdict(err error) string {
	if err != nil {
		return "VIOLATED"
	}
	return ""
}
