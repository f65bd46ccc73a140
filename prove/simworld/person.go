package simworld

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/simnet"
	"airdispatch/rpc"
)

// Person is somebody with a client.
type Person struct {
	world   *World
	n       int
	name    string
	place   *simnet.Place
	rand    *chance
	keyring *message.Keyring
	client  *client.Client
	db      *sql.DB
	server  *Host
	acts    int
	// known says whom the person writes to.
	circle []*Person
}

// patience is how long a person waits for one act.
const patience = 3 * time.Minute

// person builds somebody, at home.
func (w *World) person(name string) error {
	n := len(w.people)
	p := &Person{
		world: w, n: n, name: name, place: w.bus.Place(name, ip(100+n)), rand: &chance{seed: w.Seed, who: name}, server: w.servers[n%len(w.servers)],
	}
	w.people = append(w.people, p)
	var err error
	if p.keyring, err = newKeyring(message.RoleUser, p.rand); err != nil {
		return err
	}
	if p.db, err = sql.Open("sqlite3", ":memory:"); err != nil {
		return err
	}
	p.db.SetMaxOpenConns(1)
	return p.open()
}

// open opens the person's client on the home that is there.
func (p *Person) open() (err error) {
	p.client, err = client.Open(p.world.ctx, client.Config{
		DB: p.db, Keyring: p.keyring, Rand: p.rand, Trackers: p.world.references(), Log: p.world.log.With("client", p.name),
		RPC: rpc.Config{Dial: noDial, Carrier: p.place.Carrier(), Verifier: crypto.Single{}},
	})
	return err
}

// close closes the person's home.
func (p *Person) close() {
	if err := p.client.Close(); err != nil {
		p.world.blame("%s: the home does not close: %v", p.name, err)
	}
	_ = p.db.Close() // memory
}

// register opens an account at the person's server.
func (p *Person) register(ctx context.Context) error {
	_, err := p.client.Register(ctx, client.Registration{Server: p.server.reference(), Trackers: p.world.references()})
	return err
}

// does has a person do something after a while. What came of it is an operation
// like all others.
func (w *World) does(p *Person, what string, after time.Duration, act func(context.Context) error) {
	w.pending++
	p.acts++
	key := fmt.Sprintf("%s %s (%d)", p.name, what, p.acts)
	w.bus.Post(after, key, func() string {
		go func() {
			p.place.Clock.Wear()
			ctx, cancel := context.WithTimeout(w.ctx, patience)
			defer cancel()
			err := act(ctx)
			w.bus.Post(time.Microsecond, key+" ends", func() string {
				w.pending--
				w.count(what + ": " + code(err))
				if w.pending >= 0 {
					w.after(p)
				}
				return code(err)
			})
		}()
		return "begins"
	})
}
