// Hostile sends malformed and malicious peers against every port of real
// trackers and mail servers, and looks what becomes of the servers and of
// somebody who goes on using them.
//
// A case is one thing that a peer does: a valid request cut off at one byte, a
// frame that HTTP/2 forbids, a body that opens to a gigabyte, a header that never
// ends, a host spelled so that it leads inside. Some cases know what must not
// happen to them, such as success; the rest only have to be over in time. While
// they go on, slow peers hold on to connections, and one healthy client asks both
// servers fifty times a second.
//
// At the end no process has ended or panicked, none has ever had more than 256
// MiB, their goroutines and descriptors are back to where they were, and the 99th
// percentile of the healthy client was at most five times that of the quiet time.
// Servers that lie to our client, hosts and names that aim our dialer inside, and
// text that aims at a terminal are cases, too.
//
// Four doors are no ports of calls, and each is attacked as a room of its own with a healthy peer of its own
// kind: the relay of live connections at a mail server's /ws (an echo), its port for MessagePasser programs (an
// exchange of two of them), adctl nearby serve with its datagrams and its port (a line of a pinned chat; a real
// adctl must list it when all is over), and adctl whisper with its port, its page and where others announce
// themselves (a line in, and a typed one out). The same kinds of cases go there: openings cut off at every byte,
// sockets that break RFC 6455, frames, objects and statements that are none, forged, too deep or too many, the wrong
// form, other people's connections, tricks for a terminal, and slow peers that hold connections, or are
// neighbours and read nothing. No exchange of a healthy peer may fail, and its 99th percentile may be at most
// five times that of the quiet, or half a second. Every line that these programs write is looked at: for a panic, for what
// does something to a terminal, and for what had to be dropped. These rooms have their turn when that of the ports of
// calls is over, since attackers share the processors with who is attacked. With N below the full count, N cases go to the
// ports of calls and N to each of the four.
//
// Programs without metrics are compared with a twin that nobody attacks: at the end both write down their
// goroutines (SIGQUIT); descriptors are counted before and after.
//
// What is not covered: attackers come from this host, which a room's chat treats as the person's own, so bounds
// that hold for one other host are shown by the rooms' tests; and what a flood of datagrams costs those who look
// for each other meanwhile, as ten a second are answered in all.
//
// The controls: a server that is stopped (SIGSTOP) must show in the healthy
// client's figure, and a program in that of its healthy peer; connections that are held must show as not back; the whole
// requests and openings must succeed where those cut off must not; lines with a panic or a trick must be
// noticed; a dialer that may go inside must get there, and a pipe must get the text that a terminal does not.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"airdispatch/prove/proof"
)

const (
	// full is how many cases the figure stands on; there are more, and all of
	// them are made then. With fewer each door has so many.
	full = 500
	// workers make cases at once.
	workers = 4
	// quiet is how long the healthy client is alone, before and after.
	quiet = 6 * time.Second
	// least is how long the storm lasts, however few the cases.
	least = 20 * time.Second
	// patience is the longest time that a case may take.
	patience = 60 * time.Second
	// maxMemory is what a server may have had, in MiB, maxSlowdown how much slower
	// it may be to the healthy client.
	maxMemory, maxSlowdown = 256, 5
)

// attack is one case against one server.
type attack struct {
	name string
	do   func(ctx context.Context) error
}

func main() { proof.Main(proof.Part{Name: "hostile", Full: full, Run: run}) }

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	programs, err := proof.Build(ctx, filepath.Join(o.Dir, "bin"))
	if err != nil {
		return proof.Figure{}, err
	}
	a, err := open(ctx, programs, o)
	if err != nil {
		return proof.Figure{}, err
	}
	defer a.close()
	var f proof.Figure
	all := a.attacks()
	rand.New(rand.NewPCG(o.Seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if o.N < full {
		all = all[:min(o.N, len(all))]
	}
	atRooms := a.picked(o)
	rand.New(rand.NewPCG(o.Seed, 2)).Shuffle(len(atRooms), func(i, j int) { atRooms[i], atRooms[j] = atRooms[j], atRooms[i] })
	if err := a.controls(ctx, &f); err != nil {
		return f, err
	}
	before, err := a.vitals(ctx)
	if err != nil {
		return f, err
	}
	if err := a.furnished(); err != nil {
		return f, err
	}
	calm, calmly := a.both(ctx, quiet)
	// One after the other: attackers share the processors with who is attacked, so who is healthy at
	// one door is compared while that one is attacked, and not four programs beside it.
	storm, _ := a.storm(ctx, all, a.slow(), &f)
	_, bravely := a.storm(ctx, atRooms, a.slowAtRooms(), &f)
	a.settled(ctx, before, &f)
	calm = append(calm, a.watch(ctx, quiet)...)
	a.cleared(ctx, &f)
	rooms := a.compare(bravely, calmly, &f)
	memory := a.health(ctx, &f)
	times := percentile(storm).Seconds() / percentile(calm).Seconds()
	if times > maxSlowdown {
		f.Violations = append(f.Violations, fmt.Sprintf("healthy p99 %s, quiet %s", percentile(storm), percentile(calm)))
	}
	if memory > maxMemory {
		f.Violations = append(f.Violations, fmt.Sprintf("a server had %d MiB", memory))
	}
	f.Words = fmt.Sprintf("%d cases, %d panics, max RSS %d MiB, healthy p99 %.1f times quiet (%s, %s); healthy peers' p99: %s", len(all)+len(atRooms)+len(a.slow())+len(a.slowAtRooms()), a.panics, memory, times, percentile(storm).Round(10*time.Microsecond), percentile(calm).Round(10*time.Microsecond), rooms)
	return f, ctx.Err()
}

// storm makes all cases, with the slow ones beside them from the beginning to
// the end, and returns what the healthy client and the healthy peers measured meanwhile.
func (a *arena) storm(ctx context.Context, all, slowly []attack, f *proof.Figure) (measured samples, peers visits) {
	var mu sync.Mutex
	try := func(ctx context.Context, one attack) {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		begun := time.Now()
		err := one.do(limited)
		if err == nil && time.Since(begun) > patience {
			err = errors.New("is not over in time")
		}
		if err != nil {
			mu.Lock()
			f.Violations = append(f.Violations, one.name+": "+err.Error())
			mu.Unlock()
		}
	}
	held, ends := context.WithCancel(ctx)
	var slow, quick, healthy sync.WaitGroup
	for _, one := range slowly {
		slow.Go(func() { _ = one.do(held) }) // it ends when it is told to
	}
	begun := time.Now()
	watching, enough := context.WithCancel(ctx)
	healthy.Go(func() { measured, peers = a.both(watching, time.Hour) })
	queue := make(chan attack)
	for range workers {
		quick.Go(func() {
			for one := range queue {
				try(ctx, one)
			}
		})
	}
	for i, one := range all {
		if ctx.Err() != nil {
			break
		}
		if i%200 == 0 {
			fmt.Fprintf(a.said, "hostile: %d of %d\n", i, len(all))
		}
		queue <- one
	}
	close(queue)
	quick.Wait()
	_ = pause(ctx, time.Until(begun.Add(least)))
	enough()
	healthy.Wait()
	ends()
	slow.Wait()
	return measured, peers
}
