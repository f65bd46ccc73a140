package tracker_test

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// clients is how many ask at once, as in performance.md's comparisons.
const clients = 64

// met opens a connection to a tracker.
func met(b *testing.B, s *site) *rpc.Peer {
	b.Helper()
	p, _, err := newClient(b, nil).Open(b.Context(), s.ref)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// rate runs do b.N times from many clients at once, and reports how many units
// that made in a second and how long the slowest hundredth waited.
func rate(b *testing.B, units int, do func(client, n int) error) {
	b.Helper()
	b.ReportAllocs()
	next := make(chan int, b.N)
	for n := range b.N {
		next <- n
	}
	close(next)
	waits := make([]time.Duration, b.N)
	b.ResetTimer()
	var running sync.WaitGroup
	for c := range min(clients, b.N) {
		running.Go(func() {
			for n := range next {
				began := time.Now()
				if err := do(c, n); err != nil {
					b.Error(err)
					return
				}
				waits[n] = time.Since(began)
			}
		})
	}
	running.Wait()
	b.StopTimer()
	slices.Sort(waits)
	b.ReportMetric(float64(b.N*units)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64(waits[b.N*99/100].Microseconds())/1000, "p99-ms")
}

// routes are publications of as many users of one server.
func routes(b *testing.B, n int) []*wirev1.Publication {
	b.Helper()
	server := newHosted(b)
	out := make([]*wirev1.Publication, n)
	for i := range out {
		out[i] = publication(userRoute(b, newKeys(b, message.RoleUser), 1, server.server), server.host)
	}
	return out
}

// BenchmarkPublish is one waiting publication a call, and batches of 32.
func BenchmarkPublish(b *testing.B) {
	b.Run("waiting", func(b *testing.B) {
		p, all := met(b, honest(b, nil)), routes(b, b.N)
		rate(b, 1, func(_, n int) error {
			r, err := p.Tracker().Publish(b.Context(), &wirev1.PublishRequest{Publications: all[n : n+1]})
			if err != nil {
				return err
			}
			return message.OpenRefusal(r.Results[0].Refusal)
		})
	})
	b.Run("batched", func(b *testing.B) {
		const batch = 32
		p, all := met(b, honest(b, nil)), routes(b, b.N*batch)
		rate(b, batch, func(_, n int) error {
			r, err := p.Tracker().Publish(b.Context(), &wirev1.PublishRequest{Publications: all[n*batch : (n+1)*batch]})
			if err != nil {
				return err
			}
			return message.OpenRefusal(r.Results[0].Refusal)
		})
	})
}

// BenchmarkLookup is one query a call, and 128; both beside a plain GET of as
// many bytes.
func BenchmarkLookup(b *testing.B) {
	const known = 1000
	s := honest(b, nil)
	p := met(b, s)
	var queries []*wirev1.Query
	for _, r := range routes(b, known) {
		if _, err := p.Tracker().Publish(b.Context(), &wirev1.PublishRequest{Publications: []*wirev1.Publication{r}}); err != nil {
			b.Fatal(err)
		}
		a := must[message.Address](b)(message.IdentityAddress(r.Subject))
		queries = append(queries, message.Query{Address: a}.Wire())
	}
	for _, c := range []struct {
		name  string
		batch int
	}{{"single", 1}, {"batched", 128}} {
		b.Run(c.name, func(b *testing.B) {
			rate(b, c.batch, func(_, n int) error {
				at := n * c.batch % (known - c.batch)
				_, err := p.Directory().Lookup(b.Context(), &wirev1.LookupRequest{Queries: queries[at : at+c.batch]})
				return err
			})
		})
	}
}

// BenchmarkLimit is what the above is measured against: a GET over the same
// TLS, and the signature checks of one publication.
func BenchmarkLimit(b *testing.B) {
	b.Run("get", func(b *testing.B) {
		body := make([]byte, 2048)
		s := serve(b, message.RoleServer, func(_ *site, r *rpc.Server) {
			r.Mount("/file", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
		})
		p := must[*rpc.Peer](b)(newClient(b, nil).Peer(s.identity))
		rate(b, 1, func(_, _ int) error {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "/file", nil)
			if err != nil {
				return err
			}
			response, err := p.Do(r)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			return err
		})
	})
	b.Run("verify", func(b *testing.B) {
		h, v := newHosted(b), crypto.NewVerifier()
		w := h.subject.Wire()
		rate(b, 1, func(_, _ int) error {
			i, err := message.OpenIdentity(v, w, nil)
			if err != nil {
				return err
			}
			return i.VerifyTickets(v, map[message.Address]*message.Identity{h.server.Address(): h.host}, time.Now())
		})
	})
}
