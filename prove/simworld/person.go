package simworld

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
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
	// paper is the seed of the highest rotation key.
	paper  crypto.Secret
	client *client.Client
	db     *sql.DB
	// server is where the account is, goal where the person wants it.
	server, goal *Host
	acts         int
	// seen is how messages were shown last, asked who waits among the requests.
	seen  map[message.Ref]shown
	asked []message.Address
	// deaf: the person has left a server that could not be asked what had come.
	deaf bool
	// lived are the hosts where the person has, or may have, had an account.
	lived map[*Host]struct{}
	// tainted: the person has had an account at a host that lies.
	tainted bool
	// busyWithLure: a letter to nowhere is being written.
	busyWithLure bool
	// floods is whom a rogue person floods.
	floods *Person
	// unsettled: not all trackers have taken the person's route.
	unsettled bool
	// life ends when the person's machine is switched off.
	life context.Context
}

// patience is how long a person waits for one act.
const patience = 3 * time.Minute

// person builds somebody, at home.
func (w *World) person(name string) error {
	n := len(w.people)
	p := &Person{
		world: w, n: n, name: name, place: w.bus.Place(name, ip(100+n)), rand: &chance{seed: w.Seed, who: name}, server: w.servers[n%len(w.servers)],
		seen: map[message.Ref]shown{},
	}
	p.goal = p.server
	w.people = append(w.people, p)
	var err error
	if p.keyring, p.paper, err = newKeyring(message.RoleUser, p.rand); err != nil {
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
	p.life = p.place.Life()
	p.client, err = client.Open(p.world.ctx, client.Config{
		DB: p.db, Keyring: p.keyring, Rand: p.rand, Trackers: p.world.references(), Log: slog.New(words{p.world.log.With("client", p.name).Handler(), p}),
		RPC: rpc.Config{Dial: noDial, Carrier: p.place.Carrier(), Verifier: crypto.Single{}},
	})
	return err
}

// reopen opens the person's client anew.
func (p *Person) reopen() {
	if err := p.client.Close(); err != nil {
		p.world.blame("%s: %v", p.name, err)
	}
	if err := p.open(); err != nil {
		p.world.blame("%s: the home does not open: %v", p.name, err)
	}
}

// now is the time by the person's own clock.
func (p *Person) now() time.Time { return time.Now().Add(p.place.Clock.Ahead()) }

// close closes the person's home.
func (p *Person) close() {
	if err := p.client.Close(); err != nil {
		p.world.blame("%s: the home does not close: %v", p.name, err)
	}
	_ = p.db.Close() // memory
}

// register opens an account where the person wants one.
func (p *Person) register(ctx context.Context) error {
	p.tainted = p.tainted || p.world.rogue.host != nil && p.goal == p.world.rogue.host
	if p.lived == nil {
		p.lived = map[*Host]struct{}{}
	}
	p.lived[p.goal] = struct{}{}
	done, err := p.client.Register(ctx, client.Registration{Server: p.goal.reference(), Trackers: p.world.references()})
	p.unsettled = err != nil
	if done != nil {
		for _, r := range done.Published {
			p.unsettled = p.unsettled || r.Err != nil
		}
	}
	if a, accountErr := p.client.Account(ctx); accountErr == nil && a.Server.Address == p.goal.keyring.Address() {
		p.server = p.goal
	}
	return err
}

// fetch has the content of a message brought.
func (p *Person) fetch(ctx context.Context, ref message.Ref) error {
	r, err := p.client.Read(ctx, ref, client.ReadOptions{})
	if err == nil {
		err = r.Unasked
	}
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
			ctx, cancel := context.WithTimeout(p.life, patience)
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
