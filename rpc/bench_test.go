package rpc_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// BenchmarkCall compares a call with an Access, which the server verifies, to a
// plain net/http exchange of the same size on the same server and connection: what
// the room adds. One run, so that the machine's mood is the same for both.
func BenchmarkCall(b *testing.B) {
	l, url := loopback(b)
	p := newParty(b, url)
	user := newKeyring(b, message.RoleUser)
	callers := rpc.NewCallers(p.keys.Address(), crypto.NewVerifier())
	body := bytes.Repeat([]byte{7}, 1<<10)
	serve(b, p, l, &directory{answer: func(ctx context.Context) (*wirev1.LookupResponse, error) {
		if _, err := callers.Caller(ctx, rpc.Authorization(ctx), knows(user)); err != nil {
			return nil, err
		}
		return &wirev1.LookupResponse{Results: []*wirev1.LookupResult{{Answers: []*wirev1.Signed{{Body: body}}}}}, nil
	}}, func(s *rpc.Server) {
		s.Mount("/blobs/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write(body)
		}))
	})
	peer, err := newClient(b, guarded(b), user).Peer(p.identity)
	if err != nil {
		b.Fatal(err)
	}
	tr := transportFor(b)
	query := &wirev1.LookupRequest{Queries: []*wirev1.Query{{Address: p.keys.Address().Bytes()}}}
	call := func(b *testing.B) {
		if _, err := peer.Directory().Lookup(b.Context(), query); err != nil {
			b.Error(err)
		}
	}
	exchange := func(b *testing.B) {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+"/blobs/x", bytes.NewReader(body[:32]))
		if err != nil {
			b.Error(err)
			return
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	for _, way := range []struct {
		name string
		one  func(*testing.B)
	}{{"plain", exchange}, {"signed", call}} {
		b.Run(way.name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.one(b)
			}
		})
		b.Run(way.name+"/many", func(b *testing.B) {
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					way.one(b)
				}
			})
		})
	}
}
