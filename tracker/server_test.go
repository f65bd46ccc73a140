package tracker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// publish publishes one thing and returns the receipt and the refusal.
func publish(t testing.TB, s *tracker.Server, p *wirev1.Publication) (*wirev1.Signed, error) {
	t.Helper()
	response, err := s.Publish(t.Context(), &wirev1.PublishRequest{Publications: []*wirev1.Publication{p}})
	if err != nil {
		return nil, err
	}
	return response.Results[0].Receipt, message.OpenRefusal(response.Results[0].Refusal)
}

// lookup asks one query.
func lookup(t testing.TB, s *tracker.Server, q message.Query) (*wirev1.Signed, error) {
	t.Helper()
	response, err := s.Lookup(t.Context(), &wirev1.LookupRequest{Queries: []*wirev1.Query{q.Wire()}})
	if err != nil {
		return nil, err
	}
	if r := response.Results[0]; r.Refusal != nil {
		return nil, message.OpenRefusal(r.Refusal)
	}
	return response.Results[0].Answers[0], nil
}

// opened asks one query and verifies the answer.
func opened(t testing.TB, s *tracker.Server, k *message.Keyring, q message.Query) *message.Answer {
	t.Helper()
	signed := must[*wirev1.Signed](t)(lookup(t, s, q))
	return must[*message.Answer](t)(message.OpenAnswer(crypto.Single{}, k.Chain, signed, q, time.Now()))
}

func TestPublishThenLookup(t *testing.T) {
	s, k, _ := local(t, nil)
	h := newHosted(t)
	q := message.Query{Address: h.user.Address()}
	if a := opened(t, s, k, q); a.Found {
		t.Fatal("found before it was published")
	}
	signed, err := publish(t, s, h.publication())
	if err != nil {
		t.Fatal(err)
	}
	receipt := must[*message.Receipt](t)(message.OpenReceipt(crypto.Single{}, k.Chain, signed))
	if receipt.Kind != message.ReceiptPublished || receipt.ID != h.subject.Route.ID {
		t.Errorf("receipt %+v is not for the route", receipt)
	}
	a := opened(t, s, k, q)
	if !a.Found || a.Stale || a.Subject.Route.ID != h.subject.Route.ID || a.Servers[h.server.Address()] == nil {
		t.Errorf("answer %+v lacks the subject, its route or its server", a)
	}
	if len(a.Subject.FirstSeen) != 1 || time.Since(a.Subject.FirstSeen[0]).Abs() > time.Minute {
		t.Errorf("first seen %v; want one time, now", a.Subject.FirstSeen)
	}
	if server := opened(t, s, k, message.Query{Address: h.server.Address()}); !server.Found {
		t.Error("the server that came along was not kept")
	}
	self := must[*wirev1.Signed](t)(lookup(t, s, message.Query{}))
	if _, err := message.OpenSelfAnswer(crypto.Single{}, k.Address(), self, time.Now()); err != nil {
		t.Error("the tracker does not describe itself:", err)
	}
	if own := opened(t, s, k, message.Query{Address: k.Address()}); !own.Found || own.Subject.Route == nil {
		t.Error("the tracker does not know its own address")
	}
}

func TestPublishAgain(t *testing.T) {
	s, k, _ := local(t, nil)
	h := newHosted(t)
	var last uint64
	for range 3 {
		signed, err := publish(t, s, h.publication())
		if err != nil {
			t.Fatal(err)
		}
		r := must[*message.Receipt](t)(message.OpenReceipt(crypto.Single{}, k.Chain, signed))
		if r.ID != h.subject.Route.ID || r.LogSeq <= last {
			t.Errorf("receipt %+v after place %d", r, last)
		}
		last = r.LogSeq
	}
}

func TestPublishRefuses(t *testing.T) {
	h, other := newHosted(t), newHosted(t)
	now := time.Now()
	route := func(change func(*message.Route)) *message.Identity {
		r := *h.subject.Route
		change(&r)
		return &message.Identity{Chain: h.user.Chain, Route: must[*message.Route](t)(message.SignRoute(r, h.user.Chain, h.user.Signer))}
	}
	ticket := func(from, until time.Time, by *message.Keyring, key crypto.SigningKey) *message.Ticket {
		return must[*message.Ticket](t)(message.SignTicket(by.Address(), h.user.Address(), from, until, key))
	}
	service := func(tk *message.Ticket) func(*message.Route) {
		return func(r *message.Route) {
			r.Services = []message.Service{{Purpose: message.PurposeAny, Server: tk.Server, Ticket: tk}}
		}
	}
	broken := h.publication()
	flipped := bytes.Clone(broken.Subject.Route.Signature)
	flipped[3] ^= 1
	broken.Subject.Route = &wirev1.Signed{Body: broken.Subject.Route.Body, Key: broken.Subject.Route.Key, Signature: flipped}
	for _, c := range []struct {
		name string
		p    *wirev1.Publication
		want message.Code
	}{
		{"nothing", &wirev1.Publication{}, message.Invalid},
		{"a changed signature", broken, message.BadSignature},
		{"a route from the future", publication(route(func(r *message.Route) {
			r.Time, r.Expires = now.Add(11*time.Minute), now.Add(time.Hour)
		}), h.host), message.Clock},
		{"a route that is over", publication(route(func(r *message.Route) {
			r.Time, r.Expires = now.Add(-time.Hour), now.Add(-time.Minute)
		}), h.host), message.Expired},
		{"no server", publication(h.subject), message.NeedBundle},
		{"another server", publication(h.subject, other.host), message.NeedBundle},
		{"a ticket that is over", publication(route(service(ticket(now.Add(-time.Hour), now.Add(-time.Minute), h.server, h.server.Signer))), h.host), message.Expired},
		{"a ticket from the future", publication(route(service(ticket(now.Add(time.Hour), now.Add(2*time.Hour), h.server, h.server.Signer))), h.host), message.Clock},
		{"a ticket that the user signed", publication(route(service(ticket(now, now.Add(time.Hour), h.server, h.user.Signer))), h.host), message.BadSignature},
		{"five servers", publication(h.subject, h.host, h.host, h.host, h.host, h.host), message.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, k, _ := local(t, nil)
			if _, err := publish(t, s, c.p); !errors.Is(err, c.want) {
				t.Errorf("refused with %v, want %v", err, c.want)
			}
			if a := opened(t, s, k, message.Query{Address: h.user.Address()}); a.Found {
				t.Error("kept nevertheless")
			}
			if a := opened(t, s, k, message.Query{Address: other.server.Address()}); a.Found {
				t.Error("a server that the route does not name was kept")
			}
		})
	}
}

func TestPublishNeverGoesBack(t *testing.T) {
	s, k, st := local(t, nil)
	h := newHosted(t)
	first, second := h.subject, userRoute(t, h.user, 2, h.server)
	rival := userRoute(t, h.user, 2)
	for _, i := range []*message.Identity{first, second} {
		if _, err := publish(t, s, publication(i, h.host)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := publish(t, s, publication(first, h.host)); !errors.Is(err, message.Stale) {
		t.Errorf("the former route: %v, want stale", err)
	}
	if _, err := publish(t, s, publication(rival, h.host)); !errors.Is(err, message.Conflict) {
		t.Errorf("another route under the same pair: %v, want conflict", err)
	}
	if a := opened(t, s, k, message.Query{Address: h.user.Address()}); a.Subject.Route.ID != second.Route.ID {
		t.Error("the highest pair is not what is answered")
	}
	evidence := must[[][2]*wirev1.Signed](t)(st.Identities.Evidence(t.Context(), h.user.Address()))
	if len(evidence) != 1 {
		t.Errorf("%d pieces of evidence, want 1", len(evidence))
	}
}

// TestNewcomers: identities are free, so a new user needs a mail server's word,
// and a server brings users only so fast. Whoever is known may leave.
func TestNewcomers(t *testing.T) {
	s, k, _ := local(t, func(c *tracker.Config) { c.Limits.ServerPerMinute, c.Limits.ServerBurst = 1, 2 })
	h := newHosted(t)
	for name, p := range map[string]*wirev1.Publication{
		"cards alone": publication(&message.Identity{Chain: h.user.Chain}),
		"no server":   publication(userRoute(t, h.user, 1)),
	} {
		if _, err := publish(t, s, p); !errors.Is(err, message.Denied) {
			t.Errorf("%s: %v, want denied", name, err)
		}
	}
	for n, want := range []error{nil, nil, message.RateLimited} {
		next := h
		if n > 0 {
			next.user = newKeys(t, message.RoleUser)
			next.subject = userRoute(t, next.user, 1, h.server)
		}
		if _, err := publish(t, s, next.publication()); !errors.Is(err, want) {
			t.Errorf("user %d of a server: %v, want %v", n, err, want)
		}
	}
	if _, err := publish(t, s, publication(userRoute(t, h.user, 2))); err != nil {
		t.Error("who is known may not leave:", err)
	}
	if a := opened(t, s, k, message.Query{Address: h.user.Address()}); !a.Found || len(a.Subject.Route.Services) != 0 {
		t.Errorf("after leaving: %+v", a)
	}
}

func TestPublishBatch(t *testing.T) {
	s, k, _ := local(t, nil)
	r := &wirev1.PublishRequest{}
	var users []hosted
	server := newHosted(t)
	for range 20 {
		h := server
		h.user = newKeys(t, message.RoleUser)
		h.subject = userRoute(t, h.user, 1, h.server)
		users = append(users, h)
		r.Publications = append(r.Publications, h.publication())
	}
	moved := userRoute(t, users[0].user, 2, server.server)
	r.Publications = append(r.Publications, publication(moved, server.host), &wirev1.Publication{})
	response := must[*wirev1.PublishResponse](t)(s.Publish(t.Context(), r))
	for n, result := range response.Results {
		if bad := n == len(response.Results)-1; (result.Refusal != nil) != bad || (result.Receipt != nil) == bad {
			t.Errorf("result %d: %v", n, result)
		}
	}
	if a := opened(t, s, k, message.Query{Address: users[0].user.Address()}); a.Subject.Route.ID != moved.Route.ID {
		t.Error("publications of one address were not taken in their order")
	}
	for _, n := range []int{0, 65} {
		if _, err := s.Publish(t.Context(), &wirev1.PublishRequest{Publications: make([]*wirev1.Publication, n)}); !errors.Is(err, message.Invalid) {
			t.Errorf("%d publications: %v, want invalid", n, err)
		}
	}
}

// TestAnswersAreUsedAgain: the same bytes for a minute, and new ones as soon as
// anything in them changed.
func TestAnswersAreUsedAgain(t *testing.T) {
	s, _, _ := local(t, nil)
	h := newHosted(t)
	q := message.Query{Address: h.user.Address()}
	ask := func() []byte { return must[*wirev1.Signed](t)(lookup(t, s, q)).Body }
	if _, err := publish(t, s, h.publication()); err != nil {
		t.Fatal(err)
	}
	before := ask()
	if !bytes.Equal(before, ask()) {
		t.Fatal("two answers in a moment were signed twice")
	}
	if _, err := publish(t, s, publication(serverRoute(t, h.server, 2, message.Host{URL: "https://new.example.org"}))); err != nil {
		t.Fatal(err)
	}
	moved := ask()
	if bytes.Equal(before, moved) {
		t.Error("the answer about a user did not change with their server")
	}
	if _, err := publish(t, s, publication(userRoute(t, h.user, 2, h.server), h.host)); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(moved, ask()) {
		t.Error("the answer about a user did not change with their route")
	}
	if got := s.Counters(); got.Signed != 3 || got.Lookups != 4 {
		t.Errorf("%+v; want 3 of 4 answers signed", got)
	}
}

func TestAnswersAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k, _ := local(t, nil)
		h := newHosted(t)
		absent, present := message.Query{Address: newKeys(t, message.RoleUser).Address()}, message.Query{Address: h.user.Address()}
		if _, err := publish(t, s, h.publication()); err != nil {
			t.Fatal(err)
		}
		no, yes := opened(t, s, k, absent), opened(t, s, k, present)
		time.Sleep(9 * time.Second)
		if a := opened(t, s, k, absent); !a.Time.Equal(no.Time) {
			t.Error("not found was signed anew after 9 s")
		}
		time.Sleep(2 * time.Second)
		if a := opened(t, s, k, absent); a.Time.Equal(no.Time) {
			t.Error("not found was used again after 11 s")
		}
		time.Sleep(48 * time.Second)
		if a := opened(t, s, k, present); !a.Time.Equal(yes.Time) {
			t.Error("the answer was signed anew after 59 s")
		}
		time.Sleep(2 * time.Second)
		if a := opened(t, s, k, present); a.Time.Equal(yes.Time) {
			t.Error("the answer was used again after 61 s")
		}
		time.Sleep(91 * 24 * time.Hour)
		if a := opened(t, s, k, present); !a.Found || !a.Stale {
			t.Error("an expired route is not answered as stale")
		}
	})
}

func TestPublishLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := local(t, func(c *tracker.Config) { c.Limits = tracker.Limits{} })
		h, other := newHosted(t), newHosted(t)
		for n := range 30 {
			if _, err := publish(t, s, h.publication()); err != nil {
				t.Fatalf("publication %d: %v", n, err)
			}
		}
		if _, err := publish(t, s, h.publication()); !errors.Is(err, message.RateLimited) {
			t.Errorf("publication 31: %v, want rate limited", err)
		}
		if _, err := publish(t, s, other.publication()); err != nil {
			t.Error("another address was limited too:", err)
		}
		time.Sleep(7 * time.Second)
		if _, err := publish(t, s, h.publication()); err != nil {
			t.Error("still limited after 7 s:", err)
		}
	})
}

func TestNetworkLimits(t *testing.T) {
	s, _, _ := local(t, func(c *tracker.Config) {
		c.Limits = tracker.Limits{NetworkBurst: 2, NetworkPerSecond: 1, LookupBurst: 3, LookupsPerSecond: 1}
	})
	h := newHosted(t)
	r := &wirev1.PublishRequest{Publications: []*wirev1.Publication{h.publication(), h.publication(), h.publication()}}
	if _, err := s.Publish(t.Context(), r); !errors.Is(err, message.RateLimited) {
		t.Errorf("three of two publications: %v, want rate limited", err)
	}
	q := &wirev1.LookupRequest{Queries: []*wirev1.Query{{}, {}, {}, {}}}
	if _, err := s.Lookup(t.Context(), q); !errors.Is(err, message.RateLimited) {
		t.Errorf("four of three queries: %v, want rate limited", err)
	}
}

// TestProxiedLimits: behind a proxy each asker is counted by itself, and
// nobody but a proxy on this machine can say who asks.
func TestProxiedLimits(t *testing.T) {
	for _, proxied := range []bool{true, false} {
		s := honest(t, func(c *tracker.Config) {
			c.Proxied, c.Limits = proxied, tracker.Limits{LookupBurst: 2, LookupsPerSecond: 1}
		})
		p, _, err := newClient(t, nil).Open(t.Context(), s.ref)
		if err != nil {
			t.Fatal(err)
		}
		var refused int
		for n := range 12 {
			ctx, info := connect.NewClientContext(t.Context())
			info.RequestHeader().Set("X-Forwarded-For", fmt.Sprintf("192.0.2.77, 192.0.2.%d", n))
			if _, err := p.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}}); errors.Is(err, message.RateLimited) {
				refused++
			}
		}
		if proxied != (refused == 0) {
			t.Errorf("proxied %t: %d of 12 refused", proxied, refused)
		}
	}
}

func TestRefusedListing(t *testing.T) {
	s, k, st := local(t, nil)
	h, bad := newHosted(t), newHosted(t)
	if _, err := publish(t, s, h.publication()); err != nil {
		t.Fatal(err)
	}
	refuse := func(a message.Address) {
		t.Helper()
		if err := st.Listings.SetListing(t.Context(), a, store.Refused); err != nil {
			t.Fatal(err)
		}
	}
	refuse(h.user.Address())
	refuse(bad.server.Address())
	if _, err := publish(t, s, publication(userRoute(t, h.user, 2, h.server), h.host)); !errors.Is(err, message.Denied) {
		t.Errorf("a refused address: %v, want denied", err)
	}
	if _, err := publish(t, s, bad.publication()); !errors.Is(err, message.Denied) {
		t.Errorf("a user of a refused server: %v, want denied", err)
	}
	if a := opened(t, s, k, message.Query{Address: h.user.Address()}); a.Found {
		t.Error("a refused address is still answered")
	}
}

func TestLookupBounds(t *testing.T) {
	s, _, _ := local(t, nil)
	for _, n := range []int{0, 257} {
		if _, err := s.Lookup(t.Context(), &wirev1.LookupRequest{Queries: make([]*wirev1.Query, n)}); !errors.Is(err, message.Invalid) {
			t.Errorf("%d queries: %v, want invalid", n, err)
		}
	}
	bad := &wirev1.LookupRequest{Queries: []*wirev1.Query{{Address: []byte("short")}, {Name: "ad1nonsense"}, {}}}
	response := must[*wirev1.LookupResponse](t)(s.Lookup(context.Background(), bad))
	for n, want := range []bool{true, true, false} {
		if got := response.Results[n].Refusal != nil; got != want {
			t.Errorf("result %d refused: %t, want %t", n, got, want)
		}
	}
}
