package town

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
)

// Resident is a person with a device: a keyring, a home directory and a way
// into the network.
type Resident struct {
	// Keyring is who the person is; nil for somebody without an identity.
	Keyring *message.Keyring

	town *Town
	name string
	home string

	// mu guards client.
	mu     sync.Mutex
	client *client.Client
}

// Resident makes a person with an identity and an account at a server.
func (w *Town) Resident(name string, server *Host) *Resident {
	w.t.Helper()
	r := w.person(name, name, nil)
	w.act(name+" moves in", func(ctx context.Context) (err error) {
		if r.Keyring, err = newKeyring(message.RoleUser); err != nil {
			return err
		}
		if err := r.open(ctx); err != nil {
			return err
		}
		return r.register(ctx, server)
	})
	return r
}

// Stranger makes a person with an identity and no account, who asks the
// town's trackers.
func (w *Town) Stranger(name string) *Resident {
	w.t.Helper()
	r := w.person(name, name, nil)
	w.act(name+" comes by", func(ctx context.Context) (err error) {
		if r.Keyring, err = newKeyring(message.RoleUser); err != nil {
			return err
		}
		return r.open(ctx)
	})
	return r
}

// Passerby makes a person without an identity.
func (w *Town) Passerby(name string) *Resident {
	w.t.Helper()
	r := w.person(name, name, nil)
	w.act(name+" passes by", r.open)
	return r
}

// Device gives a person a second device, with a home of its own.
func (r *Resident) Device(name string, server *Host) *Resident {
	r.town.t.Helper()
	d := r.town.person(r.name+"/"+name, r.name+"-"+name, r.Keyring)
	r.town.act(d.name+" is set up", func(ctx context.Context) error {
		if err := d.open(ctx); err != nil {
			return err
		}
		return d.register(ctx, server)
	})
	return d
}

// person adds somebody to the town.
func (w *Town) person(name, dir string, k *message.Keyring) *Resident {
	r := &Resident{town: w, name: name, home: filepath.Join(w.dir, "home", dir), Keyring: k}
	w.mu.Lock()
	w.people[name] = r
	w.mu.Unlock()
	return r
}

// open opens the person's home.
func (r *Resident) open(ctx context.Context) error {
	c, err := client.Open(ctx, client.Config{
		Home: r.home, Keyring: r.Keyring, RPC: rpc.Config{Dial: r.town.network.Dialer(r.name), Verifier: crypto.Single{}},
		Rand: rand.Reader, Trackers: r.town.References(), Log: r.town.log,
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.client = c
	return nil
}

// close closes the person's home.
func (r *Resident) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		return
	}
	if err := r.client.Close(); err != nil {
		r.town.fail(fmt.Errorf("%s: %w", r.name, err))
	}
	r.client = nil
}

// Leaves closes the person's home for good.
func (r *Resident) Leaves() { r.close() }

// Restarts closes the person's home and opens it again, as the next command
// would.
func (r *Resident) Restarts() {
	r.town.t.Helper()
	r.close()
	r.town.act(r.name+" starts again", r.open)
}

// register opens an account.
func (r *Resident) register(ctx context.Context, server *Host) error {
	done, err := r.client.Register(ctx, client.Registration{Server: server.Reference(), Trackers: r.town.References()})
	if err != nil {
		return err
	}
	return done.NameErr
}

// Address is who the person is.
func (r *Resident) Address() message.Address {
	if r.Keyring == nil {
		return message.Address{}
	}
	return r.Keyring.Address()
}

// Moves opens an account at another server and has the route name that one.
func (r *Resident) Moves(server *Host) {
	r.town.t.Helper()
	r.town.act(r.name+" moves", func(ctx context.Context) error { return r.register(ctx, server) })
}

// Does lets the person do anything that a client can. Errors in except count
// as success.
func (r *Resident) Does(what string, do func(ctx context.Context, c *client.Client) error, except ...error) {
	r.town.t.Helper()
	r.town.act(r.name+" "+what, func(ctx context.Context) error {
		err := do(ctx, r.client)
		for _, e := range except {
			if errors.Is(err, e) {
				return nil
			}
		}
		return err
	})
}

// Refused lets the person do something that must be refused for this reason.
func (r *Resident) Refused(reason error, what string, do func(ctx context.Context, c *client.Client) error) {
	r.town.t.Helper()
	r.Does(what, func(ctx context.Context, c *client.Client) error {
		switch err := do(ctx, c); {
		case err == nil:
			return fmt.Errorf("it worked; it should have been refused: %w", reason)
		case !errors.Is(err, reason):
			return fmt.Errorf("refused for another reason than %q: %w", reason, err)
		}
		return nil
	})
}

// addresses are those of people by their names.
func (w *Town) addresses(names []string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, n := range names {
		r := w.people[n]
		if r == nil {
			return nil, fmt.Errorf("nobody is called %s", n)
		}
		out = append(out, r.Address().String())
	}
	return out, nil
}
