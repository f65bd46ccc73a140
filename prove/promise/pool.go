// Package promise asks a store to keep things and holds it to its word.
//
// Work is what one store was asked for over its life: letters that are
// submitted, edited and recalled by people with accounts, and handed to their
// readers; alerts of letters that others wrote, which are read, archived and
// deleted; identities and names that are published. All of it is really signed
// and sealed, once for all lives, as the Pool. Every call whose nil error came
// back is a promise, one that failed or never came back is open: it may have
// happened or not, but all of it or nothing, and after a call that failed
// while the store lives on, it has not happened.
//
// Check reads all that a store shows and compares: what was promised is there,
// byte for byte, in the version, mailbox and state that it was left in; what a
// reader saw before is still there; nothing is there that nobody wrote; places
// in the log do not go back; and whoever asks again for what is there gets the
// place and the time that were given first.
package promise

import (
	"fmt"
	"math/rand/v2"
	"time"

	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/store"
	"airdispatch/store/storetest"
)

// How much there is for a life to work with.
const (
	owners      = 3
	outsiders   = 2
	letters     = 60
	arrivals    = 36
	identities  = 8
	revisions   = 4
	names       = 12
	maxVersions = 4
	// large bodies take pages of their own, small ones share them.
	small, large = 200, 20_000
)

// Pool is all that is written, in all lives.
type Pool struct {
	owners   []*storetest.Person
	letters  []written
	arrivals []written
	records  [][]*store.IdentityRecord
	names    []store.NameClaim
}

// written is one message in all its versions.
type written struct {
	ref      message.Ref
	versions []store.Submission
	// owner has the account; reader is whom a letter is for.
	owner, reader message.Address
}

// NewPool writes everything.
func NewPool(r *rand.Rand) (*Pool, error) {
	p := &Pool{}
	var others []*storetest.Person
	for i := range owners + outsiders {
		person, err := storetest.NewPerson(fmt.Sprintf("person %d", i))
		if err != nil {
			return nil, err
		}
		if i < owners {
			p.owners = append(p.owners, person)
		} else {
			others = append(others, person)
		}
	}
	for i := range letters + arrivals {
		owner, other := p.owners[i%owners], others[i%outsiders]
		from, to := owner, other
		if i >= letters {
			from, to = other, owner
		}
		w, err := write(r, from, to)
		if err != nil {
			return nil, fmt.Errorf("pool: %w", err)
		}
		w.owner, w.reader = owner.Address(), to.Address()
		if i < letters {
			p.letters = append(p.letters, w)
		} else {
			p.arrivals = append(p.arrivals, w)
		}
	}
	return p, p.publish()
}

// write seals the versions of one message; some end with a recall.
func write(r *rand.Rand, from, to *storetest.Person) (written, error) {
	var w written
	var prev *message.Head
	for n := range 1 + r.IntN(maxVersions) {
		size := 1 + r.IntN(small)
		if r.IntN(8) == 0 {
			size = 1 + r.IntN(large)
		}
		body := make([]byte, size)
		for i := range body {
			body[i] = 'a' + byte(r.IntN(26))
		}
		d := storetest.Draft{To: []*storetest.Person{to}, Prev: prev, Body: string(body), Recall: n > 0 && r.IntN(4) == 0}
		s, err := from.Write(d)
		if err != nil {
			return w, err
		}
		if w.versions, prev = append(w.versions, s), s.Head; d.Recall {
			break
		}
	}
	w.ref = prev.Ref()
	return w, nil
}

// publish signs the routes of servers and chooses names.
func (p *Pool) publish() error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range identities {
		k, err := proof.Keyring(message.RoleServer)
		if err != nil {
			return fmt.Errorf("pool: %w", err)
		}
		var all []*store.IdentityRecord
		for n := range uint64(revisions) {
			route, err := message.SignRoute(message.Route{
				Pair: message.Pair{Route: n + 1}, Time: now, Expires: now.Add(time.Hour),
				Hosts: []message.Host{{URL: fmt.Sprintf("https://server%d.example:%d", i, 1000+n)}},
			}, k.Chain, k.Signer)
			if err != nil {
				return fmt.Errorf("pool: %w", err)
			}
			all = append(all, &store.IdentityRecord{
				Address: k.Address(), Cards: k.Chain.Signed(0), FirstSeen: []time.Time{now}, Route: route.Signed, RouteID: route.ID,
				Pair: route.Pair, Expires: route.Expires, Updated: now, Revision: n,
			})
		}
		p.records = append(p.records, all)
	}
	for i := range names {
		p.names = append(p.names, store.NameClaim{Name: fmt.Sprintf("name%d", i), Address: p.records[i%identities][0].Address, Time: now})
	}
	return nil
}
