package main

import (
	"context"
	"sync"
	"time"

	"airdispatch/client"
	"airdispatch/message"
)

// roomPeople is what the home knows of those who sign in a room: whisper.People. Contacts are read
// again after a while, as they come while this runs.
type roomPeople struct {
	ctx   context.Context
	known *client.Neighbours
	c     *client.Client

	// mu guards what follows.
	mu    sync.Mutex
	names map[message.Address]string
	until time.Time
}

// namesAgain is after which time contacts are read again.
const namesAgain = 15 * time.Second

func newRoomPeople(ctx context.Context, c *client.Client) *roomPeople {
	return &roomPeople{ctx: context.WithoutCancel(ctx), known: c.Neighbours(nil), c: c}
}

// Name is what the person calls an address.
func (p *roomPeople) Name(a message.Address) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.After(p.until) {
		p.until = now.Add(namesAgain)
		if all, err := p.c.Contacts(p.ctx); err == nil {
			p.names = make(map[message.Address]string, len(all))
			for _, one := range all {
				p.names[one.Address] = one.Name
			}
		}
	}
	return p.names[a]
}

// Chain is the cards that are known of an address.
func (p *roomPeople) Chain(a message.Address) *message.Chain {
	chain, err := p.known.Chain(p.ctx, a)
	if err != nil {
		return nil // nothing is known of it
	}
	return chain
}
