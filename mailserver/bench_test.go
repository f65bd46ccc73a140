package mailserver_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"airdispatch/mailserver"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// The benchmarks go through TLS, Connect and SQLite at synchronous=FULL; only
// the sockets are pipes. What a client does (sealing, signing) is done before.

// unlimited lifts the limits that a benchmark would meet.
func unlimited(c *configs, _ *couriers) {
	c.Limits = mailserver.Limits{Messages: -1, Bytes: -1, SubmitsPerSecond: -1, AlertsPerSecond: -1, CallsPerSecond: -1, NetworkPerSecond: -1, PrefetchJitter: 1000 * time.Hour}
}

// benchWorld is two servers in files, ann at the one and bob at the other.
func benchWorld(b *testing.B) (w *world, one, two *host, ann, bob *person) {
	b.Helper()
	w = newWorld(b)
	w.keep = inFiles
	one, two = w.host("one", unlimited), w.host("two", unlimited)
	ann, bob = w.person("ann", one), w.person("bob", two)
	bob.allow(ann)
	return w, one, two, ann, bob
}

// letters seals n letters on all processors.
func letters(b *testing.B, from *person, n int, to ...*person) []*message.Sealed {
	b.Helper()
	out := make([]*message.Sealed, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < n; i = next.Add(1) - 1 {
				out[i] = from.letter(fmt.Sprint("letter ", i), to...)
			}
		})
	}
	group.Wait()
	return out
}

// clients runs do n times from several callers and reports the 99th percentile.
func clients(b *testing.B, callers, n int, do func(i int)) {
	b.Helper()
	took := make([]time.Duration, n)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range callers {
		group.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				start := time.Now()
				do(i)
				took[i] = time.Since(start)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkSubmitWaiting(b *testing.B) {
	w, _, two, ann, bob := benchWorld(b)
	defer w.stop()
	two.halt()
	all := letters(b, ann, b.N, bob)
	b.ReportAllocs()
	clients(b, 64, b.N, func(i int) {
		if _, err := ann.trySend(all[i]); err != nil {
			b.Error(err)
		}
	})
}

func BenchmarkSubmitPipelined(b *testing.B) {
	w, _, two, ann, bob := benchWorld(b)
	defer w.stop()
	two.halt()
	all := letters(b, ann, b.N, bob)
	b.ReportAllocs()
	b.ResetTimer()
	const lanes = 4
	var group sync.WaitGroup
	for lane := range lanes {
		group.Go(func() {
			stream, err := ann.peer.Mailbox().SubmitStream(w.ctx)
			must(b, err)
			var sending sync.WaitGroup
			sent := 0
			for i := lane; i < len(all); i += lanes {
				sent++
			}
			sending.Go(func() {
				for i := lane; i < len(all); i += lanes {
					must(b, stream.Send(submission(all[i])))
				}
				must(b, stream.CloseRequest())
			})
			for range sent {
				r, err := stream.Receive()
				must(b, err)
				must(b, message.OpenRefusal(r.GetRefusal()))
			}
			sending.Wait()
			must(b, stream.CloseResponse())
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkSubmitBatched is 64 submissions in a call, from four callers.
func BenchmarkSubmitBatched(b *testing.B) {
	w, _, two, ann, bob := benchWorld(b)
	defer w.stop()
	two.halt()
	all := letters(b, ann, b.N, bob)
	b.ReportAllocs()
	const batch = 64
	clients(b, 4, (len(all)+batch-1)/batch, func(i int) {
		req := &wirev1.SubmitRequest{}
		for _, s := range all[i*batch : min((i+1)*batch, len(all))] {
			req.Submissions = append(req.Submissions, submission(s))
		}
		resp, err := ann.peer.Mailbox().Submit(w.ctx, req)
		must(b, err)
		for _, r := range resp.GetResults() {
			must(b, message.OpenRefusal(r.GetRefusal()))
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkAlertIntake(b *testing.B) {
	w, one, two, ann, bob := benchWorld(b)
	defer w.stop()
	all := letters(b, ann, b.N, bob)
	peer, err := w.asHost(one, "one").Peer(two.identity)
	must(b, err)
	bundles := []*wirev1.Identity{ann.identity.Wire(), one.identity.Wire()}
	b.ReportAllocs()
	const batch = 64
	clients(b, 4, (len(all)+batch-1)/batch, func(i int) {
		req := &wirev1.AlertRequest{}
		for _, s := range all[i*batch : min((i+1)*batch, len(all))] {
			req.Items = append(req.Items, alertOf(s, bob))
		}
		if i < 4 {
			req.Identities = bundles
		}
		resp, err := peer.Exchange().Alert(w.ctx, req)
		must(b, err)
		for _, r := range resp.GetResults() {
			must(b, message.OpenRefusal(r.GetRefusal()))
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkAlertWaiting is one alert in a call, from 64 callers.
func BenchmarkAlertWaiting(b *testing.B) {
	w, one, two, ann, bob := benchWorld(b)
	defer w.stop()
	all := letters(b, ann, b.N, bob)
	peer, err := w.asHost(one, "one").Peer(two.identity)
	must(b, err)
	first := ann.send(ann.letter("so that ann is known there", bob))
	bob.awaits(first)
	b.ReportAllocs()
	clients(b, 64, b.N, func(i int) {
		resp, err := peer.Exchange().Alert(w.ctx, &wirev1.AlertRequest{Items: []*wirev1.AlertItem{alertOf(all[i], bob)}})
		must(b, err)
		must(b, message.OpenRefusal(resp.GetResults()[0].GetRefusal()))
	})
}

// kept is a thousand letters from ann to bob, submitted and alerted.
func keptLetters(b *testing.B, n int, ann, bob *person) []*message.Head {
	b.Helper()
	var heads []*message.Head
	for _, s := range letters(b, ann, n, bob) {
		heads = append(heads, ann.send(s))
	}
	bob.awaits(heads[n-1])
	bob.w.until("all alerts", func() bool { return len(bob.inbox()) == n })
	return heads
}

// BenchmarkInboxPage is a page of 100 entries.
func BenchmarkInboxPage(b *testing.B) {
	w, _, _, ann, bob := benchWorld(b)
	defer w.stop()
	keptLetters(b, 500, ann, bob)
	b.ReportAllocs()
	clients(b, 8, b.N, func(i int) {
		resp, err := bob.peer.Mailbox().Inbox(w.ctx, &wirev1.InboxRequest{Limit: 100})
		must(b, err)
		if len(resp.GetEntries()) != 100 {
			b.Errorf("%d entries", len(resp.GetEntries()))
		}
	})
}

// BenchmarkPull is 16 messages in a call, that were pulled before.
func BenchmarkPull(b *testing.B) {
	w, one, _, ann, bob := benchWorld(b)
	defer w.stop()
	heads := keptLetters(b, 256, ann, bob)
	peer, err := bob.client.Peer(one.identity)
	must(b, err)
	b.ReportAllocs()
	clients(b, 8, b.N, func(i int) {
		req := &wirev1.PullRequest{For: bob.address().Bytes()}
		for n := range 16 {
			h := heads[(i*16+n)%len(heads)]
			req.Items = append(req.Items, &wirev1.FetchItem{From: h.From.Bytes(), Mid: h.MID.Bytes()})
		}
		resp, err := peer.Exchange().Pull(w.ctx, req)
		must(b, err)
		for _, r := range resp.GetResults() {
			must(b, message.OpenRefusal(r.GetRefusal()))
		}
	})
}

// BenchmarkPosts is a page of 50 public messages.
func BenchmarkPosts(b *testing.B) {
	w, one, _, ann, bob := benchWorld(b)
	defer w.stop()
	for n := range 200 {
		ann.send(ann.letter(fmt.Sprint("post ", n)))
	}
	peer, err := bob.client.Peer(one.identity)
	must(b, err)
	b.ReportAllocs()
	clients(b, 8, b.N, func(i int) {
		resp, err := peer.Exchange().Posts(w.ctx, &wirev1.PostsRequest{Address: ann.address().Bytes(), Limit: 50})
		must(b, err)
		if len(resp.GetPosts()) != 50 {
			b.Errorf("%d posts", len(resp.GetPosts()))
		}
	})
}

// BenchmarkWatchWakeUp is from a public message's receipt request to the last of
// 100 followers.
func BenchmarkWatchWakeUp(b *testing.B) {
	w, one, _, ann, _ := benchWorld(b)
	defer w.stop()
	const followers = 100
	woken := make(chan struct{}, followers)
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	for n := range 4 {
		p := w.stranger(fmt.Sprint("follower", n))
		peer, err := p.client.Peer(one.identity)
		must(b, err)
		for range followers / 4 {
			go func() {
				s, err := peer.Exchange().Follow(ctx, &wirev1.FollowRequest{Address: ann.address().Bytes()})
				if err != nil {
					b.Error(err)
					return
				}
				for s.Receive() {
					woken <- struct{}{}
				}
			}()
		}
	}
	for range followers {
		<-woken
	}
	all := letters(b, ann, b.N)
	b.ResetTimer()
	for _, s := range all {
		ann.send(s)
		for range followers {
			<-woken
		}
	}
}
