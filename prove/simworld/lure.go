package simworld

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
)

// lure is somebody whose mail server is said to be at addresses that nobody may be
// led to: whoever brings mail there must be held back by the guard (I12).
type lure struct {
	bait   *message.Identity
	server *message.Identity
}

// lay makes the lure and has it known: a place on a private network that nobody
// may reach, and a person who is said to live there.
func (w *World) lay(ctx context.Context) error {
	r := &chance{seed: w.Seed, who: "lure"}
	inner := w.bus.Place("inner.example", netip.AddrFrom4([4]byte{10, 0, 0, 7}))
	leaf := w.trackers[0].leaf
	inner.Start(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		w.blame("I12: somebody was led to a private address")
	}), leaf)
	k, _, err := newKeyring(message.RoleServer, r)
	if err != nil {
		return err
	}
	now := time.Now()
	server := &message.Identity{Chain: k.Chain}
	server.Route, err = message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(90 * 24 * time.Hour), Hosts: []message.Host{
			{URL: "https://inner.example", Pin: crypto.Pin(leaf)}, {URL: "https://169.254.169.254", Pin: crypto.Pin(leaf)},
			{URL: "https://[::1]:8443", Pin: crypto.Pin(leaf)},
		},
	}, k.Chain, k.Signer)
	if err != nil {
		return err
	}
	u, _, err := newKeyring(message.RoleUser, r)
	if err != nil {
		return err
	}
	ticket, err := message.SignTicket(k.Address(), u.Address(), now, now.Add(80*24*time.Hour), k.Signer)
	if err != nil {
		return err
	}
	bait := &message.Identity{Chain: u.Chain}
	bait.Route, err = message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(80 * 24 * time.Hour),
		Services: []message.Service{{Purpose: message.PurposeAny, Server: k.Address(), Ticket: ticket}},
	}, u.Chain, u.Signer)
	if err != nil {
		return err
	}
	c := rpc.NewClient(rpc.Config{Dial: noDial, Carrier: w.bus.Place("bait", ip(201)).Carrier(), Verifier: crypto.Single{}, Keyring: u})
	defer c.Close()
	for _, t := range w.trackers {
		if err := publishes(ctx, c, t, bait, server); err != nil {
			return err
		}
	}
	w.lure = lure{bait, server}
	return nil
}

// lured has somebody write to who is said to live there.
func (w *World) lured(dice *rand.Rand) string {
	p := w.people[dice.IntN(len(w.people))]
	if p.busyWithLure || w.lure.bait == nil {
		return "not now"
	}
	p.busyWithLure = true
	w.count("lured")
	w.pending++
	c := p.client
	go func() {
		p.place.Clock.Wear()
		ctx, cancel := context.WithTimeout(p.life, patience)
		defer cancel()
		_, err := c.Send(ctx, client.Draft{To: []string{w.lure.bait.Address().String()}, Subject: "come", Body: "a letter into the dark"})
		w.bus.Post(time.Microsecond, p.name+" was lured", func() string {
			w.pending--
			p.busyWithLure = false
			return code(err)
		})
	}()
	return p.name
}
