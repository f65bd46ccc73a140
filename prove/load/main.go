// Load connects ten thousand idle watchers to one real mail server, wakes all of
// them by one post, and lets a storm go over the server while healthy people use it.
//
// Each watcher is a client of its own with a connection of its own, TLS 1.3 as
// clients have it, in two processes because of the limit of descriptors. All but
// a few follow the posts of one author, as nobody; the others have accounts and
// watch their inboxes. A watcher is awake when the event has arrived that names a
// place in the log at or after that of the post; the time runs from when the post
// is handed in, which is before it is acknowledged, to the last watcher's event,
// and every watcher counts. Five posts are made, then one letter to all inboxes. The
// rule: nobody is missing, the last is awake within a second, and the server has
// never had more than 512 MiB (with fewer watchers less, in proportion, above 160).
//
// The storm: sixteen accounts submit, and four strange mail servers bring alerts of
// strangers in bulk, all as fast as they are answered. The server's limits are set low,
// so that storms are refused on slow machines, too. Meanwhile one healthy person
// writes to another, who reads, forty times a second in all. The rule: no healthy
// call fails, their 99th percentile is at most five times that of the quiet time
// before and after (with all watchers connected), everything that was sent arrives,
// the storm meets the refusals that limits give and no others, and after it another
// post wakes all. At the end the watchers leave, and the server's goroutines and
// descriptors are back to where they were. The storm's own processes have a lower
// priority: they stand for other people's machines.
//
// The controls: on a server that lets in fewer watchers, those who were refused must
// be counted; a watcher whose connection is closed beneath it must be missing from
// the next post; healthy people under limits that are too low must show as failed; and a
// server that is stopped for a while must show as late.
package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"airdispatch/prove/proof"
)

const (
	// full is how many watchers the figure stands on.
	full = 10_000
	// crowds are the processes that they are in, and inboxes how many of them, of
	// each crowd, watch their own.
	crowds, inboxes = 2, 16
	// posts are made one after the other.
	posts = 5
	// awake is within what the last watcher must be.
	awake = time.Second
	// resting is how long watchers are left alone before memory is read.
	resting = 5 * time.Second
	// quiet is how long healthy people are alone, before and after, and raging how
	// long a storm is.
	quiet, raging = 8 * time.Second, 20 * time.Second
	// maxSlowdown is how much slower than quiet it may get for healthy people.
	maxSlowdown = 5
	// unnoticed is what a person does not notice, however quick a quiet server is with few
	// watchers: those who storm share the processors with who is healthy.
	unnoticed = 100 * time.Millisecond
	// patience is how long is waited for what must happen in the end.
	patience = 90 * time.Second
)

// limits of the server are what a storm on a slow machine meets, too.
var limits = []string{
	"AD_LIMITS__SUBMIT_BURST=256", "AD_LIMITS__SUBMITS_PER_SECOND=50", "AD_LIMITS__ALERT_BURST=128", "AD_LIMITS__ALERTS_PER_SECOND=20",
	"AD_COURIER__FIRST_RETRY=100ms", "AD_COURIER__MAX_RETRY=1s",
}

func main() {
	if child() {
		return
	}
	proof.Main(proof.Part{Name: "load", Full: full, Run: run})
}

// load is one run.
type load struct {
	o       proof.Options
	f       proof.Figure
	town    *town
	healthy *healthy
	crowds  []*member
	owners  []*owner
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	l := &load{o: o}
	programs, err := proof.Build(ctx, filepath.Join(o.Dir, "bin"))
	if err != nil {
		return l.f, err
	}
	if err := l.controls(ctx, programs); err != nil {
		return l.f, fmt.Errorf("controls: %w", err)
	}
	if l.town, err = openTown(ctx, programs, filepath.Join(o.Dir, "load"), limits...); err != nil {
		return l.f, err
	}
	defer l.town.close()
	if l.healthy, err = newHealthy(ctx, l.town); err != nil {
		return l.f, err
	}
	defer l.healthy.close()
	l.healthy.use(ctx, time.Second) // so that what comes once has come
	before, err := l.town.vitals(ctx)
	if err != nil {
		return l.f, err
	}
	defer l.leave()
	return l.f, l.all(ctx, before)
}

// all is what a run consists of.
func (l *load) all(ctx context.Context, before vital) error {
	empty, _, err := l.town.memory()
	if err != nil {
		return err
	}
	if err := l.connect(ctx); err != nil {
		return err
	}
	if err := pause(ctx, resting); err != nil {
		return err
	}
	idle, _, err := l.town.memory()
	if err != nil {
		return err
	}
	var took []time.Duration
	for range posts {
		t, err := l.wake(ctx, false)
		if err != nil {
			return err
		}
		took = append(took, t)
	}
	letter, err := l.wake(ctx, true)
	if err != nil {
		return err
	}
	calm := l.healthy.use(ctx, quiet)
	stormy, said, err := l.storm(ctx)
	if err != nil {
		return err
	}
	after, err := l.wake(ctx, false)
	if err != nil {
		return err
	}
	calm = append(calm, l.healthy.use(ctx, quiet)...)
	missing, err := l.healthy.arrived(ctx, patience)
	if err != nil {
		return err
	}
	_, most, err := l.town.memory()
	if err != nil {
		return err
	}
	l.leave()
	l.settled(ctx, before)
	times := l.judge(calm, stormy, said, most, missing)
	slices.Sort(took)
	l.f.Words = fmt.Sprintf("%d watchers in %.0f MiB (%.1f KiB each above %.0f), all awake after %s (worst of %d, median %s; %d inboxes by a letter %s; after the storm %s); "+
		"storm of %d calls, %d items taken, %d refused: healthy p99 %.1f times quiet (%s, %s), %d of %d failed; at most %.0f MiB in all; controls caught",
		l.o.N, idle, (idle-empty)*1024/float64(l.o.N), empty, round(took[len(took)-1]), posts, round(took[len(took)/2]), len(l.owners), round(letter), round(after),
		said.Calls, said.Submits[taken]+said.Alerts[taken], refusals(said), times, round(percentile(stormy)), round(percentile(calm)), len(l.healthy.failed), len(calm)+len(stormy), most)
	return ctx.Err()
}

// judge holds what was measured against the rules.
func (l *load) judge(calm, stormy []time.Duration, said stormSaid, most float64, missing int) (times float64) {
	l.f.Violations = append(l.f.Violations, l.healthy.failed...)
	if missing > 0 {
		l.violated("%d healthy messages did not arrive", missing)
	}
	if times = percentile(stormy).Seconds() / percentile(calm).Seconds(); times > maxSlowdown && percentile(stormy) > unnoticed {
		l.violated("healthy p99 %s, quiet %s", percentile(stormy), percentile(calm))
	}
	if bound := 160 + float64(512-160)*min(1, float64(l.o.N)/full); most > bound {
		l.violated("the server had %.0f MiB, with %d watchers at most %.0f", most, l.o.N, bound)
	}
	l.f.Violations = append(l.f.Violations, judgeStorm(said)...)
	return times
}

func (l *load) violated(format string, args ...any) {
	l.f.Violations = append(l.f.Violations, fmt.Sprintf(format, args...))
}

func (l *load) say(format string, args ...any) {
	fmt.Fprintf(l.o.Said, "load: "+format+"\n", args...)
}

// round is a time as it is told.
func round(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
