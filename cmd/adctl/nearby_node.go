package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
	"airdispatch/nearby"
)

// nearbyDir is where a home keeps what nearby needs.
const nearbyDir = "nearby"

// neighbourhood is a node and what the person knows of those around.
type neighbourhood struct {
	*app
	c     *client.Client
	node  *nearby.Node
	ctx   context.Context // to read contacts with
	flags nearbyFlags
}

// neighbourhood makes a node as the settings and flags say. change, where not nil, changes
// its configuration.
func (a *app) neighbourhood(ctx context.Context, c *client.Client, f nearbyFlags, change func(*nearby.Config) error) (*neighbourhood, error) {
	if f.wait < 0 {
		return nil, daemon.Usage("--wait %s: not less than nothing", f.wait)
	}
	s, err := readNearby(f.config)
	if err != nil {
		return nil, err
	}
	people := c.Neighbours(nil)
	config := nearby.Config{
		People: people, Keyring: people.Keyring(), Listen: listenPacket, Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader, Log: a.logger(),
	}
	if err := s.fill(&config); err != nil {
		return nil, err
	}
	config.Visible = config.Visible || f.visible
	for _, p := range f.peers {
		at, err := net.ResolveUDPAddr("udp", p)
		if err != nil || at.Port == 0 {
			return nil, daemon.Usage("--peer %s: want HOST:PORT", p)
		}
		config.Explore.Peers = append(config.Explore.Peers, netip.AddrPortFrom(at.AddrPort().Addr().Unmap(), at.AddrPort().Port()))
	}
	if config.ID, err = a.nearbyID(); err != nil {
		return nil, err
	}
	if change != nil {
		if err := change(&config); err != nil {
			return nil, err
		}
	}
	node, err := nearby.New(config)
	return &neighbourhood{app: a, ctx: context.WithoutCancel(ctx), c: c, node: node, flags: f}, err
}

// name is what the person calls an address, as of now: contacts come while this runs.
func (n *neighbourhood) name(a message.Address) string {
	contacts, err := n.c.Contacts(n.ctx)
	if err != nil {
		return "" // the address does
	}
	for _, one := range contacts {
		if one.Address == a {
			return one.Name
		}
	}
	return ""
}

// nearbyID is the id of this home, which is made when it is first needed.
func (a *app) nearbyID() (nearby.ID, error) {
	dir := filepath.Join(a.home, nearbyDir)
	path := filepath.Join(dir, "id")
	b, err := os.ReadFile(path)
	if err == nil {
		return nearby.ParseID(strings.TrimSpace(string(b)))
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nearby.ID{}, err
	}
	var id nearby.ID
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // as a random UUID
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return id, err
	}
	return id, os.WriteFile(path, []byte(id.String()+"\n"), 0o600)
}

// label is what a peer is called: by the person, else by itself.
func (n *neighbourhood) label(p nearby.Peer) string {
	if !p.Address.IsZero() {
		if name := n.name(p.Address); name != "" {
			return name
		}
		return p.Address.Short()
	}
	return p.ID.String()[:8]
}

// describe is a peer for output.
func (n *neighbourhood) describe(p nearby.Peer) peerJSON {
	one := peerJSON{ID: p.ID.String(), Place: p.Place.String(), State: "unverified", Time: rfc3339(p.Heard)}
	if !p.Address.IsZero() {
		one.Address, one.Name, one.State = p.Address.String(), n.name(p.Address), "claimed"
	}
	if p.Proved {
		one.State = "verified"
	}
	return one
}

// prove connects to everybody who claims an address, so that what is listed is proved.
func (n *neighbourhood) prove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, provedWithin)
	defer cancel()
	var all sync.WaitGroup
	places := make(chan struct{}, 16)
	for _, p := range n.node.Peers() {
		if p.Address.IsZero() || p.Proved {
			continue
		}
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if l, err := n.node.Connect(ctx, p, p.Address); err == nil {
				l.Close()
			}
		})
	}
	all.Wait()
}

// wanted is a peer as the person named it: by an address, else by a text that its id begins
// with, or by its place.
type wanted struct {
	address message.Address
	text    string
}

// target reads how the person named a peer.
func (n *neighbourhood) target(ctx context.Context, text string) (wanted, error) {
	a, err := n.c.Resolve(ctx, text)
	if err == nil {
		return wanted{address: a}, nil
	}
	if _, placeErr := netip.ParseAddrPort(text); placeErr == nil {
		return wanted{text: text}, nil
	}
	if id := strings.ToLower(text); len(id) >= 4 && len(id) <= 36 && strings.Trim(id, "0123456789abcdef-") == "" {
		return wanted{text: id}, nil
	}
	return wanted{}, argument(err)
}

// is reports whether a peer is the one that is wanted.
func (w wanted) is(p nearby.Peer) bool {
	if !w.address.IsZero() {
		return p.Address == w.address
	}
	return strings.HasPrefix(p.ID.String(), w.text) || p.Place.String() == w.text
}

// find looks for peers that could be the one that is wanted.
func (n *neighbourhood) find(ctx context.Context, w wanted) ([]nearby.Peer, error) {
	there := func() []nearby.Peer {
		var out []nearby.Peer
		for _, p := range n.node.Peers() {
			if w.is(p) {
				out = append(out, p)
			}
		}
		return out
	}
	if err := n.node.Look(ctx, n.flags.wait, func() bool { return len(there()) > 0 }); err != nil {
		return nil, err
	}
	found := there()
	if len(found) == 0 {
		return nil, &advised{fmt.Errorf("nearby: nobody of that name was heard within %s: %w", n.flags.wait, message.NotFound),
			"`adctl nearby list` shows who is there; where multicast and broadcast do not reach, --peer HOST:PORT with the port of the peer's datagrams"}
	}
	return found, nil
}

// link connects to whoever has an address, wherever that is. Of several who say so the one that
// proves it counts.
func (n *neighbourhood) link(ctx context.Context, w wanted) (*nearby.Link, error) {
	found, err := n.find(ctx, w)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range found {
		if p.Address.IsZero() {
			errs = append(errs, fmt.Errorf("nearby: %s does not say who it is; name a contact: %w", p.Place, message.Denied))
			continue
		}
		l, err := n.node.Connect(ctx, p, p.Address)
		if err == nil {
			return l, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
