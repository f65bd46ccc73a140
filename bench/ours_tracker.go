package bench

import (
	"context"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// registry is a tracker, and a mail server's keys by which users are hosted.
type registry struct {
	host   *Host
	server *message.Keyring
	bundle *wirev1.Identity
	asking []*person
}

func newRegistry(dir string, askers int) (*registry, error) {
	h, err := openTracker(dir)
	if err != nil {
		return nil, err
	}
	r := &registry{host: h}
	if err := r.fill(askers); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *registry) fill(askers int) error {
	var err error
	if r.asking, err = r.host.strangers(askers); err != nil {
		return err
	}
	if r.server, err = keyring(message.RoleServer); err != nil {
		return err
	}
	own, err := routed(r.server, message.Route{Hosts: []message.Host{{URL: "https://127.0.0.1:1"}}})
	if err != nil {
		return err
	}
	r.bundle = own.Wire()
	return r.publish(0, []*wirev1.Publication{{Subject: r.bundle}})
}

func (r *registry) close() {
	leave(r.asking)
	r.host.close()
}

// user makes somebody who has never been published, with the smallest real
// card: a paper key, a device, and one box of each kind.
func (r *registry) user(int) (*wirev1.Publication, error) {
	k, err := keyring(message.RoleUser)
	if err != nil {
		return nil, err
	}
	services, err := hosted(r.server, k.Address())
	if err != nil {
		return nil, err
	}
	i, err := routed(k, message.Route{Services: services})
	if err != nil {
		return nil, err
	}
	return &wirev1.Publication{Subject: i.Wire(), Servers: []*wirev1.Identity{r.bundle}}, nil
}

func (r *registry) publish(w int, all []*wirev1.Publication) error {
	res, err := r.asking[w].peer.Tracker().Publish(everyone(), &wirev1.PublishRequest{Publications: all})
	if err != nil {
		return err
	}
	if len(res.GetResults()) != len(all) {
		return errShort
	}
	for _, p := range res.GetResults() {
		if err := refused(p.GetRefusal()); err != nil {
			return err
		}
	}
	return nil
}

// publishes registers each new users a call.
func publishes(workers, each int) Case {
	return Case{Workers: workers, Each: each, Open: func(dir string) (*Run, error) {
		r, err := newRegistry(dir, workers)
		if err != nil {
			return nil, err
		}
		var ready stock[*wirev1.Publication]
		return &Run{
			Close:   r.close,
			Prepare: func(n int) error { return ready.add(n*each, r.user) },
			Do: func(w int) error {
				all, err := ready.take(each)
				if err != nil {
					return err
				}
				return r.publish(w, all)
			},
		}, nil
	}}
}

// lookups asks about each of 1,024 addresses, each a call. Where verified, the
// asker verifies the answers as a client does.
func lookups(workers, each int, verified bool) Case {
	const known = 1024
	return Case{Workers: workers, Each: each, Open: func(dir string) (*Run, error) {
		r, err := newRegistry(dir, workers)
		if err != nil {
			return nil, err
		}
		queries, err := r.populate(known)
		if err != nil {
			r.close()
			return nil, err
		}
		next := counter()
		return &Run{Close: r.close, Do: func(w int) error {
			at := next() * each % known
			asked := queries[at:][:each]
			res, err := r.asking[w].peer.Directory().Lookup(context.Background(), &wirev1.LookupRequest{Queries: asked})
			if err != nil {
				return err
			}
			return r.check(asked, res.GetResults(), verified)
		}}, nil
	}}
}

// populate publishes n users and returns the questions for them, the first of
// them once more at the end so that any run of questions is whole.
func (r *registry) populate(n int) ([]*wirev1.Query, error) {
	var made stock[*wirev1.Publication]
	if err := made.add(n, r.user); err != nil {
		return nil, err
	}
	var queries []*wirev1.Query
	for len(queries) < n {
		all, err := made.take(64)
		if err != nil {
			return nil, err
		}
		if err := r.publish(0, all); err != nil {
			return nil, err
		}
		for _, p := range all {
			a, err := message.IdentityAddress(p.GetSubject())
			if err != nil {
				return nil, err
			}
			queries = append(queries, &wirev1.Query{Address: a.Bytes()})
		}
	}
	return append(queries, queries[:256]...), nil
}

// check counts the answers, or verifies them.
func (r *registry) check(asked []*wirev1.Query, results []*wirev1.LookupResult, verified bool) error {
	if len(results) != len(asked) {
		return errShort
	}
	for i, result := range results {
		if err := refused(result.GetRefusal()); err != nil {
			return err
		}
		if len(result.GetAnswers()) != 1 {
			return errShort
		}
		if !verified {
			continue
		}
		q, err := message.OpenQuery(asked[i])
		if err != nil {
			return err
		}
		a, err := message.OpenAnswer(r.host.verifier, r.host.keys.Chain, result.GetAnswers()[0], q, time.Now())
		if err != nil {
			return err
		}
		if !a.Found {
			return errShort
		}
	}
	return nil
}
