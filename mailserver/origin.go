package mailserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/courier"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// pullTimeout bounds one pull from one server: below the deadline of the call
// that waits for it.
const pullTimeout = 20 * time.Second

// Directory adapts a resolver to what the courier asks for.
func Directory(r *tracker.Resolver) courier.Resolver { return directory{r} }

type directory struct{ r *tracker.Resolver }

// Find is Lookup, or past the caches Fresh.
func (d directory) Find(ctx context.Context, a message.Address, fresh bool) (*message.Identity, map[message.Address]*message.Identity, error) {
	find := d.r.Lookup
	if fresh {
		find = d.r.Fresh
	}
	f, err := find(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	return f.Subject, f.Servers, nil
}

// origin is an author and the servers that keep what the author sends.
type origin struct {
	author  *message.Identity
	servers []*message.Identity
}

// origin finds where an author's messages are kept: as the alert that came from
// there said, which tells no tracker who reads whom; fresh, or where nothing is
// known, as the trackers say.
func (s *Server) origin(ctx context.Context, author message.Address, fresh bool) (origin, error) {
	if !fresh {
		if o, err := s.knownOrigin(ctx, author); err == nil {
			return o, nil
		}
	}
	find := s.c.Resolver.Lookup
	if fresh {
		find = s.c.Resolver.Fresh
	}
	f, err := find(ctx, author)
	if err != nil {
		return origin{}, err
	}
	o := origin{author: f.Subject}
	if f.Subject.Route == nil {
		return o, fmt.Errorf("mailserver: %s has no route: %w", author.Short(), message.NotFound)
	}
	for _, a := range f.Subject.Route.Servers(message.PurposeOutbox) {
		if a == s.address {
			o.servers = append(o.servers, s.c.Identity())
		} else if server, ok := f.Servers[a]; ok {
			o.servers = append(o.servers, server)
		}
	}
	if len(o.servers) == 0 {
		return o, fmt.Errorf("mailserver: no server of %s: %w", author.Short(), message.NotFound)
	}
	return o, nil
}

// knownOrigin is the origin as it is remembered.
func (s *Server) knownOrigin(ctx context.Context, author message.Address) (origin, error) {
	i, err := s.c.Known.Identity(ctx, author)
	if err != nil {
		return origin{}, err
	}
	o := origin{author: i}
	if i.Route == nil {
		return o, message.NotFound
	}
	for _, a := range i.Route.Servers(message.PurposeOutbox) {
		if a == s.address {
			o.servers = append(o.servers, s.c.Identity())
			continue
		}
		server, err := s.c.Known.Identity(ctx, a)
		if err != nil {
			return o, err
		}
		o.servers = append(o.servers, server)
	}
	if len(o.servers) == 0 {
		return o, message.NotFound
	}
	return o, nil
}

// introduction: this server has been shown this state of this owner.
type introduction struct {
	server message.Address
	owner  message.Address
	pair   message.Pair
}

// ask pulls items for an owner from one server, through the network also where
// that server is this one.
func (s *Server) ask(ctx context.Context, server *message.Identity, owner message.Address, items []*wirev1.FetchItem) ([]*wirev1.Pulled, error) {
	var resp *wirev1.PullResponse
	err := s.visit(ctx, server, owner, func(ctx context.Context, at *rpc.Peer, identities []*wirev1.Identity) (err error) {
		resp, err = at.Exchange().Pull(ctx, &wirev1.PullRequest{For: owner.Bytes(), Items: items, Identities: identities})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mailserver: pull from %s: %w", server.Address().Short(), err)
	}
	if len(resp.GetResults()) != len(items) {
		return nil, fmt.Errorf("mailserver: pull from %s: %d results for %d items: %w", server.Address().Short(), len(resp.GetResults()), len(items), message.Unavailable)
	}
	return resp.GetResults(), nil
}

// visitCall is one call at a peer, with the bundles that it has to be shown.
type visitCall func(ctx context.Context, at *rpc.Peer, identities []*wirev1.Identity) error

// visit makes a call for an owner at another server, when it is its turn: a few
// at a time at each server, and none longer than pullTimeout. A server that does
// not know whom it is talking to is shown the owner's bundle, whose route names
// this server, and this server's own.
func (s *Server) visit(ctx context.Context, server *message.Identity, owner message.Address, call visitCall) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	leave, err := s.gates.enter(ctx, server.Address())
	if err != nil {
		return err
	}
	defer leave()
	peer, err := s.c.Client.Peer(server)
	if err != nil {
		return err
	}
	return s.introduce(ctx, peer, owner, func(identities []*wirev1.Identity) error { return call(ctx, peer, identities) })
}

// introduce makes a call for an owner with the bundles that the peer needs: at
// the first call, after a change, and when the peer asks for them.
func (s *Server) introduce(ctx context.Context, peer *rpc.Peer, owner message.Address, call func([]*wirev1.Identity) error) error {
	i, err := s.c.Known.Identity(ctx, owner)
	if err != nil {
		return err
	}
	in := introduction{peer.Address(), owner, i.Pair()}
	identities := func() []*wirev1.Identity {
		return []*wirev1.Identity{s.bundleOf(ctx, owner), s.bundleOf(ctx, s.address)}
	}
	if _, done := s.introduced.GetIfPresent(in); done {
		if err = call(nil); !errors.Is(err, message.NeedBundle) {
			return err
		}
	}
	if err = call(identities()); err == nil {
		s.introduced.Set(in, true)
	}
	return err
}
