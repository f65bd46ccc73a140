package courier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/store"
)

// host is the queue of one server. It exists while there is something in it.
type host struct {
	server  *message.Identity
	queue   []store.Task
	workers int
	// down is until when the server counts as unreachable.
	down time.Time
}

// enqueue hands tasks to the server's queue and makes sure that somebody works
// on it. What the queue has no room for, or what goes to a server that was just
// found unreachable, is put off.
func (c *Courier) enqueue(ctx, calls context.Context, group *sync.WaitGroup, server *message.Identity, tasks []store.Task) {
	c.mu.Lock()
	h, ok := c.hosts[server.Address()]
	if !ok {
		h = &host{}
		c.hosts[server.Address()] = h
	}
	h.server = server
	down := time.Now().Before(h.down)
	room := max(hostQueue-len(h.queue), 0)
	if down {
		room = 0
	}
	taken := tasks[:min(room, len(tasks))]
	h.queue = append(h.queue, taken...)
	for h.workers < hostWorkers && h.workers*maxBatch < len(h.queue) {
		h.workers++
		group.Go(func() { c.work(ctx, calls, h) })
	}
	c.mu.Unlock()
	var off []result
	for _, t := range tasks[len(taken):] {
		off = append(off, result{task: t, err: fmt.Errorf("courier: queue: %w", message.Unavailable)})
	}
	if len(off) > 0 {
		c.settle(calls, off)
	}
}

// work brings batches to one server until its queue is empty.
func (c *Courier) work(ctx, calls context.Context, h *host) {
	for {
		server, batch := c.next(h)
		if batch == nil {
			return
		}
		if ctx.Err() != nil {
			c.putBack(calls, batch)
			continue
		}
		call, cancel := context.WithTimeout(calls, callTimeout)
		var results []result
		if batch[0].Kind == store.TaskReceipt {
			results = c.receipts(call, server, batch)
		} else {
			results = c.alerts(call, server, batch)
		}
		cancel()
		c.settle(calls, results)
		if unreachable(results) {
			c.fail(calls, h)
		}
	}
}

// unreachable reports whether every task failed because nobody answered.
func unreachable(results []result) bool {
	for _, r := range results {
		if !errors.Is(r.err, message.Unavailable) {
			return false
		}
	}
	return len(results) > 0
}

// next takes the next batch of one kind out of the queue; a nil batch ends the
// worker.
func (c *Courier) next(h *host) (*message.Identity, []store.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(h.queue) == 0 {
		h.workers--
		if h.workers == 0 && !time.Now().Before(h.down) {
			delete(c.hosts, h.server.Address())
		}
		return nil, nil
	}
	n := 1
	for n < len(h.queue) && n < maxBatch && h.queue[n].Kind == h.queue[0].Kind {
		n++
	}
	batch := h.queue[:n:n]
	h.queue = h.queue[n:]
	return h.server, batch
}

// fail puts off all that waits for a server that nobody answered at, and keeps
// new tasks from trying for a first retry's time.
func (c *Courier) fail(ctx context.Context, h *host) {
	c.mu.Lock()
	waiting := h.queue
	h.queue = nil
	h.down = time.Now().Add(c.c.FirstRetry / 2)
	c.dropDown()
	c.mu.Unlock()
	var off []result
	for _, t := range waiting {
		off = append(off, result{task: t, err: fmt.Errorf("courier: server is down: %w", message.Unavailable)})
	}
	if len(off) > 0 {
		c.settle(ctx, off)
	}
}

// dropDown forgets idle hosts whose time has passed; mu is held.
func (c *Courier) dropDown() {
	now := time.Now()
	for a, h := range c.hosts {
		if h.workers == 0 && len(h.queue) == 0 && !now.Before(h.down) {
			delete(c.hosts, a)
		}
	}
}
