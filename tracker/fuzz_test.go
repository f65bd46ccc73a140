package tracker_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// seeds are good requests, for the fuzzer to spoil.
func seeds(f *testing.F) (publish, lookup []byte) {
	h := newHosted(f)
	p := must[[]byte](f)(proto.Marshal(&wirev1.PublishRequest{Publications: []*wirev1.Publication{h.publication()}}))
	q := must[[]byte](f)(proto.Marshal(&wirev1.LookupRequest{Queries: []*wirev1.Query{{}, {Name: "ann"}, {Address: h.user.Address().Bytes()}}}))
	return p, q
}

// FuzzPublish: whatever comes, there is a result for each publication or a
// refusal, no panic, and nothing that does not verify is kept.
func FuzzPublish(f *testing.F) {
	p, _ := seeds(f)
	f.Add(p)
	f.Add([]byte{})
	s, k, _ := local(f, inMemory)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r wirev1.PublishRequest
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		response, err := s.Publish(context.Background(), &r)
		if err != nil {
			return
		}
		for n, result := range response.Results {
			if (result.Receipt == nil) == (result.Refusal == nil) {
				t.Fatalf("result %d is neither a receipt nor a refusal: %v", n, result)
			}
			if result.Receipt == nil {
				continue
			}
			a, err := message.IdentityAddress(r.Publications[n].GetSubject())
			if err != nil {
				t.Fatal(err)
			}
			if answer := opened(t, s, k, message.Query{Address: a}); !answer.Found {
				t.Fatal("a receipt for what is not kept")
			}
		}
	})
}

// FuzzLookup: one result for each query.
func FuzzLookup(f *testing.F) {
	_, q := seeds(f)
	f.Add(q)
	s, _, _ := local(f, inMemory)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r wirev1.LookupRequest
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		response, err := s.Lookup(context.Background(), &r)
		if err == nil && len(response.Results) != len(r.Queries) {
			t.Fatalf("%d results for %d queries", len(response.Results), len(r.Queries))
		}
	})
}

// FuzzAnswer: a tracker that answers with anything at all is believed nothing.
func FuzzAnswer(f *testing.F) {
	h := newHosted(f)
	var said wirev1.Signed
	s := hostile(f, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) { return &said, nil })
	good := must[*wirev1.Signed](f)(message.SignAnswer(s.found(message.Query{Address: h.user.Address()}, h.subject, h.host), newKeys(f, message.RoleTracker).Signer))
	f.Add(must[[]byte](f)(proto.Marshal(good)))
	r, _ := asker(f, nil, s)
	f.Fuzz(func(t *testing.T, b []byte) {
		if proto.Unmarshal(b, &said) != nil {
			return
		}
		if found, err := r.Fresh(context.Background(), h.user.Address()); err == nil {
			t.Fatalf("believed: %+v", found)
		}
	})
}
