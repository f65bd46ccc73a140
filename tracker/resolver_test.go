package tracker_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

func TestResolverPublishesAndFinds(t *testing.T) {
	one, two := honest(t, nil), honest(t, nil)
	h := newHosted(t)
	r, _ := asker(t, nil, one, two)
	published := must[[]tracker.Published](t)(r.Publish(t.Context(), h.publication()))
	if len(published) != 2 || published[0].Err != nil || published[1].Err != nil {
		t.Fatalf("published %+v, want two receipts", published)
	}
	if published[0].Tracker != one.keys.Address() || published[0].Receipt.ID != h.subject.Route.ID {
		t.Errorf("receipt %+v", published[0])
	}
	other, known := asker(t, nil, one, two)
	f := must[*tracker.Found](t)(other.Lookup(t.Context(), h.user.Address()))
	if !f.Confirmed || f.Stale || f.Disagreement || f.Subject.Route.ID != h.subject.Route.ID || f.Servers[h.server.Address()] == nil {
		t.Errorf("found %+v", f)
	}
	if i, err := known.Identity(t.Context(), h.user.Address()); err != nil || i.Route.ID != h.subject.Route.ID {
		t.Error("what was found was not remembered")
	}
	server := must[*message.Identity](t)(other.Server(t.Context(), h.server.Address()))
	if server.Route.Hosts[0] != somewhere {
		t.Errorf("server %+v", server.Route)
	}
	if _, err := other.Server(t.Context(), h.user.Address()); !errors.Is(err, message.NotFound) {
		t.Errorf("a user as a server: %v, want not found", err)
	}
	if _, err := other.Lookup(t.Context(), newKeys(t, message.RoleUser).Address()); !errors.Is(err, message.NotFound) {
		t.Errorf("a stranger: %v, want not found", err)
	}
}

func TestResolverTakesTheHigherPair(t *testing.T) {
	one, two := honest(t, nil), honest(t, nil)
	h := newHosted(t)
	newer := userRoute(t, h.user, 2, h.server)
	publishTo(t, one, h.publication())
	publishTo(t, two, publication(newer, h.host))
	r, _ := asker(t, nil, one, two)
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address())); f.Subject.Route.ID != newer.Route.ID || !f.Confirmed || f.Disagreement {
		t.Errorf("found %+v, want the newer route, confirmed", f)
	}
}

// TestResolverIsNotRolledBack: what was seen once is not unseen because a
// tracker shows an older state.
func TestResolverIsNotRolledBack(t *testing.T) {
	h := newHosted(t)
	newer := userRoute(t, h.user, 2, h.server)
	var rolled atomic.Bool
	s := hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
		subject := newer
		if rolled.Load() {
			subject = h.subject
		}
		return message.SignAnswer(s.found(q, subject, h.host), s.keys.Signer)
	})
	r, _ := asker(t, nil, s)
	must[*tracker.Found](t)(r.Fresh(t.Context(), h.user.Address()))
	rolled.Store(true)
	if f := must[*tracker.Found](t)(r.Fresh(t.Context(), h.user.Address())); f.Subject.Route.ID != newer.Route.ID {
		t.Error("a tracker rolled the route back")
	}
}

// lies are what a tracker may say of h that is not so; none may be believed.
func lies(t *testing.T, h hosted) map[string]func(*site, message.Query) (*wirev1.Signed, error) {
	other := newHosted(t)
	thief := newKeys(t, message.RoleServer)
	return map[string]func(*site, message.Query) (*wirev1.Signed, error){
		"somebody else": func(s *site, q message.Query) (*wirev1.Signed, error) {
			return message.SignAnswer(s.found(q, other.subject, other.host), s.keys.Signer)
		},
		"signed by another": func(s *site, q message.Query) (*wirev1.Signed, error) {
			return message.SignAnswer(s.found(q, h.subject, h.host), thief.Signer)
		},
		"another question": func(s *site, q message.Query) (*wirev1.Signed, error) {
			return message.SignAnswer(s.found(message.Query{Address: other.user.Address()}, other.subject), s.keys.Signer)
		},
		"an old answer": func(s *site, q message.Query) (*wirev1.Signed, error) {
			a := s.found(q, h.subject, h.host)
			a.Time = a.Time.Add(-11 * time.Minute)
			return message.SignAnswer(a, s.keys.Signer)
		},
		"an answer from the future": func(s *site, q message.Query) (*wirev1.Signed, error) {
			a := s.found(q, h.subject, h.host)
			a.Time = a.Time.Add(11 * time.Minute)
			return message.SignAnswer(a, s.keys.Signer)
		},
		"nothing at all": func(*site, message.Query) (*wirev1.Signed, error) { return nil, nil },
		"noise": func(s *site, _ message.Query) (*wirev1.Signed, error) {
			return &wirev1.Signed{Body: []byte("noise"), Key: s.keys.Signer.Public().Bytes(), Signature: make([]byte, 64)}, nil
		},
	}
}

func TestResolverBelievesNoLie(t *testing.T) {
	h := newHosted(t)
	for name, lie := range lies(t, h) {
		t.Run(name, func(t *testing.T) {
			bad := hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) { return lie(s, q) })
			alone, _ := asker(t, nil, bad)
			if f, err := alone.Lookup(t.Context(), h.user.Address()); err == nil {
				t.Errorf("a lie was believed: %+v", f)
			} else if errors.Is(err, message.NotFound) {
				t.Errorf("a lie passed for a not found: %v", err)
			}
			good := honest(t, nil)
			publishTo(t, good, h.publication())
			both, _ := asker(t, nil, bad, good)
			f := must[*tracker.Found](t)(both.Lookup(t.Context(), h.user.Address()))
			if !f.Confirmed || f.Subject.Route.ID != h.subject.Route.ID {
				t.Errorf("beside an honest tracker, a lie led to %+v", f)
			}
		})
	}
}

// TestResolverWithoutAWitness: a tracker that hands over another server in the
// place of the real one, or none.
func TestResolverAndFalseServers(t *testing.T) {
	h, other := newHosted(t), newHosted(t)
	s := hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
		a := message.Answer{Tracker: s.keys.Address(), Time: time.Now(), Query: q}
		if q.Address == h.user.Address() {
			a = s.found(q, h.subject, other.host)
		}
		return message.SignAnswer(a, s.keys.Signer)
	})
	r, _ := asker(t, nil, s)
	f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address()))
	if len(f.Servers) != 0 {
		t.Errorf("servers %v, want none: the route names another", f.Servers)
	}
}

// TestServerThatLeadsBack: two users who name each other as servers do not
// make a look-up go round.
func TestServerThatLeadsBack(t *testing.T) {
	a, b := newKeys(t, message.RoleUser), newKeys(t, message.RoleUser)
	ia, ib := userRoute(t, a, 1, b), userRoute(t, b, 1, a)
	s := hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
		subject := ia
		if q.Address == b.Address() {
			subject = ib
		}
		return message.SignAnswer(s.found(q, subject), s.keys.Signer)
	})
	r, _ := asker(t, nil, s)
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), a.Address())); len(f.Servers) != 0 {
		t.Errorf("a user was taken for a server: %v", f.Servers)
	}
}

func TestNotFoundLiar(t *testing.T) {
	h := newHosted(t)
	good := honest(t, nil)
	publishTo(t, good, h.publication())
	denies := hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
		return message.SignAnswer(message.Answer{Tracker: s.keys.Address(), Time: time.Now(), Query: q}, s.keys.Signer)
	})
	r, _ := asker(t, nil, denies, good)
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address())); !f.Confirmed {
		t.Errorf("found %+v, want confirmed", f)
	}
	// Three that deny, and the fourth knows.
	r, _ = asker(t, nil, denies, denies, denies, good)
	must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address()))
	// Denied by all, but seen before: an old direction is better than none.
	r, known := asker(t, nil, denies)
	must[*message.Identity](t)(known.Learn(t.Context(), h.host.Wire(), time.Now()))
	must[*message.Identity](t)(known.Learn(t.Context(), h.subject.Wire(), time.Now()))
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address())); f.Confirmed || f.Servers[h.server.Address()] == nil {
		t.Errorf("found %+v, want what is remembered, unconfirmed", f)
	}
}

// fork is one address with two second cards, signed by rotation keys 0 and 1.
func fork(t *testing.T) (base *message.Keyring, high, low *message.Identity) {
	t.Helper()
	paper, rotation, signer := newKeys(t, message.RoleUser).Signer, newKeys(t, message.RoleUser).Signer, newKeys(t, message.RoleUser)
	draft := message.CardDraft{
		Rotation: []crypto.VerifyKey{paper.Public(), rotation.Public()}, Signers: []crypto.VerifyKey{signer.Signer.Public()},
		Boxes: []crypto.Box{signer.Boxes[0].Public()}, Time: time.Now(), Role: message.RoleUser,
	}
	genesis := must[*wirev1.Signed](t)(message.SignCard(draft, nil, rotation))
	chain := must[*message.Chain](t)(message.OpenChain(crypto.Single{}, []*wirev1.Signed{genesis}))
	branch := func(key crypto.SigningKey, at time.Time) *message.Identity {
		draft.Time = at
		card := must[*wirev1.Signed](t)(message.SignCard(draft, chain.Head(), key))
		c := must[*message.Chain](t)(chain.Extend(crypto.Single{}, []*wirev1.Signed{card}))
		return &message.Identity{Chain: c, FirstSeen: []time.Time{time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)}}
	}
	return &message.Keyring{Chain: chain, Signer: signer.Signer}, branch(paper, time.Now()), branch(rotation, time.Now().Add(time.Second))
}

func TestTrackersDisagree(t *testing.T) {
	_, high, low := fork(t)
	says := func(i *message.Identity) *site {
		return hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
			return message.SignAnswer(s.found(q, i), s.keys.Signer)
		})
	}
	one, two := says(high), says(low)
	for _, order := range [][]*site{{one, two}, {two, one}} {
		r, _ := asker(t, nil, order...)
		f := must[*tracker.Found](t)(r.Lookup(t.Context(), high.Address()))
		if !f.Disagreement {
			t.Error("two trackers on two branches were not noticed")
		}
		if f.Subject.Chain.Head().ID != high.Chain.Head().ID {
			t.Error("the card of the lower rotation key won")
		}
	}
	r, _ := asker(t, nil, one, says(high))
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), high.Address())); f.Disagreement || !f.Confirmed {
		t.Errorf("two on one branch: %+v", f)
	}
}

// TestTrackersDisagreeAboutTime: both show the branch that would win over the
// held one, but one of them saw it too late for that.
func TestTrackersDisagreeAboutTime(t *testing.T) {
	_, high, low := fork(t)
	seen := func(at time.Time) *site {
		i := &message.Identity{Chain: high.Chain, FirstSeen: []time.Time{at, at}}
		return hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
			return message.SignAnswer(s.found(q, i), s.keys.Signer)
		})
	}
	now := time.Now()
	for _, c := range []struct {
		name     string
		held     time.Duration // how long ago the held branch was seen
		one, two *site
		want     bool
	}{
		{"both within the window", time.Hour, seen(now.Add(-time.Minute)), seen(now.Add(-2 * time.Minute)), false},
		{"one beyond it", 28 * 24 * time.Hour, seen(now.Add(-time.Hour)), seen(now.Add(-25 * 24 * time.Hour)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, known := asker(t, nil, c.one, c.two)
			held := low.Wire()
			held.FirstSeen = []int64{now.Add(-29 * 24 * time.Hour).UnixMilli(), now.Add(-c.held).UnixMilli()}
			must[*message.Identity](t)(known.Learn(t.Context(), held, now))
			if f := must[*tracker.Found](t)(r.Lookup(t.Context(), high.Address())); f.Disagreement != c.want {
				t.Errorf("disagreement %t, want %t", f.Disagreement, c.want)
			}
		})
	}
}

// TestUnconfirmedBranch: a tracker that stands behind another branch than the
// one that is held confirms nothing.
func TestUnconfirmedBranch(t *testing.T) {
	_, high, low := fork(t)
	s := hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
		return message.SignAnswer(s.found(q, low), s.keys.Signer)
	})
	r, known := asker(t, nil, s)
	must[*message.Identity](t)(known.Learn(t.Context(), high.Wire(), time.Now()))
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), high.Address())); f.Confirmed || f.Subject.Chain.Head().ID != high.Chain.Head().ID {
		t.Errorf("found %+v, want the branch that was held, unconfirmed", f)
	}
}

func TestSlowTracker(t *testing.T) {
	h := newHosted(t)
	good := honest(t, nil)
	publishTo(t, good, h.publication())
	slow := hostile(t, func(s *site, ctx context.Context, q message.Query) (*wirev1.Signed, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r, _ := asker(t, nil, slow, good)
	f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address()))
	if !f.Confirmed {
		t.Errorf("found %+v, want confirmed by the one that answered", f)
	}
}

func TestTrackerThatIsDown(t *testing.T) {
	h := newHosted(t)
	good, down := honest(t, nil), honest(t, nil)
	publishTo(t, good, h.publication())
	down.stop()
	r, _ := asker(t, nil, down, good)
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address())); !f.Confirmed {
		t.Errorf("found %+v, want confirmed", f)
	}
	published := must[[]tracker.Published](t)(r.Publish(t.Context(), h.publication()))
	if !errors.Is(published[0].Err, message.Unavailable) || published[1].Err != nil {
		t.Errorf("published %+v, want the first unavailable", published)
	}
	r, _ = asker(t, nil, down)
	if _, err := r.Lookup(t.Context(), h.user.Address()); !errors.Is(err, message.Unavailable) {
		t.Errorf("no tracker at all: %v, want unavailable", err)
	}
	if _, err := r.Publish(t.Context(), h.publication()); !errors.Is(err, message.Unavailable) {
		t.Errorf("publish at no tracker: %v, want unavailable", err)
	}
}

// TestOneQuestionForAll: many who want one address at once are one question.
func TestOneQuestionForAll(t *testing.T) {
	h := newHosted(t)
	var asked atomic.Int32
	s := hostile(t, func(s *site, _ context.Context, q message.Query) (*wirev1.Signed, error) {
		if q.Address == h.user.Address() {
			asked.Add(1)
		}
		return message.SignAnswer(s.found(q, h.subject, h.host), s.keys.Signer)
	})
	r, _ := asker(t, nil, s)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := r.Lookup(t.Context(), h.user.Address()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address()))
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	must[*tracker.Found](t)(r.Fresh(t.Context(), h.user.Address()))
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times after Fresh, want twice", n)
	}
}

// proxy is a mail server's directory: it passes its trackers' answers on.
type proxy struct {
	site     *site
	resolver *tracker.Resolver
	spoil    func([]*wirev1.Signed) []*wirev1.Signed
	asked    atomic.Int32
}

func (p *proxy) Lookup(ctx context.Context, r *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	out := &wirev1.LookupResponse{}
	for _, w := range r.GetQueries() {
		q, err := message.OpenQuery(w)
		if err != nil {
			return nil, err
		}
		result := &wirev1.LookupResult{}
		if q.Self() {
			s, err := message.SignAnswer(message.Answer{Tracker: p.site.keys.Address(), Time: time.Now(), Found: true, Subject: p.site.identity}, p.site.keys.Signer)
			if err != nil {
				return nil, err
			}
			result.Answers = append(result.Answers, s)
		} else {
			p.asked.Add(1)
			answers, err := p.resolver.Answers(ctx, q)
			result.Answers, result.Refusal = answers, message.Refusal(err, time.Now())
			if p.spoil != nil {
				result.Answers = p.spoil(result.Answers)
			}
		}
		out.Results = append(out.Results, result)
	}
	return out, nil
}

// via makes a resolver behind a proxy in front of trackers.
func via(t *testing.T, p *proxy, behind []*site, own ...*site) *tracker.Resolver {
	t.Helper()
	p.resolver, _ = asker(t, nil, behind...)
	p.site = serve(t, message.RoleServer, func(s *site, r *rpc.Server) {
		p.site = s
		r.Mount(wirev1connect.NewDirectoryHandler(p, rpc.Options(nil)...))
	})
	client := newClient(t, nil)
	peer, _, err := client.Open(t.Context(), p.site.ref)
	if err != nil {
		t.Fatal(err)
	}
	c := tracker.ResolverConfig{
		Client: client, Via: peer, Verifier: crypto.NewVerifier(), Known: store.NewKnown(openStore(t).Identities, crypto.NewVerifier()),
	}
	for _, s := range own {
		c.Trackers = append(c.Trackers, s.ref)
	}
	return tracker.NewResolver(c)
}

func TestViaOwnServer(t *testing.T) {
	h := newHosted(t)
	one, two := honest(t, nil), honest(t, nil)
	publishTo(t, one, h.publication())
	publishTo(t, two, h.publication())
	p := &proxy{}
	r := via(t, p, []*site{one, two}, one, two)
	if f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address())); !f.Confirmed || f.Servers[h.server.Address()] == nil || p.asked.Load() != 1 {
		t.Errorf("found %+v after %d questions, want confirmed after one", f, p.asked.Load())
	}
	stranger := newKeys(t, message.RoleUser).Address()
	if _, err := r.Lookup(t.Context(), stranger); !errors.Is(err, message.NotFound) {
		t.Errorf("a stranger: %v, want not found", err)
	}
}

// TestNobodyAsksFirst: a tracker hears who asks only where it answers to whom it
// knows.
func TestNobodyAsksFirst(t *testing.T) {
	h := newHosted(t)
	for _, private := range []bool{false, true} {
		var unnamed, named atomic.Int32
		s := hostile(t, func(s *site, ctx context.Context, q message.Query) (*wirev1.Signed, error) {
			if rpc.Authorization(ctx) != "" {
				named.Add(1)
			} else if unnamed.Add(1); private {
				return nil, message.Unauthenticated
			}
			return message.SignAnswer(s.found(q, h.subject, h.host), s.keys.Signer)
		})
		r := tracker.NewResolver(tracker.ResolverConfig{
			Client: newClient(t, newKeys(t, message.RoleUser)), Nobody: newClient(t, nil), Trackers: []message.Reference{s.ref},
			Known: store.NewKnown(openStore(t).Identities, crypto.NewVerifier()), Verifier: crypto.NewVerifier(),
		})
		for range 2 {
			must[*tracker.Found](t)(r.Fresh(t.Context(), h.user.Address()))
		}
		want := [2]int32{2, 0}
		if private {
			want = [2]int32{1, 2}
		}
		if got := [2]int32{unnamed.Load(), named.Load()}; got != want {
			t.Errorf("private %t: asked without a name and with one: %d, not %d", private, got, want)
		}
	}
}

// TestViaUnknownTracker: the subject proves itself, and that is all.
func TestViaUnknownTracker(t *testing.T) {
	h := newHosted(t)
	one := honest(t, nil)
	publishTo(t, one, h.publication())
	r := via(t, &proxy{}, []*site{one})
	f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address()))
	if f.Confirmed || f.Subject.Route.ID != h.subject.Route.ID {
		t.Errorf("found %+v, want the subject, unconfirmed", f)
	}
}

// TestViaLiar: the own server hides and changes answers; the trackers are then
// asked directly.
func TestViaLiar(t *testing.T) {
	h := newHosted(t)
	one := honest(t, nil)
	publishTo(t, one, h.publication())
	for name, spoil := range map[string]func([]*wirev1.Signed) []*wirev1.Signed{
		"nothing": func([]*wirev1.Signed) []*wirev1.Signed { return nil },
		"changed": func(in []*wirev1.Signed) []*wirev1.Signed {
			var out []*wirev1.Signed
			for _, s := range in {
				out = append(out, &wirev1.Signed{Body: s.Body, Key: s.Key, Signature: make([]byte, 64)})
			}
			return out
		},
		"noise": func([]*wirev1.Signed) []*wirev1.Signed { return []*wirev1.Signed{{Body: []byte{1}}, nil} },
	} {
		t.Run(name, func(t *testing.T) {
			r := via(t, &proxy{spoil: spoil}, []*site{one}, one)
			if f := must[*tracker.Found](t)(r.Lookup(t.Context(), h.user.Address())); !f.Confirmed {
				t.Errorf("found %+v, want confirmed", f)
			}
		})
	}
}

func TestAnswersArePassedOn(t *testing.T) {
	h := newHosted(t)
	one := honest(t, nil)
	publishTo(t, one, h.publication())
	r, known := asker(t, nil, one)
	q := message.Query{Address: h.user.Address()}
	answers := must[[]*wirev1.Signed](t)(r.Answers(t.Context(), q))
	if len(answers) != 1 {
		t.Fatalf("%d answers, want 1", len(answers))
	}
	must[*message.Answer](t)(message.OpenAnswer(crypto.Single{}, one.keys.Chain, answers[0], q, time.Now()))
	if _, err := known.Identity(t.Context(), h.user.Address()); !errors.Is(err, message.NotFound) {
		t.Error("a question passed on filled the memory")
	}
	if _, err := r.Answers(t.Context(), message.Query{}); !errors.Is(err, message.Invalid) {
		t.Errorf("about nobody: %v, want invalid", err)
	}
	if _, err := r.Answers(t.Context(), message.Query{Name: "ann", Host: "127.0.0.1:9"}); !errors.Is(err, message.NotFound) {
		t.Errorf("a name at an unknown tracker: %v, want not found", err)
	}
}

func TestAddTrackers(t *testing.T) {
	r, _ := asker(t, nil)
	ref := message.Reference{URL: "https://tracker.example.org"}
	r.AddTrackers(ref, ref)
	if got := r.Trackers(); len(got) != 1 || got[0] != ref {
		t.Errorf("trackers %v, want one", got)
	}
	for range 100 {
		r.AddTrackers(message.Reference{URL: ref.URL, Address: newKeys(t, message.RoleTracker).Address()})
	}
	if got := len(r.Trackers()); got != 64 {
		t.Errorf("%d trackers, want 64 at most", got)
	}
}
