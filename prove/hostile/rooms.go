package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"airdispatch/prove/proof"
)

// room is a door that is no port of calls: live connections, nearby, a room's chat, and the port
// for MessagePasser programs. Each has a healthy peer of its own kind.
type room struct {
	name string
	// ran is the program whose door it is, and twin another of the same kind that nobody
	// attacks; nil where the mail server answers.
	ran, twin *program
	// ask is one exchange of the healthy peer, which must not fail.
	ask func(ctx context.Context) error
	// every is how often.
	every time.Duration
	// whole does in whole what cases do by halves: it must succeed.
	whole func(ctx context.Context) error
	// still is asked when all is over.
	still func(ctx context.Context) error
	// at are the ports that it takes connections at.
	at []target
	// cases are all but the slow ones.
	cases, slow []attack
	// before is how many descriptors the program had open.
	before int
	ends   []func()
}

// visit is what a healthy peer found: how long its exchanges took, and why one failed.
type visit struct {
	took   samples
	failed error
}

// visits are those of all rooms, in their order.
type visits []visit

const (
	// chatting is how often a healthy peer says a line: nearby takes ten a second, and so does a room. At the doors of
	// the mail server they say something as often as the healthy client asks.
	chatting = 150 * time.Millisecond
	// unnoticed is a time below which nobody calls a peer slow: five times a few milliseconds is what a busy
	// machine takes to come to a program at all.
	unnoticed = 500 * time.Millisecond
	// attempts are how often a control is tried: a machine that does much else may be as slow as one that was stopped.
	attempts = 3
	// stopping is how long a program is stopped as a control.
	stopping = 1200 * time.Millisecond
)

// openRooms starts a third mail server, with a port for MessagePasser programs, and the programs that
// do without one.
func (a *arena) openRooms(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	port, err := free()
	if err != nil {
		return err
	}
	hall, err := a.launch(ctx, "admaild", []string{"AD_PASSER__LISTEN=" + port}, "--accounts", "open", "--tracker", a.town.Tracker.Reference)
	if err != nil {
		return err
	}
	last := len(a.targets) - 2 // what is aimed at the other servers' ports would find nothing else here
	a.further = append(a.further, a.targets[last:]...)
	a.targets = a.targets[:last]
	dir := filepath.Join(a.dir, fmt.Sprintf("admaild-%d", len(a.servers)-1))
	for _, open := range []func() (*room, error){
		func() (*room, error) { return a.openLive(ctx, hall.Reference) },
		func() (*room, error) { return a.openPasser(ctx, hall.Reference, dir, port) },
		func() (*room, error) { return a.openNearby(ctx) },
		func() (*room, error) { return a.openWhisper(ctx) },
	} {
		r, err := open()
		a.rooms = append(a.rooms, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

func (r *room) close() {
	for n := range r.ends {
		r.ends[len(r.ends)-1-n]()
	}
	for _, p := range []*program{r.ran, r.twin} {
		if p != nil {
			p.kill()
		}
	}
}

// picked are n cases of each room, or all of them.
func (a *arena) picked(o proof.Options) (all []attack) {
	for _, r := range a.rooms {
		rand.New(rand.NewPCG(o.Seed, 1)).Shuffle(len(r.cases), func(i, j int) { r.cases[i], r.cases[j] = r.cases[j], r.cases[i] })
		if o.N < full {
			r.cases = r.cases[:min(o.N, len(r.cases))]
		}
		all = append(all, r.cases...)
	}
	return all
}

// attend is the healthy peers, for a time.
func (a *arena) attend(ctx context.Context, long time.Duration) visits {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	out := make(visits, len(a.rooms))
	var all sync.WaitGroup
	for n, r := range a.rooms {
		all.Go(func() {
			ticks := time.NewTicker(r.every)
			defer ticks.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticks.C:
				}
				begun := time.Now()
				limited, done := context.WithTimeout(context.WithoutCancel(ctx), dead)
				err := r.ask(limited)
				done()
				took := time.Since(begun)
				if err != nil {
					took, out[n].failed = dead, err
				}
				out[n].took = append(out[n].took, took)
			}
		})
	}
	all.Wait()
	return out
}

// both is the healthy client and the healthy peers, for a time.
func (a *arena) both(ctx context.Context, long time.Duration) (client samples, peers visits) {
	var beside sync.WaitGroup
	beside.Go(func() { peers = a.attend(ctx, long) })
	client = a.watch(ctx, long)
	beside.Wait()
	return client, peers
}

// compare demands that no healthy peer was failed, and none much slower than in the quiet; it
// returns that in words.
func (a *arena) compare(storm, calm visits, f *proof.Figure) string {
	var words []string
	for n, r := range a.rooms {
		then, quiet := percentile(storm[n].took), percentile(calm[n].took)
		for when, v := range map[string]visit{"in the storm": storm[n], "in the quiet": calm[n]} {
			if v.failed != nil {
				f.Violations = append(f.Violations, fmt.Sprintf("%s: the healthy peer %s: %v", r.name, when, v.failed))
			}
		}
		if slow(then, quiet) {
			f.Violations = append(f.Violations, fmt.Sprintf("%s: healthy p99 %s, quiet %s", r.name, then, quiet))
		}
		words = append(words, fmt.Sprintf("%s %s, quiet %s", r.name, then.Round(100*time.Microsecond), quiet.Round(100*time.Microsecond)))
	}
	return strings.Join(words, "; ")
}

// slow is the rule for a healthy peer.
func slow(then, quiet time.Duration) bool { return then > max(unnoticed, maxSlowdown*quiet) }

// furnished notes what the programs hold before anybody attacks.
func (a *arena) furnished() (err error) {
	for _, r := range a.rooms {
		if r.ran == nil {
			continue
		}
		if r.before, err = r.ran.descriptors(); err != nil {
			return err
		}
	}
	return nil
}

// held says which programs hold more than before.
func (a *arena) held() (more []string) {
	for _, r := range a.rooms {
		if r.ran == nil {
			continue
		}
		if now, err := r.ran.descriptors(); err != nil || now > r.before+slack {
			more = append(more, fmt.Sprintf("%s: descriptors not back to %d: %d, %v", r.name, r.before, now, err))
		}
	}
	return more
}

// cleared demands that programs get back to what they held before, in a minute, and that everybody is
// still served then.
func (a *arena) cleared(ctx context.Context, f *proof.Figure) {
	more := a.held()
	for end := time.Now().Add(patience); len(more) > 0 && time.Now().Before(end) && pause(ctx, time.Second) == nil; {
		more = a.held()
	}
	f.Violations = append(f.Violations, more...)
	for _, r := range a.rooms {
		limited, cancel := context.WithTimeout(ctx, patience)
		if err := r.still(limited); err != nil {
			f.Violations = append(f.Violations, fmt.Sprintf("%s: when all was over: %v", r.name, err))
		}
		cancel()
	}
}

// sound demands that no program of a room has ended or panicked or written what it must not, nor has more
// goroutines than its twin, whom nobody attacked; it returns the most memory that one has had, in MiB.
func (a *arena) sound(f *proof.Figure) (most int) {
	for _, r := range a.rooms {
		if r.ran == nil {
			continue
		}
		for _, wrong := range r.ran.well() {
			f.Violations = append(f.Violations, wrong)
			if strings.Contains(wrong, "a panic") {
				a.panics++
			}
		}
		mib, err := peak(r.ran.cmd.Process.Pid)
		if err != nil {
			f.Violations = append(f.Violations, fmt.Sprintf("%s: %v", r.name, err))
			continue
		}
		fmt.Fprintf(a.said, "hostile: %s had %d MiB\n", r.ran.name, mib)
		most = max(most, mib)
		if !r.ran.lives() {
			continue
		}
		mine, err := r.ran.dumped()
		its, err2 := r.twin.dumped()
		fmt.Fprintf(a.said, "hostile: %s had %d goroutines, its twin %d\n", r.ran.name, mine, its)
		if err != nil || err2 != nil || mine > its+slack {
			f.Violations = append(f.Violations, fmt.Sprintf("%s: %d goroutines, where nobody attacked %d: %v, %v", r.name, mine, its, err, err2))
		}
	}
	return most
}

// faulty are the controls of the rooms.
func (a *arena) faulty(ctx context.Context, missed func(string)) error {
	for _, r := range a.rooms {
		if err := r.whole(ctx); err != nil {
			missed(fmt.Sprintf("%s: what is whole had no success: %v", r.name, err))
		}
	}
	missing := a.stopped(ctx)
	for tries := 1; len(missing) > 0 && tries < attempts; tries++ {
		missing = a.stopped(ctx)
	}
	for _, what := range missing {
		missed(what)
	}
	for text, want := range map[string]string{
		"goroutine 1: panic: x": "a panic", "a " + never + " b": "what must not be shown", "title \x1b]0;x\x07": "what does something to a terminal", "gpj.\u202eexe": "what does something to a terminal", "\xff": "no text", "plain": "",
	} {
		if got := suspect(text); got != want {
			missed(fmt.Sprintf("of %q it is thought that it is %q", text, got))
		}
	}
	return a.unreturned(ctx, missed)
}

// stopped stops the programs for a while, and says whose healthy peer has not noticed.
func (a *arena) stopped(ctx context.Context) (missing []string) {
	calm := a.attend(ctx, time.Second)
	pids := []int{a.servers[len(a.servers)-1].Pid()}
	for _, r := range a.rooms {
		if r.ran != nil {
			pids = append(pids, r.ran.cmd.Process.Pid)
		}
	}
	signal := func(s syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, s) // one that has ended is found elsewhere
		}
	}
	signal(syscall.SIGSTOP)
	resume := time.AfterFunc(stopping, func() { signal(syscall.SIGCONT) })
	then := a.attend(ctx, stopping+500*time.Millisecond)
	resume.Stop()
	signal(syscall.SIGCONT)
	for n, r := range a.rooms {
		if !slow(percentile(then[n].took), percentile(calm[n].took)) {
			missing = append(missing, fmt.Sprintf("%s was stopped, and its healthy peer's p99 was %s, %s before", r.name, percentile(then[n].took), percentile(calm[n].took)))
		}
	}
	return missing
}

// unreturned holds connections to the programs, which must show.
func (a *arena) unreturned(ctx context.Context, missed func(string)) error {
	if err := a.furnished(); err != nil {
		return err
	}
	for _, r := range a.rooms {
		if r.ran == nil {
			continue
		}
		for range 2 * slack {
			c, err := a.plain(ctx, r.at[0])
			if err != nil {
				return err
			}
			defer c.Close()
		}
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); _ = pause(ctx, 20*time.Millisecond) {
		if len(a.held()) == 2 {
			return nil
		}
	}
	missed(fmt.Sprintf("connections are held to two programs, and not back are %q", a.held()))
	return nil
}
